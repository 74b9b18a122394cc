"""Methods over the objects of a data set, and the table of their errors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calib.lights import Lights
from reconstruct.methods import Options, reconstruct
from reconstruct.metrology.accuracy import angle_deg
from rig.field_benchmarks.papers import Table
from rig.field_benchmarks.sets import Sample

NAMES = {
    "lambert": "robust least squares (lambert)",
    "halfvector": "half vector",
    "dpps": "network (dpps)",
    "refine": "refine",
}


@dataclass(frozen=True)
class Outcome:
    """One method on one object; depth_mm is the mean absolute error, mean removed, or None."""

    sample: str
    method: str
    degrees: float
    measured: float
    depth_mm: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "object": self.sample, "method": self.method, "degrees": self.degrees,
            "measured": self.measured, "depth_mm": self.depth_mm, "seconds": self.seconds,
        }  # fmt: skip


def measure(sample: Sample, method: str, weights: Path | None = None) -> Outcome:
    """Reconstruct an object and compare its normals with the true ones over its mask.

    A pixel that the method leaves out counts as 90°, so that leaving out pays nothing.
    """
    mean = 0.0
    if sample.depth_mm is not None:
        mean = float(np.nanmean(sample.depth_mm[sample.mask]))
    options = Options(
        height_mm=mean, mask=sample.mask, uncertainty=False, weights=weights,
        self_calibrate=_doubtful(sample.lights),
    )  # fmt: skip
    started = time.perf_counter()
    surface = reconstruct(method, sample.stack, sample.camera, sample.lights, options)
    seconds = time.perf_counter() - started
    there = sample.mask & np.isfinite(sample.normals).all(axis=-1)
    error = angle_deg(surface.normals[there], sample.normals[there])
    known = np.isfinite(error)
    depth = None
    if sample.depth_mm is not None:
        off = (surface.height_mm - sample.depth_mm)[there & surface.mask]
        off = off[np.isfinite(off)]
        depth = float(np.abs(off - off.mean()).mean()) if off.size else None
    degrees = float(np.where(known, error, 90.0).mean()) if there.any() else float("nan")
    return Outcome(sample.name, method, degrees, float(known.mean()), depth, seconds)


def _doubtful(lights: Lights) -> bool:
    return lights.covariance is not None


def markdown(outcomes: Sequence[Outcome], papers: Table) -> str:
    """The table: objects down, methods across, the papers' beside ours; degrees."""
    objects = list(dict.fromkeys(o.sample for o in outcomes))
    methods = list(dict.fromkeys(o.method for o in outcomes))
    ours = {(o.sample, o.method): o.degrees for o in outcomes}
    heads = [NAMES.get(m, m) for m in methods] + [f"{name}, paper" for name in papers]
    lines = ["| object | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    rows: list[list[float | None]] = []
    for name in objects:
        row: list[float | None] = [ours.get((name, m)) for m in methods]
        row += [table.get(name.lower()) for table in papers.values()]
        rows.append(row)
        lines.append(f"| {name} | " + " | ".join(_shown(v) for v in row) + " |")
    if len(objects) > 1:
        means = [_mean(column) for column in zip(*rows, strict=True)]
        lines.append("| **mean** | " + " | ".join(_shown(v) for v in means) + " |")
    return "\n".join(lines)


def _mean(column: Iterable[float | None]) -> float | None:
    values = [v for v in column if v is not None]
    return float(np.mean(values)) if values else None


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
