"""Levels from coarse to fine, and parts whose places light each other on them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RectBivariateSpline
from simulated_parts import pit

from reconstruct.methods import Options, reconstruct
from reconstruct.optics.interreflection import Rays, indirect
from reconstruct.optics.material import Material as Metal
from reconstruct.optics.render import render
from reconstruct.refine.beyond import continued
from reconstruct.refine.problem import Material
from reconstruct.refine.pyramid import binning_factors, late_factor
from reconstruct.spline import spline_values
from reconstruct.stack import Stack

METAL = Material("ggx", 0.25, 0.25, ks=0.8)


@given(st.integers(1, 20_000))
def test_the_first_level_is_neither_large_nor_small(size: int) -> None:
    factors = binning_factors(size)
    assert factors[-1] == 1
    assert all(1 < coarse / fine <= 8 for coarse, fine in pairwise(factors))
    assert size / factors[0] <= 96
    assert size / factors[0] > 48 or factors == [1]


@given(st.integers(1, 20_000))
def test_a_late_start_is_told_on_few_pixels_but_no_fewer_than_needed(size: int) -> None:
    factor = late_factor(size)
    assert size / factor <= 256
    assert size / factor > 128 or factor == 1


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (4, 30), (65, 50)])
def test_splines_are_those_of_scipy(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape)
    rows, columns = (np.sort(rng.uniform(0, size - 1, 40)) for size in shape)
    degrees = {key: min(3, size - 1) for key, size in zip(("kx", "ky"), shape, strict=True)}
    spline = RectBivariateSpline(*map(np.arange, shape), values, s=0, **degrees)
    got = spline_values(values, rows, columns)
    np.testing.assert_allclose(got, spline(rows, columns), atol=1e-12)


@pytest.mark.slow
def test_a_deep_part_is_found_at_more_pixels_than_its_first_level_has() -> None:
    """Median slope 38°, its walls light each other; pictures average 2 × 2 finer places."""
    size, times = 104, 2
    scene, problem, u = pit(size * times)
    problem.weight[:] = 0
    edge = 4 * times
    problem.weight[edge:-edge, edge:-edge] = 1  # it ends within the picture
    part = continued(problem, u, 1, 0.0)
    camera, lights, metal = scene.rig.camera, scene.rig.lights, Metal.metal("Al", 0.2)
    shown = part.points, part.normals, camera, lights, metal
    image = render(*shown) + indirect(*shown, grid=size * times, rays=Rays(48), smooth=0.0)

    def pooled(images: np.ndarray) -> np.ndarray:
        blocks = images.reshape(*images.shape[:-2], size, times, size, times)
        return np.asarray(blocks.mean((-3, -1)))

    image, height_mm = pooled(np.nan_to_num(image)), pooled(part.points[..., 2])
    mask = pooled(problem.weight) == 1
    normals = np.moveaxis(pooled(np.moveaxis(part.normals, -1, 0)), 0, -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    rng, gain = np.random.default_rng(0), 12_000 / np.quantile(image, 0.998)
    electrons = rng.poisson(image * gain) + rng.normal(0, 3, image.shape)
    stack = Stack(
        np.arange(1, 97), (np.minimum(electrons, 12_000) / gain).astype(np.float32),
        electrons >= 12_000, (3 / gain) ** 2, 1 / gain,
    )  # fmt: skip
    options = Options(
        height_mm=float(height_mm[mask].mean()), mask=mask, start="dpps", uncertainty=False
    )
    surface = reconstruct("refine", stack, camera.binned(times), lights, options)
    cosine = np.clip((surface.normals * normals).sum(-1)[mask], -1, 1)
    assert np.degrees(np.arccos(cosine)).mean() < 1.2
    assert (surface.height_mm - height_mm)[mask].std() < 0.2
