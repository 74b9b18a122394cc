"""Finding round outlines in a picture without hints: gradient voting, then coverage.

Every edge votes for centres along its gradient (Hough transform with gradient direction; Kimme,
Ballard and Sklansky 1975), so an outline may be partly hidden and its contrast may change sign. A
mirror sphere mirrors its surroundings in rings, but always inside its outline: among concentric
candidates the outermost well covered one is the sphere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

Array = NDArray[np.float64]

WORK_SIZE = 320
BINS = 120
MIN_COVERAGE = 0.35


@dataclass(frozen=True)
class Circle:
    """A round outline, px; `coverage` is the part of it along which there is an edge."""

    x: float
    y: float
    radius: float
    coverage: float


@dataclass(frozen=True, eq=False)
class _Edges:
    x: Array
    y: Array
    dx: Array
    dy: Array
    weight: Array


def _edges(image: NDArray[np.float32]) -> _Edges:
    """Thinned edges with unit gradients; strong ones count no more than good ones."""
    smooth = gaussian_filter(image, 1.0)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32
    size = np.hypot(gx, gy)
    noise = float(np.median(size)) + 1e-9
    # Non-maximum suppression along the gradient, to the nearest of four directions.
    angle = np.round(np.arctan2(gy, gx) / (np.pi / 4)).astype(int) % 4
    ahead = np.zeros_like(size)
    behind = np.zeros_like(size)
    for k, (r, c) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1)]):
        chosen = angle == k
        ahead[chosen] = np.roll(size, (-r, -c), (0, 1))[chosen]
        behind[chosen] = np.roll(size, (r, c), (0, 1))[chosen]
    keep = (size >= ahead) & (size > behind) & (size > max(2.0 * noise, 0.002))
    keep[:2] = keep[-2:] = False
    keep[:, :2] = keep[:, -2:] = False
    y, x = np.nonzero(keep)
    strength = size[keep]
    if len(strength) > 12000:
        best = np.argpartition(strength, -12000)[-12000:]
        x, y, strength = x[best], y[best], strength[best]
    cap = float(np.percentile(strength, 60)) if len(strength) else 1.0
    gx, gy = gx[y, x], gy[y, x]
    length = np.hypot(gx, gy)
    return _Edges(
        x.astype(np.float64),
        y.astype(np.float64),
        (gx / length).astype(np.float64),
        (gy / length).astype(np.float64),
        np.minimum(strength / cap, 1.0).astype(np.float64),
    )


def _votes(edges: _Edges, shape: tuple[int, int], radii: Array, margin: int) -> NDArray[np.float32]:
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    volume = np.empty((len(radii), height, width), dtype=np.float32)
    for k, radius in enumerate(radii):
        plane = np.zeros(height * width)
        for sign in (-1.0, 1.0):
            column = np.rint(edges.x + sign * radius * edges.dx).astype(int) + margin
            row = np.rint(edges.y + sign * radius * edges.dy).astype(int) + margin
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            plane += np.bincount(
                row[inside] * width + column[inside],
                weights=edges.weight[inside],
                minlength=height * width,
            )
        spread = max(1.0, 0.02 * radius)
        smooth = gaussian_filter(plane.reshape(height, width), spread)
        volume[k] = smooth * (2 * np.pi * spread**2) / (2 * np.pi * radius)
    return volume


def _fit(edges: _Edges, x: float, y: float, radius: float) -> Circle:
    """Refine a circle on the edges that run along it, and measure how far round they reach."""
    band = max(2.5, 0.04 * radius)
    coverage = 0.0
    for _ in range(8):
        dx, dy = edges.x - x, edges.y - y
        distance = np.hypot(dx, dy)
        radial = np.abs(dx * edges.dx + dy * edges.dy) / np.maximum(distance, 1e-9)
        near = (np.abs(distance - radius) < band) & (radial > 0.94)
        if np.count_nonzero(near) < 8:
            return Circle(x, y, radius, 0.0)
        # Algebraic circle fit (Kasa 1976), weighted towards the present circle.
        weight = np.exp(-0.5 * ((distance[near] - radius) / (band / 2)) ** 2)
        A = np.stack([edges.x[near], edges.y[near], np.ones(int(near.sum()))], axis=1)
        b = edges.x[near] ** 2 + edges.y[near] ** 2
        solution, *_ = np.linalg.lstsq(A * weight[:, None], b * weight, rcond=None)
        x, y = float(solution[0] / 2), float(solution[1] / 2)
        radius = float(np.sqrt(max(solution[2] + x * x + y * y, 1.0)))
        band = max(1.5, 0.6 * band, 0.012 * radius)
    dx, dy = edges.x - x, edges.y - y
    near = np.abs(np.hypot(dx, dy) - radius) < band
    near &= np.abs(dx * edges.dx + dy * edges.dy) > 0.94 * np.hypot(dx, dy)
    bins = np.floor((np.arctan2(dy, dx)[near] / (2 * np.pi)) * BINS).astype(int) % BINS
    count = min(BINS, max(8, int(2 * np.pi * radius / 1.5)))
    coverage = len(set(bins * count // BINS)) / count
    return Circle(x, y, radius, coverage)


def find_circles(
    image: NDArray[Any],
    *,
    radius_px: tuple[float, float] | None = None,
    most: int = 8,
) -> list[Circle]:
    """Outlines of spheres in a picture, the best covered first.

    Parameters and order as for `find_concentric`, whose first choices these are.
    """
    return [group[0] for group in find_concentric(image, radius_px=radius_px, most=most)]


def find_concentric(
    image: NDArray[Any],
    *,
    radius_px: tuple[float, float] | None = None,
    most: int = 8,
) -> list[list[Circle]]:
    """Outlines of spheres with the other rings that share their places.

    Parameters
    ----------
    image : (H, W), any scale
    radius_px : least and greatest radius; by default 6 to 60 % of the picture's short side
    most : how many places to return at most

    Returns
    -------
    circles by place, the best covered place first; of each place the likeliest outline first
    """
    values = np.asarray(image, dtype=np.float32)
    low, high = map(float, np.percentile(values, [0.5, 99.5]))
    values = np.sqrt(np.clip((values - low) / max(high - low, 1e-9), 0, 1) + 0.01)
    short = min(values.shape)
    least, greatest = radius_px or (0.06 * short, 0.6 * short)
    # Small enough to be quick, large enough that the smallest circle has a clear outline.
    factor = min(1.0, max(WORK_SIZE / max(values.shape), 14 / least))
    if factor < 1:
        size = (round(values.shape[1] * factor), round(values.shape[0] * factor))
        values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    scale_x = np.asarray(image).shape[1] / values.shape[1]
    scale_y = np.asarray(image).shape[0] / values.shape[0]
    scale = (scale_x + scale_y) / 2
    edges = _edges(values)
    if len(edges.x) < 8:
        return []
    steps = max(2, int(np.ceil(np.log(greatest / least) / np.log(1.025))))
    radii = np.geomspace(least / scale, greatest / scale, steps)
    margin = round(0.3 * radii[-1])
    volume = _votes(edges, values.shape, radii, margin)
    peaks = (volume == maximum_filter(volume, size=(3, 9, 9))) & (volume > 0.15 * volume.max())
    k, row, column = np.nonzero(peaks)
    order = np.argsort(volume[peaks])[::-1][:60]
    candidates = [_fit(edges, column[i] - margin, row[i] - margin, radii[k[i]]) for i in order]
    candidates = [
        c
        for c in candidates
        if c.coverage >= MIN_COVERAGE and 0.9 * radii[0] <= c.radius <= 1.1 * radii[-1]
    ]
    return [
        [
            Circle(
                (c.x + 0.5) * scale_x - 0.5,
                (c.y + 0.5) * scale_y - 0.5,
                c.radius * scale,
                c.coverage,
            )
            for c in group
        ]
        for group in _outermost(candidates)[:most]
    ]


def _outermost(candidates: list[Circle]) -> list[list[Circle]]:
    """Circles by place: the largest well covered one first, then the others, by coverage."""
    left = sorted(candidates, key=lambda c: -c.coverage)
    chosen: list[Circle] = []
    groups: list[list[Circle]] = []
    while left:
        best = left[0]
        group = [
            c
            for c in left
            if np.hypot(c.x - best.x, c.y - best.y) < 0.6 * max(c.radius, best.radius)
        ]
        good = [c for c in group if c.coverage >= 0.75 * best.coverage]
        widest = max(good, key=lambda c: c.radius)
        # Among near duplicates of the widest the best covered is the most accurate.
        same = [c for c in good if abs(c.radius - widest.radius) < 0.05 * widest.radius]
        chosen.append(max(same, key=lambda c: c.coverage))
        groups.append([chosen[-1], *(c for c in group if c is not chosen[-1])])
        left = [
            c
            for c in left
            if np.hypot(c.x - chosen[-1].x, c.y - chosen[-1].y)
            > 0.8 * max(c.radius, chosen[-1].radius)
        ]
        left = [c for c in left if c not in group]
    return sorted(groups, key=lambda group: -group[0].coverage)
