"""What a pixel's area does: it averages the light of a surface that bends within it.

The model is evaluated at a pixel's middle. Where a shiny part turns by more than its lobe is wide
from one pixel to the next, that is another light than the pixel's mean, and mirrored rays that
start and land at pixels' middles carry speckle. So the surface is continued within the pixels by
a cubic spline, its own light and what it mirrors are rendered on that finer grid, and of the
former the difference between mean and middle is taken from the captured pictures as the surface
moves, as is done with the lens's blur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.data import lessened
from reconstruct.refine.pixel import CLIPPED_BIT, SHADOW_BIT
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.pyramid import subdivided
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.transport import update_indirect, update_shadows

Array = NDArray[np.float64]
# Side of the finer grid, so many pixels in one at most; it is left out where one is all that fits.
SIDE, MOST = 256, 4
# Turns at most; three must leave less than a share of the cost at first, each further one of the
# cost before it.
TURNS, TRIAL, GAIN, GOES_ON = 8, 2, 0.95, 0.98
# Rays a pixel and turn; of the mean of all turns' traces a share is kept, up to the largest.
RAYS, KEPT = 384, 0.8


def fineness(shape: tuple[int, int]) -> int:
    """How many places a side of a pixel is divided into."""
    return int(np.clip(SIDE // max(shape), 1, MOST))


def averaged(images: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """(H, W, N) means over times × times places of (H times, W times, N)."""
    height, width, count = images.shape
    blocks = images.reshape(height // times, times, width // times, times, count)
    return np.asarray(blocks.mean(axis=(1, 3)))


def excess(problem: Problem, u: Array, material: Material, times: int) -> NDArray[np.float32]:
    """(H, W, N) by how much a pixel's mean of the part's own light exceeds that of its middle."""
    fine, within = subdivided(problem, u, times)
    update_shadows(fine, within)
    mean = averaged(fine.render_rows(within, material, 0, fine.shape[0]), times)
    traced, problem.traced = problem.traced, np.zeros((1, 1, len(problem.pictures)), np.float32)
    middle = problem.render_rows(u, material, 0, problem.shape[0])
    problem.traced = traced
    return mean - middle


@dataclass(eq=False)
class Light:
    """What a problem knows of the light, to be gone back to."""

    code: NDArray[np.uint16]
    traced: NDArray[np.float32]
    local: NDArray[np.float32]
    finer: int

    @staticmethod
    def of(problem: Problem) -> Light:
        code, local = problem.pictures.code.copy(), problem.local.copy()
        return Light(code, problem.traced, local, problem.finer)

    def restore(self, problem: Problem) -> None:
        problem.pictures.code[:] = self.code
        problem.traced, problem.local, problem.finer = self.traced, self.local, self.finer


def as_areas(
    problem: Problem, state: State, loss: Loss, height_mm: float, by_slopes: bool, firmness: float
) -> State | None:
    """The state moved on with pixels as areas, or None if that explains little more.

    The excess is taken from the captured pictures of `problem`; its shadows and light between
    places are those of the surface of the last turn.
    """
    times = problem.finer = fineness(problem.shape)
    pictures = problem.pictures
    captured = pictures.code.copy()
    now, before = state, state.cost
    for turn in range(TURNS):
        update_shadows(problem, now.u)
        update_indirect(
            problem, now.u, now.material, samples=RAYS, seed=turn, by_slopes=by_slopes,
            kept=min(turn / (turn + 1), KEPT),
        )  # fmt: skip
        code = lessened(captured, pictures.scale, excess(problem, now.u, now.material, times))
        flags = (pictures.code & SHADOW_BIT) | (captured & CLIPPED_BIT)
        pictures.code[:] = code | flags
        now = gauss_newton(
            problem, replace(now, history=[]), loss, height_mm, 12, firmness=firmness
        )
        if turn >= TRIAL and now.cost > (GAIN if turn == TRIAL else GOES_ON) * before:
            break
        before = now.cost if turn >= TRIAL else before
    return now if now.cost < GAIN * state.cost else None


def within_pixels(
    problem: Problem, state: State, loss: Loss, height_mm: float, by_slopes: bool, firmness: float,
    finish: Callable[[State], State],
) -> State:  # fmt: skip
    """The state finished, with pixels as points or, where pictures are small, as areas.

    Whichever explains the pictures better: a lens's blur, which `finish` takes out, and a pixel's
    area look alike at first.
    """
    if fineness(problem.shape) == 1:
        return finish(state)
    before = Light.of(problem)
    points = finish(state)
    after = Light.of(problem)
    before.restore(problem)
    areas = as_areas(problem, state, loss, height_mm, by_slopes, firmness)
    if areas is not None:
        areas = finish(areas)
        if areas.cost < points.cost:
            return areas
    after.restore(problem)
    return points
