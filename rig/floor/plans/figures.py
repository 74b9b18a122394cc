"""The figure of each kind of feature on a part, and its standard uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from intake import plugins
from intake.errors import told_as
from reconstruct.errors import ReconstructError
from reconstruct.metrology.areal import areal_parameters
from reconstruct.metrology.compare import compare
from reconstruct.metrology.dimension import flatness
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import Array, HeightGrid
from reconstruct.metrology.measure import Recipe, correlated_noise, scale_limited
from reconstruct.metrology.profile import (
    find_edges,
    profile_along,
    profile_parameters,
    step_height,
)
from reconstruct.repeats import LEAST
from rig.floor.defects import Defect, find_defects
from rig.floor.plans import model
from rig.floor.plans.placed import (
    Placed,
    angle_between,
    find_hole,
    height_over,
)

DRAWS = 24
SHORT_PX = 4.0  # correlation of the errors that texture sees


@dataclass(frozen=True, eq=False)
class Found:
    """One feature measured.

    Attributes
    ----------
    value, sigma : in the feature's unit; sigma None: unknown
    repeatability : what of sigma the next measurement of the part shows; None: unknown
    covered : share of its region that was measured
    defects : those that a feature of defects counts
    """

    value: float
    sigma: float | None
    covered: float = 1.0
    defects: tuple[Defect, ...] = ()
    repeatability: float | None = None


def _no_changes() -> Iterable[Array]:
    return ()


@dataclass(frozen=True, eq=False)
class Context:
    """What features are measured against.

    Attributes
    ----------
    plan : their plan
    references : surfaces by name, as the plan names them
    slopes : dz/dx and dz/dy from the normals, for defects; None: from the heights
    scale_sigma : relative standard uncertainty of lengths across the picture
    slope_sigma : standard uncertainty of the slopes
    changes : (ny, nx) changes of height, mm, that further measurements of the part would bring
    whole : changes hold the finest texture too
    """

    plan: model.InspectionPlan
    references: Mapping[str, HeightGrid] = field(default_factory=dict)
    slopes: tuple[Array, Array] | None = None
    scale_sigma: float = 0.0
    slope_sigma: float = 0.0
    changes: Callable[[], Iterable[Array]] = _no_changes
    whole: bool = True
    seed: int = 0


def measure_feature(feature: Any, part: Placed, context: Context) -> Found:
    """Measure one feature of a plan.

    The uncertainty is Monte Carlo (JCGM 101): errors of height with the stated sigma, correlated
    over the plan's length (texture: over four points), are added and the feature is measured
    again; spread and mean shift are added in square. Lengths across the picture take the
    uncertainty of the scale along. The repeatability is the spread over the part as further
    measurements would have it, as far as the method tells these.

    Raises
    ------
    ReconstructError
        saying why it cannot be measured
    """
    if isinstance(feature, model.Defects):
        return _defects(feature, part, context)
    if isinstance(feature, model.Bore):
        return _bore(feature, part, context)
    if isinstance(feature, model.Distance) and feature.between is not None:
        return _between_bores(feature, part, context)
    frozen = _frozen(feature, part)
    value = _figure(feature, part, context, frozen)
    sigma = _monte_carlo(feature, part, context, frozen, value)
    if isinstance(feature, model.Distance | model.Radius):
        sigma = float(np.hypot(sigma or 0.0, value * context.scale_sigma)) or None
    region = getattr(feature, "region", None)
    covered = 1.0 if region is None else part.covered(region)
    repeatability = _repeatability(feature, part, context)
    if sigma is not None and repeatability is not None:
        sigma = max(sigma, repeatability)  # of which it is a part
    return Found(value, sigma, covered, repeatability=repeatability)


def _frozen(feature: Any, part: Placed) -> tuple[float, ...] | None:
    """Edges of a step, found once: noise must not move them between the draws."""
    if not isinstance(feature, model.Step) or feature.line is None:
        return None
    return feature.edges or find_edges(_cut(part, feature.line))


def _cut(part: Placed, line: model.Rectangle) -> Any:
    start, end = part.to_world(*line[:2]), part.to_world(*line[2:])
    return profile_along(part.grid, start, end)


def _figure(feature: Any, part: Placed, context: Context, frozen: Any) -> float:
    datums = context.plan.datums
    if isinstance(feature, model.Step):
        if feature.line is not None:
            return step_height(_cut(part, feature.line), frozen)
        assert feature.region is not None
        assert feature.datum is not None
        datum = part.points(part.region(datums[feature.datum]))
        return height_over(part.points(part.region(feature.region)), datum)
    if isinstance(feature, model.Plugged):
        grid = part.grid if feature.region is None else part.cut(part.region(feature.region))
        with told_as(ReconstructError):
            return float(plugins.load(plugins.FEATURES, feature.plugin)(grid, feature.settings))
    if isinstance(feature, model.Angle):
        datum = part.points(part.region(datums[feature.datum]))
        return angle_between(part.points(part.region(feature.region)), datum)
    if isinstance(feature, model.Flatness):
        return flatness(part.cut(part.region(feature.region)))["FLTmz"] / 1000
    if isinstance(feature, model.Radius):
        fitted = remove_form(part.cut(part.region(feature.region)), feature.form)
        return float(fitted.parameters["radius_mm"])
    if isinstance(feature, model.Roughness):
        recipe = Recipe(form=feature.form, cutoff_mm=feature.cutoff_mm, short_mm=feature.short_mm)
        if feature.line is not None:
            level = remove_form(part.grid, feature.form).residual
            cut = profile_along(
                level, part.to_world(*feature.line[:2]), part.to_world(*feature.line[2:])
            )
            return profile_parameters(cut, feature.cutoff_mm, feature.short_mm)[feature.parameter]
        assert feature.region is not None
        _, texture = scale_limited(part.cut(part.region(feature.region)), recipe)
        return areal_parameters(texture.z_mm, texture.step_mm)[feature.parameter]
    if isinstance(feature, model.Distance):
        assert feature.line is not None
        edges = find_edges(_cut(part, feature.line))
        if len(edges) != 2:
            raise ReconstructError("one edge was found along the line, two are needed")
        return edges[1] - edges[0]
    assert isinstance(feature, model.Deviation)
    size = np.abs(deviation_map(feature, part, context).z_mm)
    return float(np.nanquantile(size, feature.share / 100))


def deviation_map(feature: model.Deviation, part: Placed, context: Context) -> HeightGrid:
    """Distance of each point from the feature's reference, mm."""
    grid = part.grid
    if feature.region is not None:
        grid = grid.with_z(np.where(part.region(feature.region), grid.z_mm, np.nan))
    found = compare(grid, context.references[feature.reference], feature.align)
    return found.deviation


