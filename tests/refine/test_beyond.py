"""The surface beyond the picture: what lights the part from there, and what is not asked for."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from simulated_parts import pit

from reconstruct.optics.interreflection import Rays, indirect
from reconstruct.refine.beyond import BEYOND_TRACED, continued, gone_on
from reconstruct.refine.problem import Material
from reconstruct.refine.transport import optics_material, table_lights

METAL = Material("ggx", 0.3, 0.3, ks=0.8)


def test_value_and_slope_go_on_beyond_the_border() -> None:
    _, problem, u = pit()
    around = continued(problem, u, 1, BEYOND_TRACED)
    border = around.border
    assert border == round(BEYOND_TRACED * 64)
    assert around.normals.shape == (64 + 2 * border, 64 + 2 * border, 3)
    across = np.diff(around.points[:, :, 2], axis=1)[border:-border]
    bends = np.abs(np.diff(across, axis=1))
    # at the border the slope changes by no more than it does within the picture
    assert bends[:, -border - 2 : -border + 1].max() < bends[:, border:-border].max()
    assert np.isfinite(around.normals).all()


def test_a_pit_that_the_picture_cuts_has_another_wall() -> None:
    rows, columns = np.mgrid[0:96, 0:128]
    depth = np.exp(-((rows - 48.0) ** 2 + columns**2) / (2 * 14.0**2))  # deepest at the border
    around = gone_on(depth, 28)
    assert around[28 + 48, 28] > 0.95
    assert around[28 + 48, 0] < 0.6
    # point-symmetric it would go on at this depth
    assert np.pad(depth, 28, mode="reflect", reflect_type="odd")[28 + 48, 0] > 1.5


def test_smooth_relief_goes_on_nearer_than_by_symmetry() -> None:
    size, border = 160, 35
    errors = []
    for seed in range(6):
        noise = np.random.default_rng(seed).standard_normal((size + 2 * border,) * 2)
        field = gaussian_filter(noise, 0.12 * size, mode="wrap")
        shown = field[border:-border, border:-border]
        beyond = np.ones(field.shape, dtype=bool)
        beyond[border:-border, border:-border] = False
        mirrored = np.pad(shown, border, mode="reflect", reflect_type="odd")
        errors.append([(x - field)[beyond].std() for x in (gone_on(shown, border), mirrored)])
    ours, symmetric = np.mean(errors, axis=0)
    assert ours < 0.75 * symmetric


def test_ways_in_which_it_may_go_on_scatter_as_the_likeliest_errs() -> None:
    size, border = 128, 28
    errors, scatters = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((size + 2 * border,) * 2)
        field = gaussian_filter(noise, 0.12 * size, mode="wrap")
        shown = field[border:-border, border:-border]
        beyond = np.ones(field.shape, dtype=bool)
        beyond[border:-border, border:-border] = False
        likeliest = gone_on(shown, border)
        errors.append(np.square(likeliest - field)[beyond].mean())
        for _ in range(3):
            one = gone_on(shown, border, rng)
            np.testing.assert_allclose(one[~beyond].reshape(shown.shape), shown, atol=1e-12)
            scatters.append(np.square(one - likeliest)[beyond].mean())
    assert 0.5 < np.sqrt(np.mean(scatters) / np.mean(errors)) < 2


def test_a_tilted_plane_goes_on_as_one_and_details_smoothly() -> None:
    rows, columns = np.mgrid[0:200, 0:150].astype(float)
    plane = 0.3 * rows - 0.2 * columns + 7.0
    far = gone_on(plane, 20)
    np.testing.assert_allclose(far[0, 0], 0.3 * -20 + 0.2 * 20 + 7.0, atol=1e-2)
    wavy = plane + np.sin(columns / 2.0)
    around = gone_on(wavy, 20)
    np.testing.assert_allclose(around[20:-20, 20:-20], wavy, atol=1e-12)
    across = np.diff(around[100])
    assert np.abs(np.diff(across)[15:25]).max() < 0.3  # no kink at the border, at column 20


def test_a_part_that_ends_within_the_picture_ends_there() -> None:
    _, problem, u = pit()
    problem.weight[:] = 0
    problem.weight[1:-1, 1:-1] = 1
    around = continued(problem, u, 1, BEYOND_TRACED)
    assert around.border == 0
    assert around.normals.shape == (64, 64, 3)
    np.testing.assert_array_equal(np.isfinite(around.normals[..., 2]), problem.weight > 0)
    np.testing.assert_array_equal(around.within(around.normals), around.normals)
    problem.weight[20, 0] = 1  # a pixel of it is at the border
    assert continued(problem, u, 1, BEYOND_TRACED).border > 0


def test_light_is_traced_for_the_picture_alone_and_is_the_same_there() -> None:
    _, problem, u = pit()
    around = continued(problem, u, 1, BEYOND_TRACED)
    lights, (metal, _) = table_lights(problem), optics_material(problem, METAL)
    part = around.points, around.normals, around.camera, lights, metal
    rays = {"grid": 999, "rays": Rays(4), "smooth": 0.0}
    everywhere = indirect(*part, **rays)
    within = indirect(*part, **rays, shown=around.within(around.normals))
    np.testing.assert_array_equal(around.inner(within), around.inner(everywhere))
    assert around.inner(within).max() > 0
    border = around.border - 1
    assert within[:, :border].max() == 0
    assert everywhere[:, :border].max() > 0
