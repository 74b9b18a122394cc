"""Levenberg-Marquardt on normal equations, and robust weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]
State = TypeVar("State")


@dataclass(eq=False)
class Linearised:
    """Cost (half the sum of squares), normal matrix JᵀJ and gradient Jᵀr at a state."""

    cost: float
    matrix: Array
    gradient: Array


@dataclass(eq=False)
class Solution(Generic[State]):
    state: State
    linearised: Linearised
    iterations: int
    converged: bool


def fading(squared: Array, scale: float) -> tuple[Array, Array]:
    """Weights and costs of squared whitened residuals; beyond `scale` sigmas they fade out.

    ρ(s) = s up to c², then 2c² − c⁴/s, with weight ρ' = (c²/s)². Redescending like
    Geman-McClure, but flat in the core, so that good data keep their full weight and the
    covariance is not inflated.
    """
    bound = scale**2
    ratio = bound / np.maximum(squared, bound)
    return ratio**2, np.where(squared <= bound, squared, bound * (2 - ratio))


def huber(squared: Array, scale: float) -> tuple[Array, Array]:
    """Weights and costs of squared whitened residuals; beyond `scale` sigmas linear."""
    length = np.sqrt(squared)
    inside = length <= scale
    weight = np.where(inside, 1.0, scale / np.maximum(length, 1e-300))
    return weight, np.where(inside, squared, 2 * scale * length - scale**2)


def levenberg_marquardt(
    state: State,
    linearise: Callable[[State], Linearised],
    step: Callable[[State, Array], State],
    *,
    iterations: int = 50,
    tolerance: float = 1e-10,
) -> Solution[State]:
    """Minimise a robust sum of squares given as normal equations (Nocedal and Wright 2006, 10.3).

    Parameters
    ----------
    linearise : cost, matrix and gradient at a state
    step : the state moved by an increment of the parameters
    tolerance : relative decrease of the cost at which to stop
    """
    now = linearise(state)
    damping = 1e-4
    converged = False
    count = 0
    while count < iterations:
        count += 1
        diagonal = np.diag(now.matrix).copy()
        diagonal[diagonal <= 0] = 1.0
        improved = False
        for _ in range(12):
            try:
                factor = cho_factor(now.matrix + np.diag(damping * diagonal))
            except np.linalg.LinAlgError:
                damping = max(damping, 1e-12) * 10
                continue
            candidate = step(state, cho_solve(factor, -now.gradient))
            then = linearise(candidate)
            if np.isfinite(then.cost) and then.cost <= now.cost:
                improved = True
                break
            damping *= 10
        if not improved:
            converged = True
            break
        decrease = (now.cost - then.cost) / max(now.cost, 1e-300)
        state, now, damping = candidate, then, max(damping / 10, 1e-14)
        if decrease < tolerance:
            converged = True
            break
    return Solution(state, now, count, converged)


def covariance_of(matrix: Array) -> Array:
    """Inverse of a normal matrix; directions that the data leave open get a huge variance."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-30))
    values, vectors = np.linalg.eigh(matrix * scale[:, None] * scale[None, :])
    floor = max(values.max(), 1e-300) * 1e-14
    inverse = (vectors / np.maximum(values, floor)) @ vectors.T
    return np.asarray(inverse * scale[:, None] * scale[None, :])
