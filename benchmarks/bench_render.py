"""Rendering speed: ``pytest benchmarks/bench_render.py``; pixel-lights/s in the extra info.

Two cores, 256×256 pixels and 96 lights unless a name says otherwise.
"""

import numpy as np
import pytest

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics import shadows
from reconstruct.optics.interreflection import indirect
from reconstruct.optics.material import Lobe, Material
from reconstruct.optics.render import render
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample

LIGHTS = 96


def scene(size: int = 256):
    K = np.array([[420 / 110 * size, 0, size / 2], [0, 420 / 110 * size, size / 2], [0, 0, 1]])
    camera = Camera(size, size, K, t=np.array([0.0, 0.0, 420.0]))
    seen = sample(shape("field", 1, slope_deg=30.0), camera)
    z = 0.4 + 0.55 * (np.arange(LIGHTS) + 0.5) / LIGHTS
    angle = 2.39996 * np.arange(LIGHTS)
    ring = np.sqrt(1 - z**2)
    position = 280 * np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])
    return camera, Lights.at(position, lobe=1.0), seen


def timed(benchmark, work: float, f) -> None:
    f()
    benchmark.pedantic(f, rounds=7, iterations=1)
    benchmark.extra_info["M pixel-lights/s"] = round(work / benchmark.stats.stats.min / 1e6, 1)


@pytest.mark.parametrize("kind", ["ggx", "beckmann", "brushed"])
@pytest.mark.parametrize("size", [64, 256])
def test_render_with_cast_shadows(benchmark, kind: str, size: int) -> None:
    camera, lights, seen = scene(size)
    lobe = Lobe(0.1, 0.3) if kind == "brushed" else Lobe(0.2, distribution=kind)
    timed(
        benchmark,
        size * size * LIGHTS,
        lambda: render(seen.points_mm, seen.normals, camera, lights, Material((lobe,))),
    )


def test_reflectance_alone(benchmark) -> None:
    camera, lights, seen = scene()
    material = Material((Lobe(0.2),))
    timed(
        benchmark,
        256 * 256 * LIGHTS,
        lambda: render(seen.points_mm, seen.normals, camera, lights, material, shadows=False),
    )


def test_cast_shadows_alone(benchmark) -> None:
    camera, lights, seen = scene()
    timed(
        benchmark,
        256 * 256 * LIGHTS,
        lambda: shadows.visibility(seen.points_mm, camera, lights.position_mm),
    )


def test_interreflection(benchmark) -> None:
    camera, lights, seen = scene()
    material = Material((Lobe(0.2),))
    timed(
        benchmark,
        256 * 256 * LIGHTS,
        lambda: indirect(seen.points_mm, seen.normals, camera, lights, material),
    )
