"""One turn of the descent on coarse pixels: what light reaches the surface, then steps."""

from __future__ import annotations

from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.transport import update_indirect, update_shadows

SAMPLES, ROUNDS = 32, 6


def turned(
    problem: Problem,
    state: State,
    loss: Loss,
    height_mm: float,
    seed: int,
    rounds: int = ROUNDS,
    by_slopes: bool = False,
    kept: float = 0.0,
    firmness: float = 1.0,
) -> State:
    """Gauss-Newton with the cast shadows and the light between places of the state's surface.

    `seed`, `by_slopes` and `kept` are `update_indirect`'s, `firmness` is `gauss_newton`'s.
    """
    update_shadows(problem, state.u)
    update_indirect(
        problem, state.u, state.material, samples=SAMPLES, seed=seed, by_slopes=by_slopes, kept=kept
    )
    return gauss_newton(problem, state, loss, height_mm, rounds, firmness=firmness)
