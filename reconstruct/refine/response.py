"""The response of lens and pixels, where that explains the pictures better: blur, or area."""

from __future__ import annotations

from dataclasses import replace

from reconstruct.refine.dirt import update_local
from reconstruct.refine.fit import FINAL, HUBER, Fit
from reconstruct.refine.lens import Lens
from reconstruct.refine.problem import Problem
from reconstruct.refine.solve import State
from reconstruct.refine.subpixel import Areas, Light, fineness, released

# The least blur in px that is taken out, and the first guess: the surface has followed the blur,
# so that the first step towards it comes out short, and promises less than it will bring: it is
# tried from that share of the gain on that is asked for.
# Its size is found where another one promises less than a share of the cost.
MIN_SIGMA_PX, FIRST_SIGMA_PX, PROMISED, RESTS = 0.2, 0.5, 0.5, 1e-3
# The part's own light is blurred on pixels so many times finer where so many times what is taken
# as explained is left, and if that leaves a share of the cost at most: it takes long.
WITHIN_TIMES, MUCH, WITHIN_GAIN = 2, 1.25, 0.99


def responded(run: Fit, problem: Problem, state: State) -> State:
    """Small pictures with their pixels' response, if it explains them better: blur, or area."""
    if not run.config.response:
        return state
    before = Light.of(problem)
    blurred = sharpened(run, problem, state)
    if not run.unexplained(problem, blurred):
        return blurred
    after = Light.of(problem)
    before.restore(problem)
    with run.stage("pixel areas", 0.75) as gained:
        areas = Areas(problem, run.options.height_mm, run.follows, run.firmness)
        found = released(problem, areas.finished(state, FINAL, state.cost), FINAL)
        if found.cost < run.config.response_gain * state.cost:
            found = sharpened(run, problem, found)
            if found.cost < blurred.cost:
                gained(state.cost, found.cost)
                return found
    after.restore(problem)
    return blurred


def sharpened(run: Fit, problem: Problem, state: State) -> State:
    """The last level again with the lens's blur, where that explains the pictures better.

    Blur shows most at edges, and of edges that it has made odd the last loss has let go: so it
    is asked for and followed with the first one, then the last one goes on.
    """
    if not run.config.response:
        return state
    with run.stage("lens", 0.65) as gained:
        lens = Lens(problem)
        promised = lens.update(state.u, state.material, HUBER)
        wanted = PROMISED * (1 - run.config.response_gain)
        if lens.sigma_px < MIN_SIGMA_PX or promised < wanted:
            return state
        cost = problem.evaluate(state.u, state.material, HUBER, False).cost
        light = Light.of(problem)
        lens.captured = light.code
        lens.sigma_px = max(lens.sigma_px, FIRST_SIGMA_PX)
        turns, left = 0, promised
        run.traces = 0  # the lens moves the surface away from where its light was traced

        def refresh(now: State) -> None:
            nonlocal turns, left
            if turns > 0 and left > RESTS:  # the surface follows the blur no longer: its size shows
                left = lens.update(now.u, now.material, HUBER)
            through(run, lens, now)
            turns += 1

        now = run.alternated(problem, replace(state, cost=cost), refresh, loss=HUBER)
        now = run.alternated(problem, now, refresh)
        if lens.sigma_px < MIN_SIGMA_PX or now.cost > run.config.response_gain * state.cost:
            light.restore(problem)
            run.best = problem, state
            return state
        if run.unexplained(problem, now, MUCH):
            now = within(run, problem, now, lens)
        gained(state.cost, now.cost)
        run.captured = light.code
        return replace(now, lens_blur_px=lens.sigma_px)


def within(run: Fit, problem: Problem, state: State, lens: Lens) -> State:
    """With what the lens blurs between the middles of pixels, if that explains more."""
    if problem.large or fineness(problem.shape) > 1:  # small ones have their pixels as areas
        return state
    light = Light.of(problem)
    now = run.alternated(problem, state, lambda s: through(run, lens, s, WITHIN_TIMES), 1.0)
    if now.cost < WITHIN_GAIN * state.cost:
        return now
    light.restore(problem)
    run.best = problem, state
    return state


def through(run: Fit, lens: Lens, state: State, times: int = 1) -> None:
    """The response of lens and pixels at a state, on pixels so many times finer."""
    lens.sharpen(state.u, state.material, times)
    if run.odd is not None:
        update_local(lens.problem, state.u, state.material, run.odd)
