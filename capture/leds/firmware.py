"""What a board's firmware does, as a pure state machine: bytes and edges in, bytes and light out.

It knows neither port nor thread nor wall clock; every call says what time it is on the board's own
clock, in µs, and `deadline_us` says when it next has something to do. `examples/firmware` holds the
same behaviour in C++; one conformance suite runs over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from capture.leds import framing
from capture.leds import messages as msg

Stage = Literal["on", "trigger", "off"]


@dataclass(frozen=True)
class BoardModel:
    """What kind of board it is. Times in ms as the identity says them, watchdog in µs."""

    name: str = "dpps-virtual"
    firmware: str = "1.0.0"
    serial: str = "V0001"
    led_count: int = 96
    max_on_ms: int = 5000
    max_steps: int = 4096
    watchdog_us: int = 500_000
    temperature_c: float | None = 31.5
    capabilities: tuple[str, ...] = ("crc", "sequence", "camera-clocked", "temperature")

    def identity(self) -> msg.Identity:
        return msg.Identity(
            self.name,
            self.firmware,
            self.serial,
            self.led_count,
            self.max_on_ms,
            self.max_steps,
            self.capabilities,
        )


class Pins(Protocol):
    """What the firmware moves. Times are of the board's clock."""

    def light(self, led: int, permille: int, at_us: int) -> None:
        """A lighting begins: this LED, or none if it is 0. Called when all is dark."""

    def dark(self, at_us: int) -> None:
        """All LEDs off."""

    def trigger(self, at_us: int) -> None:
        """A pulse on the line to the camera."""


class FirmwareCore(Protocol):
    """What runs on a board: `Firmware`, or the compiled one (`capture.leds.native`)."""

    def feed(self, data: bytes, now_us: int) -> None: ...
    def edge(self, at_us: int) -> None: ...
    def closed(self, now_us: int) -> None: ...
    def advance(self, now_us: int) -> None: ...
    def take_output(self) -> bytes: ...
    def deadline_us(self) -> int | None: ...
    @property
    def awaits_edges(self) -> bool: ...


