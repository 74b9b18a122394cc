"""What is to be taken: which LEDs, which exposures, dark frames and order. Knows no hardware.

A plan is walked in *passes*, one per exposure, because a camera line cannot change the exposure
between two pulses. Each pass takes a dark frame, the LEDs in order with a second dark frame half
way, the first LED once more (its ratio to the first time is the thermal drift), and a last dark
frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from capture.errors import PlanError
from intake.errors import told_as
from intake.trees import finite, whole

FORMAT = "rig-plan/1"
DARK = 0
MAX_LED = 4096
MAX_EXPOSURE_US = 60e6
MAX_SETTLE_US = 1_000_000

Kind = Literal["dark", "light", "repeat"]


@dataclass(frozen=True)
class Shot:
    """One picture of a plan.

    Attributes
    ----------
    index : place in the plan, from 0
    kind : ``light``, ``dark`` (no LED) or ``repeat`` (the first LED again, at the end)
    led : LED from 1; 0 for a dark frame
    level : brightness of the LED, 0..1
    exposure_us : exposure asked for, µs
    pass_index : which pass (exposure) it belongs to, from 0
    """

    index: int
    kind: Kind
    led: int
    level: float
    exposure_us: float
    pass_index: int

    @property
    def name(self) -> str:
        """What the picture is called, such as ``led 17, 8 ms``."""
        subject = {"dark": "dark", "light": f"led {self.led}", "repeat": f"led {self.led} again"}
        return f"{subject[self.kind]}, {self.exposure_us / 1000:g} ms"


@dataclass(frozen=True)
class Plan:
    """A frozen, hashable list of pictures to take.

    Attributes
    ----------
    leds : LED numbers from 1, in the order they are lit
    exposures_us : the bracket, µs, each once, in the order they are taken
    dark_frames : take a dark frame at the start, middle and end of each pass
    repeat_first : light the first LED again at the end of each pass
    level : brightness of every LED, 0..1
    settle_us : wait between an LED going on and the exposure, µs

    Raises
    ------
    PlanError
        if it asks for nothing, or for something impossible
    """

    leds: tuple[int, ...]
    exposures_us: tuple[float, ...] = (8000.0,)
    dark_frames: bool = True
    repeat_first: bool = True
    level: float = 1.0
    settle_us: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "leds", tuple(int(led) for led in self.leds))
        object.__setattr__(self, "exposures_us", tuple(float(e) for e in self.exposures_us))
        object.__setattr__(self, "level", float(self.level))
        if not self.leds:
            raise PlanError("the plan lights no LED: name at least one, as in leds: 1-96")
        wrong = [led for led in self.leds if not 1 <= led <= MAX_LED]
        if wrong:
            raise PlanError(f"the plan asks for LED {wrong[0]}: LEDs are numbered 1 to {MAX_LED}")
        twice = sorted({led for led in self.leds if self.leds.count(led) > 1})
        if twice:
            raise PlanError(f"the plan lights LED {twice[0]} more than once: name each once")
        if not self.exposures_us:
            raise PlanError("the plan has no exposure: name at least one, as in 2,8,32 (ms)")
        for exposure in self.exposures_us:
            if not 0 < exposure <= MAX_EXPOSURE_US:
                raise PlanError(
                    f"the plan asks for an exposure of {exposure / 1000:g} ms: "
                    f"it must be above 0 and at most {MAX_EXPOSURE_US / 1000:g} ms"
                )
        if len(set(self.exposures_us)) < len(self.exposures_us):
            raise PlanError("the plan has the same exposure twice: name each once")
        if not 0 < self.level <= 1:
            raise PlanError(f"the plan asks for LED level {self.level:g}: it lies in 0 to 1")
        if not 0 <= self.settle_us <= MAX_SETTLE_US:
            raise PlanError(f"settle_us is {self.settle_us}: it lies in 0 to {MAX_SETTLE_US}")

    def shots(self) -> tuple[Shot, ...]:
        """Every picture in the order it is taken."""
        shots: list[Shot] = []

        def add(kind: Kind, led: int, exposure_us: float, pass_index: int) -> None:
            level = 0.0 if kind == "dark" else self.level
            shots.append(Shot(len(shots), kind, led, level, exposure_us, pass_index))

        middle = (len(self.leds) + 1) // 2
        for pass_index, exposure_us in enumerate(self.exposures_us):
            if self.dark_frames:
                add("dark", DARK, exposure_us, pass_index)
            for place, led in enumerate(self.leds):
                if self.dark_frames and place == middle:
                    add("dark", DARK, exposure_us, pass_index)
                add("light", led, exposure_us, pass_index)
            if self.repeat_first:
                add("repeat", self.leds[0], exposure_us, pass_index)
            if self.dark_frames:
                add("dark", DARK, exposure_us, pass_index)
        return tuple(shots)

    def passes(self) -> tuple[tuple[Shot, ...], ...]:
        """The shots of each exposure, in order."""
        shots = self.shots()
        return tuple(
            tuple(shot for shot in shots if shot.pass_index == index)
            for index in range(len(self.exposures_us))
        )

    # files -----------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "leds": list(self.leds),
            "exposures_us": list(self.exposures_us),
            "dark_frames": self.dark_frames,
            "repeat_first": self.repeat_first,
            "level": self.level,
            "settle_us": self.settle_us,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Plan:
        """Read what `to_json` wrote; raises `PlanError` naming what is wrong."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise PlanError(
                f"this is no plan of format {FORMAT}: write it as YAML, in the "
                "words of rig.yaml's section plan, or take the snapshot/plan.json of a recording"
            )
        fields = {key: value for key, value in data.items() if key != "format"}
        unknown = sorted(set(fields) - set(Plan.__dataclass_fields__))
        if unknown:
            raise PlanError(f"the plan has an unknown field '{unknown[0]}'")
        for name in ("leds", "exposures_us"):
            if not isinstance(fields.get(name, []), list) or len(fields.get(name, [])) > MAX_LED:
                raise PlanError(f"the plan's {name} are no list of at most {MAX_LED} numbers")
        with told_as(PlanError):
            for led in fields.get("leds", []):
                whole(led, "an LED of the plan", 1, MAX_LED)
            for exposure in fields.get("exposures_us", []):
                finite(exposure, "an exposure of the plan, µs,", 0, MAX_EXPOSURE_US)
            finite(fields.get("level", 1.0), "the plan's level", 0, 1)
            whole(fields.get("settle_us", 0), "the plan's settle_us", 0, MAX_SETTLE_US)
        for name in ("dark_frames", "repeat_first"):
            if not isinstance(fields.get(name, True), bool):
                raise PlanError(f"the plan's {name} is {fields[name]!r}: expected true or false")
        try:
            return Plan(**fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise PlanError(f"the plan cannot be read: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON form: equal plans have equal digests, on any machine."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_leds(text: str) -> tuple[int, ...]:
    """``1-96`` or ``1,5,9-12`` as LED numbers, in that order; raises `PlanError`."""
    leds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            start, end = int(first), int(last if dash else first)
        except ValueError:
            raise PlanError(
                f"'{text}' is no list of LEDs: write them as 1-96 or 1,5,9-12"
            ) from None
        if end < start:
            raise PlanError(f"'{part.strip()}' is no range of LEDs: write the smaller number first")
        if end - start >= MAX_LED:
            raise PlanError(
                f"'{part.strip()}' is no range of LEDs: LEDs are numbered 1 to {MAX_LED}"
            )
        leds.extend(range(start, end + 1))
    return tuple(leds)


def format_leds(leds: Sequence[int]) -> str:
    """The shortest text that `parse_leds` reads back as these LEDs."""
    runs: list[list[int]] = []
    for led in leds:
        if runs and led == runs[-1][1] + 1:
            runs[-1][1] = led
        else:
            runs.append([led, led])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
