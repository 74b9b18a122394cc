"""Other people's line protocols, described in YAML: how to read such a description, and its words.

The keys are explained in ``docs/led-protocol.md``; four descriptions ship in ``dialects/``.
"""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from capture.errors import CaptureError
from intake import plugins
from intake.errors import InputError, MissingError, told_as
from intake.files import read_text
from intake.trees import MAX_YAML, parse_yaml

FORMAT = "rig-dialect/1"


class DialectError(CaptureError):
    """A dialect file is missing or wrong."""

    exit_code = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Boot(_Part):
    """What happens after the port is opened.

    `banner` is a pattern; without one the board is given `wait_s` to boot, with one at most that.
    A board that is up already says no banner: then `wait_s` passes and the first command decides.
    """

    banner: str | None = None
    wait_s: Annotated[float, Field(ge=0, le=30)] = 2.0
    all_off_first: bool = False  # it boots with lights on: no wait for the banner is too short


class Exchange(_Part):
    """What to send and the pattern of the answer; no pattern: nothing comes back.

    ``{led}``, ``{level}`` and ``{count}`` stand for numbers; in the pattern for the same numbers.
    """

    send: Annotated[str, Field(min_length=1)]
    reply: str | None = None


class Dialect(_Part):
    """One line protocol. LED numbers here count from 1; on the wire from `index_base`."""

    format: Literal["rig-dialect/1"]
    name: str
    turn_on: Exchange
    all_off: Exchange | None = None
    turn_off: Exchange | None = None
    error: str | None = None
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 115200
    line_ending: Literal["", "\n", "\r", "\r\n", ";"] = "\n"
    index_base: Annotated[int, Field(ge=0, le=1)] = 1
    symbols: Annotated[str, Field(min_length=1)] | None = None
    level_max: Annotated[int, Field(ge=1, le=65535)] | None = None
    one_at_a_time: bool = False  # lighting one leaves the others lit: put the last out first
    settle_s: Annotated[float, Field(ge=0, le=5)] = 0.0
    reply_within_s: Annotated[float, Field(gt=0, le=30)] = 0.5
    keep_alive_s: Annotated[float, Field(gt=0, le=60)] | None = None
    watchdog: bool | None = None  # it darkens by itself when the host dies; None: if kept alive
    boot: Boot = Boot()

    @model_validator(mode="after")
    def _consistent(self) -> Dialect:
        if self.all_off is None and self.turn_off is None:
            raise ValueError("one of all_off and turn_off is needed to put the light out")
        if self.one_at_a_time and self.turn_off is None:
            raise ValueError("one_at_a_time needs turn_off")
        if ("{level}" in self.turn_on.send) != (self.level_max is not None):
            raise ValueError("{level} in turn_on and level_max go together")
        if "{led}" not in self.turn_on.send:
            raise ValueError("turn_on: send does not say which LED: use {led}")
        patterns = [self.error, self.boot.banner]
        patterns += [part.reply for part in (self.turn_on, self.turn_off, self.all_off) if part]
        for pattern in patterns:
            try:
                re.compile(fill_pattern(pattern or "", {"led": "1", "level": "1", "count": "1"}))
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"'{pattern}' is no regular expression: {error}") from None
        return self

    @property
    def has_watchdog(self) -> bool:
        """Whether the board puts its light out when the host falls silent."""
        return self.keep_alive_s is not None if self.watchdog is None else self.watchdog

    def led_word(self, led: int) -> str:
        """How LED `led` (from 1) is named on the wire; raises `DialectError` if it has no name."""
        if self.symbols is None:
            return str(led - 1 + self.index_base)
        if led > len(self.symbols):
            raise DialectError(
                f"dialect {self.name} names {len(self.symbols)} LEDs in 'symbols', not LED {led}"
            )
        return self.symbols[led - 1]


def fill(template: str, words: dict[str, str]) -> str:
    """A template with its numbers put in."""
    for name, word in words.items():
        template = template.replace("{" + name + "}", word)
    return template


def fill_pattern(pattern: str, words: dict[str, str]) -> str:
    """A reply pattern that fits these numbers only: 1 does not fit 12."""
    guarded = {}
    for name, word in words.items():
        exact = re.escape(word)
        guarded[name] = rf"(?<!\d){exact}(?!\d)" if word.isdigit() else exact
    return fill(pattern, guarded)


def shipped() -> list[str]:
    """Names of the dialects that come with the program."""
    folder = resources.files("capture.leds") / "dialects"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name[-5:] == ".yaml")


def known_dialects() -> list[str]:
    """Names of all dialects, those of plug-ins last."""
    return [*shipped(), *plugins.offered(plugins.LED_DIALECTS)]


def load_dialect(name: str | Path) -> Dialect:
    """A dialect by name, shipped or of a plug-in, or from a file; raises `DialectError`."""
    if str(name) in shipped():
        text = (resources.files("capture.leds") / "dialects" / f"{name}.yaml").read_text("utf-8")
        return parse_dialect(text, str(name))
    if str(name) in plugins.offered(plugins.LED_DIALECTS):
        with told_as(DialectError):
            added = plugins.load(plugins.LED_DIALECTS, str(name))
            text = added if isinstance(added, str) else read_text(Path(added), MAX_YAML)
        return parse_dialect(text, f"dialect {name}")
    path = Path(name)
    try:
        text = read_text(path, MAX_YAML)
    except MissingError as error:
        raise DialectError(
            f"no dialect '{name}': name one of {', '.join(known_dialects())}, or an existing YAML "
            "file"
        ) from error
    except InputError as error:
        raise DialectError(str(error)) from error
    return parse_dialect(text, str(path))


def parse_dialect(text: str, source: str) -> Dialect:
    """Read YAML; raises `DialectError` with every mistake and where it is."""
    with told_as(DialectError):
        data = parse_yaml(text, source)
    if not isinstance(data, dict):
        raise DialectError(f"{source} holds no keys: a dialect begins with 'format: {FORMAT}'")
    try:
        return Dialect.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_explain(problem, data) for problem in error.errors())
        raise DialectError(f"{source}: {problems}") from error


def _explain(problem: Any, data: dict[Any, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden" and problem["type"] != "invalid_key":
        reason = (
            problem["msg"].removeprefix("Value error, ").replace("Field required", "is missing")
        )
        return f"{where}: {reason}" if where else reason
    key = problem["loc"][-1]
    if True in data or False in data:
        return "YAML reads a bare on or off as true or false: the keys are turn_on and turn_off"
    models: dict[str, type[BaseModel]] = {
        "boot": Boot,
        "turn_on": Exchange,
        "turn_off": Exchange,
        "all_off": Exchange,
    }
    model = models.get(str(problem["loc"][0]), Dialect) if len(problem["loc"]) > 1 else Dialect
    near = difflib.get_close_matches(str(key), list(model.model_fields), n=1, cutoff=0.0)
    return f"unknown key '{where}', did you mean '{near[0]}'?"
