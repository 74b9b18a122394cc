"""The rig's LED protocol as messages: text in, messages out, and back. No I/O, no clock.

Words and decimal numbers, typable by hand. The whole grammar is in ``docs/led-protocol.md``; the
lines that carry it are in `framing`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from capture.leds.framing import RANGE, SYNTAX, UNKNOWN, ProtocolError

MAX_NUMBER = 2**32 - 1  # of what a host says
MAX_CLOCK = 2**53  # of a board's clock, µs


@dataclass(frozen=True)
class Identify:
    """``ID``"""


@dataclass(frozen=True)
class UseCrc:
    """``CRC ON`` or ``CRC OFF``; the reply is the same."""

    on: bool


@dataclass(frozen=True)
class On:
    """``ON led permille``: that LED alone; the reply is the same."""

    led: int
    permille: int = 1000


@dataclass(frozen=True)
class Off:
    """``OFF``: all dark; the reply is the same."""


@dataclass(frozen=True)
class BeginSequence:
    """``SEQ count``: forget the old sequence, expect `count` steps; the reply is the same."""

    count: int


@dataclass(frozen=True)
class SequenceStep:
    """``STEP index led permille settle_us exposure_us``; the reply is the same."""

    index: int
    led: int
    permille: int
    settle_us: int
    exposure_us: int


@dataclass(frozen=True)
class Arm:
    """``ARM BOARD period_us`` or ``ARM CAMERA``; the reply is the same."""

    camera_clocked: bool
    period_us: int = 0


@dataclass(frozen=True)
class Run:
    """``RUN``: start the armed, board-clocked sequence; the reply is the same."""


@dataclass(frozen=True)
class Abort:
    """``ABORT``: stop and darken; the reply is the same."""


@dataclass(frozen=True)
class AskStatus:
    """``STATUS``"""


@dataclass(frozen=True)
class Ping:
    """``PING token``: answer `Pong`."""

    token: int = 0


Command = (
    Identify
    | UseCrc
    | On
    | Off
    | BeginSequence
    | SequenceStep
    | Arm
    | Run
    | Abort
    | AskStatus
    | Ping
)


@dataclass(frozen=True)
class Identity:
    """``ID name=… firmware=… serial=… leds=… max_on_ms=… steps=… caps=a,b``"""

    name: str
    firmware: str
    serial: str
    leds: int
    max_on_ms: int
    steps: int
    caps: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """``STATUS state=… lit=… faults=… temp=… watchdog=…``; no temperature: ``temp=none``."""

    state: str
    lit: int
    faults: tuple[str, ...]
    temp: float | None
    watchdog: int


@dataclass(frozen=True)
class Pong:
    """``PONG token clock_us``: the board's clock when it answered."""

    token: int
    clock_us: int


@dataclass(frozen=True)
class Refusal:
    """``ERR code text``"""

    code: int
    text: str


@dataclass(frozen=True)
class Ready:
    """``!READY name firmware``: the board has booted."""

    name: str
    firmware: str


@dataclass(frozen=True)
class Report:
    """``!STEP index led on_us off_us``: the step is over."""

    index: int
    led: int
    on_us: int
    off_us: int


@dataclass(frozen=True)
class Done:
    """``!DONE count``: the sequence ended after all its steps."""

    count: int


@dataclass(frozen=True)
class Stopped:
    """``!STOP reason``: the board went dark by itself: watchdog, on-time, error, closed."""

    reason: str


Event = Ready | Report | Done | Stopped
Reply = Command | Identity | Status | Pong | Refusal | Event
EVENTS = (Ready, Report, Done, Stopped)


# text --------------------------------------------------------------------------------------------
def _number(text: str, high: int = MAX_NUMBER) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise ProtocolError(SYNTAX, f"not a number: {text[:16]}")
    if int(text) > high:
        raise ProtocolError(RANGE, f"above {high}: {text}")
    return int(text)


def _switch(words: list[str]) -> UseCrc:
    if words not in (["ON"], ["OFF"]):
        raise ProtocolError(SYNTAX, "CRC ON or CRC OFF")
    return UseCrc(words == ["ON"])


def _arm(words: list[str]) -> Arm:
    if words == ["CAMERA"]:
        return Arm(camera_clocked=True)
    if words[:1] != ["BOARD"] or len(words) > 2:
        raise ProtocolError(SYNTAX, "ARM BOARD period or ARM CAMERA")
    return Arm(camera_clocked=False, period_us=_number(words[1]) if words[1:] else 0)


def _numbers(
    kind: Callable[..., Command | Event | Pong], least: int, most: int, high: int = MAX_NUMBER
) -> _Reader:
    def read(words: list[str]) -> Command | Event | Pong:
        if not least <= len(words) <= most:
            raise ProtocolError(SYNTAX, f"{len(words)} arguments")
        return kind(*(_number(word, high) for word in words))

    return read


