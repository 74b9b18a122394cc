"""Cast shadows of parts that are made of level features, exact to a micrometre.

A height map sampled at pixels, or at parts of them, has walls as wide as its cells, and shadows of
such a map begin up to half a cell from where they should. Here a ray is followed from its point to
the light through the features themselves. Between the borders of features the ground is level and
the ray rises, so it may go in one step as far as the nearest border is away.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

_JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
LEAST_STEP_MM = 1e-3
ON_CHAMFER_MM = 0.02  # a step where the ground slopes
TOUCH_MM = 1e-4  # by which the ground may rise over a ray that starts on it
_BOX, _DISC = 0.0, 1.0


def feature_table(features: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(F, 11) kind, centre, half sides, level, cosine and sine of the angle, chamfer, reach.

    The reach is how far the region goes along x and y.
    """
    rows = []
    for feature in features:
        kind = _DISC if feature["kind"] == "disc" else _BOX
        a, b = feature["half_mm"]
        c, s = (f(feature.get("angle", 0.0)) for f in (math.cos, math.sin))
        reach = (a * abs(c) + b * abs(s), a * abs(s) + b * abs(c)) if kind == _BOX else (a, a)
        rows.append([
            kind, *feature["centre_mm"], a, b, feature["level_mm"], c, s,
            feature.get("chamfer_mm", 0.0), *reach,
        ])  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(-1, 11)


@njit(**_JIT)
def _inside(feature, x, y):
    """Signed distance to the border of a feature's region, positive inside."""
    dx, dy = x - feature[1], y - feature[2]
    if feature[0] == _DISC:
        return feature[3] - math.sqrt(dx * dx + dy * dy)
    u = abs(dx * feature[6] + dy * feature[7]) - feature[3]
    v = abs(-dx * feature[7] + dy * feature[6]) - feature[4]
    if u <= 0.0 or v <= 0.0:
        return -max(u, v)
    return -math.sqrt(u * u + v * v)


@njit(**_JIT)
def _ground(table, x, y):
    """Height of the part at a place, and how far about it the ground is level."""
    z, level = 0.0, 1e9
    for k in range(len(table)):
        feature = table[k]
        d, own, c = _inside(feature, x, y), feature[5], feature[8]
        if d >= 0.0:
            sloping = own > z and d < c
            z = own - (c - d) if sloping else own
            level = 0.0 if sloping else min(level, d)
        else:
            if own < z and -d < c:
                level = 0.0
                z = max(z - (c + d), 0.0)
            else:
                level = min(level, -d if c == 0.0 else max(-d - c, 0.0))
    return z, level


@njit(**_JIT)
def _passed_mm(feature, px, py, dx, dy):
    """From where, and up to where, a ray in the plane runs over a region, seen from its centre."""
    if feature[0] == _DISC:
        along = px * dx + py * dy
        square = along * along - px * px - py * py + feature[3] * feature[3]
        half = math.sqrt(max(square, 0.0))
        return -along - half, -along + half
    first, last = -1e9, 1e9
    for axis in range(2):
        c, s = (feature[6], feature[7]) if axis == 0 else (-feature[7], feature[6])
        at, going, half = px * c + py * s, dx * c + dy * s, feature[3 + axis]
        if going == 0.0:
            going = 1e-12
        a, b = (-half - at) / going, (half - at) / going
        first, last = max(first, min(a, b)), min(last, max(a, b))
    return first, last


@njit(**_JIT)
def _in_the_way_mm(table, x, y, z, dx, dy, slope):
    """How far along a ray features that it runs over are higher than it; below 0: nowhere."""
    end = -1.0
    for k in range(len(table)):
        if table[k, 5] > z:
            above = (table[k, 5] - z) / slope  # where the ray has risen over it
            px, py, across, along = x - table[k, 1], y - table[k, 2], above * dx, above * dy
            if abs(2.0 * px + across) <= 2.0 * table[k, 9] + abs(across) and abs(
                2.0 * py + along
            ) <= 2.0 * table[k, 10] + abs(along):
                first, last = _passed_mm(table[k], px, py, dx, dy)
                if first < last and first < above:
                    end = max(end, min(last, above))
    return end


@njit(**_JIT)
def _lit(table, x, y, z, light, top):
    """Whether a ray from a point to a light stays above the part."""
    rise = light[2] - z
    dx, dy = light[0] - x, light[1] - y
    length = math.sqrt(dx * dx + dy * dy)
    if z >= top or rise <= 0.0:
        return rise > 0.0
    if length < 1e-9:
        return True
    slope = rise / length
    dx, dy = dx / length, dy / length
    most = min(_in_the_way_mm(table, x, y, z, dx, dy, slope) + LEAST_STEP_MM, length)
    if most < 0.0:
        return True
    at = 0.0
    while at < most:
        ground, level = _ground(table, x + at * dx, y + at * dy)
        if ground > z + at * slope + TOUCH_MM:
            return False
        at += max(level + LEAST_STEP_MM, LEAST_STEP_MM if level > 0.0 else ON_CHAMFER_MM)
    return True


@njit(cache=True, parallel=True, nogil=True)
def _cast(table, points, lights, top, out):
    for i in prange(len(points)):
        for j in range(points.shape[1]):
            p = points[i, j]
            for k in range(len(lights)):
                out[k, i, j] = 1.0 if _lit(table, p[0], p[1], p[2], lights[k], top) else 0.0


def cast_shadows(
    features: list[dict[str, Any]], points_mm: NDArray[Any], lights_mm: NDArray[Any]
) -> NDArray[np.float32]:
    """Which lights points on a part, or on the stage about it, see past its features.

    Parameters
    ----------
    features : of `reconstruct.shapes.staged.stacked`, laid on one another in their order
    points_mm : (H, W, 3) on the surface or a little above it
    lights_mm : (N, 3)

    Returns
    -------
    (N, H, W) float32, 1 where a light is seen and 0 in shadow
    """
    table = feature_table(features)
    top = float(table[:, 5].max()) if len(table) else 0.0
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    out = np.empty((len(lights_mm), *points.shape[:2]), np.float32)
    _cast(table, points, np.ascontiguousarray(lights_mm, dtype=np.float64), top, out)
    return out
