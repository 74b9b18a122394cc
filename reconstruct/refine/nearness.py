"""The height of what the pictures tell, where the mean height that is given covers more than that.

The given mean height is that of the whole part. Where much of a part shows no highlight, slopes
there are guesses, and by them the rest lies millimetres too high or too low. From a wrong height
the lights are seen in wrong directions, each place in others: the surface bends, and its pictures
fit less well. How well told places fit at three heights tells theirs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.integrate import at_mean_height
from reconstruct.refine.claims import Claims, MeanHeight
from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.solve import CORRELATED, State, joint_step
from reconstruct.surface import Flag

# What fits badly does so in patches; so large squares of pixels err on their own.
BLOCK_PX = 16
# Steps by which the surface answers to another height.
DAMPING, ITERATIONS, STEPS = 1e-5, 30, 4


def by_nearness(
    problem: Problem, state: State, loss: Loss, given: MeanHeight, claims: Claims
) -> tuple[State, MeanHeight]:
    """The state at the height that its told places fit best at; as it was where all is told.

    Parameters
    ----------
    given : a prior, widened by what guessed places may hold of it
    claims : of the state
    """
    guessed_mm = claims.guessed_mm
    if guessed_mm <= given.sigma_mm:
        return state, given
    told = (problem.weight > 0) & ((claims.flags & int(Flag.UNLIT)) == 0)
    tried = [answered(problem, state, loss, given.mm + by * guessed_mm) for by in (-1, 0, 1)]
    told_lights = float(problem.weight[told].sum()) * len(problem.pictures)
    found = lowest([losses * told for losses, _ in tried], told_lights)
    if found is None:
        return state, given
    shift_mm, scatter_mm, model_mm = (guessed_mm * value for value in found)
    prior_mm = float(np.hypot(guessed_mm, given.sigma_mm))
    trust, sure = (
        prior_mm**2 / (prior_mm**2 + sigma_mm**2)
        for sigma_mm in (scatter_mm, max(scatter_mm, model_mm))
    )
    mean_mm, told_mm = given.mm + trust * shift_mm, prior_mm * float(np.sqrt(1 - sure))
    _, state = answered(problem, state, loss, mean_mm)
    return state, MeanHeight(mean_mm, told_mm, told_mm)


def lowest(
    losses: list[NDArray[np.float64]], count: float
) -> tuple[float, float, float] | None:  # fmt: skip
    """Where the sum of maps (H, W) of loss at −1, 0 and 1 is least, and its sigma told twice.

    By a jackknife over blocks; and by what the model may err alike everywhere, which no block
    contradicts: as against a prior of the material, so many of the `count` residuals are worth one.
    None where there is no minimum.
    """
    sums = np.stack([_block_sums(values) for values in losses])
    before, middle, after = sums[:, sums[1] > 0]
    slopes, bends = 0.5 * (after - before), before + after - 2 * middle
    if bends.sum() <= 0:
        return None
    without = -(slopes.sum() - slopes) / np.maximum(bends.sum() - bends, 1e-12 * bends.sum())
    scatter = np.sqrt((len(without) - 1) * without.var())
    model = np.sqrt(2 * CORRELATED * middle.sum() / count / bends.sum())
    return float(-slopes.sum() / bends.sum()), float(scatter), float(model)


def _block_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over blocks of pixels."""
    for axis in (0, 1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], BLOCK_PX), axis=axis)
    return np.asarray(values)


def answered(
    problem: Problem, state: State, loss: Loss, height_mm: float
) -> tuple[NDArray[np.float64], State]:
    """(H, W) loss and state where surface and material answer to another mean height."""
    inside = problem.weight > 0
    u, material = state.u, state.material
    for _ in range(STEPS):
        u = at_mean_height(u, height_mm, problem.camera, problem.xy, inside)
        system = problem.evaluate(u, material, loss)
        step, change, _ = joint_step(problem, system, material, DAMPING, iterations=ITERATIONS)
        u, material = u + step, material.moved(change)
    u = at_mean_height(u, height_mm, problem.camera, problem.xy, inside)
    system = problem.evaluate(u, material, loss, with_material=False)
    return system.loss.astype(float), replace(state, u=u, material=material, cost=system.cost)
