"""One run of `refine`: from starts on few pixels to the surface on all of them.

Effort follows need. What noise alone would leave is known (`Refinement.noise_cost`); a stage runs
where more than that is left to explain, and stays where it leaves clearly less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.errors import Stopped
from reconstruct.integrate import at_mean_height
from reconstruct.methods import Options
from reconstruct.refine import basin
from reconstruct.refine.claims import Claims, MeanHeight, dark_share
from reconstruct.refine.data import binned, encode
from reconstruct.refine.dirt import update_local
from reconstruct.refine.finish import reconsidered, with_lay, with_own_places
from reconstruct.refine.lay import find_lay, sampled
from reconstruct.refine.lens import Lens
from reconstruct.refine.nearness import by_nearness
from reconstruct.refine.problem import NOISE_FLOOR, Loss, Problem
from reconstruct.refine.pyramid import binned_weight, binning_factors, late_factor, upsampled
from reconstruct.refine.reflectance import SOME, update_reflectance
from reconstruct.refine.selfcalibrate import with_lights
from reconstruct.refine.solve import SETTLED_PIXELS, State, fit_material, gauss_newton, settled
from reconstruct.refine.starts import first_materials, first_surface, learned_surface
from reconstruct.refine.subpixel import FIRST_ROUNDS, Areas, Light, fineness, released
from reconstruct.refine.transport import (
    mirrored_share,
    refreshed,
    update_indirect,
    update_shadows,
)
from reconstruct.stack import Stack

Array = NDArray[np.float64]
HUBER = Loss("huber", 0.02)
FINAL = Loss("geman", 0.05)
# Coded pictures at once at most, and what else a pixel takes, bytes.
COPIES, PIXEL_BYTES = 3, 250
# Rays a pixel, and in each turn of finer levels where steps follow light between places.
RAYS, RAYS_FOLLOWED = 32, 64
# A wrong distribution or lay leaves the typical pixel five times what noise leaves, and more.
TYPICAL, TYPICAL_SIDE = 2.0, 128
# A pixel is misfit where its loss is so many times the noise's; patches of misfits of less than
# this share of the part are edges that few pixels do not show.
MISFIT, PATCHES = 4.0, 0.01
# Share of the part without any highlight from which the half vector is not the only start.
DARK_PLACES = 0.01
# From this share of the part on, lit by its other places, steps follow that light: so many turns at
# most, each from a surface moved on by a share of the last turn's step, until so many gain nothing.
FOLLOWED_SHARE, FOLLOWED, AHEAD, FOLLOWED_GAIN, IDLE = 0.02, 32, 0.4, 0.995, 3
# With pixels as areas: so many turns at most, while one leaves less than a share of the last cost.
AREA_TURNS, AREAS_GO_ON = 48, 0.985
# There the slopes of walls without light of their own are damped less.
FIRMNESS = 0.1
# Of the traces before, at most so much goes into one of a surface that moved little.
KEPT = 0.8
# Turns of the last level at most; it goes on while one leaves less than a share of the last cost,
# the second where steps follow light between places: there one gains less than is still to come.
TURNS, GOES_ON, FOLLOWED_GOES_ON = 6, 0.985, 0.992
# The least blur in px that is taken out, and the first guess: the surface has followed the blur,
# so that the first step towards it comes out short, and promises less than it will bring: it is
# tried from that share of the gain on that is asked for.
MIN_SIGMA_PX, FIRST_SIGMA_PX, PROMISED = 0.2, 0.5, 0.5
# The part's own light is blurred on pixels so many times finer where so many times what is taken
# as explained is left, and if that leaves a share of the cost at most: it takes long.
WITHIN_TIMES, MUCH, WITHIN_GAIN = 2, 1.25, 0.99
# Mean loss of a coarse level from which on it explains its pictures poorly, and the share of the
# cost that the network's surface must leave to go on instead.
POORLY, BEGUN_LATE = 3e-4, 0.9
# Where the network's surface costs so many times more, it is not descended from twice.
FAR_OFF = 1.25


class Refinement:
    """One run: the levels' problems and what was found on them."""

    def __init__(self, stack: Stack, camera: Camera, lights: Lights, options: Options) -> None:
        self.camera, self.lights, self.options = camera, lights, options
        self.config = options.refine
        self.ids = stack.ids
        self.threads = options.threads or os.cpu_count() or 1
        self.mean = MeanHeight(options.height_mm, options.height_sigma_mm)
        self.notes: dict[str, Any] = {}
        self.stages: dict[str, dict[str, float]] = {}
        self.odd: NDArray[np.bool_] | None = None  # places with a material of their own
        self.follows = False  # whether steps take light between places as moving with the surface
        self.captured: NDArray[np.uint16] | None = (
            None  # codes as captured, once a lens changed them
        )
        self.best: tuple[Problem, State] | None = None  # what a stop leaves
        self.claims: Claims | None = None  # of the last state, where they are known
        self.areas: Areas | None = None  # while pixels are areas from the start on
        need_gb = np.prod(stack.shape) * (COPIES * 2 * len(stack) + PIXEL_BYTES) / 1e9
        if need_gb > options.memory_gb:
            options.say(
                f"note: refine takes up to {need_gb:.1f} GB for {len(stack)} pictures of "
                f"{stack.shape[1]}×{stack.shape[0]} px, --memory says {options.memory_gb:g} GB"
            )
        with self.stage("encode", 0.0):
            self.pictures = encode(stack)

    # what was done -----------------------------------------------------------------------------
    @contextmanager
    def stage(self, name: str, fraction: float) -> Iterator[Callable[[float, float], None]]:
        """Time a stage and say that it begins; call what it gives with costs before and after."""
        self.options.progress(name, fraction)
        start, worked = time.perf_counter(), time.process_time()
        entry = self.stages.setdefault(name, {"seconds": 0.0, "processor_s": 0.0})

        def gained(before: float, after: float) -> None:
            entry["cost_ratio"] = entry.get("cost_ratio", 1.0) * after / max(before, 1e-300)

        yield gained
        entry["seconds"] += time.perf_counter() - start
        entry["processor_s"] += time.process_time() - worked

    # what noise leaves -------------------------------------------------------------------------
    def noise_cost(self, problem: Problem) -> float:
        """Loss of a pixel-light that noise alone leaves; on averaged pixels models err by more."""
        coarse = problem.shape != self.pictures.shape
        return max(problem.pictures.noise, NOISE_FLOOR if coarse else 0.0) ** 2

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
        with sampled(problem, TYPICAL_SIDE):
            inside = problem.weight > 0
            return bool(np.median(self.losses(problem, state)[inside]) <= TYPICAL)

    def lost(self, problem: Problem, state: State) -> bool:
        """Whether patches of the part are misfit on a part whose walls light each other.

        Elsewhere patches that few pixels misfit are relief within a pixel, which finer levels show.
        """
        inside = problem.weight > 0
        bad = basin.misfits(self.losses(problem, state), inside, 0.0, least=MISFIT)
        if bad.sum() < PATCHES * inside.sum():
            return False
        return mirrored_share(problem, state.u, state.material) >= FOLLOWED_SHARE

    # starts ------------------------------------------------------------------------------------
    def problem(self, factor: int) -> Problem:
        """The fit at a binning factor."""
        pictures = self.pictures if factor == 1 else binned(self.pictures, factor)
        camera = self.camera if factor == 1 else self.camera.binned(factor)
        flat = self.options.flat
        step = 1.0
        if flat is None:
            flat = np.ones((1, 1, len(self.pictures)), np.float32)
        else:
            step = self.camera.height / flat.shape[0] / factor
        weight = binned_weight(self.options.mask, self.pictures.shape, factor)
        return Problem(camera, self.lights, pictures, weight, flat, step, threads=self.threads)

    def begin(self, problem: Problem) -> State:
        """The start on few pixels whose descent explains the pictures best."""
        wanted = self.options.start
        starts = [s for s in ("halfvector", "flat", "dpps") if s == wanted]
        if wanted == "auto":
            starts = [s for s in ("halfvector", "dpps", "flat") if s in self.config.starts]
        best: State | None = None
        tried: dict[str, float] = {}
        # Highlights alone say nothing of a place that shows none.
        alone = dark_share(problem) < DARK_PLACES
        untraced = problem.traced
        for name in starts:
            u = first_surface(name, problem, self.ids, self.lights, self.options)
            if u is None:
                continue
            problem.traced = untraced  # a start knows nothing of the one before
            update_shadows(problem, u)
            before = best
            for material in first_materials(problem, u, HUBER):
                start = f"{name}/{material.model}"
                best = self.lower(problem, best, State(u, material), start, tried)
                if self.material_tells(problem, best):
                    break
            assert best is not None
            if self.config.lay and best is not before and not self.material_tells(problem, best):
                best = self.directed(problem, best, name, tried)
            if name == "halfvector" and not alone:
                continue
            if self.material_tells(problem, best) and not self.lost(problem, best):
                break
        assert best is not None
        self.notes["starts"] = tried
        if len(tried) > 1:
            self.transport(problem, best)  # until now that of the last start
        if not self.lost(problem, best):
            return best
        return self.out_of_the_pit(problem, best)

    def out_of_the_pit(self, problem: Problem, state: State) -> State:
        """A part whose walls light each other, on few pixels: these are areas, never points.

        As points such a part fits best where it is not: only what is led out of a wrong basin goes
        on from there.
        """
        if not self.config.linearised_transport:
            return self.begun_again(problem, state)
        before = Light.of(problem)
        self.follows = True
        areas = self.followed_by_areas(problem, state)
        if not self.config.restarts or not self.lost(problem, areas):
            return areas
        after, points = Light.of(problem), self.areas
        before.restore(problem)
        led = self.begun_again(problem, self.followed(problem, state))
        if "restarted" in self.notes:
            again = self.followed_by_areas(problem, led)
            if again.cost < areas.cost:
                return again
        after.restore(problem)
        self.areas = points
        return areas

    @property
    def firmness(self) -> float:
        return FIRMNESS if self.follows else 1.0

    @property
    def rays(self) -> int:
        return RAYS_FOLLOWED if self.follows else RAYS

    def begun_again(self, problem: Problem, state: State) -> State:
        """With misfits led out of their basin."""
        if not self.config.restarts:
            return state
        state, taken = basin.begun_again(
            problem, state, HUBER, self.options.height_mm, self.follows, self.firmness
        )
        if taken:
            self.notes["restarted"] = taken
        return state

    def directed(self, problem: Problem, state: State, name: str, tried: dict[str, float]) -> State:
        """The same with a directed finish, where that explains the pictures much better."""
        best = state
        lay = find_lay(problem, state.u, state.material, HUBER)
        if lay is None:
            return state
        for model in ("ggx", "beckmann"):
            first, _ = fit_material(problem, state.u, replace(lay, model=model), HUBER)
            best = self.lower(problem, best, State(state.u, first), f"{name}/lay/{model}", tried)
            if self.material_tells(problem, best):
                break
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

    def transport(
        self, problem: Problem, state: State, samples: int = RAYS, seed: int = 0,
        kept: float = 0.0, by_slopes: bool | None = None,
        besides: NDArray[np.float32] | None = None,
    ) -> None:  # fmt: skip
        """Cast shadows and light between places of the state's surface."""
        refreshed(
            problem, state.u, state.material, samples if self.config.inter_reflection else 0,
            seed, self.follows if by_slopes is None else by_slopes, kept, besides,
        )  # fmt: skip

    def descend(self, problem: Problem, state: State) -> State:
        """Gauss-Newton with shadows and inter-reflection brought up to date between rounds."""
        for seed, rounds in enumerate((12, 6, 6)):
            # With that light from the first step on: a good start is lost where walls light each
            # other else.
            before = state.cost
            self.transport(problem, state, seed=seed, by_slopes=False)
            state = gauss_newton(problem, state, HUBER, self.options.height_mm, rounds)
            update_reflectance(problem, state.u, state.material, FINAL)
            idle = state.cost > GOES_ON * before or not self.unexplained(problem, state)
            if idle and problem.shape != self.pictures.shape:  # finer levels go on
                break
        return state

    def followed(self, problem: Problem, state: State) -> State:
        """On with light between places that moves with the surface.

        A wall that only other walls light is told by what it mirrors. With that light held, any
        slope of it fits as well as any other.
        """
        best, before, idle = state, state.u, 0
        for turn in range(FOLLOWED):
            ahead = best.u + (AHEAD * (best.u - before) if idle == 0 else 0.0)
            now = replace(best, u=ahead)
            self.transport(problem, now, seed=turn, kept=0.5 if idle > 0 else 0.0)
            now = gauss_newton(
                problem, now, HUBER, self.options.height_mm, 6, firmness=self.firmness
            )
            idle = 0 if now.cost < FOLLOWED_GAIN * best.cost else idle + 1
            if now.cost < best.cost:
                before, best = best.u, now
                update_reflectance(problem, best.u, best.material, FINAL)
            if idle > IDLE:
                break
        self.notes["followed"] = turn + 1
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

    # levels ------------------------------------------------------------------------------------
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
        state = self.brought(problem, state, full, factor)
        update_shadows(full, state.u)
        return full, replace(state, cost=full.evaluate(state.u, state.material, FINAL, False).cost)

    def brought(self, coarse: Problem, state: State, fine: Problem, factor: int) -> State:
        """A state on pixels so many times finer, with the light between places of the coarse."""
        u = upsampled(state.u, factor, fine.shape)
        inside = fine.weight > 0
        u = at_mean_height(u, self.options.height_mm, fine.camera, fine.xy, inside)
        fine.traced = np.ascontiguousarray(coarse.indirect)
        fine.mirroring = coarse.mirroring
        fine.indirect_step = coarse.indirect_step * factor
        return State(u, state.material)

    def levels(self) -> tuple[Problem, State]:
        """The surface on all pixels."""
        factors = binning_factors(max(self.pictures.shape))
        problem = self.problem(factors[0])
        with self.stage("start", 0.05):
            state = self.begin(problem)
        for before, factor in pairwise(factors):
            poor = state.cost > POORLY * problem.count
            if self.areas is not None:
                self.areas = None  # the next level's pixels are others, and small enough for points
                state = released(problem, state, HUBER)
            self.best = problem, state
            if factor == 1 and poor and self.config.late_start:
                with self.stage("late start", 0.25):
                    problem, state, before = self.begun_late(problem, state, before)
            previous, problem = problem, self.problem(factor)
            state = self.brought(previous, state, problem, before // factor)
            with self.stage(f"level 1/{factor}", 0.3):
                state = self.level(problem, state)
        self.best = problem, state
        with self.stage("last level", 0.5) as gained:
            first = state.cost
            state = self.last_level(problem, state)
            gained(first, state.cost)
        return problem, state

    def begun_late(self, coarse: Problem, state: State, factor: int) -> tuple[Problem, State, int]:
        """The level and state that came up from coarse pixels, or one at the network's surface.

        Relief that turns within a coarse pixel leaves pictures there that no surface explains; what
        fits them best is far from the part, and finer levels do not lead back from it. Which of the
        two goes on shows on 256 pixels (`late_factor`). Returns a binning factor, too.
        """
        finer = min(factor, late_factor(max(self.pictures.shape)))
        problem = self.problem(finer)
        learned = learned_surface(problem, self.ids, self.lights, self.options)
        if learned is None:
            return coarse, state, factor
        tried: dict[str, float] = {}
        brought = self.brought(coarse, state, problem, factor // finer)
        came_up = self.lower(problem, None, brought, "came up", tried)
        update_shadows(problem, learned)
        best: State | None = None
        for material in first_materials(problem, learned, HUBER):
            first = State(learned, material)
            best = self.lower(problem, best, first, f"dpps/{material.model}", tried)
            if best.cost > FAR_OFF * came_up.cost:  # another distribution does not mend that
                break
        assert best is not None
        self.notes["late_starts"] = tried
        if best.cost > BEGUN_LATE * came_up.cost:
            return coarse, state, factor
        self.follows = False
        self.transport(problem, best)  # until now that of the last start
        return problem, best, finer

    def level(self, problem: Problem, state: State) -> State:
        """A level that comes after another: steps, with what light reaches the surface between."""
        height = self.options.height_mm
        update_shadows(problem, state.u)
        last = problem.shape == self.pictures.shape  # it goes on from here
        state = gauss_newton(problem, state, HUBER, height, 2 if last else 6)
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
            if not self.material_tells(problem, state):
                if self.config.lay:
                    state = with_lay(problem, state, HUBER, height)
                self.transport(problem, state, self.rays)
                state = reconsidered(problem, state, HUBER)
            state = self.own_material(problem, state)
            if fineness(problem.shape) == 1 and self.unexplained(problem, state):
                state = self.sharpened(problem, state)
            if state.lens_blur_px == 0:
                state = self.alternated(problem, state)
                if self.unexplained(problem, state):
                    state = self.responded(problem, state)
        else:
            state = self.own_material(problem, state)
            state = released(problem, self.areas.finished(state, FINAL), FINAL)
            if self.unexplained(problem, state):
                state = self.sharpened(problem, state)
        if state.lens_blur_px > 0:
            self.notes["lens_blur_px"] = state.lens_blur_px
        with self.stage("nearness", 0.78):
            near, claims = state, Claims.of(problem, state, FINAL)
            state, self.mean = by_nearness(problem, state, FINAL, self.mean, claims)
            if np.isfinite(self.mean.told_sigma_mm):
                self.notes["nearness"] = asdict(self.mean)
        height = self.mean.mm
        if self.unexplained(problem, state) and problem.weight.size <= SETTLED_PIXELS:
            with self.stage("settling", 0.8) as gained:
                sums = (claims if state is near else Claims.of(problem, state, FINAL)).sums
                before, state = state.cost, settled(problem, state, FINAL, height, sums)
                gained(before, state.cost)
        if self.options.self_calibrate:
            with self.stage("self-calibration", 0.85):
                state, self.notes["self_calibration"] = with_lights(
                    problem, state, FINAL, self.lights, height
                )
        self.claims = claims if state is near else None
        return state

    def own_material(self, problem: Problem, state: State) -> State:
        """The state with a material of their own for odd places, if there are any."""
        if not self.config.material_map or not self.unexplained(problem, state):
            return state
        with self.stage("material map", 0.55) as gained:
            before = state.cost
            state, self.odd = with_own_places(
                problem, state, HUBER, self.options.height_mm, self.config.material_gain
            )
            if self.odd is not None:
                self.notes["own_material_share"] = float(self.odd.mean())
                gained(before, state.cost)
        return state

    def alternated(
        self, problem: Problem, state: State, refresh: Callable[[State], None] | None = None,
        first: float = np.inf, loss: Loss = FINAL,
    ) -> State:  # fmt: skip
        """The outer loop: what light reaches the surface, then steps, while that gains.

        The `first` turn must leave that share of the cost at most for another one to follow.
        """
        large = problem.weight.size > SETTLED_PIXELS
        goes_on = FOLLOWED_GOES_ON if self.follows else GOES_ON
        # Without the lens one turn tells whether it is needed; light that steps follow takes more.
        for turn in range(TURNS if refresh is not None or self.follows else 1):
            before, besides = state.cost, None
            if self.follows:
                besides = update_reflectance(problem, state.u, state.material, FINAL, turn)
            elif refresh is None:
                update_reflectance(problem, state.u, state.material, FINAL, turn, SOME)
            if self.follows or refresh is None or turn > 0:  # else it was brought up to date before
                kept = min(turn / (turn + 1), KEPT)
                self.transport(problem, state, self.rays, seed=turn, kept=kept, besides=besides)
            if refresh is not None:
                refresh(state)
            state = gauss_newton(
                problem, state, loss, self.options.height_mm, 4,
                stop=1e-3 if self.follows else 3e-3, pcg_iterations=60, firmness=self.firmness,
            )  # fmt: skip
            self.best = problem, state
            self.options.progress("last level", 0.5 + 0.3 * (turn + 1) / TURNS)
            if state.cost > (goes_on if turn > 0 or large else first) * before:
                break
            if refresh is None and not self.unexplained(problem, state):
                break
        return state

    def responded(self, problem: Problem, state: State) -> State:
        """With the pixels' response, if it explains the pictures better: blur, or area."""
        if fineness(problem.shape) == 1 or not self.config.response:
            return self.sharpened(problem, state)
        before = Light.of(problem)
        blurred = self.sharpened(problem, state)
        if not self.unexplained(problem, blurred):
            return blurred
        after = Light.of(problem)
        before.restore(problem)
        with self.stage("pixel areas", 0.75) as gained:
            areas = Areas(problem, self.options.height_mm, self.follows, self.firmness)
            found = released(problem, areas.finished(state, FINAL, state.cost), FINAL)
            if found.cost < self.config.response_gain * state.cost:
                found = self.sharpened(problem, found)
                if found.cost < blurred.cost:
                    gained(state.cost, found.cost)
                    return found
        after.restore(problem)
        return blurred

    def sharpened(self, problem: Problem, state: State) -> State:
        """The last level again with the lens's blur, where that explains the pictures better.

        Blur shows most at edges, and of edges that it has made odd the last loss has let go: so it
        is asked for and followed with the first one, then the last one goes on.
        """
        if not self.config.response:
            return state
        with self.stage("lens", 0.65) as gained:
            lens = Lens(problem)
            cost = problem.evaluate(state.u, state.material, HUBER, False).cost
            promised = lens.update(state.u, state.material, HUBER)
            wanted = PROMISED * (1 - self.config.response_gain) * cost
            if lens.sigma_px < MIN_SIGMA_PX or promised < wanted:
                return state
            light = Light.of(problem)
            lens.captured = light.code
            lens.sigma_px = max(lens.sigma_px, FIRST_SIGMA_PX)
            turns = 0

            def refresh(now: State) -> None:
                nonlocal turns
                if turns > 0:  # the surface follows the blur no longer: now its size shows
                    lens.update(now.u, now.material, HUBER)
                self.through(lens, now)
                turns += 1

            now = self.alternated(problem, replace(state, cost=cost), refresh, loss=HUBER)
            now = self.alternated(problem, now, refresh)
            if lens.sigma_px < MIN_SIGMA_PX or now.cost > self.config.response_gain * state.cost:
                light.restore(problem)
                self.best = problem, state
                return state
            if self.unexplained(problem, now, MUCH) and problem.weight.size <= SETTLED_PIXELS:
                now = self.within(problem, now, lens)
            gained(state.cost, now.cost)
            self.captured = light.code
            return replace(now, lens_blur_px=lens.sigma_px)

    def within(self, problem: Problem, state: State, lens: Lens) -> State:
        """With what the lens blurs between the middles of pixels, if that explains more."""
        if fineness(problem.shape) > 1:  # small pictures have their pixels as areas
            return state
        light = Light.of(problem)
        now = self.alternated(problem, state, lambda s: self.through(lens, s, WITHIN_TIMES), 1.0)
        if now.cost < WITHIN_GAIN * state.cost:
            return now
        light.restore(problem)
        self.best = problem, state
        return state

    def through(self, lens: Lens, state: State, times: int = 1) -> None:
        """The response of lens and pixels at a state, on pixels so many times finer."""
        lens.sharpen(state.u, state.material, times)
        if self.odd is not None:
            update_local(lens.problem, state.u, state.material, self.odd)
