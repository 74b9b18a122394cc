"""How sure a refined surface is, per pixel.

Four things make the surface uncertain; each is carried through the solver's own linear system.

- **Noise and what the model leaves unexplained.** At the solution the per-pixel gradients of the
  fit scatter about zero. Their scatter relative to their Gauss-Newton matrices is measured from
  the residuals themselves, with whatever error of the model they hold. Random gradients of that
  scatter, partly independent from pixel to pixel and partly shared over patches of several sizes
  (errors of a model are), are solved for; the spread of the solutions is the uncertainty. This is
  a parametric bootstrap (Efron 1979) with dependent noise (Shao 2010).
- **The lights.** Draws from their covariance move the gradients; each draw is solved for.
- **What no picture shows.** A part that goes on beyond the picture is drawn there as it may go on
  (`refine.beyond`); the light that comes from there moves the gradients.
- **The mean height**, which is an input: being wrong by its sigma bends the surface. Whoever gave
  it answers for it, so it is told apart and is not in the maps.

One factor, `MODEL_FACTOR`, accounts for errors that the fit absorbs without a trace in its
residuals; it was set on simulated parts and is tested on others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.integrate import at_mean_height
from reconstruct.refine.beyond import goes_on
from reconstruct.refine.data import binned
from reconstruct.refine.pixel import SHADOW_BIT
from reconstruct.refine.problem import Loss, Problem, System, light_table
from reconstruct.refine.pyramid import binned_weight
from reconstruct.refine.solve import Linearised, State, linearise
from reconstruct.refine.transport import update_indirect, update_shadows
from reconstruct.surface import Flag

Array = NDArray[np.float64]
DRAWS, LIGHT_DRAWS, BEYOND_DRAWS = 8, 4, 3
# Rays a pixel of the traces that tell what beyond leaves unsure: all along the same.
BEYOND_RAYS = 6
# Rows whose matrices are looked at together.
BAND_ROWS = 64
# Longer side up to which errors are drawn at full size; of larger pictures on coarser pixels.
DRAWN_PX = 128
# Standard deviations in pixels of the patches over which errors are shared; 0 is independent.
PATCHES_PX = (0.0, 1.5, 6.0, 24.0)
PATCH_VARIANCES = (6.5, 0.8, 0.16, 0.03)
MODEL_FACTOR = 0.9
# Relative error of the traced light from place to place: of all of it, and from patch to patch.
INDIRECT_COMMON, INDIRECT_PATCHES, INDIRECT_PATCH_PX = 0.2, 0.4, 8.0
SMOOTH_PX = 4.0
# Slopes less sure than this, from a pixel's nearest neighbourhood alone, are a guess.
UNLIT_SLOPE_SIGMA = 0.1
# Fewer lights than this, or than this share of them, leave a pixel in the shadow.
FEW_LIGHTS, FEW_SHARE = 8, 0.25
PCG_ITERATIONS = 80
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
    slope : (H, W) float32 sigma of the slopes as far as a pixel and its nearest neighbours tell
    shares : mean variance of height that each cause brings, mm²
    mean_height_bend_mm : RMS bend of the surface if the mean height given is off by its sigma
    """

    height_mm: NDArray[np.float32]
    normal_deg: NDArray[np.float32]
    slope: NDArray[np.float32]
    shares: dict[str, float]
    mean_height_bend_mm: float


def matrices(system: System, rows: slice = slice(None)) -> Array:
    """(h, W, 3, 3) Gauss-Newton matrix of (log-depth, two slopes) of each pixel of some rows."""
    s = system.sums[:, rows]
    full = np.stack([s[3], s[4], s[5], s[4], s[6], s[7], s[5], s[7], s[8]], axis=-1)
    return full.reshape(*s.shape[1:], 3, 3).astype(np.float64)


def _smooth(image: Array, weight: Array, sigma_px: float) -> Array:
    """Gaussian mean over the mask."""
    if sigma_px <= 0:
        return image
    total = cv2.GaussianBlur(image * weight, (0, 0), sigma_px)
    return total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma_px), 1e-6)


def scatter(system: System, weight: Array) -> Array:
    """(H, W) variance of a unit-information residual: gᵀ M⁻¹ g over its degrees of freedom.

    Three numbers a pixel are seen and about one is fitted, so two remain.
    """
    value = np.empty(weight.shape)
    for first in range(0, len(value), BAND_ROWS):
        rows = slice(first, first + BAND_ROWS)
        m = matrices(system, rows)
        g = np.moveaxis(system.sums[:3, rows], 0, -1).astype(np.float64)
        trace = np.einsum("...ii", m)
        m += (1e-9 + 1e-6 * trace)[..., None, None] * np.eye(3)
        value[rows] = (g * np.linalg.solve(m, g[..., None])[..., 0]).sum(-1) / 2.0
    # Outliers are what the robust loss lets through; a patch's level is what matters.
    top = np.quantile(value[weight > 0], 0.98) if (weight > 0).any() else 0.0
    return _smooth(np.minimum(value, top), weight, SMOOTH_PX)