def _monte_carlo(
    feature: Any, part: Placed, context: Context, frozen: Any, value: float
) -> float | None:
    sigma = part.grid.sigma_mm
    if sigma is None or not np.isfinite(sigma).any():
        return None
    sigma = np.where(np.isfinite(sigma), sigma, np.nanmedian(sigma))
    draws = DRAWS
    if isinstance(feature, model.Deviation):  # an alignment a draw is dear; points tell alike
        return _of_largest(feature, part, context, sigma)
    length = SHORT_PX
    if not isinstance(feature, model.Roughness):
        length = (context.plan.correlation_mm or _extent(part) / 5) / part.grid.step_mm
    rng = np.random.default_rng(context.seed)
    drawn = []
    for _ in range(draws):
        noise = sigma * long_noise(sigma.shape, length, rng)
        drawn.append(_figure(feature, part.with_noise(noise), context, frozen))
    shift = float(np.mean(drawn)) - value
    return float(np.sqrt(np.var(drawn, ddof=1) + shift**2))


def _repeatability(feature: Any, part: Placed, context: Context) -> float | None:
    """Spread of a figure over further measurements of the part; None where they are not told."""
    if isinstance(feature, model.Roughness) and not context.whole:
        return None
    if isinstance(feature, model.Deviation):  # the part lies on its reference as it lay
        off = deviation_map(feature, part, context).z_mm
        share = feature.share / 100
        values = [float(np.nanquantile(np.abs(off + d), share)) for d in context.changes()]
    else:
        again = (part.with_noise(change) for change in context.changes())
        values = [_figure(feature, other, context, _frozen(feature, other)) for other in again]
    return float(np.std(values, ddof=1)) if len(values) >= LEAST else None


