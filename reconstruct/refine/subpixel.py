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

from reconstruct.refine.data import averaged, take_light
from reconstruct.refine.pixel import SHADOW_BIT
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.pyramid import subdivided
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.transport import (
    surroundings,
    update_indirect,
    update_mirrored,
    update_shadows,
)

Array = NDArray[np.float64]
# Side of the finer grid, so many pixels in one at most; it is left out where one is all that fits.
SIDE, MOST = 256, 4
# Turns at most; three must leave less than a share of the cost at first, each further one of the
# cost before it.
TURNS, TRIAL, GAIN, GOES_ON = 8, 2, 0.95, 0.98
# Steps of a turn: while the surface is far off, and then.
FIRST_ROUNDS, ROUNDS = 3, 12
# Rays a pixel and turn; of the mean of all turns' traces a share is kept, up to the largest.
RAYS, KEPT = 384, 0.8
# Rays a pixel and turn where turns follow light between places, for it and for what mirrors it.
FOLLOWING_RAYS, MIRRORED_RAYS, FOLLOWING_KEPT = 64, 32, 0.85
# Their seeds begin there: the noise of two traces along the same rays would go together.
OTHER_RAYS = 1000


def fineness(shape: tuple[int, int]) -> int:
    """How many places a side of a pixel is divided into."""
    return int(np.clip(SIDE // max(shape), 1, MOST))


def excess(
    problem: Problem, u: Array, material: Material, times: int,
    blur: Callable[[NDArray[np.float32], int], NDArray[np.float32]] = lambda images, times: images,
    finely_shadowed: bool = True, seen: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """(H, W, N) by how much a pixel's mean of the part's own light exceeds that of its middle.

    Both as a lens sees them: its `blur` of pictures on pixels so many times finer. These have cast
    shadows of their own, by what they have `seen` of each light if that is known, or, if not
    `finely_shadowed`, those of their pixels.
    """
    fine, within = subdivided(problem, u, times)
    if finely_shadowed:
        update_shadows(fine, within, seen)
    else:
        shadow = problem.pictures.code & SHADOW_BIT
        fine.pictures.code[:] = shadow.repeat(times, 0).repeat(times, 1)
    mean = averaged(blur(fine.render_rows(within, material, 0, fine.shape[0]), times), times)
    return mean - blur(problem.own_light(u, material), 1)


@dataclass(eq=False)
class Light:
    """What a problem knows of the light, to be gone back to."""

    code: NDArray[np.uint16]
    traced: NDArray[np.float32]
    indirect_step: float
    mirroring: float
    local: NDArray[np.float32]
    finer: int
    mirrored: Array | None

    @staticmethod
    def of(problem: Problem) -> Light:
        return Light(
            problem.pictures.code.copy(), problem.traced, problem.indirect_step, problem.mirroring,
            problem.local.copy(), problem.finer, problem.mirrored,
        )  # fmt: skip

    def restore(self, problem: Problem) -> None:
        problem.pictures.code[:] = self.code
        problem.traced, problem.indirect_step = self.traced, self.indirect_step
        problem.mirroring = self.mirroring  # what the traced light was made with
        problem.local, problem.finer, problem.mirrored = self.local, self.finer, self.mirrored


class Areas:
    """The fit of a problem with pixels as areas, turn by turn.

    The excess is taken from the captured pictures; shadows and light between places are those of
    the surface of the last turn, and where steps `follow` that light, so is what a place's slopes
    change in others that mirror it.
    """

    def __init__(self, problem: Problem, height_mm: float, follow: bool, firmness: float) -> None:
        self.problem, self.height_mm = problem, height_mm
        self.follow, self.firmness = follow, firmness
        self.captured = problem.pictures.code.copy()
        self.turns = 0
        problem.finer = fineness(problem.shape)

    def turn(self, state: State, loss: Loss, rounds: int) -> State:
        """Light brought up to date, and so many steps.

        What they change elsewhere is in the state's cost.
        """
        problem, u, material = self.problem, state.u, state.material
        problem.mirrored = None
        rays, kept = (FOLLOWING_RAYS, FOLLOWING_KEPT) if self.follow else (RAYS, KEPT)
        update_shadows(problem, u)
        update_indirect(
            problem, u, material, samples=rays, seed=self.turns, by_slopes=self.follow,
            kept=min(self.turns / (self.turns + 1), kept),
        )  # fmt: skip
        pictures = problem.pictures
        seen = surroundings(problem, u, 1).inner
        light = excess(problem, u, material, problem.finer, seen=seen)
        take_light(self.captured, pictures.scale, light, pictures.code)
        if self.follow:
            update_mirrored(problem, u, material, loss, MIRRORED_RAYS, seed=OTHER_RAYS + self.turns)
        self.turns += 1
        return gauss_newton(
            problem, state, loss, self.height_mm, rounds, stop=1e-3, pcg_iterations=60,
            firmness=self.firmness,
        )  # fmt: skip

    def finished(self, state: State, loss: Loss, against: float = np.inf) -> State:
        """On from a state until turns gain little, or three are not well below a cost."""
        before = against
        for turn in range(TURNS):
            state = self.turn(state, loss, ROUNDS)
            if turn >= TRIAL and state.cost > (GAIN if turn == TRIAL else GOES_ON) * before:
                break
            before = state.cost if turn >= TRIAL else before
        return state


def released(problem: Problem, state: State, loss: Loss) -> State:
    """The state with the cost of its own places alone, at the end of the descent."""
    problem.mirrored = None
    return replace(state, cost=problem.evaluate(state.u, state.material, loss, False).cost)