class Firmware:
    """The board from one boot to the next. `feed`, `edge` and `advance` must come in time order."""

    def __init__(self, model: BoardModel, pins: Pins, now_us: int) -> None:
        self._model = model
        self._pins = pins
        self._reader = framing.LineReader()
        self._out = bytearray(b"\n")
        self._crc = False
        self._heard_us = now_us
        self._faults: tuple[str, ...] = ()
        self._watchdog_trips = 0
        # light
        self._lit = 0
        self._lit_since_us = now_us
        # sequence
        self._steps: list[msg.SequenceStep] = []
        self._expected = 0
        self._arm: msg.Arm | None = None
        self._running = False
        self._index = -1  # step under way; -1 before the first
        self._stage: Stage | None = None  # what is due next in it
        self._due_us = 0
        self._on_us = 0
        self._pins.dark(now_us)
        self._event(msg.Ready(model.name, model.firmware))

    # outside world ---------------------------------------------------------------------------
    def feed(self, data: bytes, now_us: int) -> None:
        """Bytes from the host."""
        self.advance(now_us)
        for raw in self._reader.feed(data):
            self._obey(raw, now_us)

    def edge(self, at_us: int) -> None:
        """A rising edge of the camera's exposure-active line."""
        self.advance(at_us)
        if self.awaits_edges and self._stage == "off":
            self._end_step(at_us)
        if self.awaits_edges:
            self._running = True
            self._begin_step(at_us)

    def closed(self, now_us: int) -> None:
        """The host has closed the port."""
        self.advance(now_us)
        self._stop("closed", now_us)
        self._crc = False
        self._reader.clear()

    @property
    def awaits_edges(self) -> bool:
        """Armed to be stepped by the camera."""
        return self._arm is not None and self._arm.camera_clocked

    def take_output(self) -> bytes:
        """Bytes for the host since the last call."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def deadline_us(self) -> int | None:
        """When `advance` next has something to do, None for never."""
        times = []
        if self._lit or self._arm is not None:
            times.append(self._heard_us + self._model.watchdog_us)
        if self._lit:
            times.append(self._lit_since_us + self._model.max_on_ms * 1000)
        if self._stage is not None:
            times.append(self._due_us)
        return min(times, default=None)

    def advance(self, now_us: int) -> None:
        """Do what was due up to now, each at the instant it was due."""
        while (due := self.deadline_us()) is not None and due <= now_us:
            if self._stage is not None and self._due_us == due:
                self._next_stage(due)
            elif due == self._heard_us + self._model.watchdog_us:
                self._watchdog_trips += 1
                self._stop("watchdog", due)
            else:
                self._faults = ("on-time",)
                self._stop("on-time", due)

    # light and sequence ----------------------------------------------------------------------
    def _light(self, led: int, permille: int, at_us: int) -> None:
        if led != self._lit:
            self._lit_since_us = at_us
        self._lit = led
        self._pins.dark(at_us)
        self._pins.light(led, permille, at_us)

    def _darken(self, at_us: int) -> None:
        self._lit = 0
        self._pins.dark(at_us)

    def _next_stage(self, at_us: int) -> None:
        step = self._steps[self._index] if self._stage != "on" else None
        if step is None:
            self._begin_step(at_us)
        elif self._stage == "trigger":
            self._pins.trigger(at_us)
            self._stage, self._due_us = "off", at_us + step.exposure_us
        else:
            self._end_step(at_us)

    def _begin_step(self, at_us: int) -> None:
        assert self._arm is not None
        self._index += 1
        step = self._steps[self._index]
        self._on_us = at_us
        self._light(step.led, step.permille, at_us)
        if self._arm.camera_clocked:
            self._stage, self._due_us = "off", at_us + step.settle_us + step.exposure_us
        else:
            self._stage, self._due_us = "trigger", at_us + step.settle_us

    def _end_step(self, at_us: int) -> None:
        assert self._arm is not None
        step = self._steps[self._index]
        self._darken(at_us)
        self._event(msg.Report(step.index, step.led, self._on_us, at_us))
        self._stage = None
        if self._index + 1 == len(self._steps):
            self._disarm()
            self._event(msg.Done(len(self._steps)))
        elif not self._arm.camera_clocked:
            self._stage, self._due_us = "on", max(at_us, self._on_us + self._arm.period_us)

    def _disarm(self) -> None:
        self._arm, self._running, self._index, self._stage = None, False, -1, None

    def _stop(self, reason: str, at_us: int) -> None:
        """Dark, nothing armed; says so if there was anything to stop."""
        if self._lit or self._arm is not None:
            self._event(msg.Stopped(reason))
        self._disarm()
        self._darken(at_us)

    # talk ------------------------------------------------------------------------------------
    def _event(self, event: msg.Event) -> None:
        self._out += framing.wrap(msg.format_message(event), crc=True)

    def _obey(self, raw: bytes, now_us: int) -> None:
        checked = b"*" in raw
        try:
            line = framing.unwrap(raw, crc_required=self._crc and raw.upper().strip() != b"CRC OFF")
            reply = self._answer(msg.parse_command(line.content), now_us)
            self._heard_us = now_us
        except framing.ProtocolError as error:
            self._stop("error", now_us)
            reply = msg.Refusal(error.code, error.text)
        self._out += framing.wrap(msg.format_message(reply), crc=self._crc or checked)

    def _answer(self, command: msg.Command, now_us: int) -> msg.Reply:
        if self._running and not isinstance(
            command, msg.Ping | msg.AskStatus | msg.Off | msg.Abort
        ):
            raise framing.ProtocolError(framing.STATE, "a sequence is running")
        match command:
            case msg.Identify():
                return self._model.identity()
            case msg.AskStatus():
                return self._status()
            case msg.Ping(token):
                return msg.Pong(token, now_us)
            case msg.UseCrc(on):
                self._crc = on
            case msg.On(led, permille):
                self._check(led, permille, least=1)
                if self._faults:
                    raise framing.ProtocolError(framing.FAULT, f"{self._faults[0]}: send OFF first")
                self._disarm()
                self._light(led, permille, now_us)
            case msg.Off() | msg.Abort():
                self._disarm()
                self._darken(now_us)
                self._faults = ()
            case msg.BeginSequence(count):
                if not 1 <= count <= self._model.max_steps:
                    raise framing.ProtocolError(framing.RANGE, f"steps 1..{self._model.max_steps}")
                self._disarm()
                self._steps, self._expected = [], count
            case msg.SequenceStep():
                self._store(command)
            case msg.Arm():
                if not self._steps or len(self._steps) != self._expected:
                    text = f"{len(self._steps)} of {self._expected} steps"
                    raise framing.ProtocolError(framing.STATE, text)
                self._disarm()
                self._darken(now_us)
                self._arm = command
            case msg.Run():
                if self._arm is None or self._arm.camera_clocked:
                    raise framing.ProtocolError(framing.STATE, "not armed for RUN")
                self._running = True
                self._stage, self._due_us = "on", now_us
        return command

    def _check(self, led: int, permille: int, least: int) -> None:
        if not least <= led <= self._model.led_count:
            raise framing.ProtocolError(framing.RANGE, f"led {least}..{self._model.led_count}")
        if permille > 1000:
            raise framing.ProtocolError(framing.RANGE, "level 0..1000")

    def _store(self, step: msg.SequenceStep) -> None:
        self._check(step.led, step.permille, least=0)
        if self._arm is not None:
            raise framing.ProtocolError(framing.STATE, "armed")
        if step.index > len(self._steps) or step.index >= self._expected:
            raise framing.ProtocolError(framing.STATE, f"expected step {len(self._steps)}")
        if step.settle_us + step.exposure_us > self._model.max_on_ms * 1000:
            raise framing.ProtocolError(framing.RANGE, f"on-time above {self._model.max_on_ms} ms")
        self._steps[step.index : step.index + 1] = [step]

    def _status(self) -> msg.Status:
        if self._running:
            state = "running"
        elif self._arm is not None:
            state = "armed"
        else:
            state = "lit" if self._lit else "idle"
        model = self._model
        return msg.Status(state, self._lit, self._faults, model.temperature_c, self._watchdog_trips)
