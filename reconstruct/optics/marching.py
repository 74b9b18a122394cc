"""Where a ray meets a surface that is given on a grid.

Column, row and scaled inverse depth of a straight ray go together, so it is marched through the
grid in equal steps.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

import numpy as np
from numba import njit

from reconstruct.optics.microfacet import FAST, F

U = np.uint32  # of places: what cannot be negative is not asked whether it is
SMALL, MIDDLE, LARGE = 2, 3, 5  # log2 of the sides, places, of what a ray passes over at once
_ZERO, _ONE = F(0), F(1)
# What is called for each ray makes no array, so that numba need not count references to those that
# it is handed (decision 0120).
PER_RAY = {"cache": True, "error_model": "numpy", "forceinline": True, "_nrt": False}


@njit(fastmath=FAST, **PER_RAY)
def _above(w, u, v, level):
    """By how much a level stands above (h, w) values at column u, row v, bilinear."""
    c, r = min(U(u), U(w.shape[1] - 2)), min(U(v), U(w.shape[0] - 2))
    f, g = u - F(c), v - F(r)
    upper = w[r, c] + f * (w[r, c + U(1)] - w[r, c])
    lower = w[r + U(1), c] + f * (w[r + U(1), c + U(1)] - w[r + U(1), c])
    return level - (upper + g * (lower - upper))


@njit(fastmath=FAST, **PER_RAY)
def _clear(tops, bits, u, v, level, dw):
    """Whether a ray stays above all that is near for the length of a tile."""
    return tops[U(v) >> U(bits), U(u) >> U(bits)] < min(level, level + F(1 << bits) * dw)


@njit(fastmath=FAST, **PER_RAY)
def march(w, tops, step_bias, u, v, level, du, dv, dw):
    """Where a ray (column, row, scaled inverse depth) meets the surface: column and row, or -1, -1.

    The ray moves by (du, dv, dw) per step, at most one pixel along each axis; the last step is cut
    where it and the surface, both taken as straight, meet. Where it stays above all that is near
    (`tops_of`), it goes on by a tile's length at once.
    """
    small, middle, large, highest = tops
    bottom, right = F(w.shape[0] - 1), F(w.shape[1] - 1)
    above, step = _ZERO, 0
    while step < 2 * (w.shape[0] + w.shape[1]):
        if _clear(middle, MIDDLE, u, v, level, dw):
            together = 1 << MIDDLE
            if _clear(large, LARGE, u, v, level, dw):
                together = 1 << LARGE
        elif _clear(small, SMALL, u, v, level, dw):
            together = 1 << SMALL
        else:
            together = 0
        if together > 0:
            u += F(together) * du
            v += F(together) * dv
            level += F(together) * dw
            step += together
            above = -_ONE  # by how much is not known, and seldom asked for
            if not (u >= _ZERO and v >= _ZERO and u <= right and v <= bottom):
                return -_ONE, -_ONE
            if dw >= _ZERO and level > highest:
                return -_ONE, -_ONE
            continue
        for _ in range(3):
            u += du
            v += dv
            level += dw
            step += 1
            if not (u >= _ZERO and v >= _ZERO and u <= right and v <= bottom):
                return -_ONE, -_ONE
            now = _above(w, u, v, level)
            if step > 1 and -now > step_bias:
                if above < _ZERO:
                    above = _above(w, u - du, v - dv, level - dw)
                back = now / (now - above) if above > _ZERO else _ZERO
                return u - back * du, v - back * dv
            above = max(now, _ZERO)
    return -_ONE, -_ONE


@njit(cache=True)
def _tops_of(w, bits):
    """The largest value of a map within a tile's length of each tile of 2^bits places a side."""
    rows, columns = (len(w) + (1 << bits) - 1) >> bits, (w.shape[1] + (1 << bits) - 1) >> bits
    within = np.full((rows, columns), F(-np.inf), np.float32)
    for y in range(len(w)):
        for x in range(w.shape[1]):
            if w[y, x] > within[y >> bits, x >> bits]:
                within[y >> bits, x >> bits] = w[y, x]
    tops = np.empty_like(within)
    for r in range(rows):
        for c in range(columns):
            tops[r, c] = within[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].max()
    return tops


@njit(cache=True)
def tops_of(w):
    """The same for small, middle and large tiles, and the largest value of all."""
    middle = _tops_of(w, MIDDLE)
    return _tops_of(w, SMALL), middle, _tops_of(w, LARGE), middle.max()
