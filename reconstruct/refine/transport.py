"""What the surface does to its own light: cast shadows, and light from place to place.

Both are taken from `reconstruct.optics` at the current surface and held while a step is solved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.optics import shadows
from reconstruct.optics.interreflection import indirect
from reconstruct.optics.material import Lobe, circular_lay, index_of_reflectance
from reconstruct.optics.material import Material as OpticsMaterial
from reconstruct.refine.kernel import SHADOW_BIT
from reconstruct.refine.problem import Material, Problem

Array = NDArray[np.float64]
# Metals reflect about this much where the lights' intensity is not known.
TYPICAL_REFLECTANCE = 0.65
LIGHTS_AT_ONCE = 8


def points_of(problem: Problem, u: Array) -> Array:
    """(H, W, 3) world points."""
    depth = np.exp(0.25 * (u[:-1, :-1] + u[1:, :-1] + u[:-1, 1:] + u[1:, 1:]))
    in_camera = np.stack([problem.xy[0] * depth, problem.xy[1] * depth, depth], axis=-1)
    return np.asarray((in_camera - problem.camera.t) @ problem.camera.R)


def update_shadows(problem: Problem, u: Array) -> float:
    """Mark which pixel-lights lie in cast shadow; returns their share within the mask."""
    points = points_of(problem, u)
    outside = problem.weight == 0
    points[outside] = np.nan
    code = problem.pictures.code
    count = len(problem.pictures)
    dark = 0.0
    keep = np.uint16(0xFFFF ^ SHADOW_BIT)
    for first in range(0, count, LIGHTS_AT_ONCE):
        group = slice(first, min(first + LIGHTS_AT_ONCE, count))
        seen = shadows.visibility(points, problem.camera, problem.lights.position_mm[group])
        hidden = np.moveaxis(seen < 0.5, 0, -1)
        hidden &= ~outside[..., None]
        dark += float(hidden.sum())
        code[..., group] &= keep
        code[..., group] |= hidden.astype(np.uint16) * np.uint16(SHADOW_BIT)
    return dark / max(problem.count, 1.0)


def optics_material(problem: Problem, material: Material) -> tuple[OpticsMaterial, float]:
    """The material for the tracer, and the factor its light is to be scaled by."""
    known = problem.lights.intensity is not None
    reflectance = float(np.clip(material.ks, 0.2, 0.98)) if known else TYPICAL_REFLECTANCE
    n, k = index_of_reflectance(reflectance)
    across = material.alpha_y if material.anisotropic else None
    lobe = Lobe(material.alpha_x, across, n, k, 1.0, material.model)  # type: ignore[arg-type]
    scale = material.ks / reflectance
    kind, angle, x, y = material.brush
    straight = np.array([np.cos(angle), np.sin(angle), 0.0])
    tangents = circular_lay((x, y)) if kind == 1 else straight
    diffuse = float(np.clip(material.kd / max(scale, 1e-9), 0.0, 0.95))
    return OpticsMaterial((lobe,), diffuse, tangents), scale


def update_indirect(
    problem: Problem,
    u: Array,
    material: Material,
    grid: int = 128,
    samples: int = 64,
    seed: int = 0,
) -> float:
    """Trace inter-reflection at the surface; returns its mean relative to the pictures' peak."""
    points = points_of(problem, u)
    normals = problem.normals(u)
    outside = problem.weight == 0
    points[outside] = np.nan
    normals[outside] = np.nan
    strength = problem.table[6].astype(np.float64)
    lights = replace(problem.lights, power=strength, intensity=1.0)
    traced, scale = optics_material(problem, material)
    images = indirect(
        points, normals, problem.camera, lights, traced, grid=grid, samples=samples, seed=seed
    )
    factor = max(1, max(problem.shape) // grid)
    problem.indirect = np.ascontiguousarray(np.moveaxis(np.nan_to_num(images), 0, -1)) * np.float32(
        scale
    )
    problem.indirect_step = float(factor)
    return float(problem.indirect.mean())
