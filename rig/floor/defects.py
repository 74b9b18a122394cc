"""Dents, scratches and burrs: places whose curvature the surface's own texture does not explain."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from reconstruct.errors import ReconstructError
from reconstruct.metrology.grid import Array, HeightGrid, sample
from reconstruct.nearest import filled_in
from reconstruct.surface import Surface

Kind = Literal["dent", "scratch", "burr"]
Mask = NDArray[np.bool_]

SCALES_PX = (1.5, 2.5, 4.0, 6.5, 10.0)
THRESHOLD = (
    5.5  # of the background's robust spread: one false alarm in about 2.6e7 of Gaussian points
)
ELONGATED = 3.0  # length over width of a scratch
BACKGROUND = 24.0  # side of the tiles that tell the texture, in scales
HALF_CURVATURE = 0.8  # sigmas from the middle of a bell to where its curvature is half
TAIL = 3.0  # sigmas of a dent like a bell: farther out its surroundings are looked at
SMEAR_PX = 0.8  # sigma over which a pixel (0.3) and a lens (0.7) spread a height
FULL_WIDTH_AT_HALF = 2.355  # of a bell, in its sigmas
ELSEWHERE = 400  # places, at most, where nothing is: what scatters there is the depth's sigma
LEAST_PIXELS = 4
WIDEST = 0.25  # of what was measured: a place that wide is the part's own shape
MOSTLY = 0.9  # of a place's pixels must be plain
REACH = 3.0  # of a Gaussian, in its sigma


@dataclass(frozen=True)
class Defect:
    """One defect.

    Attributes
    ----------
    x_mm, y_mm : its middle, world frame
    length_mm, width_mm : along and across its longest direction, angle_deg from x
    depth_um : of its deepest point below its surroundings (of a burr: height above), with sigma
    area_mm2 : where the response is above half its largest
    score : largest response over the texture's robust spread
    """

    kind: Kind
    x_mm: float
    y_mm: float
    length_mm: float
    width_mm: float
    angle_deg: float
    depth_um: float
    sigma_um: float
    area_mm2: float
    score: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def slopes_on(grid: HeightGrid, surface: Surface) -> tuple[Array, Array]:
    """Slopes dz/dx and dz/dy of a surface's normals at the points of its grid."""
    gx, gy = np.meshgrid(grid.x_mm, grid.y_mm)
    z = np.where(grid.mask, grid.z_mm, np.nanmean(grid.z_mm))
    pixel = surface.camera.project(np.stack([gx, gy, z], axis=-1))
    place = np.stack([pixel[..., 1], pixel[..., 0]])
    nx, ny, nz = (sample(surface.normals[..., k], place, order=1) for k in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return -nx / nz, -ny / nz


def slope_sigma_of(surface: Surface) -> float:
    """Median standard uncertainty of the slopes; 0 where none is stated."""
    known = surface.normal_sigma_deg[np.isfinite(surface.normal_sigma_deg)]
    return float(np.radians(np.median(known))) if known.size else 0.0


def find_defects(
    grid: HeightGrid,
    slopes: tuple[Array, Array] | None = None,
    *,
    inside: Mask | None = None,
    threshold: float = THRESHOLD,
    least_um: float = 0.0,
    slope_sigma: float = 0.0,
    scales_px: Sequence[float] = SCALES_PX,
) -> list[Defect]:
    """Find defects on a surface, the clearest first.

    The mean curvature 2H = ∂p/∂x + ∂q/∂y of the slopes p, q (from the normals, which photometric
    stereo measures more surely than heights; without them, of the heights) is smoothed at several
    scales. At each scale its robust spread in tiles (median absolute deviation: the surface's own
    texture and the noise) makes it a score; what exceeds the threshold is a defect, and the scale
    of the highest score tells its size.

    Parameters
    ----------
    slopes : of `slopes_on`
    inside : (ny, nx) where to look; None: wherever something was measured
    least_um : shallower ones are left out
    slope_sigma : stated standard uncertainty of the slopes; no texture is taken for less

    Raises
    ------
    ReconstructError
        if too little was measured, or the part's own shape is what stands out
    """
    good = grid.mask & (np.ones(grid.z_mm.shape, bool) if inside is None else inside)
    if np.count_nonzero(good) < 400:
        raise ReconstructError("too few measured points to tell a defect from the texture")
    p, q = slopes if slopes is not None else _slopes(grid)
    known = good & np.isfinite(p) & np.isfinite(q)
    p, q = (filled_in(np.where(known, s, np.nan), known) for s in (p, q))
    best = np.zeros(grid.z_mm.shape)
    for scale in scales_px:
        # Beyond what was measured the slopes are made up: they must not reach in.
        edge = round(REACH * scale) + 1
        usable = ndimage.binary_erosion(known, iterations=edge, border_value=0)
        if np.count_nonzero(usable) < 200:
            continue
        curvature = ndimage.gaussian_filter(p, scale, order=(0, 1))
        curvature += ndimage.gaussian_filter(q, scale, order=(1, 0))
        score = np.where(usable, _score(curvature, usable, scale, slope_sigma), 0.0)
        best = np.where(np.abs(score) > np.abs(best), score, best)
    height = filled_in(np.where(good, grid.z_mm, np.nan), good)
    plain = good & (np.abs(best) < threshold)
    found = []
    for sign in (1.0, -1.0):
        strong = sign * best > threshold
        wide = sign * best > threshold / 2
        labels, _ = ndimage.label(wide, np.ones((3, 3)))
        for label in np.unique(labels[strong]):
            patch = labels == label
            if np.count_nonzero(patch) > WIDEST * np.count_nonzero(good):
                raise ReconstructError(
                    f"over {100 * np.count_nonzero(patch) / np.count_nonzero(good):.0f} % of the "
                    "surface its own shape bends beyond its texture: name a good part to compare "
                    "it with (--reference), or a region"
                )
            if np.count_nonzero(patch) >= LEAST_PIXELS:
                defect = _measured(grid, height, good, plain, patch, sign, sign * best)
                if defect is not None and defect.depth_um >= least_um:
                    found.append(defect)
    return _without_echoes(sorted(found, key=lambda defect: -defect.score))


def _slopes(grid: HeightGrid) -> tuple[Array, Array]:
    z = filled_in(grid.z_mm, grid.mask)
    down, across = np.gradient(z, grid.step_mm)
    return np.where(grid.mask, across, np.nan), np.where(grid.mask, down, np.nan)


def _score(curvature: Array, usable: Mask, scale: float, slope_sigma: float) -> Array:
    """Curvature in units of its robust spread nearby, its robust level taken away."""
    side = max(24, int(BACKGROUND * scale))
    rows = max(1, round(curvature.shape[0] / side))
    columns = max(1, round(curvature.shape[1] / side))
    level, spread = np.full((2, rows, columns), np.nan)
    for i, band in enumerate(np.array_split(np.arange(curvature.shape[0]), rows)):
        for j, strip in enumerate(np.array_split(np.arange(curvature.shape[1]), columns)):
            tile = np.ix_(band, strip)
            values = curvature[tile][usable[tile]]
            if values.size >= 50:
                level[i, j] = np.median(values)
                spread[i, j] = 1.4826 * np.median(np.abs(values - level[i, j]))
    if not np.isfinite(spread).any():
        values = curvature[usable]
        level[:] = np.median(values)
        spread[:] = 1.4826 * np.median(np.abs(values - np.median(values)))
    there = np.isfinite(spread)
    level, spread = filled_in(level, there), filled_in(spread, there)
    # A tile that a defect fills must not hide it: no tile is taken for much rougher than most.
    spread = np.minimum(spread, 3 * np.median(spread))
    # White noise of the slopes, smoothed: var ∂x(G ∗ n) = σ² / (8 π s⁴), and the same along y.
    spread = np.maximum(spread, slope_sigma / (2 * np.sqrt(np.pi) * scale**2))
    zoom = (curvature.shape[0] / rows, curvature.shape[1] / columns)
    level, spread = (
        ndimage.zoom(v, zoom, order=1, mode="nearest", grid_mode=True) for v in (level, spread)
    )
    return np.asarray((curvature - level) / np.maximum(spread, 1e-12))


def _measured(
    grid: HeightGrid,
    height: Array,
    good: Mask,
    plain: Mask,
    patch: Mask,
    sign: float,
    score: Array,
) -> Defect | None:
    """Size and depth of a patch against its surroundings.

    The depth is a weighted sum of heights: the deepest pixel's and those of the surroundings, which
    a surface of second degree goes through. The same sum at plain places scatters by the texture
    and by errors that neighbouring heights share: that is the depth's sigma, with the share that a
    bell of this width loses by the smear of pixel and lens.
    """
    rows, columns = np.nonzero(patch)
    step = grid.step_mm
    weight = np.maximum(score[rows, columns], 0)
    x, y = grid.x_mm[columns], grid.y_mm[rows]
    centre = np.array([np.average(x, weights=weight), np.average(y, weights=weight)])
    spread = np.cov(np.vstack([x, y]), aweights=weight, ddof=0) + np.eye(2) * step**2 / 12
    values, vectors = np.linalg.eigh(spread)
    length, width = 4 * np.sqrt(values[1]), 4 * np.sqrt(values[0])
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))) % 180
    strongest = score[rows, columns]
    core = patch & (score > strongest.max() / 2)
    half = float(ndimage.distance_transform_edt(np.pad(core, 1)).max())
    bell = half / HALF_CURVATURE
    away = ndimage.distance_transform_edt(~core)
    inner = max(1.0, TAIL * bell - half)
    ring = good & (away > inner) & (away <= inner + max(3.0, bell))
    if np.count_nonzero(ring) < 20:
        return None
    r, c = np.nonzero(ring)

    def design(row: NDArray[Any], column: NDArray[Any]) -> Array:
        u, v = (column - columns.mean()) / half, (row - rows.mean()) / half
        return np.column_stack([np.ones_like(u), u, v, u * u, u * v, v * v])

    # The two factors, never their product: of a patch as wide as the part it has gigabytes.
    inner_terms, ring_terms = design(rows, columns), design(r, c)
    fit = np.linalg.pinv(ring_terms)
    around = fit @ height[r, c]
    below = sign * (inner_terms @ around - height[rows, columns])
    deepest = int(np.argmax(below))
    sigma = _scatter(
        height,
        plain,
        np.array([np.append(r, rows[deepest]), np.append(c, columns[deepest])]),
        np.append(inner_terms[deepest] @ fit, -1.0),
    )
    if np.isnan(sigma):  # no room elsewhere: the surroundings' own scatter
        rest = height[r, c] - ring_terms @ around
        sigma = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    depth = float(below[deepest])
    if depth <= 2 * sigma:
        return None
    deep = np.stack([rows, columns])[:, below > depth / 2]
    long = 4 * np.sqrt(np.linalg.eigvalsh(np.cov(deep, ddof=0) + np.eye(2) / 12)[1])
    across = 4 * deep.shape[1] / (np.pi * long)  # an ellipse of that area and length
    seen = across / FULL_WIDTH_AT_HALF
    lost = depth * SMEAR_PX**2 / max(seen**2 - SMEAR_PX**2, SMEAR_PX**2)
    kind: Kind = "burr" if sign < 0 else "scratch" if length > ELONGATED * width else "dent"
    return Defect(
        kind=kind,
        x_mm=float(centre[0]),
        y_mm=float(centre[1]),
        length_mm=float(length),
        width_mm=float(width),
        angle_deg=angle,
        depth_um=1000 * depth,
        sigma_um=1000 * float(np.hypot(sigma, lost)),
        area_mm2=float(np.count_nonzero(strongest > strongest.max() / 2)) * step**2,
        score=float(strongest.max()),
    )


