"""The numba tracer and the torch tracer follow the same rays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_render import MATERIALS, camera, dome

from calib.camera import Camera
from reconstruct.optics.batched_tracing import BatchedTracer
from reconstruct.optics.geometry import normals_of_points
from reconstruct.optics.interreflection import scene_of
from reconstruct.optics.material import Material
from reconstruct.optics.mirrored import BANDS, by_mirrored
from reconstruct.optics.tracing import trace


def bowl(view: Camera) -> tuple[np.ndarray, np.ndarray]:
    """A deep rippled bowl with a hole: rays land on its walls, leave it and end at the hole."""
    points = view.points_at_height(0.0)
    x, y = points[..., 0] / 55, points[..., 1] / 55
    points[..., 2] = 40 * (x * x + y * y) + 1.5 * np.sin(9 * x + 4 * y)
    depth = view.centre_mm[2] - points[..., 2]
    points[..., :2] *= (depth / view.centre_mm[2])[..., None]
    normals = normals_of_points(torch.as_tensor(points)).numpy()
    hole = (x - 0.3) ** 2 + y**2 < 0.01
    points[hole], normals[hole] = np.nan, np.nan
    return points, normals


def scene(material: Material, samples: int = 8) -> tuple[tuple[int, int], tuple]:
    view = camera()
    points, normals = bowl(view)
    return scene_of(points, normals, view, dome(), material, 48, samples, 3, 7, None)


def equal_but_for_few(a: np.ndarray, b: np.ndarray) -> None:
    """Equal at nearly all places: a rounding sends some rays past an edge."""
    assert np.isfinite(b).all()
    assert a.max() > 0
    close = np.isclose(a, b, rtol=1e-2, atol=1e-3 * float(np.abs(a).max()))
    assert close.mean() > 0.98
    assert np.abs(a - b).sum() < 0.02 * np.abs(a).sum()


@pytest.mark.parametrize("name", MATERIALS)
@pytest.mark.parametrize("rays", [1 << 16, 1000])
def test_both_see_the_same_light(name: str, rays: int) -> None:
    shape, arguments = scene(MATERIALS[name])
    seen = [np.zeros((*shape, 12), np.float32) for _ in range(2)]
    trace(seen[0], *arguments)
    tracer = BatchedTracer("cpu")
    tracer.rays = rays
    tracer.trace(seen[1], *arguments)
    equal_but_for_few(*seen)


@pytest.mark.parametrize("name", ["ggx over paint", "turned"])
@pytest.mark.parametrize("pairs", [1 << 20, 1 << 12])
def test_both_differentiate_by_what_is_mirrored(name: str, pairs: int) -> None:
    shape, arguments = scene(MATERIALS[name])
    rng = np.random.default_rng(0)
    pull = rng.normal(size=(*shape, 12)).astype(np.float32)
    stiffness = rng.random((*shape, 12), dtype=np.float32)
    turn = rng.normal(0, 0.01, (2, *shape, 3)).astype(np.float32)
    step = rng.uniform(0.01, 0.02, shape).astype(np.float32)
    sums = [np.zeros((BANDS, *shape, 5), np.float32) for _ in range(2)]
    by_mirrored(sums[0], pull, stiffness, turn, step, *arguments)
    tracer = BatchedTracer("cpu")
    tracer.pairs = pairs
    tracer.by_mirrored(sums[1], pull, stiffness, turn, step, *arguments)
    for i in range(5):
        equal_but_for_few(sums[0].sum(0)[..., i], sums[1].sum(0)[..., i])
