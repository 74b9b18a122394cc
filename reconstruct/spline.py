"""Interpolating cubic splines as matrices: SciPy's would take a fifth of a second to load."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def spline_matrix(count: int, at: Array) -> Array:
    """(len(at), count) by which values at 0 … count − 1 make those of their spline at `at`.

    Not-a-knot ends: the outermost two pieces on each side are one cubic (de Boor 2001, chapter IV).
    Of less than four values it is the polynomial through them. Places beyond the ends count as the
    ends.
    """
    at = np.clip(at, 0.0, count - 1.0)
    if count < 4:
        powers = np.arange(count)
        through = np.arange(count)[:, None] ** powers
        return np.asarray(np.linalg.solve(through.T, (at[:, None] ** powers).T).T)
    inner = np.arange(1, count - 1)
    system, second = np.zeros((count, count)), np.zeros((count, count))
    for offset, own, given in ((-1, 1.0, 6.0), (0, 4.0, -12.0), (1, 1.0, 6.0)):
        system[inner, inner + offset] = own
        second[inner, inner + offset] = given
    system[0, :3] = system[-1, -3:] = (1.0, -2.0, 1.0)
    bend = np.linalg.solve(system, second)  # second derivatives at the values, by the values
    piece = np.minimum(at.astype(int), count - 2)
    t = (at - piece)[:, None]
    left, right = np.eye(count)[piece], np.eye(count)[piece + 1]
    return np.asarray(
        (1 - t) * (left + ((1 - t) ** 2 - 1) / 6 * bend[piece])
        + t * (right + (t**2 - 1) / 6 * bend[piece + 1])
    )


def spline_values(values: Array, rows: Array, columns: Array) -> Array:
    """(len(rows), len(columns)) values of the spline through (h, w) at fractional places."""
    by_row, by_column = (
        spline_matrix(size, at) for size, at in zip(values.shape, (rows, columns), strict=True)
    )
    return np.asarray(by_row @ values @ by_column.T)