def _field(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Array:
    """Unit-variance Gaussian field, shared over patches of `sigma_px`."""
    white = rng.standard_normal(shape)
    if sigma_px <= 0:
        return white
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

    def of(self, step: Array) -> tuple[Array, Array]:
        """Squared differences of height (mm²) and normal (rad²) that a step of log-depth makes."""
        moved = self.state.u + step
        change = self.problem.height_mm(moved) - self.height
        change -= change[self.mask].mean()
        turn = self.problem.normals(moved) - self.normals
        return np.square(change), np.square(turn).sum(-1)


def _noise_step(lin: Linearised, factors: Array, level: Array, rng: np.random.Generator) -> Array:
    shape = level.shape
    noise = np.zeros((*shape, 3))
    for patch, variance in zip(PATCHES_PX, PATCH_VARIANCES, strict=True):
        noise += np.sqrt(variance) * np.stack([_field(rng, shape, patch) for _ in range(3)], -1)
    gradient = np.einsum("...ij,...j->...i", factors, noise) * np.sqrt(level)[..., None]
    sums = np.ascontiguousarray(np.moveaxis(gradient, -1, 0), np.float32)
    return lin.solve(-lin.problem.gradient(sums), iterations=PCG_ITERATIONS)


def _slope_sigma(pp: Any, pq: Any, qq: Any, level: Any, weight: Any) -> Any:
    """Sigma of the worse of the two slopes, from the matrices of a pixel and its neighbours."""
    pp, pq, qq = (_smooth(entry, weight, 1.0) for entry in (pp, pq, qq))
    least = 0.5 * (pp + qq) - np.sqrt(0.25 * np.square(pp - qq) + np.square(pq))
    return np.sqrt(level / np.maximum(least, 1e-12))


def islands(told: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) places whose height only guessed slopes join to the largest told place of their piece.

    Their slopes are told, their level is not: it is summed up over slopes that no light tells.

    Parameters
    ----------
    told : (H, W) places whose slopes the pictures tell
    inside : (H, W) the part; its connected pieces are looked at one by one
    """
    pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[1]
    count, label, stats, _ = cv2.connectedComponentsWithStats(told.astype(np.uint8), connectivity=8)
    piece_of = np.zeros(count, np.int64)
    piece_of[label[told]] = pieces[told]
    main: dict[int, int] = {}
    for k in range(1, count):
        best = main.get(int(piece_of[k]))
        if best is None or stats[k, cv2.CC_STAT_AREA] > stats[best, cv2.CC_STAT_AREA]:
            main[int(piece_of[k])] = k
    kept: NDArray[np.bool_] = np.isin(label, list(main.values()))
    return told & ~kept


def quality(problem: Problem, slope_sigma: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) flags of a fitted surface: outside, clipped, shadowed, unlit."""
    code, count = problem.pictures.code, len(problem.pictures)
    flags = np.zeros(problem.shape, np.uint8)
    for row in range(problem.shape[0]):
        lit = np.count_nonzero((code[row] & SHADOW_BIT) == 0, axis=1)
        light = np.square((code[row] >> 2).astype(np.float32) * problem.pictures.scale)
        lost = (light * (code[row] & 1)).sum(axis=1)
        flags[row, lost > 0.5 * light.sum(axis=1)] |= np.uint8(Flag.CLIPPED)
        flags[row, lit < max(min(FEW_LIGHTS, count), FEW_SHARE * count)] |= np.uint8(Flag.SHADOWED)
    flags[slope_sigma > UNLIT_SLOPE_SIGMA] |= np.uint8(Flag.UNLIT)
    inside = problem.weight > 0
    flags[islands(inside & ((flags & int(Flag.UNLIT)) == 0), inside)] |= np.uint8(Flag.UNLIT)
    flags[problem.weight == 0] = np.uint8(Flag.OUTSIDE)
    return flags


def _drawn(lights: Lights, rng: np.random.Generator) -> Lights:
    """Lights drawn from their covariance."""
    count = len(lights)
    position, axis = lights.position_mm.copy(), lights.axis.copy()
    if lights.covariance is not None:
        for k in range(count):
            moved = rng.multivariate_normal(np.zeros(6), lights.covariance[k], method="eigh")
            position[k] += moved[:3]
            axis[k] += moved[3:]
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    if lights.common_covariance is not None:
        position += rng.multivariate_normal(np.zeros(3), lights.common_covariance, method="eigh")
    return replace(lights, position_mm=position, axis=axis)


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
    return [lin.solve(right, iterations=PCG_ITERATIONS) for right in rights]


def coarser(problem: Problem, state: State, factor: int) -> tuple[Problem, State]:
    """The same fit on pixels so many times larger."""
    weight = binned_weight(problem.weight > 0, problem.shape, factor)
    coarse = Problem(
        problem.camera.binned(factor), problem.lights, binned(problem.pictures, factor), weight,
        problem.flat, problem.flat_step / factor, threads=problem.threads,
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
    problem: Problem, state: State, loss: Loss, height_mm: float, height_sigma_mm: float
) -> Uncertainty:
    """One-sigma maps at a solution; the problem is left as it was.

    Errors that reach far are the same on coarser pixels, where large pictures have them drawn. What
    a single pixel's noise does to its own normal is added there from the pixel's own matrix.
    """
    factor = max(1, -(-max(problem.shape) // DRAWN_PX))
    system = problem.evaluate(state.u, state.material, loss, with_material=False)
    level = scatter(system, problem.weight.astype(np.float64))
    prior = height_mm, height_sigma_mm
    if factor == 1:
        return _drawn_estimate(problem, state, loss, level, prior)
    small, there = coarser(problem, state, factor)
    # Averaged pixels leave misfits of their own at edges: the level is that of the fit itself.
    own_level = cv2.resize(level, small.shape[::-1], interpolation=cv2.INTER_AREA)
    coarse = _drawn_estimate(small, there, loss, own_level, prior)
    size = problem.shape[::-1]

    def whole(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.float32)

    sums = system.sums
    own = sums[6] * sums[8] - sums[7] * sums[7]
    own = 0.5 * level * (sums[6] + sums[8]) / np.maximum(own, 1e-12)
    own = np.clip(own * (1 - factor**-2), 0.0, 1.0)
    return replace(
        coarse,
        height_mm=whole(coarse.height_mm),
        normal_deg=np.hypot(whole(coarse.normal_deg), np.degrees(np.sqrt(own))).astype(np.float32),
        slope=_slope_sigma(sums[6], sums[7], sums[8], level, problem.weight).astype(np.float32),
    )


def _drawn_estimate(
    problem: Problem, state: State, loss: Loss, level: Array, prior: tuple[float, float]
) -> Uncertainty:
    """One-sigma maps by draws at the problem's own size.

    `level` is the variance of a residual of unit information, `prior` mean height and its sigma.
    """
    rng = np.random.default_rng(0)
    weight = problem.weight.astype(np.float64)
    system = problem.evaluate(state.u, state.material, loss, False)
    lin = linearise(problem, system)
    m = matrices(system)
    trace = np.einsum("...ii", m)
    factors = np.linalg.cholesky(m + (1e-9 + 1e-6 * trace)[..., None, None] * np.eye(3))
    height_mm, height_sigma_mm = prior
    spread = Spread(problem, state)
    heights: dict[str, Array] = {}
    turns: dict[str, Array] = {}

    def gather(name: str, steps: list[Array], factor: float = 1.0) -> None:
        found = [spread.of(step) for step in steps]
        heights[name] = factor * np.mean([h for h, _ in found], axis=0)
        turns[name] = factor * np.mean([t for _, t in found], axis=0)

    gather(
        "pictures",
        [_noise_step(lin, factors, level, rng) for _ in range(DRAWS)],
        MODEL_FACTOR**2,
    )
    before = problem.gradient(system.sums)
    if problem.lights.covariance is not None or problem.lights.common_covariance is not None:
        table, steps = problem.table, []
        for _ in range(LIGHT_DRAWS):
            problem.table = light_table(_drawn(problem.lights, rng), problem.pictures.reference)
            moved = problem.evaluate(state.u, state.material, loss, False)
            right = before - problem.gradient(moved.sums)
            steps.append(lin.solve(right, iterations=PCG_ITERATIONS))
        problem.table = table
        gather("lights", steps)
    if problem.traced.shape[0] > 1:
        traced, steps = problem.traced, []
        for _ in range(LIGHT_DRAWS):
            patches = _field(rng, traced.shape[:2], INDIRECT_PATCH_PX)
            factor = 1 + INDIRECT_COMMON * rng.standard_normal() + INDIRECT_PATCHES * patches
            problem.traced = traced.copy()  # the light and its derivatives, not their slopes
            problem.traced[..., : 3 * len(problem.pictures)] *= factor[..., None]
            moved = problem.evaluate(state.u, state.material, loss, False)
            right = before - problem.gradient(moved.sums)
            steps.append(lin.solve(right, iterations=PCG_ITERATIONS))
        problem.traced = traced
        gather("inter-reflection", steps)
        if goes_on(problem):
            gather("beyond the picture", beyond_steps(problem, state, rng))
    bend = 0.0
    if height_sigma_mm > 0:
        raised = at_mean_height(
            state.u, height_mm + height_sigma_mm, problem.camera, problem.xy, weight > 0
        )
        moved = problem.evaluate(raised, state.material, loss, False)
        right = before - problem.gradient(moved.sums)
        step = lin.solve(right, iterations=PCG_ITERATIONS)
        bend = float(np.sqrt(spread.of(raised - state.u + step)[0][weight > 0].mean()))
    variance = _smooth(np.sum(list(heights.values()), axis=0), weight, SMOOTH_PX)
    turned = _smooth(np.sum(list(turns.values()), axis=0), weight, SMOOTH_PX)
    inside = weight > 0
    return Uncertainty(
        np.sqrt(variance).astype(np.float32),
        np.degrees(np.sqrt(turned)).astype(np.float32),
        _slope_sigma(m[..., 1, 1], m[..., 1, 2], m[..., 2, 2], level, weight).astype(np.float32),
        {name: float(values[inside].mean()) for name, values in heights.items()},
        bend,
    )
