"""How rough a surface on a grid is: all differences of one order between neighbouring places."""

from __future__ import annotations

from functools import lru_cache
from math import comb, sqrt
from typing import Any

from scipy import sparse


@lru_cache(maxsize=8)
def roughness(shape: tuple[int, int], order: int) -> Any:
    """Sparse matrix of the differences of an order, for (h w) values of a grid (h, w).

    Of n down and order − n across, weighted by the root of how often they can be taken: the sum of
    squares is the same in all directions (order 2: the energy of a thin plate), free at the border.
    """
    height, width = shape
    return sparse.vstack(
        [
            sqrt(comb(order, down))
            * sparse.kron(_along(height, down), _along(width, order - down), "csr")
            for down in range(order + 1)
        ]
    ).tocsc()


def _along(count: int, order: int) -> Any:
    """(count − order, count) differences of an order along a row of places."""
    out = sparse.identity(count, format="csr")
    for left in range(count - 1, count - 1 - order, -1):
        out = sparse.diags([-1.0, 1.0], [0, 1], shape=(left, left + 1)) @ out
    return out
