"""The surface beyond the picture: what lights the part from there, and what is not asked for."""

from __future__ import annotations

import numpy as np
from simulated_parts import pit

from reconstruct.optics.interreflection import indirect
from reconstruct.refine.beyond import BEYOND_TRACED, continued
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
    # from the last pixel to the first beyond it, and between the two before it
    np.testing.assert_allclose(across[:, -border], across[:, -border - 1], atol=0.1)
    assert np.isfinite(around.normals).all()


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
    rays = {"grid": 999, "samples": 4, "smooth": 0.0}
    everywhere = indirect(*part, **rays)
    within = indirect(*part, **rays, shown=around.within(around.normals))
    np.testing.assert_array_equal(around.inner(within), around.inner(everywhere))
    assert around.inner(within).max() > 0
    border = around.border - 1
    assert within[:, :border].max() == 0
    assert everywhere[:, :border].max() > 0
