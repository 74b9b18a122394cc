"""What the surface does to its own light: cast shadows, and light from place to place.

Both are taken from `reconstruct.optics` at the current surface and held while a step is solved,
with the surface continued beyond the picture (`refine.beyond`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.integrate import slopes
from reconstruct.optics.interreflection import Rays, scene_of
from reconstruct.optics.material import Lobe, Tangents, circular_lay, index_of_reflectance
from reconstruct.optics.material import Material as OpticsMaterial
from reconstruct.optics.mirrored import Cost, by_mirrored_slopes
from reconstruct.optics.shadows import Relief, visibility
from reconstruct.optics.tracing import Scene, trace
from reconstruct.refine import kernel
from reconstruct.refine.beyond import (
    BEYOND_SHADOWS,
    BEYOND_TRACED,
    Continued,
    continued,
    continued_depth,
)
from reconstruct.refine.data import averaged, blurred
from reconstruct.refine.pixel import SHADOW_BIT
from reconstruct.refine.problem import TYPICAL_REFLECTANCE, Loss, Material, Problem
from reconstruct.refine.pyramid import subdivided

Array = NDArray[np.float64]
LIGHTS_AT_ONCE = 8  # one bit each
# Cells along the longer side on which light between places is traced, where not by pixel.
GRID = 128
# Change of a slope, over 1 + p² + q², by which the light of places that mirror others changes.
SLOPE_STEP = 0.01
# Of the bound on what a change of slopes changes in the places that mirror them; steps within it
# would be sure to gain, and are short: few of the places that one mirrors change together.
STIFFNESS = 0.02


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A surface on the grid that light is traced on, and what its places see of each light."""

    key: tuple[Any, ...]
    around: Continued
    seen: NDArray[np.float32]

    @property
    def inner(self) -> NDArray[np.float32]:
        """(h, w, N) what the places in the picture see."""
        border = self.around.border
        rows, columns = (slice(border, size - border) for size in self.seen.shape[:2])
        return self.seen[rows, columns]


def surroundings(
    problem: Problem, u: Array, factor: int, drawn: np.random.Generator | None = None
) -> Surroundings:
    """Of a surface; kept, since the same one is asked for several times."""
    key = u, problem.weight, problem.lights, problem.finer, factor
    known = problem.surroundings
    if (
        isinstance(known, Surroundings)
        and drawn is None
        and all(a is b for a, b in zip(known.key, key, strict=True))
    ):
        return known
    around = continued(*subdivided(problem, u, problem.finer), factor, BEYOND_TRACED, drawn)
    seen = visibility(around.points, around.camera, problem.lights.position_mm)
    found = Surroundings(key, around, np.ascontiguousarray(np.moveaxis(seen, 0, -1)))
    problem.surroundings = None if drawn else found
    return found


