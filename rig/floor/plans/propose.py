"""Proposes an inspection plan from a part that was measured: its levels, steps and texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import yaml
from scipy import ndimage

from reconstruct.metrology.grid import HeightGrid
from reconstruct.nearest import filled_in
from rig.floor.plans.figures import Context, measure_feature
from rig.floor.plans.model import FORMAT, InspectionPlan
from rig.floor.plans.placed import Placed, placed

LEAST_SHARE = 0.02  # of the part's area: smaller levels are not proposed
MOST_LEVELS = 6
EDGE = 4.0  # a slope this many times its median is an edge between levels
LETTERS = "ABCDEF"

HEAD = """\
# An inspection plan. 'rig plan new' proposed it from {origin}: nominals are what was measured
# there, tolerances are guesses. Put in those of the drawing.
# Places are mm: a rectangle is [x0, y0, x1, y1], a circle [x, y, radius].
"""


@dataclass(frozen=True)
class Level:
    """A smooth patch of the surface and a rectangle inside it."""

    rectangle: tuple[float, float, float, float]
    area_mm2: float
    mean_mm: float


def levels_of(grid: HeightGrid) -> list[Level]:
    """Patches between steep edges, the largest first."""
    z = ndimage.gaussian_filter(filled_in(grid.z_mm, grid.mask), 1.0)
    down, across = np.gradient(z, grid.step_mm)
    slope = np.hypot(down, across)
    limit = max(EDGE * float(np.median(slope[grid.mask])), 0.02)
    smooth = ndimage.binary_opening(grid.mask & (slope < limit), iterations=2)
    labels, count = ndimage.label(smooth)
    found = []
    for label in range(1, count + 1):
        patch = labels == label
        if np.count_nonzero(patch) < LEAST_SHARE * np.count_nonzero(grid.mask):
            continue
        depth = ndimage.distance_transform_cdt(np.pad(patch, 1), metric="chessboard")[1:-1, 1:-1]
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        half = 0.85 * float(depth[row, column]) * grid.step_mm
        if half < 4 * grid.step_mm:
            continue
        x, y = float(grid.x_mm[column]), float(grid.y_mm[row])
        corners = tuple(round(v, 2) for v in (x - half, y - half, x + half, y + half))
        found.append(
            Level(
                (corners[0], corners[1], corners[2], corners[3]),
                float(np.count_nonzero(patch)) * grid.step_mm**2,
                float(np.nanmean(grid.z_mm[patch])),
            )
        )
    return sorted(found, key=lambda level: -level.area_mm2)[:MOST_LEVELS]


def propose(grid: HeightGrid, part_type: str, reference: str) -> str:
    """Text of a plan for parts like this one.

    Parameters
    ----------
    reference : how the plan names this result, which deviations are told from
    """
    part = placed(grid)
    levels = levels_of(grid)
    features: list[dict[str, object]] = []
    datums: dict[str, object] = {}
    if levels:
        datums["A"] = list(levels[0].rectangle)
        features.append(
            {"name": "flatness of A", "kind": "flatness", "region": list(levels[0].rectangle)}
        )
        for letter, level in zip(LETTERS[1:], levels[1:], strict=False):
            region = list(level.rectangle)
            features.append(
                {"name": f"step A to {letter}", "kind": "step", "region": region, "datum": "A"}
            )
            features.append(
                {"name": f"angle of {letter}", "kind": "angle", "region": region, "datum": "A"}
            )
        features.append(
            {
                "name": "Sa of A",
                "kind": "roughness",
                "parameter": "Sa",
                "region": list(levels[0].rectangle),
                "cutoff_mm": round(max(8 * grid.step_mm, 2.5), 3),
            }
        )
    features.append(
        {"name": "deviation", "kind": "deviation", "reference": reference, "align": "rigid",
         "share": 99.0, "upper": 0.05}
    )  # fmt: skip
    features.append({"name": "defects", "kind": "defects", "what": "all", "upper": 0})
    kept = [_with_tolerance(feature, part, datums) for feature in features]
    plan: dict[str, object] = {"format": FORMAT, "type": part_type, "revision": "draft"}
    plan |= {"rule": {"probability": 0.95, "in_between": "reject"}}
    plan |= {"datums": datums, "features": [feature for feature in kept if feature]}
    body = yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return HEAD.format(origin=reference) + body


def _with_tolerance(
    feature: dict[str, object], part: Placed, datums: dict[str, object]
) -> dict[str, object] | None:
    """The feature with what was measured as nominal; None if it cannot be measured here."""
    if "upper" in feature:
        return feature
    trial = {"format": FORMAT, "type": "trial", "datums": datums}
    plan = InspectionPlan.model_validate({**trial, "features": [{**feature, "upper": 0.0}]})
    try:
        found = measure_feature(plan.features[0], part, Context(plan))
    except Exception:
        return None
    sigma = found.sigma or 0.0
    if feature["kind"] in ("step", "angle"):
        least = 0.02 if feature["kind"] == "step" else 0.2
        room = _rounded(max(least, 5 * sigma, 0.02 * abs(found.value)))
        return {**feature, "nominal": round(found.value, 4), "tolerance": room}
    return {**feature, "upper": _rounded(1.5 * found.value + 5 * sigma)}


def _rounded(value: float) -> float:
    """Up to two digits."""
    if value <= 0:
        return 0.01
    digits = 1 - int(np.floor(np.log10(value)))
    return float(round(np.ceil(value * 10**digits) / 10**digits, max(digits, 0)))