def _scatter(height: Array, plain: Mask, place: NDArray[Any], weights: Array) -> float:
    """Robust scatter of a weighted sum of heights, moved over the plain places of a surface.

    NaN where fewer than two places have room for it.
    """
    room = np.array(height.shape)[:, None]
    low, high = -place.min(axis=1), (room - 1 - place.max(axis=1, keepdims=True))[:, 0]
    stride = max(1, int(np.sqrt(np.prod(high - low + 1) / ELSEWHERE)))
    down, across = (np.arange(a, b + 1, stride) for a, b in zip(low, high, strict=True))
    found = []
    for move in itertools.product(down, across):  # all at once they need hundreds of megabytes
        at = place[0] + move[0], place[1] + move[1]
        if plain[at].mean() > MOSTLY:
            found.append(float(weights @ height[at]))
    if len(found) < 2:
        return float("nan")
    sums = np.array(found)
    return 1.4826 * float(np.median(np.abs(sums - np.median(sums))))


def _without_echoes(found: list[Defect]) -> list[Defect]:
    """Without the rims that a deeper defect throws up around itself, which bend the other way."""
    kept: list[Defect] = []
    for defect in found:
        echo = any(
            np.hypot(defect.x_mm - other.x_mm, defect.y_mm - other.y_mm)
            < (other.length_mm + defect.length_mm)
            and defect.score < other.score
            and (defect.kind == "burr") != (other.kind == "burr")
            for other in kept
        )
        if not echo:
            kept.append(defect)
    return kept
