"""How sure a refined surface is, per pixel.

Several things make the surface uncertain; each is carried through the solver's own linear system,
as gradients that it may have had besides.

- **What lights contradict each other in** (`refine.halves`): noise, lights' own errors, and what
  the model gets wrong as a light shows it. It reaches as far as that light shines.
- **What neighbours contradict each other in** (`refine.turned`): errors of the model as they show
  from place to place. Slopes that no surface has are left; those that one has went into the height.
- **What a pixel averages** (`pixel_gradient`): it sees the mean of its normals, and the lens mixes
  it with its neighbours; the mean of their slopes is another.
- **Light between places of the part, and from beyond the picture** (`refine.beyond`).
- **Lights and camera** by the covariance of their calibration (`refine.calibrated`).
- **The mean height**, which is an input: being wrong by its sigma bends the surface. Whoever gave
  it answers for it, so it is told apart and is not in the maps. What pixels that no light tells
  leave of it open (`refine.claims`) is.

`LIGHTS`, `NEIGHBOURS` and `PIXEL` weigh the first causes; they were set together, by
likelihood, on simulated parts with and without misfit of their material, and are tested on others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.integrate import at_mean_height, slopes
from reconstruct.refine.beyond import goes_on
from reconstruct.refine.calibrated import camera_changes, wrong_lights
from reconstruct.refine.claims import (
    SMOOTH_PX,
    Claims,
    MeanHeight,
    matrices,
    smooth,
)
from reconstruct.refine.data import binned
from reconstruct.refine.halves import block_px
from reconstruct.refine.problem import Loss, Problem, System
from reconstruct.refine.pyramid import binned_weight
from reconstruct.refine.solve import Linearised, State, linearise
from reconstruct.refine.transport import update_indirect, update_shadows
from reconstruct.refine.turned import turned_gradients
from reconstruct.repeats import Repeats

Array = NDArray[np.float64]
DRAWS, TRACE_DRAWS, BEYOND_DRAWS, REPEATS = 8, 4, 3, 8
# Rays a pixel of the traces that tell what beyond leaves unsure: all along the same.
BEYOND_RAYS = 6
# Weights of the causes; see above.
LIGHTS, NEIGHBOURS, PIXEL = 0.7, 2.8, 0.25
# Blur in px where the fit has found none: of the pixels' own lens.
USUAL_BLUR_PX = 0.5
# Relative error of the traced light from place to place, as captured pictures showed it: of all of
# it, and from patch to patch.
INDIRECT_COMMON, INDIRECT_PATCHES, INDIRECT_PATCH_PX = 0.03, 0.15, 8.0
# Light from beyond the picture is looked at, and that from within it drawn more than once, where
# this brings more than a share of the variance that the pictures bring.
NEGLIGIBLE = 0.01
# Where the light from beyond is wrong by much, a robust loss has turned away from the pictures and
# says nothing of where they would lead.
SQUARES = Loss("huber", 1e3)


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """One-sigma maps of a surface.

    Attributes
    ----------
    height_mm : (H, W) float32, the mean height removed
    normal_deg : (H, W) float32, angle between true and fitted normal
    flags : (H, W) uint8, what is claimed of the surface (`claims.quality`)
    shares : mean variance of height that each cause brings, mm²
    mean_height_bend_mm : RMS bend of the surface if the mean height given is off by its sigma
    repeats : changes between recordings, by noise alone
    """

    height_mm: NDArray[np.float32]
    normal_deg: NDArray[np.float32]
    flags: NDArray[np.uint8]
    shares: dict[str, float]
    mean_height_bend_mm: float
    repeats: Repeats

    @property
    def repeatability_mm(self) -> float:
        """RMS by which the surface changes between recordings."""
        return float(np.sqrt(np.nanmean(np.square(self.repeats.change_mm))))


def _field(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Array:
    """Unit-variance Gaussian field, shared over patches of `sigma_px`."""
    white = rng.standard_normal(shape)
    if 6 * sigma_px > min(shape):
        sigma_px = min(shape) / 6
    soft = cv2.GaussianBlur(white, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101)
    return soft / max(float(soft.std()), 1e-12)


class Spread:
    """Gathers surfaces near the fitted one into variances of height and normal."""

    def __init__(self, problem: Problem, state: State) -> None:
        self.problem, self.state = problem, state
        self.mask = problem.weight > 0
        self.height = problem.height_mm(state.u)
        self.normals = problem.normals(state.u)

    def change_mm(self, step: Array, by: Problem | None = None) -> Array:
        """(H, W) change of height, its mean removed, that a step of log-depth makes."""
        change = (by or self.problem).height_mm(self.state.u + step) - self.height
        return np.asarray(change - change[self.mask].mean())

    def of(self, step: Array, by: Problem | None = None) -> tuple[Array, Array]:
        """Squared differences of height (mm²) and normal (rad²) that a step of log-depth makes.

        `by` is the problem with another camera, if that has moved too.
        """
        moved, by = self.state.u + step, by or self.problem
        change = self.change_mm(step, by)
        turn = by.normals(moved) - self.normals
        return np.square(change), np.square(turn).sum(-1)


def _noise_step(
    lin: Linearised, factors: Array, level: float, rng: np.random.Generator
) -> Array:  # fmt: skip
    """The step that gradients of independent pixels lead to; `level`: variance of a residual."""
    noise = rng.standard_normal(factors.shape[:-1])
    gradient = np.einsum("...ij,...j->...i", factors, noise) * np.sqrt(level)
    sums = np.ascontiguousarray(np.moveaxis(gradient, -1, 0), np.float32)
    return lin.solve(-lin.problem.gradient(sums))


def pixel_gradient(problem: Problem, state: State, sums: NDArray[np.float32]) -> Array:
    """(3, H, W) gradient of the slopes that pixels may show for those they have on average.

    A pixel shows the mean of its unit normals n = m / |m|, m = (s, −1). To second order that is
    the normal of the slopes s (1 − v / (1 + s²)) with v the variance of the slopes in what the
    pixel sees: over its own area, 1/12 px², and over the lens's blur.
    """
    p, q = slopes(state.u, problem.jacobians)
    change = np.zeros(p.shape)
    for slope in (p, q):
        for axis in (0, 1):
            step = np.moveaxis(0.5 * np.square(np.diff(slope, axis=axis)), axis, 0)
            both = np.zeros(p.shape)
            np.moveaxis(both, axis, 0)[1:] += step
            np.moveaxis(both, axis, 0)[:-1] += step
            change += both
    blur = state.lens_blur_px or USUAL_BLUR_PX
    share = -(1 / 12 + blur**2) * change / (1 + np.square(p) + np.square(q))
    p, q = share * p, share * q  # the changes that are asked for
    return -np.stack([np.zeros_like(p), sums[6] * p + sums[7] * q, sums[7] * p + sums[8] * q])


def beyond_steps(problem: Problem, state: State, rng: np.random.Generator) -> list[Array]:
    """Steps of log-depth that ways in which the part may go on beyond the picture lead to."""
    held = problem.traced, problem.indirect_step

    def system(drawn: np.random.Generator | None) -> System:
        # Of the same rays each time, so that they differ by what they hit.
        update_indirect(problem, state.u, state.material, samples=BEYOND_RAYS, drawn=drawn)
        return problem.evaluate(state.u, state.material, SQUARES, False)

    likeliest = system(None)
    lin, before = linearise(problem, likeliest), problem.gradient(likeliest.sums)
    rights = [before - problem.gradient(system(rng).sums) for _ in range(BEYOND_DRAWS)]
    problem.traced, problem.indirect_step = held
    return [lin.solve(right) for right in rights]


def coarser(problem: Problem, state: State, factor: int) -> tuple[Problem, State]:
    """The same fit on pixels so many times larger."""
    weight = binned_weight(problem.weight > 0, problem.shape, factor)
    coarse = Problem(
        problem.camera.binned(factor), problem.lights, binned(problem.pictures, factor), weight,
        problem.flat, threads=problem.threads,
    )  # fmt: skip
    height, width = coarse.shape
    if problem.local.shape[1] > 1:
        coarse.local = np.stack(
            [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in problem.local]
        )
    coarse.traced = np.ascontiguousarray(problem.indirect)
    coarse.indirect_step = problem.indirect_step / factor
    coarse.mirroring = problem.mirroring
    u = np.ascontiguousarray(state.u[::factor, ::factor][: height + 1, : width + 1])
    update_shadows(coarse, u)
    return coarse, replace(state, u=u)


def estimate(
    problem: Problem, state: State, loss: Loss, mean: MeanHeight, claims: Claims | None = None
) -> Uncertainty:
    """One-sigma maps at a solution; the problem is left as it was.

    Errors that reach far are the same on coarser pixels, where large pictures have them drawn. What
    a single pixel's noise does to its own normal is added there from the pixel's own matrix.
    """
    factor = block_px(problem.shape)
    claims = claims or Claims.of(problem, state, loss)
    sums, level = claims.sums, claims.level
    pixel = pixel_gradient(problem, state, sums)
    small, there = (problem, state) if factor == 1 else coarser(problem, state, factor)
    # Averaged pixels leave misfits of their own at edges: what is left is that of the fit itself.
    told = Told(
        _means(sums, factor), claims.halves, _means(pixel, factor), mean.mm, mean.sigma_mm,
        min(claims.guessed_mm, mean.told_sigma_mm),
    )  # fmt: skip
    found = _drawn_estimate(small, there, loss, told)
    if factor == 1:
        return replace(found, flags=claims.flags)

    def whole(image: NDArray[np.float32]) -> NDArray[np.float32]:
        size = problem.shape[::-1]
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.float32)

    own = sums[6] * sums[8] - sums[7] * sums[7]
    own = 0.5 * level * (sums[6] + sums[8]) / np.maximum(own, 1e-12)
    own = np.clip(own * (1 - factor**-2), 0.0, 1.0)
    return replace(
        found,
        height_mm=whole(found.height_mm),
        normal_deg=np.hypot(whole(found.normal_deg), np.degrees(np.sqrt(own))).astype(np.float32),
        flags=claims.flags,
        repeats=replace(found.repeats, block_px=factor),
    )


def _means(image: NDArray[np.floating], factor: int) -> Array:
    """(n, H / factor, W / factor) means over blocks."""
    height, width = (size // factor for size in image.shape[1:])
    image = image[:, : height * factor, : width * factor]
    return np.asarray(image.reshape(-1, height, factor, width, factor).mean(axis=(2, 4)))


@dataclass(frozen=True, eq=False)
class Told:
    """What the fit at full size tells a drawn estimate, on the pixels of that.

    Attributes
    ----------
    sums : (9, h, w) gradients and matrices, of `System`
    halves : (R, 3, h, w) gradients with the lights' shares signed; pixel : (3, h, w) that of pixels
    height_mm, height_sigma_mm : mean height and its sigma
    guessed_mm : what the mean height of the told places is unsure by
    """

    sums: Array
    halves: NDArray[np.float32]
    pixel: Array
    height_mm: float
    height_sigma_mm: float
    guessed_mm: float


def _drawn_estimate(problem: Problem, state: State, loss: Loss, told: Told) -> Uncertainty:
    """One-sigma maps by draws at the problem's own size."""
    rng = np.random.default_rng(0)
    weight = problem.weight.astype(np.float64)
    system = problem.evaluate(state.u, state.material, loss, False)
    lin = linearise(problem, system)
    m = matrices(system)
    trace = np.einsum("...ii", m)
    factors = np.linalg.cholesky(m + (1e-9 + 1e-6 * trace)[..., None, None] * np.eye(3))
    spread = Spread(problem, state)
    heights: dict[str, Array] = {}
    turns: dict[str, Array] = {}
    before = problem.gradient(system.sums)

    def gather(name: str, found: list[tuple[Array, Array]], factor: float = 1.0) -> None:
        for maps, of in ((heights, 0), (turns, 1)):
            variance = factor**2 * np.mean([squares[of] for squares in found], axis=0)
            maps[name] = maps.get(name, 0.0) + variance

    def solved(gradient: Array) -> tuple[Array, Array]:
        right = -problem.gradient(np.asarray(gradient, np.float32))
        return spread.of(lin.solve(right))

    def answer() -> Array:
        """The step that the problem as it is now asks for."""
        moved = problem.evaluate(state.u, state.material, loss, False)
        return lin.solve(before - problem.gradient(moved.sums))

    drawn = turned_gradients(told.sums, weight, DRAWS, rng)
    gather("neighbours", [solved(gradient) for gradient in drawn], NEIGHBOURS)
    gather("pictures", [solved(gradient) for gradient in told.halves], LIGHTS)
    gather("pixel", [solved(told.pixel)], PIXEL)
    calibrated = problem.lights
    for group, times in wrong_lights(calibrated, rng):
        steps = []
        for lights in group:
            problem.lights = lights
            steps.append(answer())
        problem.lights = calibrated
        gather("lights", [spread.of(step) for step in steps], times)
    if problem.camera.covariance is not None:
        changes = [spread.of(step, by) for step, by in camera_changes(problem, state, loss, lin)]
        gather("camera", changes, np.sqrt(len(changes)))
    if problem.traced.shape[0] > 1:
        traced = problem.traced

        def wrong(factor: Array) -> tuple[Array, Array]:
            problem.traced = traced.copy()  # the light and its derivatives, not their slopes
            problem.traced[..., : 3 * len(problem.pictures)] *= factor
            return spread.of(answer())

        patches, common = [], wrong(np.array(1 + INDIRECT_COMMON))
        both = heights["pictures"].mean() + heights["neighbours"].mean()
        for _ in range(TRACE_DRAWS):
            patch = _field(rng, traced.shape[:2], INDIRECT_PATCH_PX)
            patches.append(wrong(1 + INDIRECT_PATCHES * patch[..., None]))
            if patches[0][0].mean() + common[0].mean() < NEGLIGIBLE * both:
                break  # one is enough to tell
        problem.traced = traced
        gather("inter-reflection", patches)
        gather("inter-reflection", [common])
        share = heights["inter-reflection"].mean() / both
        if goes_on(problem) and share > NEGLIGIBLE:
            beyond = beyond_steps(problem, state, rng)
            gather("beyond the picture", [spread.of(step) for step in beyond])
    bend = 0.0
    unsure_mm = max(told.height_sigma_mm, told.guessed_mm)
    if unsure_mm > 0:
        raised = at_mean_height(
            state.u, told.height_mm + unsure_mm, problem.camera, problem.xy, weight > 0
        )
        moved = problem.evaluate(raised, state.material, loss, False)
        right = before - problem.gradient(moved.sums)
        step = lin.solve(right)
        bent = spread.of(raised - state.u + step)
        bend = float(np.sqrt(bent[0][weight > 0].mean())) * told.height_sigma_mm / unsure_mm
        if told.guessed_mm > 0:
            gather("guessed places", [bent], told.guessed_mm / unsure_mm)
    variance = smooth(np.sum(list(heights.values()), axis=0), weight, SMOOTH_PX)
    turned = smooth(np.sum(list(turns.values()), axis=0), weight, SMOOTH_PX)
    inside = weight > 0
    # The last to be drawn, so that how many they are moves no other draw.
    again = [_noise_step(lin, factors, problem.pictures.noise**2, rng) for _ in range(REPEATS)]
    repeated = [np.where(inside, spread.change_mm(step), np.nan) for step in again]
    return Uncertainty(
        np.sqrt(variance).astype(np.float32),
        np.degrees(np.sqrt(turned)).astype(np.float32),
        np.zeros(weight.shape, np.uint8),
        {name: float(values[inside].mean()) for name, values in heights.items()},
        bend,
        Repeats(np.stack(repeated).astype(np.float32)),
    )
