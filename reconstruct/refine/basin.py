"""Out of a wrong basin: places that fit badly begin again as their neighbourhood goes on.

A start that takes the mirror image of a wall for the wall leads a whole corner of a part astray,
and steps do not lead out of there: the pictures say so, since the misfit is many times that of
the rest. What fits is right far more often than not, and surfaces go on smoothly, so the surface
next to a misfit is carried into it and fitted from there, where that lessens the misfit of the
patch. Repeated, the part that fits grows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.roughness import roughness
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.transport import refreshed

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# Misfit, in medians of the part, from which a place begins again; lowered and raised in turn when
# that gains nothing, so often at most, and so many times in all.
MISFIT, LOWERED, RAISED, IDLE, TRIES = 3.0, 0.7, 2.0, 2, 12
# Shares of the part: less is not worth it, more leaves nothing to carry on from.
LEAST, MOST = 0.005, 0.6
# A try gained something if it leaves this share of the cost.
GAIN = 0.995
# Rays and steps of a turn.
RAYS, ROUNDS = 32, 6
# Turns of a try at most; it goes on while a turn leaves less than this share of the cost before.
TURNS, SETTLED = 10, 0.97


def misfits(loss: NDArray[Any], mask: Mask, factor: float, least: float = 0.0) -> Mask:
    """(H, W) where the loss, blurred by a pixel, is `factor` times its median over the part, and
    above `least`.

    Specks are left out, patches widened by a pixel.
    """
    inside = mask.astype(np.float64)
    total = cv2.GaussianBlur(np.where(mask, loss, 0.0).astype(np.float64), (0, 0), 1.0)
    mean = total / np.maximum(cv2.GaussianBlur(inside, (0, 0), 1.0), 1e-6)
    bad = mask & (mean > max(factor * float(np.median(loss[mask])), least))
    square, cross = np.ones((3, 3), np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    image = cv2.erode(bad.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((cv2.dilate(cv2.dilate(image, square), cross) > 0) & mask)


def carried_on(u: Array, kept: Mask) -> Array:
    """Corner values (H + 1, W + 1) of the smoothest surface through the pixels that are kept.

    Corners of a pixel in `kept` (H, W) stay; the others minimise the thin plate's energy, the sum
    of squared second differences, free at the border.
    """
    fixed = np.zeros(u.shape, dtype=bool)
    height, width = kept.shape
    for row in (0, 1):
        for column in (0, 1):
            fixed[row : row + height, column : column + width] |= kept
    energy = roughness(u.shape, 2)
    free, known = energy[:, ~fixed.ravel()], energy[:, fixed.ravel()]
    # corners that nothing reaches, off the part, get the mean
    matrix = free.T @ free + 1e-9 * sparse.identity(free.shape[1])
    level = float(u[fixed].mean()) if fixed.any() else 0.0
    out = u.copy()
    out[~fixed] = level + spsolve(matrix.tocsc(), -free.T @ (known @ (u[fixed] - level)))
    return out


def worsened(bad: Mask, before: NDArray[Any], after: NDArray[Any]) -> Mask:
    """The patches of `bad` (H, W) over which the loss has risen."""
    from scipy import ndimage  # takes 0.1 s to load, and few parts have misfits

    patches, count = ndimage.label(bad)
    numbers = np.arange(1, count + 1)
    rise = ndimage.sum_labels(after - before, patches, numbers)
    return np.isin(patches, numbers[rise > 0])


def descended(
    problem: Problem, state: State, loss: Loss, height_mm: float, by_slopes: bool, firmness: float
) -> State:
    """Where a state descends to, with shadows and light between places brought up to date."""
    before = np.inf
    for turn in range(TURNS):
        refreshed(problem, state.u, state.material, RAYS, turn, by_slopes, 0.0)
        state = gauss_newton(problem, state, loss, height_mm, ROUNDS, firmness=firmness)
        if state.cost > SETTLED * before:
            break
        before = state.cost
    return state


def begun_again(
    problem: Problem, state: State, loss: Loss, height_mm: float, by_slopes: bool, firmness: float
) -> tuple[State, int]:
    """The state with misfits led out of their basin, as far as that lowers the cost.

    Returns it and how many tries were taken over. Shadows and light between places are those of
    the state.
    """

    def losses(state: State) -> NDArray[Any]:
        return problem.evaluate(state.u, state.material, loss, False).loss

    mask = problem.weight > 0
    factor, idle, taken = MISFIT, 0, 0
    for _ in range(TRIES):
        misfit = losses(state)
        bad = misfits(misfit, mask, factor)
        if not LEAST <= bad.sum() / mask.sum() <= MOST:
            break
        carried = replace(state, u=carried_on(state.u, mask & ~bad))
        now = descended(problem, carried, loss, height_mm, by_slopes, firmness)
        worse = worsened(bad, misfit, losses(now))
        if worse.any():  # as they were, on the surface that is now beside them
            moved = carried_on(now.u - state.u, mask & ~worse)
            now = descended(
                problem, replace(now, u=state.u + moved), loss, height_mm, by_slopes, firmness
            )
        idle = 0 if now.cost < GAIN * state.cost else idle + 1
        if now.cost < state.cost:  # taken even for little: the next try goes on from there
            state, taken = now, taken + 1
        if idle:
            factor *= LOWERED if idle % 2 else RAISED
        if idle == IDLE:
            break
        refreshed(problem, state.u, state.material, RAYS, 0, by_slopes, 0.0)
    refreshed(problem, state.u, state.material, 2 * RAYS, 0, by_slopes, 0.0)
    return state, taken
