"""Judges a measured surface by an inspection plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reconstruct.errors import ReconstructError
from reconstruct.metrology.compare import compare
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.surface import Surface
from rig.exits import DATA, GOOD, OUT_OF_TOLERANCE, UsageError
from rig.figures import shape_of
from rig.floor.defects import slope_sigma_of, slopes_on
from rig.floor.plans import model
from rig.floor.plans.decide import BETWEEN, OUT, UNKNOWN, decide
from rig.floor.plans.decide import GOOD as PROVEN
from rig.floor.plans.figures import Context, Found, deviation_map, measure_feature
from rig.floor.plans.model import InspectionPlan, KeptPlan
from rig.floor.plans.placed import Placed, changes_on, placed
from rig.measure_part import Judgement, grid_to_json
from rig.workspace import Workspace

Read = Callable[[str, float], HeightGrid]


def references_of(plan: InspectionPlan) -> set[str]:
    """Names of the references that a plan needs."""
    found = {getattr(feature, "reference", None) for feature in plan.features}
    found.add(plan.align.reference if plan.align else None)
    return {name for name in found if name}


def reader(workspace: Workspace) -> Read:
    """Reads references: paths count from the workspace, names are parts measured before."""

    def read(name: str, step_mm: float) -> HeightGrid:
        beside = workspace.folder / name
        path = str(beside) if beside.exists() else name
        return shape_of(path, workspace.folder, None, 0.0, step_mm)

    return read


def check_references(kept: KeptPlan, workspace: Workspace) -> None:
    """Refuse a plan whose references cannot be read, before anything is lit."""
    read = reader(workspace)
    for name in sorted(references_of(kept.plan)):
        read(name, 0.5)


def inspector(
    kept: KeptPlan, workspace: Workspace, scale_sigma: float = 0.0
) -> Callable[[Surface, Path], Judgement]:
    """What `rig.measure_part` asks to judge a surface."""

    def inspect(surface: Surface, _: Path) -> Judgement:
        return judge_by(kept, surface, reader(workspace), scale_sigma)

    return inspect


def judge_by(kept: KeptPlan, surface: Surface, read: Read, scale_sigma: float = 0.0) -> Judgement:
    """Measure and decide every feature of a plan.

    Returns
    -------
    The verdict of the whole is the worst of its features: out of tolerance, then not sufficient
    (a feature could not be measured), then in between, then good.
    """
    plan = kept.plan
    grid = grid_of(surface)
    references = {name: read(name, grid.step_mm) for name in references_of(plan)}
    move = None
    if plan.align is not None:
        move = compare(grid, references[plan.align.reference], plan.align.how).transform
    part = placed(grid, move)
    slopes = None
    if any(isinstance(feature, model.Defects) for feature in plan.features):
        slopes = slopes_on(grid, surface)
    repeats = surface.repeats
    context = Context(
        plan, references, slopes, scale_sigma, slope_sigma_of(surface),
        changes=lambda: changes_on(grid, surface),
        whole=repeats is not None and repeats.block_px == 1,
    )  # fmt: skip
    rows = tuple(_row(feature, part, context) for feature in plan.features)
    verdict, code = _of_the_whole(rows, plan)
    deviations = [f for f in plan.features if isinstance(f, model.Deviation)]
    where, figures = None, {}
    if deviations:
        try:
            where = deviation_map(deviations[0], part, context)
            figures = _deviation_figures(deviations[0], where)
        except ReconstructError:
            where = None  # its row says why
    notes = tuple(
        f"{row['name']}: no uncertainty is known; the decision takes it for 0"
        for row in rows
        if row["sigma"] is None and row["kind"] != "defects" and row["value"] is not None
    )
    return Judgement(verdict, code, figures, rows, kept.to_json(), notes, where)


def _row(feature: Any, part: Placed, context: Context) -> dict[str, Any]:
    lower, upper = feature.limits
    row: dict[str, Any] = {
        "name": feature.name, "kind": feature.kind, "unit": feature.unit,
        "value": None, "sigma": None, "repeatability": None, "nominal": feature.nominal,
        "lower": lower, "upper": upper,
        "verdict": UNKNOWN, "reason": "", "place": place_of(feature, part),
    }  # fmt: skip
    if isinstance(feature, model.Defects) and feature.figure != "count":
        row["unit"] = "µm" if feature.figure == "deepest" else "mm"
    try:
        found: Found = measure_feature(feature, part, context)
    except (ReconstructError, UsageError) as error:
        return row | {"reason": str(error)}
    row |= {
        "value": found.value, "sigma": found.sigma, "repeatability": found.repeatability,
    }  # fmt: skip
    if found.defects:
        row["defects"] = [defect.to_json() for defect in found.defects]
    if not np.isfinite(found.value):
        return row | {"value": None, "reason": "it came out as no number"}
    if found.covered < context.plan.least_covered:
        share = f"{100 * found.covered:.0f} % of its region could be measured"
        return row | {"reason": f"{share}, {100 * context.plan.least_covered:.0f} % are needed"}
    row["verdict"] = decide(found.value, found.sigma, lower, upper, context.plan.rule.probability)
    return row


def place_of(feature: Any, part: Placed) -> list[list[float]]:
    """Corners of where a feature lies, mm in the world frame: what the page draws; empty: all."""
    if isinstance(feature, model.Bore):
        return _circle(part, *feature.centre, feature.search_mm)
    line = getattr(feature, "line", None)
    if line is not None:
        return [list(part.to_world(*line[:2])), list(part.to_world(*line[2:]))]
    region = getattr(feature, "region", None)
    if region is None:
        return []
    if len(region) == 3:
        return _circle(part, *region)
    x0, y0, x1, y1 = region
    return [list(part.to_world(x, y)) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]


def _circle(part: Placed, x: float, y: float, radius: float) -> list[list[float]]:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return [
        list(part.to_world(x + radius * float(np.cos(t)), y + radius * float(np.sin(t))))
        for t in turn
    ]


def _of_the_whole(rows: tuple[dict[str, Any], ...], plan: InspectionPlan) -> tuple[str, int]:
    verdicts = {row["verdict"] for row in rows}
    if OUT in verdicts:
        return OUT, OUT_OF_TOLERANCE
    if UNKNOWN in verdicts:
        return UNKNOWN, DATA
    if BETWEEN in verdicts:
        return BETWEEN, GOOD if plan.rule.in_between == "accept" else OUT_OF_TOLERANCE
    return PROVEN, GOOD


def _deviation_figures(feature: model.Deviation, where: HeightGrid) -> dict[str, Any]:
    z = where.z_mm[where.mask]
    size = np.abs(z)
    limit = feature.limits[1]
    return {
        "reference": feature.reference,
        "mean_mm": float(z.mean()),
        "rms_mm": float(np.sqrt(np.mean(z**2))),
        "p95_mm": float(np.quantile(size, 0.95)),
        "max_mm": float(size.max()),
        "tolerance_mm": limit,
        "within": None if limit is None else float(np.mean(size <= limit)),
        "share": feature.share / 100,
        "grid": grid_to_json(where),
    }