def _of_largest(feature: model.Deviation, part: Placed, context: Context, sigma: Array) -> float:
    """Sigma of the heights where the deviation is about as large as the figure."""
    size = np.abs(deviation_map(feature, part, context).z_mm)
    there = np.isfinite(size)
    limit = np.nanquantile(size, min(feature.share / 100, 0.999))
    return float(np.median(sigma[there & (size >= 0.9 * limit)]))


def long_noise(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> Array:
    """`correlated_noise`, made on a coarser grid where it is long: the cost stays small."""
    coarse = max(1, int(length / 8))
    if coarse == 1:
        return correlated_noise(shape, length, rng)
    small = [max(4, -(-n // coarse)) for n in shape]
    drawn = correlated_noise(small, length / coarse, rng)
    zoom = [n / m for n, m in zip(shape, small, strict=True)]
    return np.asarray(ndimage.zoom(drawn, zoom, order=1, mode="nearest", grid_mode=True))


def _extent(part: Placed) -> float:
    rows, columns = np.nonzero(part.grid.mask)
    return float(part.grid.step_mm * np.hypot(np.ptp(rows), np.ptp(columns)))


def _bore(feature: model.Bore, part: Placed, context: Context) -> Found:
    hole = find_hole(part, feature.centre, feature.search_mm)
    if feature.figure == "diameter":
        own = float(hole.sigma_mm * np.sqrt(2))
        sigma = np.hypot(own, hole.diameter_mm * context.scale_sigma)
        return Found(hole.diameter_mm, float(sigma), repeatability=own)
    away = float(np.hypot(hole.x_mm - feature.centre[0], hole.y_mm - feature.centre[1]))
    from_middle = float(np.hypot(*feature.centre))
    sigma = 2 * np.hypot(hole.sigma_mm, from_middle * context.scale_sigma)
    # Where its rim lies among the pixels is another each time.
    return Found(2 * away, float(sigma), repeatability=2 * hole.sigma_mm)


def _between_bores(feature: model.Distance, part: Placed, context: Context) -> Found:
    assert feature.between is not None
    bores = {other.name: other for other in context.plan.features}
    holes = [
        find_hole(part, bore.centre, bore.search_mm)
        for bore in (bores[name] for name in feature.between)
        if isinstance(bore, model.Bore)
    ]
    length = float(np.hypot(holes[0].x_mm - holes[1].x_mm, holes[0].y_mm - holes[1].y_mm))
    own = float(np.hypot(holes[0].sigma_mm, holes[1].sigma_mm))
    return Found(length, float(np.hypot(own, length * context.scale_sigma)), repeatability=own)


def _defects(feature: model.Defects, part: Placed, context: Context) -> Found:
    inside = None if feature.region is None else part.region(feature.region)
    grid, slopes = part.grid, context.slopes
    if feature.reference is not None:
        reference = context.references[feature.reference]
        grid, slopes = compare(grid, reference, "rigid").deviation, None
    found = [
        defect
        for defect in find_defects(
            grid,
            slopes,
            inside=inside,
            least_um=feature.least_um,
            slope_sigma=context.slope_sigma,
        )
        if feature.what in ("all", defect.kind)
    ]
    covered = 1.0 if feature.region is None else part.covered(feature.region)
    if feature.figure == "count":
        return Found(float(len(found)), None, covered, tuple(found))
    if feature.figure == "deepest":
        worst = max(found, key=lambda defect: defect.depth_um, default=None)
        value, sigma = (worst.depth_um, worst.sigma_um) if worst else (0.0, None)
        return Found(value, sigma, covered, tuple(found))
    longest = max((defect.length_mm for defect in found), default=0.0)
    return Found(longest, part.grid.step_mm if found else None, covered, tuple(found))
