"""One run of `refine`: from starts on few pixels to the surface on all of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.integrate import at_mean_height
from reconstruct.methods import Options
from reconstruct.refine import basin
from reconstruct.refine.clock import Clock
from reconstruct.refine.data import binned, encode
from reconstruct.refine.dirt import update_local
from reconstruct.refine.finish import reconsidered, with_lay, with_own_places
from reconstruct.refine.lay import find_lay, sampled
from reconstruct.refine.lens import Lens
from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.pyramid import binned_weight, binning_factors, upsampled
from reconstruct.refine.reflectance import update_reflectance
from reconstruct.refine.search import searched
from reconstruct.refine.selfcalibrate import with_lights
from reconstruct.refine.solve import SETTLED_PIXELS, State, fit_material, gauss_newton, settled
from reconstruct.refine.starts import first_materials, first_surfaces, learned_surface
from reconstruct.refine.subpixel import FIRST_ROUNDS, Areas, fineness, released, within_pixels
from reconstruct.refine.transport import mirrored_share, update_indirect, update_shadows
from reconstruct.refine.turn import turned
from reconstruct.stack import Stack

Array = NDArray[np.float64]
HUBER = Loss("huber", 0.02)
FINAL = Loss("geman", 0.05)
# Rounds of taking the lens's blur out; after the trial ones it must leave a share of the cost, and
# each further one a share of the cost before it.
LENS_ROUNDS, LENS_TRIAL, LENS_GAIN, LENS_GOES_ON = 8, 1, 0.93, 0.98
# The least blur in px that is taken out, and the first guess: the surface has followed the blur,
# so that the first step towards it comes out short.
MIN_SIGMA_PX, FIRST_SIGMA_PX = 0.2, 0.5
# Then with pixels so many times finer, so many turns at most; the first must leave less than a
# share of the cost before it, each further one less than another.
WITHIN_TIMES, WITHIN_ROUNDS, WITHIN_GAIN, WITHIN_GOES_ON = 2, 8, 0.99, 0.998
# From this share of the part on, lit by its other places, steps follow that light: so many turns at
# most, each from a surface moved on by a share of the last turn's step, until so many gain nothing.
FOLLOWED_SHARE, FOLLOWED, AHEAD, FOLLOWED_GAIN, IDLE = 0.02, 32, 0.4, 0.995, 3
# On all pixels as points, so many turns.
LAST_TURNS = 4
# With pixels as areas: so many turns at most, while one leaves less than a share of the last cost.
AREA_TURNS, AREAS_GO_ON = 48, 0.985
# There the slopes of walls without light of their own are damped less.
FIRMNESS = 0.1
# Of the trace before, so much goes into one of a surface that moved little: speckle averages out.
KEPT = 0.5
# Mean loss of a coarse level from which on it explains its pictures poorly, and the share of the
# cost on all pixels that the network's surface there must leave to go on instead.
POORLY, BEGUN_LATE = 3e-4, 0.9


class Refinement:
    """One run: the levels' problems and what was found on them."""

    def __init__(self, stack: Stack, camera: Camera, lights: Lights, options: Options) -> None:
        self.camera, self.lights, self.options = camera, lights, options
        self.ids = stack.ids
        self.clock = Clock()
        self.threads = options.threads or os.cpu_count() or 1
        self.notes: dict[str, Any] = {}
        self.odd: NDArray[np.bool_] | None = None  # places with a material of their own
        self.follows = False  # whether steps take light between places as moving with the surface
        self.areas: Areas | None = None  # while pixels are areas from the start on
        with self.clock.stage("encode"):
            self.pictures = encode(stack)

    def problem(self, factor: int) -> Problem:
        """The fit at a binning factor."""
        pictures = self.pictures if factor == 1 else binned(self.pictures, factor)
        camera = self.camera if factor == 1 else self.camera.binned(factor)
        flat = self.options.flat
        count = len(self.pictures)
        step = 1.0
        if flat is None:
            flat = np.ones((1, 1, count), np.float32)
        else:
            step = self.camera.height / flat.shape[0] / factor
        weight = binned_weight(self.options.mask, self.pictures.shape, factor)
        return Problem(
            camera, self.lights, pictures, weight, flat, step, threads=self.threads,
            device=self.options.device,
        )  # fmt: skip

    def begin(self, problem: Problem) -> State:
        """Try starts and distributions at the coarsest level; the lowest residual goes on."""
        best: State | None = None
        tried: dict[str, float] = {}
        for name, u in first_surfaces(problem, self.ids, self.lights, self.options):
            update_shadows(problem, u)
            for material in first_materials(problem, u, HUBER):
                start = f"{name}/{material.model}"
                best = self.lower(problem, best, State(u, material), start, tried)
        assert best is not None
        self.notes["starts"] = tried
        state = self.directed(problem, best, tried)
        led = self.begun_again(problem, self.followed(problem, state))
        if not self.follows:
            return led
        # As points such a part fits best where it is not: only what was led out goes on from there.
        return self.followed_by_areas(problem, led if "begun_again" in self.notes else state)

    @property
    def firmness(self) -> float:
        return FIRMNESS if self.follows else 1.0

    def begun_again(self, problem: Problem, state: State) -> State:
        """With misfits led out of their basin."""
        state, taken = basin.begun_again(
            problem, state, HUBER, self.options.height_mm, self.follows, self.firmness
        )
        if taken:
            self.notes["begun_again"] = taken
        return state

    def directed(self, problem: Problem, state: State, tried: dict[str, float]) -> State:
        """The same with a directed finish, where that explains the pictures much better."""
        best = state
        lay = find_lay(problem, state.u, state.material, HUBER)
        if lay is None:
            return state
        for model in ("ggx", "beckmann"):
            first, _ = fit_material(problem, state.u, replace(lay, model=model), HUBER)
            best = self.lower(problem, best, State(state.u, first), f"lay/{model}", tried)
        return best

    def lower(
        self, problem: Problem, best: State | None, start: State, name: str, tried: dict[str, float]
    ) -> State:
        """The best state so far or where a start descends to, with its reflectance."""
        learned, problem.mirroring = problem.mirroring, 1.0
        found = self.descend(problem, start)
        tried[name] = found.cost / problem.count
        if best is None or found.cost < best.cost:
            return found
        problem.mirroring = learned
        return best

    def descend(self, problem: Problem, state: State) -> State:
        """Gauss-Newton with shadows and inter-reflection brought up to date between rounds."""
        for seed, rounds in enumerate((12, 6, 6)):
            # With that light from the first step on: a good start is lost where walls light each
            # other else.
            state = turned(problem, state, HUBER, self.options.height_mm, seed, rounds)
            update_reflectance(problem, state.u, state.material, FINAL)
        return state

    def followed(self, problem: Problem, state: State) -> State:
        """On with light between places that moves with the surface, where much of it does.

        A wall that only other walls light is told by what it mirrors. With that light held, any
        slope of it fits as well as any other.
        """
        update_indirect(problem, state.u, state.material, samples=32)  # the last start's until now
        if mirrored_share(problem, state.u, state.material) < FOLLOWED_SHARE:
            return state
        best, before, idle = state, state.u, 0
        for turn in range(FOLLOWED):
            ahead = best.u + (AHEAD * (best.u - before) if idle == 0 else 0.0)
            now = turned(
                problem, replace(best, u=ahead), HUBER, self.options.height_mm, turn,
                by_slopes=True, kept=KEPT if idle > 0 else 0.0, firmness=FIRMNESS,
            )  # fmt: skip
            idle = 0 if now.cost < FOLLOWED_GAIN * best.cost else idle + 1
            if now.cost < best.cost:
                before, best = best.u, now
                update_reflectance(problem, best.u, best.material, FINAL)
            if idle > IDLE:
                break
        self.notes["followed"] = turn + 1
        self.follows = True
        update_indirect(problem, best.u, best.material, by_slopes=True)
        return best

    def followed_by_areas(self, problem: Problem, state: State) -> State:
        """The same with pixels as areas: those of the first level are never points of the part."""
        self.areas = Areas(problem, self.options.height_mm, True, FIRMNESS)
        before = np.inf
        while self.areas.turns < AREA_TURNS:
            state = self.areas.turn(state, HUBER, FIRST_ROUNDS)
            update_reflectance(problem, state.u, state.material, FINAL)
            if state.cost > AREAS_GO_ON * before:
                break
            before = state.cost
        self.notes["followed_by_areas"] = self.areas.turns
        return state

    # levels ----------------------------------------------------------------------------------
    def run(self) -> tuple[Problem, State]:
        """All levels from coarse to fine."""
        factors = binning_factors(max(self.pictures.shape))
        state: State | None = None
        before, poor = factors[0], False
        problem: Problem | None = None
        for factor in factors:
            last = factor == factors[-1]
            previous = problem
            problem = self.problem(factor)
            if state is None:
                with self.clock.stage("starts"):
                    state = self.begin(problem)
            else:
                u = upsampled(state.u, before // factor, problem.shape)
                u = at_mean_height(
                    u, self.options.height_mm, problem.camera, problem.xy, problem.weight > 0
                )
                state = State(u, state.material)
                if previous is not None:
                    problem.traced = np.ascontiguousarray(previous.indirect)
                    problem.mirroring = previous.mirroring
                    problem.indirect_step = previous.indirect_step * (before / factor)
                if last and poor:
                    with self.clock.stage("late start"):
                        state = self.begun_late(factor, state)
            before = factor
            with self.clock.stage(f"level 1/{factor}"):
                state = self.level(problem, state, last)
            poor = state.cost > POORLY * problem.count
        assert problem is not None
        assert state is not None
        return problem, state

    def begun_late(self, factor: int, state: State) -> State:
        """The state that came up from coarse pixels, or one that begins at the network's surface.

        Relief that turns within a coarse pixel leaves pictures there that no surface explains; what
        fits them best is far from the part, and finer levels do not lead back from it.
        """
        problem = self.problem(factor)
        if problem.weight.size > SETTLED_PIXELS:
            return state
        learned = learned_surface(problem, self.ids, self.lights, self.options)
        if learned is None:
            return state
        tried: dict[str, float] = {}
        came_up = self.lower(problem, None, state, "came up", tried)
        update_shadows(problem, learned)
        with sampled(problem):
            materials = first_materials(problem, learned, HUBER)
        best: State | None = None
        for material in materials:
            first = State(learned, material)
            best = self.lower(problem, best, first, f"dpps/{material.model}", tried)
        assert best is not None
        self.notes["late_starts"] = tried
        if best.cost > BEGUN_LATE * came_up.cost:
            return state
        self.follows = False
        return best

    def level(self, problem: Problem, state: State, last: bool) -> State:
        """One level: Huber first, the redescending loss last."""
        height = self.options.height_mm

        def solve(state: State, loss: Loss, rounds: int) -> State:
            return gauss_newton(problem, state, loss, height, rounds)

        if self.areas is None:
            with self.clock.stage("shadows"):
                update_shadows(problem, state.u)
            state = solve(state, HUBER, 6)
            with self.clock.stage("lay"):
                state = with_lay(problem, state, HUBER, height)
            with self.clock.stage("shadows"):
                update_shadows(problem, state.u)
            with self.clock.stage("inter-reflection"):
                update_indirect(problem, state.u, state.material, by_slopes=self.follows)
        if not last:
            if self.areas is None:
                return solve(state, HUBER, 4)
            self.areas = None  # the next level's pixels are others, and small enough for points
            return released(problem, state, HUBER)
        with self.clock.stage("search"):
            state = reconsidered(problem, state, HUBER)
            state, found = searched(problem, state, HUBER, height)
            if found > 0:
                self.notes["searched_share"] = found
        with self.clock.stage("local material"):
            state, self.odd = with_own_places(problem, state, HUBER, height)
            if self.odd is not None:
                self.notes["own_material_share"] = float(self.odd.mean())

        def finish(state: State) -> State:
            with self.clock.stage("settling"):
                state = settled(problem, state, FINAL, height)
            return self.sharpened(problem, state)

        if self.areas is None:
            state = solve(state, FINAL, 6)
            for turn in range(LAST_TURNS if self.follows else 1):
                with self.clock.stage("inter-reflection"):
                    if self.follows:
                        update_reflectance(problem, state.u, state.material, FINAL, turn)
                    update_indirect(
                        problem, state.u, state.material, samples=128, seed=1 + turn,
                        by_slopes=self.follows, kept=turn / (turn + 1),
                    )  # fmt: skip
                state = solve(state, FINAL, 6)
            with self.clock.stage("points or areas"):
                state = within_pixels(
                    problem, state, FINAL, height, self.follows, self.firmness, finish
                )
        else:
            with self.clock.stage("areas"):
                state = released(problem, finish(self.areas.finished(state, FINAL)), FINAL)
        if state.lens_blur_px > 0:
            self.notes["lens_blur_px"] = state.lens_blur_px
        if self.options.self_calibrate:
            with self.clock.stage("self-calibration"):
                state, self.notes["self_calibration"] = with_lights(
                    problem, state, FINAL, self.lights, self.options.height_mm
                )
        return state

    def sharpened(self, problem: Problem, state: State) -> State:
        """The last level again without the lens's blur, where that explains the pictures better."""
        if 3 * problem.pictures.code.nbytes > self.options.memory_gb * 1e9:
            return state
        with self.clock.stage("lens"):
            lens = Lens(problem)
            blurred, before = state, state.cost
            for turn in range(LENS_ROUNDS):
                sigma = lens.update(state.u, state.material, FINAL)
                if sigma < MIN_SIGMA_PX:
                    break
                if turn == 0:
                    lens.sigma_px = max(sigma, FIRST_SIGMA_PX)
                self.through(lens, state)
                if turn == 1:
                    state = reconsidered(problem, state, HUBER)
                if turn == 2:
                    update_indirect(
                        problem, state.u, state.material, samples=128, seed=1 + LAST_TURNS,
                        by_slopes=self.follows, kept=KEPT,
                    )  # fmt: skip
                state = gauss_newton(problem, state, FINAL, self.options.height_mm, 3)
                if turn >= LENS_TRIAL and (
                    state.cost > LENS_GAIN * blurred.cost or state.cost > LENS_GOES_ON * before
                ):
                    break
                before = state.cost
            if sigma >= MIN_SIGMA_PX and state.cost <= LENS_GAIN * blurred.cost:
                state = self.sharpened_within(problem, lens, state)
                return replace(state, lens_blur_px=lens.sigma_px)
            lens.restore()
        return blurred

    def through(self, lens: Lens, state: State, times: int = 1) -> None:
        """Take the blur at a state from the pictures, on pixels so many times finer."""
        lens.sharpen(state.u, state.material, times)
        if self.odd is not None:
            update_local(lens.problem, state.u, state.material, self.odd)

    def sharpened_within(self, problem: Problem, lens: Lens, state: State) -> State:
        """On with what lies within pixels blurred too, where that explains the pictures better.

        Small pictures have their pixels as areas, and of large ones the finer ones are too many.
        """
        if fineness(problem.shape) > 1 or problem.weight.size > SETTLED_PIXELS:
            return state
        # three copies of pictures of floats, which take twice what their codes take
        if 6 * WITHIN_TIMES**2 * problem.pictures.code.nbytes > self.options.memory_gb * 1e9:
            return state
        middles = problem.pictures.code.copy()
        for turn in range(WITHIN_ROUNDS):
            self.through(lens, state, WITHIN_TIMES)
            now = gauss_newton(problem, state, FINAL, self.options.height_mm, 6)
            if now.cost > (WITHIN_GAIN if turn == 0 else WITHIN_GOES_ON) * state.cost:
                if turn == 0:
                    problem.pictures.code[:] = middles
                break
            state = now
            self.notes["lens_within"] = turn + 1
        return state
