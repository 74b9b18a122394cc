"""Simulated parts with a known truth, pictures as a sensor gives them."""

from __future__ import annotations

from functools import cache

import numpy as np

from reconstruct.integrate import integrate_normals
from reconstruct.methods import Options
from reconstruct.refine.problem import Problem
from reconstruct.refine.refinement import Refinement
from reconstruct.stack import Stack
from reconstruct.surface import Surface
from rig.simulate import RenderedScene, VirtualRig, scene_of, virtual_rig

FULL_WELL_E, READ_E = 12_000.0, 3.0


@cache
def rig_of(size: int, leds: int = 96) -> VirtualRig:
    return virtual_rig(leds, (size, size), seed=5)


def pictures(scene: RenderedScene, seed: int = 0) -> Stack:
    """The scene's stack at an exposure that clips 0.2 % of all values, with sensor noise."""
    rng = np.random.default_rng(seed)
    count = scene.led_count
    electrons = np.stack([scene.irradiance(led) for led in range(1, count + 1)])
    electrons = np.nan_to_num(electrons)
    gain = FULL_WELL_E / np.quantile(electrons, 0.998)
    seen = rng.poisson(electrons * gain) + rng.normal(0, READ_E, electrons.shape)
    scale = 1 / (gain * scene.electrons_per_us)
    seen = np.rint(np.minimum(seen, FULL_WELL_E) / FULL_WELL_E * 4095) / 4095 * FULL_WELL_E
    return Stack(
        np.arange(1, count + 1),
        (seen * scale).astype(np.float32),
        seen >= FULL_WELL_E,
        float((READ_E * scale) ** 2),
        float(scale),
    )


def part(name: str, size: int, leds: int = 96, **options: object) -> RenderedScene:
    return scene_of(name, rig=rig_of(size, leds), **options)  # type: ignore[arg-type]


def easy(size: int = 64) -> RenderedScene:
    """A smooth part under a sharp lens: explained by the first stages, at a fifth of the time.

    For what holds of every part alike; parts that need every stage are in `test_accuracy`.
    """
    return part("field-1", size, blur_px=0.0)


def errors(surface: Surface, scene: RenderedScene, border: int = 6) -> tuple[np.ndarray, ...]:
    """Errors of height (mm, mean removed) and normal (degrees), and the mask they hold on."""
    inner = np.zeros(surface.mask.shape, bool)
    inner[border:-border, border:-border] = True
    truth = scene.points_mm[..., 2]
    mask = inner & surface.mask & np.isfinite(truth)
    height = (surface.height_mm - truth)[mask]
    cosine = (surface.normals * scene.normals).sum(-1)[mask]
    return height - height.mean(), np.degrees(np.arccos(np.clip(cosine, -1, 1))), mask


def pit(size: int = 64) -> tuple[RenderedScene, Problem, np.ndarray]:
    """The part turned upside down and made three times as deep: its walls light each other.

    The scene and the pictures remain those of the part as it was.
    """
    scene, problem, u = at_the_truth(size)
    return scene, problem, u.mean() - 3 * (u - u.mean())


def at_the_truth(size: int = 64) -> tuple[RenderedScene, Problem, np.ndarray]:
    """A part, the fit to its pictures, and its true surface as log-depth."""
    scene = part("field-3", size)
    height_mm = float(scene.points_mm[..., 2].mean())
    run = Refinement(
        pictures(scene), scene.rig.camera, scene.rig.lights, Options(height_mm=height_mm)
    )
    problem = run.problem(1)
    inside = problem.weight > 0
    return scene, problem, integrate_normals(scene.normals, problem.camera, height_mm, inside)