_Reader = Callable[[list[str]], "Command | Event | Pong"]

_COMMANDS: dict[str, _Reader] = {
    "ID": _numbers(Identify, 0, 0),
    "CRC": _switch,
    "ON": _numbers(On, 1, 2),
    "OFF": _numbers(Off, 0, 0),
    "SEQ": _numbers(BeginSequence, 1, 1),
    "STEP": _numbers(SequenceStep, 5, 5),
    "ARM": _arm,
    "RUN": _numbers(Run, 0, 0),
    "ABORT": _numbers(Abort, 0, 0),
    "STATUS": _numbers(AskStatus, 0, 0),
    "PING": _numbers(Ping, 0, 1),
}

_NUMERIC_REPLIES: dict[str, _Reader] = {
    "PONG": _numbers(Pong, 2, 2, MAX_CLOCK),
    "!STEP": _numbers(Report, 4, 4, MAX_CLOCK),
    "!DONE": _numbers(Done, 1, 1),
}


def parse_command(content: str) -> Command:
    """What a host asks, in either case; raises `ProtocolError` (unknown, syntax, range)."""
    word, *rest = content.upper().split() or [""]
    if word not in _COMMANDS:
        raise ProtocolError(UNKNOWN, f"unknown command {word[:16]}")
    return _COMMANDS[word](rest)  # type: ignore[return-value]


def parse_reply(content: str) -> Reply:
    """What a board says; raises `ProtocolError` if it is no line of this protocol."""
    word, *rest = content.split(" ")
    if word in _NUMERIC_REPLIES:
        return _NUMERIC_REPLIES[word](rest)
    if word == "ERR" and rest:
        return Refusal(_number(rest[0]), " ".join(rest[1:]))
    if word == "!READY" and len(rest) == 2:
        return Ready(*rest)
    if word == "!STOP" and len(rest) == 1:
        return Stopped(rest[0])
    if word == "ID" and rest:
        return _identity(_pairs(rest))
    if word == "STATUS" and rest:
        return _status(_pairs(rest))
    if word in ("ID", "STATUS", "PING") or word not in _COMMANDS:
        raise ProtocolError(UNKNOWN, f"unknown reply {word[:16]}")
    return _COMMANDS[word](rest)


def _pairs(words: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _list(text: str) -> tuple[str, ...]:
    return () if text in ("", "none") else tuple(text.split(","))


def _identity(pairs: dict[str, str]) -> Identity:
    try:
        return Identity(
            name=pairs["name"],
            firmware=pairs["firmware"],
            serial=pairs["serial"],
            leds=_number(pairs["leds"]),
            max_on_ms=_number(pairs["max_on_ms"]),
            steps=_number(pairs["steps"]),
            caps=_list(pairs["caps"]),
        )
    except KeyError as error:
        raise ProtocolError(SYNTAX, f"identity without {error}") from None


def _status(pairs: dict[str, str]) -> Status:
    try:
        return Status(
            state=pairs["state"],
            lit=_number(pairs["lit"]),
            faults=_list(pairs["faults"]),
            temp=None if pairs["temp"] == "none" else float(pairs["temp"]),
            watchdog=_number(pairs["watchdog"]),
        )
    except (KeyError, ValueError) as error:
        raise ProtocolError(SYNTAX, f"status without {error}") from None


_WORDS: dict[type[object], str] = {
    Identify: "ID",
    On: "ON",
    Off: "OFF",
    BeginSequence: "SEQ",
    SequenceStep: "STEP",
    Run: "RUN",
    Abort: "ABORT",
    AskStatus: "STATUS",
    Ping: "PING",
    Pong: "PONG",
    Refusal: "ERR",
    Ready: "!READY",
    Report: "!STEP",
    Done: "!DONE",
    Stopped: "!STOP",
}


def format_message(message: Reply) -> str:
    """The text of a message, without CRC and line end."""
    match message:
        case UseCrc(on):
            return f"CRC {'ON' if on else 'OFF'}"
        case Arm(camera_clocked, period_us):
            return "ARM CAMERA" if camera_clocked else f"ARM BOARD {period_us}"
        case Identity() | Status():
            word = "ID" if isinstance(message, Identity) else "STATUS"
            pairs = ((f.name, getattr(message, f.name)) for f in fields(message))
            return " ".join([word, *(f"{name}={_text(value)}" for name, value in pairs)])
        case _:
            values = (str(getattr(message, f.name)) for f in fields(message))
            return " ".join([_WORDS[type(message)], *values])


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "none" if value is None else str(value)
