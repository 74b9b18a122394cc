"""Rows of the store for people, as JSON and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rig.figures import table
from rig.floor.plans.words import feature_line
from rig.floor.store.tables import Feature, Run

VERDICTS = ("good", "out of tolerance", "in between", "not sufficient", "measured")
COLUMNS = (
    "rig", "path", "part", "part_type", "operator", "batch", "measured_at", "verdict",
    "exit_code", "plan_hash", "method", "version", "seconds",
)  # fmt: skip
FEATURE_COLUMNS = (
    "name", "kind", "value", "sigma", "repeatability", "unit", "nominal", "lower", "upper",
    "verdict", "reason",
)  # fmt: skip


def run_to_json(run: Run) -> dict[str, Any]:
    """A run with its features."""
    row = {name: getattr(run, name) for name in COLUMNS}
    return {
        "number": run.id,
        **row,
        "measured_at": run.measured_at.isoformat() + "Z",
        "figures": run.figures,
        "deviation": run.deviation,
        "notes": run.notes,
        "features": [
            {name: getattr(feature, name) for name in FEATURE_COLUMNS} for feature in run.features
        ],
    }


def line_of(run: Run) -> str:
    """One line for a list."""
    words = [f"{run.measured_at:%Y-%m-%d %H:%M:%S}", run.part, run.verdict]
    if run.part_type:
        words.append(run.part_type)
    failed = [feature.name for feature in run.features if feature.verdict != "good"]
    if failed:
        words.append(f"({', '.join(failed)})")
    return "  ".join([*words, run.path])


def described(runs: Sequence[Run], total: int) -> str:
    """A part: its newest result in full, the others as lines; runs come newest first."""
    newest = runs[0]
    rows = [
        ("part", newest.part),
        ("verdict", newest.verdict),
        ("measured", f"{newest.measured_at:%Y-%m-%d %H:%M:%S} UTC"),
        *(
            (name, str(value))
            for name, value in (
                ("type", newest.part_type),
                ("operator", newest.operator),
                ("batch", newest.batch),
            )
            if value
        ),
        *((f"feature {feature.name}", feature_line(vars(feature))) for feature in newest.features),
        *((name, f"{round(value, 6):z.6g}") for name, value in newest.figures.items()),
        *(("note", note) for note in newest.notes),
        ("report", f"{newest.path}/report.html"),
    ]
    text = table(rows)
    if len(runs) > 1:
        text += f"\n\n{total} results, newest first:\n" + "\n".join(line_of(run) for run in runs)
    return text


def write_csv(runs: Iterable[Run], stream: TextIO) -> int:
    """One line for each feature, and one for a run that has none; returns the number of runs.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    writer = csv.writer(stream)
    writer.writerow([*COLUMNS, *(f"feature_{name}" for name in FEATURE_COLUMNS)])
    count = 0
    for run in runs:
        count += 1
        row = [getattr(run, name) for name in COLUMNS]
        row[COLUMNS.index("measured_at")] = run.measured_at.isoformat() + "Z"
        features: list[Feature | None] = [*run.features] or [None]
        for feature in features:
            values = [getattr(feature, name, None) for name in FEATURE_COLUMNS]
            writer.writerow([_cell(value) for value in (*row, *values)])
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
