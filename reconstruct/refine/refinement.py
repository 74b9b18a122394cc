"""One run of `refine`: from starts on few pixels to the surface on all of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np

from reconstruct.errors import Stopped
from reconstruct.refine.claims import Claims
from reconstruct.refine.dirt import with_own_places
from reconstruct.refine.fit import FINAL, HUBER, Fit
from reconstruct.refine.halves import HALVES
from reconstruct.refine.lay import with_lay
from reconstruct.refine.nearness import by_nearness
from reconstruct.refine.problem import Problem
from reconstruct.refine.pyramid import binning_factors
from reconstruct.refine.response import responded, sharpened
from reconstruct.refine.search import begin, begun_late, brought
from reconstruct.refine.selfcalibrate import with_lights
from reconstruct.refine.solve import State, gauss_newton, settled
from reconstruct.refine.subpixel import fineness, released
from reconstruct.refine.transport import update_shadows

# Mean loss of a coarse level from which on it explains its pictures poorly.
POORLY = 3e-4
# On all pixels a first step that promises less than this share of the cost is all: another loss
# goes on from there.
GOES_ON_BELOW = 3e-2
# Where so many times what is taken as explained is left at most, the light of the surface on all
# pixels and steps in it may explain the rest: they come before any other stage is asked for.
NEARLY = 1.1


class Refinement(Fit):
    """One run: the levels' problems and what was found on them."""

    def run(self) -> tuple[Problem, State]:
        """All levels from coarse to fine; where `Options.progress` stops it, the best so far."""
        try:
            return self.levels()
        except Stopped:
            if self.best is None:
                raise
        self.notes["stopped"] = True
        problem, state = self.best
        if problem.shape == self.pictures.shape:
            return problem, state
        factor = self.pictures.shape[0] // problem.shape[0]
        full = self.problem(1)
        state = brought(self, problem, state, full, factor)
        update_shadows(full, state.u)
        return full, replace(state, cost=full.evaluate(state.u, state.material, FINAL, False).cost)

    def levels(self) -> tuple[Problem, State]:
        """The surface on all pixels."""
        factors = binning_factors(max(self.pictures.shape))
        problem = self.problem(factors[0])
        with self.stage("start", 0.05):
            state = begin(self, problem)
        for before, factor in pairwise(factors):
            poor = state.cost > POORLY * problem.count
            if self.areas is not None:
                self.areas = None  # the next level's pixels are others, and small enough for points
                state = released(problem, state, HUBER)
            self.best = problem, state
            if factor == 1 and poor and self.config.late_start:
                with self.stage("late start", 0.25):
                    problem, state, before = begun_late(self, problem, state, before)
            previous, problem = problem, self.problem(factor)
            state = brought(self, previous, state, problem, before // factor)
            with self.stage(f"level 1/{factor}", 0.3), self.looking(problem):
                state = self.level(problem, state)
        self.best = problem, state
        with self.stage("last level", 0.5) as gained:
            first = state.cost
            state = self.last_level(problem, state)
            gained(first, state.cost)
        return problem, state

    def level(self, problem: Problem, state: State) -> State:
        """A level that comes after another: steps, with what light reaches the surface between."""
        height = self.options.height_mm
        update_shadows(problem, state.u)
        last = problem.shape == self.pictures.shape  # it goes on from here
        rounds, stop = (2, GOES_ON_BELOW) if last else (6, 3e-3)
        state = gauss_newton(problem, state, HUBER, height, rounds, stop)
        if last:
            return state
        if self.config.lay and not self.material_tells(problem, state):
            state = with_lay(problem, state, HUBER, height)
        self.transport(problem, state, self.rays)
        return gauss_newton(problem, state, HUBER, height, 4)

    def last_level(self, problem: Problem, state: State) -> State:
        """All pixels: the redescending loss, and what one sharp material does not explain."""
        height = self.options.height_mm
        if self.areas is None:
            with self.looking(problem):
                state = self.explained(problem, state)
        else:
            state = self.own_material(problem, state)
            state = released(problem, self.areas.finished(state, FINAL), FINAL)
            if self.unexplained(problem, state):
                state = sharpened(self, problem, state)
        if state.lens_blur_px > 0:
            self.notes["lens_blur_px"] = state.lens_blur_px
        state = self.settled(problem, state, self.mean.mm)
        with self.stage("nearness", 0.78):
            claims = Claims.of(problem, state, FINAL, HALVES if self.options.uncertainty else 0)
            state = near = replace(state, cost=claims.cost)
            state, self.mean = by_nearness(problem, state, FINAL, self.mean, claims)
            if np.isfinite(self.mean.told_sigma_mm):
                self.notes["nearness"] = asdict(self.mean)
        height = self.mean.mm
        if state is not near:
            state = self.settled(problem, state, height)
        if self.options.self_calibrate:
            with self.stage("self-calibration", 0.85):
                state, self.notes["self_calibration"] = with_lights(
                    problem, state, FINAL, self.lights, height
                )
        self.claims = claims if state is near else None
        return state

    def explained(self, problem: Problem, state: State) -> State:
        """The lay, the light of the surface, odd places and the lens: what is left to explain."""
        height = self.options.height_mm
        if not self.material_tells(problem, state):
            if self.config.lay:
                state = with_lay(problem, state, HUBER, height)
                self.best = problem, state
            self.transport(problem, state, self.rays)
        nearly = not self.unexplained(problem, state, NEARLY)
        if nearly:
            state = self.alternated(problem, state)
        state = self.own_material(problem, state)
        self.best = problem, state
        if fineness(problem.shape) == 1 and self.unexplained(problem, state):
            state = sharpened(self, problem, state)
        if state.lens_blur_px == 0:
            if not nearly:
                state = self.alternated(problem, state)
            if fineness(problem.shape) > 1 and self.unexplained(problem, state):
                state = responded(self, problem, state)
        return state

    def settled(self, problem: Problem, state: State, height_mm: float) -> State:
        """The state at the end of the descent, where the pictures are few and hold more."""
        if not self.unexplained(problem, state) or problem.large:
            return state
        with self.stage("settling", 0.8) as gained:
            before, state = state.cost, settled(problem, state, FINAL, height_mm)
            gained(before, state.cost)
        return state

    def own_material(self, problem: Problem, state: State) -> State:
        """The state with a material of their own for odd places, if there are any."""
        if not self.config.material_map or not self.unexplained(problem, state):
            return state
        with self.stage("material map", 0.55) as gained:
            before, local = state.cost, problem.local
            try:
                state, self.odd = with_own_places(
                    problem, state, HUBER, self.options.height_mm, self.config.material_gain
                )
            except Stopped:
                problem.local = local
                raise
            if self.odd is not None:
                self.notes["own_material_share"] = float(self.odd.mean())
                gained(before, state.cost)
        return state
