"""Errors of an artefact in the manner of ISO 10360-13 and VDI/VDE 2634-2."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import HeightGrid
from rig.floor.accept.artefacts import Artefact, Known, Permissible
from rig.floor.plans.decide import decide
from rig.floor.plans.figures import Context, measure_feature
from rig.floor.plans.model import InspectionPlan
from rig.floor.plans.placed import placed

SHARE = 0.95  # of the points that a form error holds (ISO 10360-13: D95)
COVERAGE = 2.0


@dataclass(frozen=True)
class Tested:
    """One characteristic of one artefact, mm.

    Attributes
    ----------
    symbol : P_Form, P_Size, E_Form (flat), E_Uni (step, length)
    error : measured minus certified; a form error is the width of the zone
    sigma : standard uncertainty of the test value: certificate and repeatability of the gauge
    mpe : None where none is stated
    verdict : as of `plans.decide`; "stated" without an MPE
    """

    artefact: str
    name: str
    symbol: str
    certified: float
    measured: float
    error: float
    sigma: float
    mpe: float | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def tested(artefact: Artefact, grid: HeightGrid, mpe: Permissible) -> list[Tested]:
    """Errors of an artefact that was measured.

    Raises
    ------
    ReconstructError
        if its region was not measured
    """
    if artefact.kind == "sphere":
        return _sphere(artefact, grid, mpe)
    if artefact.kind == "flat":
        return _flat(artefact, grid, mpe)
    return [_length(artefact, known, grid, mpe) for known in artefact.values]


def _sphere(artefact: Artefact, grid: HeightGrid, mpe: Permissible) -> list[Tested]:
    assert artefact.region is not None
    part = placed(grid)
    cut = part.cut(part.region(artefact.region))
    form = remove_form(cut, "sphere")
    diameter = 2 * float(form.parameters["radius_mm"])
    known = artefact.values[0]
    # How well the cap fixes its own diameter: the fit to thinned-out halves of its points.
    rows = [cut.with_z(np.where(_checked(cut, k), cut.z_mm, np.nan)) for k in range(4)]
    again = [2 * float(remove_form(half, "sphere").parameters["radius_mm"]) for half in rows]
    own = float(np.std(again, ddof=1)) / 2
    size = np.hypot(own, known.expanded_mm / COVERAGE)
    width = zone(form.residual.z_mm)
    return [
        _one(artefact.name, "diameter", "P_Size.Sph", known.value_mm, diameter, float(size),
             mpe.probing_size_mm),
        _one(artefact.name, "form", "P_Form.Sph.D95", 0.0, width, artefact.form_mm / COVERAGE,
             mpe.probing_form_mm),
    ]  # fmt: skip


def _checked(grid: HeightGrid, number: int) -> NDArray[np.bool_]:
    """Every fourth point, in blocks of 2 × 2."""
    rows, columns = np.indices(grid.z_mm.shape)
    return np.asarray((rows % 2) * 2 + columns % 2 == number)


def _flat(artefact: Artefact, grid: HeightGrid, mpe: Permissible) -> list[Tested]:
    assert artefact.region is not None
    part = placed(grid)
    rest = remove_form(part.cut(part.region(artefact.region)), "plane").residual
    width = zone(rest.z_mm)
    sigma = artefact.form_mm / COVERAGE
    return [_one(artefact.name, "flatness", "E_Form.Pla.D95", 0.0, width, sigma, mpe.flatness_mm)]


def _length(artefact: Artefact, known: Known, grid: HeightGrid, mpe: Permissible) -> Tested:
    kind = "step" if artefact.kind == "steps" else "distance"
    feature: dict[str, Any] = {"name": known.name, "kind": kind, "upper": 0.0}
    datums = {}
    if known.line is not None:
        feature["line"] = known.line
    else:
        feature |= {"region": known.region, "datum": "A"}
        datums = {"A": known.datum}
    plan = InspectionPlan.model_validate(
        {"format": "rig-plan/1", "type": "acceptance", "datums": datums, "features": [feature]}
    )
    found = measure_feature(plan.features[0], placed(grid), Context(plan))
    if not np.isfinite(found.value):
        raise ReconstructError(f"{artefact.name}, {known.name}: it came out as no number")
    measured = abs(found.value)
    sigma = float(np.hypot(found.sigma or 0.0, known.expanded_mm / COVERAGE))
    permitted = mpe.step_mm if artefact.kind == "steps" else mpe.length_mm
    if permitted is not None and artefact.kind == "lengths":
        permitted += known.value_mm * mpe.length_per_mm
    return _one(artefact.name, known.name, "E_Uni", known.value_mm, measured, sigma, permitted)


def _one(
    artefact: str, name: str, symbol: str, certified: float, measured: float, sigma: float,
    mpe: float | None,
) -> Tested:  # fmt: skip
    error = measured - certified
    verdict = "stated" if mpe is None else decide(error, sigma, -mpe, mpe)
    return Tested(artefact, name, symbol, certified, measured, error, sigma, mpe, verdict)


def zone(residual: NDArray[Any]) -> float:
    """Width of the narrowest zone that holds 95 % of the residuals."""
    z = np.sort(residual[np.isfinite(residual)])
    count = int(np.ceil(SHARE * len(z)))
    return float(np.min(z[count - 1 :] - z[: len(z) - count + 1]))


def scale_of(found: list[Tested], kinds: dict[str, str]) -> dict[str, float | int | None]:
    """The scale across the picture, of lengths: relative error and standard uncertainty.

    The uncertainty that later measurements carry holds the error that was found, for it is not
    corrected, and the uncertainty of finding it: u = √(mean e² + mean u²), both relative.
    """
    use = [t for t in found if kinds.get(t.artefact) == "lengths"]
    if not use:
        return {"lengths": 0, "relative_error": None, "relative_sigma": None}
    error = np.array([t.error / t.certified for t in use])
    sigma = np.array([t.sigma / t.certified for t in use])
    return {
        "lengths": len(use),
        "relative_error": float(error.mean()),
        "relative_sigma": float(np.sqrt(np.mean(error**2) + np.mean(sigma**2))),
    }


def stated_mpe(found: list[Tested]) -> dict[str, float]:
    """What may be stated for characteristics without an MPE: the largest error plus 2 u."""
    worst: dict[str, float] = {}
    for test in found:
        reach = abs(test.error) + COVERAGE * test.sigma
        worst[test.symbol] = max(worst.get(test.symbol, 0.0), reach)
    return worst
