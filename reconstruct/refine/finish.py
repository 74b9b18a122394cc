"""The material thought over on finer pixels: distribution, lay, places with one of their own.

Each is tried on a state and kept only where it explains the pictures clearly better.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.dirt import odd_places, update_local
from reconstruct.refine.lay import find_lay, narrowed, sampled
from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.solve import State, fit_material, gauss_newton

# Share of the residual that another distribution or width must leave.
RECONSIDER_GAIN = 0.97


def reconsidered(problem: Problem, state: State, loss: Loss) -> State:
    """The same surface with another distribution or width, where that explains it better.

    Averaged over the pixels of a coarse level, fine grooves look like a rougher metal.
    """
    m = state.material
    with sampled(problem):
        _, now = fit_material(problem, state.u, m, loss, 3)
        tried = []
        for model in ("ggx", "beckmann"):
            for wide in (0.6, 1.0):
                first = replace(
                    m, model=model, alpha_x=wide * m.alpha_x, alpha_y=wide * m.alpha_y, kd=0.0
                )
                material, cost = fit_material(problem, state.u, first, loss, 6)
                tried.append((cost, material))
    cost, best = min(tried, key=lambda pair: pair[0])
    return replace(state, material=best) if cost < RECONSIDER_GAIN * now else state


def with_lay(problem: Problem, state: State, loss: Loss, height_mm: float) -> State:
    """The state with its lay narrowed down, or with one that averaged pixels hid."""
    if state.material.anisotropic:
        material, _ = narrowed(problem, state.u, state.material, loss, 0.2)
    else:
        found = find_lay(problem, state.u, state.material, loss)
        if found is None:
            return state
        material = found
    return gauss_newton(problem, replace(state, material=material), loss, height_mm, 3)


def with_own_places(
    problem: Problem, state: State, loss: Loss, height_mm: float, gain: float
) -> tuple[State, NDArray[np.bool_] | None]:
    """The state, and (H, W) where places have a material of their own (`Problem.local`), if any."""
    where = odd_places(problem, state.u, state.material)
    if where is None:
        return state, None
    before = problem.evaluate(state.u, state.material, loss, False).cost
    single = state
    for turn in range(4):
        for _ in range(3 if turn == 0 else 1):
            update_local(problem, state.u, state.material, where)
        state = gauss_newton(problem, state, loss, height_mm, 3)
        if turn == 0 and state.cost > gain * before:
            problem.local = np.zeros((3, 1, 1), np.float32)
            return single, None
    return state, where