def update_shadows(problem: Problem, u: Array, seen: NDArray[np.float32] | None = None) -> None:
    """Mark which pixel-lights lie in cast shadow: those that see (H, W, N) less than half."""
    if seen is not None:
        dark = (seen < 0.5) & (problem.weight > 0)[..., None]
        code = problem.pictures.code
        code &= np.uint16(0xFFFF ^ SHADOW_BIT)
        code |= dark * np.uint16(SHADOW_BIT)
        return
    depth_mm, inside, camera, border = continued_depth(problem, u, 1, BEYOND_SHADOWS)
    relief = Relief.of(np.where(inside, depth_mm, np.nan), camera)
    position_mm = problem.lights.position_mm
    casting = np.flatnonzero(relief.cast_by(position_mm))
    hidden = np.zeros((*problem.shape, -(-len(casting) // LIGHTS_AT_ONCE)), np.uint8)
    inner = (slice(None), *(slice(border, border + size) for size in problem.shape))
    for place in range(hidden.shape[2]):
        lights = casting[place * LIGHTS_AT_ONCE : (place + 1) * LIGHTS_AT_ONCE]
        seen = relief.lit_by(position_mm[lights])[inner]
        kernel.pack_shadows(seen, problem.weight, hidden[..., place])

    def rows(band: tuple[int, int]) -> None:
        kernel.mark_shadows(band, problem.pictures.code, hidden, casting)

    problem.mapped(rows, problem.bands())


def table_lights(problem: Problem) -> Lights:
    """The lights for the tracer, of the strength that the kernel takes them to have."""
    return replace(problem.lights, power=problem.table[6].astype(np.float64), intensity=1.0)


def optics_material(
    problem: Problem, material: Material, local: Any = (0.0, 0.0, 0.0)
) -> tuple[OpticsMaterial, float]:
    """The material for the tracer, with what places have of their own (`own_places`).

    Comes with the factor that its light is to be scaled by.
    """
    known = problem.lights.intensity is not None
    reflectance = material.ks if known else TYPICAL_REFLECTANCE
    reflectance = float(np.clip(reflectance * problem.mirroring, 0.2, 0.98))
    n, k = index_of_reflectance(reflectance)
    scale = material.ks / reflectance
    ln_ks, kd, ln_alpha = local
    along, across = (np.exp(ln_alpha) * alpha for alpha in (material.alpha_x, material.alpha_y))
    lobe = Lobe(
        along, across if material.anisotropic else None, n, k, np.exp(ln_ks),
        material.model,  # type: ignore[arg-type]
    )  # fmt: skip
    kind, angle, x, y = material.brush
    straight = np.array([np.cos(angle), np.sin(angle), 0.0])
    tangents: Tangents = circular_lay((x, y)) if kind == 1 else straight
    diffuse = np.clip((material.kd + kd) / max(scale, 1e-9), 0.0, 0.95)
    return OpticsMaterial((lobe,), diffuse, tangents), scale


def own_places(problem: Problem, around: Continued) -> Any:
    """(3, h, w) `Problem.local` at a continued surface's places, or three times 0."""
    if problem.local.shape[1] == 1:
        return 0.0, 0.0, 0.0
    border = around.border
    height, width = (size - 2 * border for size in around.points.shape[:2])
    maps = [cv2.resize(m, (width, height), interpolation=cv2.INTER_AREA) for m in problem.local]
    return np.pad(maps, ((0, 0), (border, border), (border, border)), mode="edge").astype(float)


def update_indirect(
    problem: Problem,
    u: Array,
    material: Material,
    samples: int = 64,
    seed: int = 0,
    by_slopes: bool = False,
    kept: float = 0.0,
    drawn: np.random.Generator | None = None,
    besides: NDArray[np.float32] | None = None,
) -> None:
    """Trace inter-reflection at the surface (`indirect_light`).

    A share may be `kept` of the trace before, brought to the slopes of this surface: speckle
    averages out. `besides` is another trace of this surface, along other rays.
    """
    now, step = indirect_light(
        problem, u, material, samples, seed, by_slopes=by_slopes, drawn=drawn
    )
    if besides is not None and now.shape[:2] == besides.shape[:2]:
        light = now[..., : len(problem.pictures)]
        light += besides
        light *= np.float32(0.5)
    if kept > 0 and problem.traced.shape == now.shape:
        before = at_slopes_of(problem.traced, now, len(problem.pictures))
        now = np.float32(kept) * before + np.float32(1 - kept) * now
    problem.traced = now
    problem.indirect_step = float(step)


def scene_at(
    problem: Problem, u: Array, material: Material, rays: Rays, factor: int,
    drawn: np.random.Generator | None = None,
) -> tuple[Continued, Scene, float]:  # fmt: skip
    """A surface continued, it as the tracer takes it, and the factor on its light."""
    found = surroundings(problem, u, factor, drawn)
    around = found.around
    traced, scale = optics_material(problem, material, own_places(problem, around))
    scene = scene_of(
        around.points, around.normals, around.camera, table_lights(problem), traced,
        grid=max(around.camera.shape), rays=rays, shown=around.within(around.normals),
        seen=found.seen,
    )  # fmt: skip
    return around, scene, scale


def indirect_light(
    problem: Problem,
    u: Array,
    material: Material,
    samples: int,
    seed: int,
    by_pixel: bool = False,
    by_slopes: bool = False,
    drawn: np.random.Generator | None = None,
) -> tuple[NDArray[np.float32], int]:
    """(h, w, N) light that reaches the camera by another place, and the side of its cells in px.

    On cells of the pictures, about `GRID` along the longer side, with `samples` rays each. With
    `by_pixel`, unless the problem is large, each pixel or each place of it (`Problem.finer`) is
    traced, and those of a cell share its rays. With `by_slopes` likewise, and the derivatives by
    the slopes of the places that it leaves for the camera come with it (from the same rays):
    (H, W, 3 N + 2), see `Problem.traced`.
    With `drawn` the part goes on beyond the picture as that says (`refine.beyond`).
    """
    finer = problem.finer
    factor = max(1, max(problem.shape) // GRID)
    shared = float(finer)
    if (by_pixel or by_slopes) and not problem.large:
        shared, factor = finer * max(1.0, max(problem.shape) / GRID), 1
    rays = Rays(max(1, round(samples / shared**2)), seed=seed)
    around, scene, scale = scene_at(problem, u, material, rays, factor, drawn)
    cells = tuple((size - 2 * around.border) // finer for size in scene.w.shape)

    count, followed = len(problem.pictures), by_slopes and factor == 1
    turn = around.turning() if followed else np.zeros((1, 1, 6), np.float32)
    images = np.zeros((*cells, 3 * count if followed else count), np.float32)
    trace(images, finer, around.border, turn, scene)
    images *= np.float32(scale)
    # Places within a pixel average its speckle; blurred, it would be wrong beside every edge.
    if finer == 1:
        images[..., :count] = blurred(np.ascontiguousarray(images[..., :count]), 0.7)
    if followed:
        p, q, _ = around.slopes()
        held = averaged(np.moveaxis(around.inner(np.stack([p, q])), 0, -1), finer)
        images = np.concatenate([images, held], axis=-1, dtype=np.float32)
    images[np.isnan(images)] = 0.0
    return images, factor


def at_slopes_of(
    before: NDArray[np.float32], now: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    """Traced light (H, W, count or 3 count + 2), see `Problem.traced`, at the slopes of another."""
    if before.shape[-1] == count:
        return before
    light, by_p, by_q = (before[..., i * count : (i + 1) * count] for i in range(3))
    step = now[..., 3 * count :] - before[..., 3 * count :]
    light = np.maximum(light + by_p * step[..., :1] + by_q * step[..., 1:], 0)
    return np.concatenate([light, by_p, by_q, now[..., 3 * count :]], axis=-1)


def update_mirrored(
    problem: Problem, u: Array, material: Material, loss: Loss, samples: int = 64, seed: int = 0
) -> None:
    """Derivatives of the loss of places that mirror others, by the slopes of what they mirror.

    For small pictures, whose light between places is traced at each of their pixels or finer. The
    rays should be others (`seed`) than those of the traced light, or their noise goes together.
    """
    finer, pictures = problem.finer, problem.pictures
    model = np.maximum(problem.render_rows(u, material, 0, problem.shape[0]), 0)
    root = np.sqrt(model + np.float32(pictures.epsilon))
    captured = pictures.root()
    residual = root - captured
    used = (problem.weight > 0)[..., None] & ((residual < 0) | ~pictures.clipped)
    least = np.maximum(np.maximum(np.square(captured), problem.indirect), 1e-6)
    trust = 1 / (1 + np.square(problem.doubt * problem.indirect) / least)
    rays = Rays(max(1, samples // finer**2), seed=seed)
    around, scene, scale = scene_at(problem, u, material, rays, 1)
    by_light = 0.5 * scale / root  # of the root of the model, by light in the tracer's units
    weight = used * trust * loss.weight(residual)
    b = around.border

    def fine(values: NDArray[Any]) -> NDArray[np.float32]:
        values = values.astype(np.float32).repeat(finer, 0).repeat(finer, 1)
        return np.pad(values, ((b, b), (b, b), (0, 0)))

    p, q, turned = around.slopes()
    step = SLOPE_STEP * (1 + p * p + q * q)
    change = np.stack([turned(step, 0), turned(0, step)]) - turned(0, 0)
    # A place has a share of its pixel's light, and the sizes of a row are those of the pixel.
    cost = Cost(
        fine(weight * residual * by_light / finer**2), fine(weight * by_light**2 / finer**2)
    )
    sums = by_mirrored_slopes(scene, cost, change, step)
    sums = np.nan_to_num(around.inner(sums))
    sums[2:] *= STIFFNESS
    height, width = problem.shape
    sums = sums.reshape(5, height, finer, width, finer).sum(axis=(2, 4)) * problem.weight
    problem.mirrored = np.concatenate([np.stack(slopes(u, problem.jacobians)), sums])


def mirrored_share(problem: Problem, u: Array, material: Material) -> float:
    """Share of the part that gets three tenths of its light or more from its other places."""
    if problem.indirect.shape[:2] != problem.shape:
        return 0.0
    model = problem.render_rows(u, material, 0, problem.shape[0]).sum(-1)
    inside = problem.weight > 0
    return float((problem.indirect.sum(-1) > 0.3 * model)[inside].mean())
