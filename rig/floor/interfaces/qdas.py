"""``.dfq``: the ASCII transfer format of Q-DAS, with one K field a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rig.exits import UsageError
from rig.floor.store.tables import Feature, Run

INVALID = 256  # K0002: this value does not count
TEXT = 80  # longest text of a K field


def write_dfq(runs: Iterable[Run], stream: TextIO) -> int:
    """Write the features of one part type's runs, oldest first; returns the number of runs.

    Characteristics are those of the newest run. A feature that a run lacks, or that could not be
    measured, is an invalid value (K0002 = 256).

    Raises
    ------
    UsageError
        if no run has features, or the runs are of several part types
    """
    found = [run for run in runs if run.features]
    if not found:
        raise UsageError("no result has features: measure with an inspection plan (--type) first")
    types = sorted({run.part_type for run in found})
    if len(types) > 1:
        raise UsageError(
            f"a .dfq file holds one part type, these are of {', '.join(types)}: choose one of them"
        )
    newest = found[0].features
    lines = [f"K0100 {len(newest)}", f"K1001 {_text(types[0])}", f"K1002 {_text(types[0])}"]
    lines.append(f"K1081 {_text(found[0].rig)}")
    for number, feature in enumerate(newest, 1):
        lines += _characteristic(number, feature)
    for run in reversed(found):
        values = {feature.name: feature for feature in run.features}
        for number, feature in enumerate(newest, 1):
            lines += _value(number, values.get(feature.name), run)
    stream.write("\r\n".join(lines) + "\r\n")
    return len(found)


def _characteristic(number: int, feature: Feature) -> list[str]:
    lines = [
        f"K2001/{number} {number}",
        f"K2002/{number} {_text(feature.name)}",
        f"K2004/{number} 0",  # variable
        f"K2142/{number} {feature.unit or '1'}",
    ]
    for key, value in ((2101, feature.nominal), (2110, feature.lower), (2111, feature.upper)):
        if value is not None:
            lines.append(f"K{key}/{number} {value:.9g}")
    return lines


def _value(number: int, feature: Feature | None, run: Run) -> list[str]:
    known = feature is not None and feature.value is not None
    value = feature.value if feature is not None and feature.value is not None else 0.0
    lines = [f"K0001/{number} {value:.9g}"]
    if not known:
        lines.append(f"K0002/{number} {INVALID}")
    lines.append(f"K0004/{number} {run.measured_at:%d.%m.%Y/%H:%M:%S}")
    if run.batch:
        lines.append(f"K0006/{number} {_text(run.batch)}")
    if run.operator:
        lines.append(f"K0008/{number} {_text(run.operator)}")
    lines.append(f"K0053/{number} {_text(run.part)}")
    return lines


def _text(text: str) -> str:
    """Without what would end the line or the field."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:TEXT]
