"""The metal's reflectance, learned from the light between its places.

Without the lights' intensity pictures give ks, which is reflectance times intensity; light that
came by another place was reflected once more. With it, what the tracer leaves out (longer paths,
walls beyond the picture) still asks for a few per cent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.transport import indirect_light

Array = NDArray[np.float64]
# Least and largest factor on a metal's reflectance that is believed, where the lights' intensity is
# known and where not, and the largest change of it at once.
KNOWN_MIRRORING, MIRRORING, REFLECTANCE_STEP = (0.8, 1.25), (0.46, 1.5), 0.25
# It is told by what gets so many times its own light from other places: first, and at the end where
# own light is explained; and by so large a share of the pixel-lights at least.
MOST, SOME, ENOUGH = 1.0, 0.1, 0.01
# Rays of the trace that tells it where it is averaged with the next one, and where it only tells
# one number of many pixels; where their seeds begin: not those of any other.
RAYS, FEW_RAYS, OTHER_RAYS = 128, 8, 2000


def update_reflectance(
    problem: Problem, u: Array, material: Material, loss: Loss, seed: int | None = None,
    least: float = MOST,
) -> NDArray[np.float32] | None:  # fmt: skip
    """One step of the factor, over pixel-lights with `least` times their own light from elsewhere.

    The traced light has speckle, and a factor on what is itself uncertain comes out too small
    (errors in variables: Fuller 1987, §1.1.1). With a `seed`, a second trace along other rays is
    the instrumental variable: it says which pixel-lights count and how much, and its speckle knows
    nothing of the first's (ibid., §1.4). The new value is for the next trace.

    Returns
    -------
    (H, W, N) that second trace, of the new factor: the next one need not be as fine beside it
    """
    other, whole = problem.indirect, problem.indirect.shape[:2] == problem.shape
    # Of coarser cells only some are asked for: what gets most of its light so is traced by pixel.
    # Large pictures are not traced so; theirs was learned on a coarser level.
    coarse = least == MOST or problem.large
    if not whole and (coarse or not mirrors(problem, u, material, least)):
        return None
    if seed is not None:
        rays = RAYS if least == MOST else FEW_RAYS
        other, _ = indirect_light(problem, u, material, rays, OTHER_RAYS + seed, by_pixel=True)
    pictures, epsilon = problem.pictures, np.float32(problem.pictures.epsilon)
    own = problem.own_light(u, material)
    used = (problem.weight > 0)[..., None] & ~pictures.clipped & (other > least * own)
    traced, before = None if seed is None else other, problem.mirroring
    if used.sum() <= ENOUGH * problem.count:
        return traced
    own, other = own[used], other[used]
    model = np.maximum(problem.render_rows(u, material, 0, problem.shape[0])[used], 1e-6)
    captured = pictures.root()[used]
    root, other_root = np.sqrt(model + epsilon), np.sqrt(np.maximum(own + other, 1e-6) + epsilon)
    by_factor, instrument = (model - own) / (2 * root), other / (2 * other_root)
    trust = 1 / (1 + np.square(2 * problem.doubt * instrument))
    weight = trust * loss.weight(captured - other_root) * instrument
    information = float((weight * by_factor).sum())
    if information > 0:
        step = float((weight * (captured - root)).sum()) / information
        bounds = MIRRORING if problem.lights.intensity is None else KNOWN_MIRRORING
        factor = 1 + np.clip(step, -REFLECTANCE_STEP, REFLECTANCE_STEP)
        problem.mirroring = float(np.clip(problem.mirroring * factor, *bounds))
    changed = np.float32(problem.mirroring / before)
    if changed != 1:  # the next trace may keep a share of this one, and with it of the old factor
        problem.traced = problem.traced.copy()  # whoever goes back to this light holds it
        problem.traced[..., : 3 * len(pictures)] *= changed
    if traced is not None:
        traced *= changed
    return traced


def mirrors(problem: Problem, u: Array, material: Material, least: float) -> bool:
    """Whether enough of the traced cells get `least` times their own light from other places."""
    step = int(problem.indirect_step)
    height, width, _ = problem.indirect.shape
    own = problem.own_light(u, material, step)[:height, :width]
    inside = (problem.weight > 0)[step // 2 :: step, step // 2 :: step][:height, :width]
    told = (problem.indirect[: own.shape[0], : own.shape[1]] > least * own)[inside]
    return bool(told.any() and told.mean() > ENOUGH)
