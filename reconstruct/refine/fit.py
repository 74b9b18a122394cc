"""What the steps of one run of `refine` share: pictures, options, costs, light, and the outer loop.

Effort follows need. What noise alone would leave is known (`Fit.noise_cost`); a stage runs where
more than that is left to explain, and stays where it leaves clearly less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.methods import Options
from reconstruct.refine.claims import Claims, MeanHeight, dark_places, smooth
from reconstruct.refine.data import binned, encode
from reconstruct.refine.problem import NOISE_FLOOR, Loss, Problem, unseen
from reconstruct.refine.pyramid import binned_weight
from reconstruct.refine.reflectance import SOME, update_reflectance
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.subpixel import Areas
from reconstruct.refine.transport import (
    mirrored_share,
    surroundings,
    update_indirect,
    update_shadows,
)
from reconstruct.stack import Stack

HUBER = Loss("huber", 0.02)
FINAL = Loss("geman", 0.05)
# Coded pictures at once at most, and what else a pixel takes, bytes.
COPIES, PIXEL_BYTES = 3, 250
# Rays a pixel, and in each turn of finer levels where steps follow light between places.
RAYS, RAYS_FOLLOWED = 32, 128
# A wrong distribution or lay leaves the typical pixel five times what noise leaves, and more.
TYPICAL, TYPICAL_SIDE = 2.0, 64
# A pixel is misfit where its loss is so many times the noise's; patches of misfits of less than
# this share of the part are edges that few pixels do not show.
MISFIT, PATCHES = 4.0, 0.01
# From this share of the part on, lit by its other places, steps follow that light.
FOLLOWED_SHARE = 0.02
# There the slopes of walls without light of their own are damped less.
FIRMNESS = 0.1
# Of the traces before, at most so much goes into one of a surface that moved little.
KEPT = 0.8
# Turns of the last level at most; it goes on while one leaves less than a share of the last cost.
TURNS, GOES_ON = 6, 0.985


class Fit:
    """What was given for one run, and what was found in it so far."""

    def __init__(self, stack: Stack, camera: Camera, lights: Lights, options: Options) -> None:
        self.camera, self.lights, self.options = camera, lights, options
        self.config = options.refine
        self.ids = stack.ids
        self.mean = MeanHeight(options.height_mm, options.height_sigma_mm)
        self.notes: dict[str, Any] = {}
        self.stages: dict[str, dict[str, float]] = {}
        self.odd: NDArray[np.bool_] | None = None  # places with a material of their own
        self.follows = False  # whether steps take light between places as moving with the surface
        # Codes as captured, once a lens changed them.
        self.captured: NDArray[np.uint16] | None = None
        self.best: tuple[Problem, State] | None = None  # what a stop leaves
        self.told = ("encode", 0.0)  # what was said last of how far it is
        self.claims: Claims | None = None  # of the last state, where they are known
        self.traces = 0  # of surfaces near this one, whose mean its light between places is
        self.areas: Areas | None = None  # while pixels are areas from the start on
        need_gb = np.prod(stack.shape) * (COPIES * 2 * len(stack) + PIXEL_BYTES) / 1e9
        if need_gb > options.memory_gb:
            options.say(
                f"note: refine takes up to {need_gb:.1f} GB for {len(stack)} pictures of "
                f"{stack.shape[1]}×{stack.shape[0]} px, --memory says {options.memory_gb:g} GB"
            )
        with self.stage("encode", 0.0):
            self.pictures = encode(stack, options.mask)

    @contextmanager
    def stage(self, name: str, fraction: float) -> Iterator[Callable[[float, float], None]]:
        """Time a stage and say that it begins; call what it gives with costs before and after."""
        self.tell(name, fraction)
        start, worked = time.perf_counter(), time.process_time()
        entry = self.stages.setdefault(name, {"seconds": 0.0, "processor_s": 0.0})

        def gained(before: float, after: float) -> None:
            entry["cost_ratio"] = entry.get("cost_ratio", 1.0) * after / max(before, 1e-300)

        yield gained
        entry["seconds"] += time.perf_counter() - start
        entry["processor_s"] += time.process_time() - worked

    def tell(self, name: str, fraction: float) -> None:
        """Say how far it is, which may raise `Stopped`."""
        self.told = name, fraction
        self.options.progress(name, fraction)

    @contextmanager
    def looking(self, problem: Problem) -> Iterator[None]:
        """Look before each step meanwhile whether to stop: on many pixels a stage takes long."""
        problem.look = lambda: self.options.progress(*self.told)
        try:
            yield
        finally:
            problem.look = unseen

    def noise_cost(self, problem: Problem) -> float:
        """Loss of a pixel-light that noise alone leaves; on averaged pixels models err by more."""
        pictures, coarse = problem.pictures, problem.shape != self.pictures.shape
        return max(pictures.dim * pictures.noise**2, NOISE_FLOOR**2 if coarse else 0.0)

    def unexplained(self, problem: Problem, state: State, times: float = 1.0) -> bool:
        """Whether the pictures hold more, or so many times more, than noise leaves everywhere."""
        explained = times * self.config.explained
        return state.cost > explained * self.noise_cost(problem) * problem.count

    def losses(self, problem: Problem, state: State) -> NDArray[np.float32]:
        """(H, W) mean loss of a pixel's lights over what noise leaves."""
        system = problem.evaluate(state.u, state.material, HUBER, with_material=False)
        return system.loss / np.float32(self.noise_cost(problem) * len(problem.pictures))

    def material_tells(self, problem: Problem, state: State) -> bool:
        """Whether the typical pixel is explained: then the material is the right one."""
        with problem.sampled(TYPICAL_SIDE):
            loss = self.losses(problem, state)[problem.weight > 0]
            seen = ~dark_places(problem)  # what is dark any material tells
            return bool(np.median(loss[seen]) <= TYPICAL) if seen.any() else True

    def misfit(self, problem: Problem, state: State) -> bool:
        """Whether patches of the part are misfit."""
        inside = problem.weight > 0
        bad = patches(self.losses(problem, state), inside, MISFIT)
        return bool(bad.sum() >= PATCHES * inside.sum())

    def lost(self, problem: Problem, state: State) -> bool:
        """Whether patches of the part are misfit on a part whose walls light each other.

        Elsewhere patches that few pixels misfit are relief within a pixel, which finer levels show.
        """
        if not self.misfit(problem, state):
            return False
        return mirrored_share(problem, state.u, state.material) >= FOLLOWED_SHARE

    def problem(self, factor: int) -> Problem:
        """The fit at a binning factor."""
        pictures = self.pictures if factor == 1 else binned(self.pictures, factor)
        camera = self.camera if factor == 1 else self.camera.binned(factor)
        flat = self.options.flat
        if flat is None:
            flat = np.ones((1, 1, len(self.pictures)), np.float32)
        weight = binned_weight(self.options.mask, self.pictures.shape, factor)
        return Problem(camera, self.lights, pictures, weight, flat, threads=self.options.threads)

    @property
    def firmness(self) -> float:
        return FIRMNESS if self.follows else 1.0

    @property
    def rays(self) -> int:
        return RAYS_FOLLOWED if self.follows else RAYS

    def transport(
        self, problem: Problem, state: State, samples: int = RAYS, seed: int = 0,
        kept: float = 0.0, by_slopes: bool | None = None,
        besides: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """Cast shadows and light between places of the state's surface."""
        u, seen = state.u, None
        if self.config.inter_reflection:
            if by_slopes is None:
                by_slopes = self.follows
            update_indirect(
                problem, u, state.material, samples, seed, by_slopes, kept, besides=besides
            )
            if by_slopes and problem.finer == 1 and not problem.large:
                seen = surroundings(problem, u, 1).inner
        update_shadows(problem, u, seen)

    def alternated(
        self, problem: Problem, state: State, refresh: Callable[[State], None] | None = None,
        first: float = np.inf, loss: Loss = FINAL,
    ) -> State:  # fmt: skip
        """The outer loop: what light reaches the surface, then steps, while that gains.

        The `first` turn must leave that share of the cost at most for another one to follow; of
        large problems it must gain as much as any other.
        """
        if refresh is None or self.follows:
            self.traces = 0
        # Without the lens one turn tells whether it is needed; light that steps follow takes more.
        for turn in range(TURNS if refresh is not None or self.follows else 1):
            before, besides = state.cost, None
            if self.follows:
                besides = update_reflectance(problem, state.u, state.material, FINAL, turn)
            elif refresh is None:
                update_reflectance(problem, state.u, state.material, FINAL, turn, SOME)
            if self.follows or refresh is None or turn > 0:  # else it was brought up to date before
                kept = min(self.traces / (self.traces + 1), KEPT)
                self.transport(problem, state, self.rays, seed=turn, kept=kept, besides=besides)
                self.traces += 1
            if refresh is not None:
                refresh(state)
            state = gauss_newton(
                problem, state, loss, self.options.height_mm, 4,
                stop=1e-3 if self.follows else 3e-3, pcg_iterations=60, firmness=self.firmness,
            )  # fmt: skip
            self.best = problem, state
            self.tell("last level", 0.5 + 0.3 * (turn + 1) / TURNS)
            if state.cost > (GOES_ON if turn > 0 or problem.large else first) * before:
                break
            # One turn from coarser pixels explains what it follows before that has come to rest.
            told = refresh is None and (turn > 0 or not self.follows)
            if told and not self.unexplained(problem, state):
                break
        return state


def patches(loss: NDArray[np.float32], mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """(H, W) where the loss, blurred by a pixel, is above `least`.

    Specks are left out, patches widened by a pixel.
    """
    bad = mask & (smooth(loss.astype(np.float64), mask.astype(np.float64), 1.0) > least)
    square, cross = np.ones((3, 3), np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    image = cv2.erode(bad.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray((cv2.dilate(cv2.dilate(image, square), cross) > 0) & mask)
