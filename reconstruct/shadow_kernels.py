"""Kernels of cast shadows: how far a ray runs past an occluder, and what its shadow explains."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Map = NDArray[np.float32]
Array = NDArray[np.float64]

_JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
_FAR, _PER_UNIT = 6.0, 1024
_SHARES = np.array([0.5 * math.erfc(k / _PER_UNIT - _FAR) for k in range(12 * _PER_UNIT + 1)])
LEAST_CONTRAST = 0.4  # of the radiance expected, taken away by a shadow


class View(NamedTuple):
    """An occluder as the camera sees it.

    Attributes
    ----------
    projection : (3, 4) from the world to the camera
    dist : (10,) distortion of the lens, then fx, fy, skew, cx and cy
    field : (H, W) signed distance to the occluder's outline, px
    """

    projection: Array
    dist: Array
    field: Map


@njit(**_JIT)
def _inside(x, y, z, view):
    """Signed distance (px) of a field at the image of a world point."""
    projection, dist, field = view
    height, width = field.shape
    u = projection[0, 0] * x + projection[0, 1] * y + projection[0, 2] * z + projection[0, 3]
    v = projection[1, 0] * x + projection[1, 1] * y + projection[1, 2] * z + projection[1, 3]
    w = projection[2, 0] * x + projection[2, 1] * y + projection[2, 2] * z + projection[2, 3]
    a, b = u / w, v / w
    r2 = a * a + b * b
    radial = 1.0 + r2 * (dist[0] + r2 * (dist[1] + r2 * dist[4]))
    c = a * radial + 2.0 * dist[2] * a * b + dist[3] * (r2 + 2.0 * a * a)
    d = b * radial + 2.0 * dist[3] * a * b + dist[2] * (r2 + 2.0 * b * b)
    column = min(max(dist[5] * c + dist[7] * d + dist[8], 0.0), width - 1.001)
    row = min(max(dist[6] * d + dist[9], 0.0), height - 1.001)
    i, j = int(row), int(column)
    f, g = row - i, column - j
    return (1.0 - f) * ((1.0 - g) * field[i, j] + g * field[i, j + 1]) + f * (
        (1.0 - g) * field[i + 1, j] + g * field[i + 1, j + 1]
    )


@njit(**_JIT)
def _reach(point, light, top, seen, view, pixel_mm):
    """Greatest signed distance (mm) along a ray from a receiver up to the occluder's top.

    The border that the camera sees is that of an edge at height `seen`.
    """
    rise = top - point[2]
    if rise <= 0.0:
        return -1e3
    share = rise / (light[2] - point[2])
    dx, dy = (light[0] - point[0]) * share, (light[1] - point[1]) * share
    best = _inside(point[0] + dx, point[1] + dy, seen, view)
    if best < 4.0:
        # A wall thinner than the ray's path may be passed on the way. The field's slope is 1.
        length = math.sqrt(dx * dx + dy * dy) / pixel_mm
        at = length
        value = best
        for _ in range(24):
            at -= max(0.7, 0.8 * abs(value))
            if at <= 0.5:
                break
            f = at / length
            value = _inside(point[0] + f * dx, point[1] + f * dy, seen, view)
            best = max(best, value)
    return best * pixel_mm


@njit(**_JIT)
def reaches(points, lights, top, view, pixel_mm, out):
    for k in range(len(lights)):
        for i in range(len(points)):
            out[k, i] = _reach(points[i], lights[k], top, top, view, pixel_mm)


@njit(**_JIT)
def pair_reaches(points, lights, light, at, top, seen, view, pixel_mm, out):
    """The same of pairs of a light and a point, for a border that is seen at another height."""
    for i in range(len(at)):
        out[i] = _reach(points[at[i]], lights[light[i]], top, seen, view, pixel_mm)


@njit(**_JIT, fastmath=True)
def _lit_share(reach, softness):
    """Half the complementary error function, from a table good to 1e-7."""
    t = reach * (_PER_UNIT / (1.4142135623730951 * softness)) + _FAR * _PER_UNIT
    t = min(max(t, 0.0), len(_SHARES) - 1.001)
    i = int(t)
    return _SHARES[i] + (t - i) * (_SHARES[i + 1] - _SHARES[i])


@njit(**_JIT)
def _gain(s, sx, sy, sxx, sxy):
    """Misfit of a constant less that of ``a + c × share``; 0 where c is that of no shadow."""
    if s <= 0.0:
        return 0.0
    cxx, cxy = sxx - sx * sx / s, sxy - sx * sy / s
    if cxx < 1e-5 * s or cxy <= 0.0:
        return 0.0
    c = cxy / cxx
    if c < LEAST_CONTRAST:  # a shadow takes most of the light: less is a stain or a reflection
        return cxy * c * (c / LEAST_CONTRAST)
    return cxy * c


@njit(**_JIT)
def explained(points, lights, top, view, pixel_mm, observed, weight, soft, out):
    """What the shadow of an edge at height `top` explains of each light's misfit, in `out` (N,)."""
    for k in range(len(lights)):
        s = sx = sy = sxx = sxy = 0.0
        for i in range(len(points)):
            w = weight[k, i]
            if w > 0.0:
                reach = _reach(points[i], lights[k], top, top, view, pixel_mm)
                x = _lit_share(reach, soft)
                s += w
                sx += w * x
                sy += w * observed[k, i]
                sxx += w * x * x
                sxy += w * x * observed[k, i]
        out[k] = _gain(s, sx, sy, sxx, sxy)


@njit(**_JIT, fastmath=True)
def edge_gains(first, reaches, span, observed, weight, upper_seen, edge, out):
    """The same for edges with a chamfer, reaches interpolated between three heights of the edge.

    Pixels of one light lie side by side, from where `first` has it.

    The upper edge lies a chamfer higher and further in than the lower one; whichever reaches
    further casts the shadow. The border is the image of the upper edge (`upper_seen`) or of the
    lower one; the other edge is seen elsewhere for its height alone, by the fourth reach less the
    second for each mm. `edge` holds, in mm, the upper edge's height less the middle height, the
    chamfer, the lateral offset and the softness.
    """
    off, chamfer, lateral, soft = edge[0], edge[1], edge[2], edge[3]
    for k in range(len(out)):
        s = sx = sy = sxx = sxy = 0.0
        for i in range(first[k], first[k + 1]):
            a, b, c = reaches[0, i], reaches[1, i], reaches[2, i]
            linear, bent = 0.5 * (c - a) / span, 0.5 * (a - 2.0 * b + c) / (span * span)
            t = off
            upper = b + t * (linear + t * bent)
            t = off - chamfer
            lower = b + t * (linear + t * bent)
            aside = chamfer * (reaches[3, i] - b)
            if upper_seen:
                lower += chamfer - aside
            else:
                upper += aside - chamfer
            x = _lit_share(max(upper, lower) + lateral, soft)
            w = weight[i]
            s += w
            sx += w * x
            sy += w * observed[i]
            sxx += w * x * x
            sxy += w * x * observed[i]
        out[k] = _gain(s, sx, sy, sxx, sxy)
