"""Gradients of the fit that errors of the model may have had, by those that are left.

At the solution each pixel still asks for a change of its slopes. No surface has any part of that
field of changes: what a surface has has been followed, whether it was right or wrong. The field
turned by a right angle is one that a surface has. It is as large as what was followed wrongly, and
reaches as far, where errors of slopes prefer neither kind of field: noise does not, nor does a
material that varies or that is not the model's. (Slopes that all point to the same middle do.)

One field is one draw. For more of them it is seen from other places of the part, at the size that
it has here (a block bootstrap: Künsch 1989).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.claims import SMOOTH_PX, smooth

Array = NDArray[np.float64]
# The share of pixels whose residuals are the largest; they are cut down to the least of them.
OUTLIERS = 0.02


def _shifted(image: NDArray, by: NDArray[np.int64]) -> NDArray:
    """An image that goes on as its mirror image, seen from another place of it."""
    rows, columns = (
        (size - 0.5 - np.abs((np.arange(size) + step) % (2 * size) - size + 0.5)).astype(int)
        for size, step in zip(image.shape, by, strict=True)
    )
    return image[np.ix_(rows, columns)]


def turned_gradients(
    sums: Array, weight: Array, draws: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Draws of (3, h, w) gradients by (log-depth, two slopes).

    Turned are residuals r of unit information: g = √M r with the pixel's gradient g and matrix M.

    Parameters
    ----------
    sums : (9, h, w) each pixel's gradient and matrix, of `System`
    weight : (h, w), 0 outside of the part
    """
    inside = weight > 0
    pp, pq, qq = sums[6:9]
    trace = pp + qq
    pp, qq = pp + 1e-6 * trace + 1e-9, qq + 1e-6 * trace + 1e-9
    det = np.sqrt(np.maximum(pp * qq - pq * pq, 1e-18))  # of the root
    scale = np.sqrt(pp + qq + 2 * det)
    pp, pq, qq = (pp + det) / scale, pq / scale, (qq + det) / scale
    p, q = (qq * sums[1] - pq * sums[2]) / det, (pp * sums[2] - pq * sums[1]) / det
    size = np.hypot(p, q)
    cut = np.minimum(1.0, np.quantile(size[inside], 1 - OUTLIERS) / np.maximum(size, 1e-30))
    level = np.sqrt(smooth(np.square(size * cut), weight, SMOOTH_PX)) + 1e-30
    p, q = (np.where(inside, part * cut / level, 0.0) for part in (p, q))
    for _ in range(draws):
        by = rng.integers(0, 2 * np.array(weight.shape))
        covered = max(float(_shifted(inside, by)[inside].mean()), 0.1)
        here = np.where(inside, level / np.sqrt(covered), 0.0)
        turned_p, turned_q = -here * _shifted(q, by), here * _shifted(p, by)
        along = pp * turned_p + pq * turned_q, pq * turned_p + qq * turned_q
        yield np.stack([np.zeros_like(here), *along])
