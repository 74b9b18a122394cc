"""Faults by name, as they are typed: ``late-edge@5`` is the sixth edge from now, late."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from capture.errors import PlanError
from capture.faults import NONE, Faults

Counted = Literal["edge", "lighting", "exposure", "always"]

LATE_US = 1500
DOUBLED_US = 900
BUSY_US = 40_000
SAGGED = 0.4
DRIFT_PPM = 5000.0


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it is, and what its number counts."""

    what: str
    counts: Counted


KINDS: Mapping[str, Kind] = {
    "lost-edge": Kind("a trigger edge is lost on the wire", "edge"),
    "late-edge": Kind(f"a trigger edge comes {LATE_US} µs late", "edge"),
    "doubled-edge": Kind(f"a trigger edge comes again after {DOUBLED_US} µs", "edge"),
    "bouncing-edge": Kind("a trigger edge comes five times within 200 µs", "edge"),
    "left-on": Kind("an LED stays on through the next lighting (a race of interrupts)", "lighting"),
    "stale-picture": Kind("a frame carries the picture of the one before", "exposure"),
    "lost-packet": Kind("half of a frame is lost on the way: an incomplete buffer", "exposure"),
    "camera-restart": Kind("the camera loses power for a moment", "exposure"),
    "board-unplugged": Kind("the USB link drops the board for a moment", "lighting"),
    "brown-out": Kind(f"the LED supply sags: {SAGGED:g} of the light is left", "lighting"),
    "clock-drift": Kind(f"the camera's clock is off by {DRIFT_PPM:g} ppm", "always"),
    "ignored-trigger": Kind("the sensor is still busy: the next trigger is ignored", "exposure"),
}


def fault_named(text: str, counts: Mapping[str, int] | None = None, base: Faults = NONE) -> Faults:
    """Faults with one more, from ``kind@number`` (number from 0; default 0).

    Parameters
    ----------
    text : name of a kind, and after an @ which one of the edges, lightings or exposures
    counts : how many of each there were already; numbers count from there
    base : the faults to add it to

    Raises
    ------
    PlanError : no such kind, or no number.
    """
    name, _, number = text.partition("@")
    kind = KINDS.get(name.strip())
    if kind is None:
        raise PlanError(f"there is no fault '{name}': name one of {', '.join(KINDS)}")
    try:
        position = int(number or 0)
    except ValueError:
        raise PlanError(f"'{text}': behind the @ stands a number, such as {name}@5") from None
    return _added(base, name.strip(), position + (counts or {}).get(kind.counts, 0))


def _added(base: Faults, name: str, n: int) -> Faults:
    kinds: dict[str, dict[str, Any]] = {
        "lost-edge": {"lost_edges": frozenset({n})},
        "late-edge": {"late_edges": {n: LATE_US}},
        "doubled-edge": {"doubled_edges": {n: DOUBLED_US}},
        "bouncing-edge": {"bouncing_edges": frozenset({n})},
        "left-on": {"left_on": frozenset({n})},
        "stale-picture": {"stale_frames": frozenset({n})},
        "lost-packet": {"lost_packets": frozenset({n})},
        "camera-restart": {"camera_restarts": frozenset({n})},
        "board-unplugged": {"unplug_at_step": frozenset({n})},
        "brown-out": {"brown_outs": {n: SAGGED}},
        "clock-drift": {"camera_drift_ppm": DRIFT_PPM},
        "ignored-trigger": {"slow_readouts": {n: BUSY_US}},
    }
    one, changes = kinds[name], dict[str, Any]()
    for field in fields(Faults):
        if field.name in one:
            old, new = getattr(base, field.name), one[field.name]
            is_many = isinstance(new, frozenset | dict)
            changes[field.name] = old | new if is_many and old else new
    return replace(base, **changes)
