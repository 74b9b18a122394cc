"""The start on few pixels whose descent explains the pictures best, and where it went astray."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reconstruct.integrate import at_mean_height
from reconstruct.refine.claims import dark_share
from reconstruct.refine.fit import FINAL, FIRMNESS, GOES_ON, HUBER, Fit
from reconstruct.refine.lay import find_lay
from reconstruct.refine.problem import Problem
from reconstruct.refine.pyramid import late_factor, upsampled
from reconstruct.refine.reflectance import update_reflectance
from reconstruct.refine.solve import State, fit_material, gauss_newton
from reconstruct.refine.starts import first_materials, first_surface, learned_surface
from reconstruct.refine.subpixel import FIRST_ROUNDS, Areas
from reconstruct.refine.transport import update_shadows

# Share of the part without any highlight from which the half vector is not the only start.
DARK_PLACES = 0.01
# With pixels as areas: so many turns at most, while one leaves less than a share of the last cost.
AREA_TURNS, AREAS_GO_ON = 48, 0.985
# Where the network's surface costs so many times more, it is not descended from twice.
FAR_OFF = 1.25


def begin(run: Fit, problem: Problem) -> State:
    """The start on few pixels whose descent explains the pictures best."""
    wanted = run.options.start
    starts = [s for s in ("halfvector", "flat", "dpps") if s == wanted]
    if wanted == "auto":
        starts = [s for s in ("halfvector", "dpps", "flat") if s in run.config.starts]
    best: State | None = None
    tried: dict[str, float] = {}
    # Highlights alone say nothing of a place that shows none.
    alone = dark_share(problem) < DARK_PLACES
    # Finer levels, where there are any, show whether patches are misfit by a wrong start.
    astray = run.misfit if problem.shape == run.pictures.shape else run.lost
    untraced = problem.traced
    for name in starts:
        u = first_surface(name, problem, run.ids, run.lights, run.options)
        if u is None:
            continue
        problem.traced = untraced  # a start knows nothing of the one before
        update_shadows(problem, u)
        before = best
        for material in first_materials(problem, u, HUBER):
            start = f"{name}/{material.model}"
            best = lower(run, problem, best, State(u, material), start, tried)
            told = run.material_tells(problem, best)
            if told:
                break
        assert best is not None
        if run.config.lay and best is not before and not told:
            best = directed(run, problem, best, name, tried)
            told = run.material_tells(problem, best)
        if name == "halfvector" and not alone:
            continue
        if told and not astray(problem, best):
            break
    assert best is not None
    run.notes["starts"] = tried
    if len(tried) > 1:
        run.transport(problem, best)  # until now that of the last start
    if not run.config.linearised_transport or not run.lost(problem, best):
        return best
    # As points, a part whose walls light each other fits best where it is not.
    run.follows = True
    return followed_by_areas(run, problem, best)


def directed(run: Fit, problem: Problem, state: State, name: str, tried: dict[str, float]) -> State:
    """The same with a directed finish, where that explains the pictures much better."""
    best = state
    lay = find_lay(problem, state.u, state.material, HUBER)
    if lay is None:
        return state
    for model in ("ggx", "beckmann"):
        first, _ = fit_material(problem, state.u, replace(lay, model=model), HUBER)
        best = lower(run, problem, best, State(state.u, first), f"{name}/lay/{model}", tried)
        if run.material_tells(problem, best):
            break
    return best


def lower(
    run: Fit,
    problem: Problem,
    best: State | None,
    start: State,
    name: str,
    tried: dict[str, float],
) -> State:
    """The best state so far or where a start descends to, with its reflectance."""
    learned, problem.mirroring = problem.mirroring, 1.0
    found = descend(run, problem, start)
    tried[name] = found.cost / problem.count
    if best is None or found.cost < best.cost:
        return found
    problem.mirroring = learned
    return best


def descend(run: Fit, problem: Problem, state: State) -> State:
    """Gauss-Newton with shadows and inter-reflection brought up to date between rounds."""
    for seed, rounds in enumerate((12, 6, 6)):
        # With that light from the first step on: a good start is lost where walls light each
        # other else.
        before = state.cost
        run.transport(problem, state, seed=seed, by_slopes=False)
        state = gauss_newton(problem, state, HUBER, run.options.height_mm, rounds)
        update_reflectance(problem, state.u, state.material, FINAL)
        idle = state.cost > GOES_ON * before or not run.unexplained(problem, state)
        if idle and problem.shape != run.pictures.shape:  # finer levels go on
            break
    return state


def followed_by_areas(run: Fit, problem: Problem, state: State) -> State:
    """On with light between places that moves with the surface, and with pixels as areas.

    A wall that only other walls light is told by what it mirrors. With that light held, any
    slope of it fits as well as any other. Pixels of the first level are never points of the part.
    """
    run.areas = Areas(problem, run.options.height_mm, True, FIRMNESS)
    before = np.inf
    while run.areas.turns < AREA_TURNS:
        state = run.areas.turn(state, HUBER, FIRST_ROUNDS)
        update_reflectance(problem, state.u, state.material, FINAL)
        if state.cost > AREAS_GO_ON * before:
            break
        before = state.cost
    run.notes["followed_by_areas"] = run.areas.turns
    return state


def begun_late(run: Fit, coarse: Problem, state: State, factor: int) -> tuple[Problem, State, int]:
    """The level and state that came up from coarse pixels, or one at the network's surface.

    Relief that turns within a coarse pixel leaves pictures there that no surface explains; what
    fits them best is far from the part, and finer levels do not lead back from it. Which of the
    two goes on shows on 256 pixels (`late_factor`). Returns a binning factor, too.
    """
    finer = min(factor, late_factor(max(run.pictures.shape)))
    problem = run.problem(finer)
    learned = learned_surface(problem, run.ids, run.lights, run.options)
    if learned is None:
        return coarse, state, factor
    tried: dict[str, float] = {}
    first = brought(run, coarse, state, problem, factor // finer)
    came_up = lower(run, problem, None, first, "came up", tried)
    update_shadows(problem, learned)
    best: State | None = None
    for material in first_materials(problem, learned, HUBER):
        first = State(learned, material)
        best = lower(run, problem, best, first, f"dpps/{material.model}", tried)
        # Another distribution does not mend what is far off, and is not needed by what is better.
        if not came_up.cost < best.cost < FAR_OFF * came_up.cost:
            break
    assert best is not None
    run.notes["late_starts"] = tried
    if best.cost > came_up.cost:
        return coarse, state, factor
    run.follows = False
    run.transport(problem, best)  # until now that of the last start
    return problem, best, finer


def brought(run: Fit, coarse: Problem, state: State, fine: Problem, factor: int) -> State:
    """A state on pixels so many times finer, with the light between places of the coarse."""
    u = upsampled(state.u, factor, fine.shape)
    inside = fine.weight > 0
    u = at_mean_height(u, run.options.height_mm, fine.camera, fine.xy, inside)
    fine.traced = np.ascontiguousarray(coarse.indirect)
    fine.mirroring = coarse.mirroring
    fine.indirect_step = coarse.indirect_step * factor
    return State(u, state.material)
