"""Descent over the few parameters of an edge of shadow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def minimum(cost: Callable[[Array], float], start: Array, step: Array, rounds: int) -> Array:
    """Where a smooth cost of few parameters is least, by quadratic models of shrinking step."""
    x, n = start.copy(), len(start)
    centre = cost(x)
    for turn in range(rounds):
        width = step / (1.0 + turn)
        gradient, hessian = np.zeros(n), np.zeros((n, n))
        up, down = np.zeros(n), np.zeros(n)
        for i in range(n):
            e = np.zeros(n)
            e[i] = width[i]
            up[i], down[i] = cost(x + e), cost(x - e)
            gradient[i] = (up[i] - down[i]) / (2 * width[i])
            hessian[i, i] = (up[i] - 2 * centre + down[i]) / width[i] ** 2
        for i in range(n):
            for j in range(i):
                e = np.zeros(n)
                e[i], e[j] = width[i], width[j]
                both = (cost(x + e) - up[i] - up[j] + centre) / (width[i] * width[j])
                hessian[i, j] = hessian[j, i] = both
        scale = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-12))
        values, vectors = np.linalg.eigh(hessian / np.outer(scale, scale))
        values = np.maximum(np.abs(values), 0.02)
        move = -(vectors @ ((vectors.T @ (gradient / scale)) / values)) / scale
        move = np.clip(move, -5.0 * step, 5.0 * step)
        for _ in range(4):
            now = cost(x + move)
            if now <= centre:
                break
            move *= 0.3
        if now > centre:
            continue
        x, centre = x + move, now
        if np.all(np.abs(move) < 0.02 * step):
            break
    return x


def within(
    cost: Callable[[Array], float], start: Array, free: Sequence[int]
) -> tuple[Callable[[Array], float], Callable[[Array], Array]]:
    """The cost of the `free` parameters alone, the others held, and all parameters with those."""
    places = list(free)

    def whole(y: Array) -> Array:
        x = start.copy()
        x[places] = y
        return x

    return lambda y: cost(whole(y)), whole


def descended(
    cost: Callable[[Array], float], start: Array, step: Array, free: Sequence[int]
) -> Array:
    """Downhill over the parameters `free`, the others held."""
    from scipy.optimize import minimize  # half a second to load, and most parts have no levels

    places = list(free)
    shortened, whole = within(cost, start, places)
    begun = start[places]
    simplex = np.vstack([begun, begun + np.diag(3.0 * step[places])])
    enough = max(1.0, 1e-5 * abs(shortened(begun)))
    options = {"initial_simplex": simplex, "maxfev": 160, "xatol": 2e-3, "fatol": enough}
    return whole(minimize(shortened, begun, method="Nelder-Mead", options=options).x)
