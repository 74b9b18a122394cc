"""Pixels as areas: a shiny surface that bends within them."""

from __future__ import annotations

import numpy as np
from simulated_parts import at_the_truth, part, pictures, rig_of

from reconstruct.methods import Options, reconstruct
from reconstruct.refine import subpixel
from reconstruct.refine.refinement import FINAL
from reconstruct.refine.solve import State, fit_material
from reconstruct.refine.starts import first_materials
from reconstruct.refine.subpixel import averaged, fineness, within_pixels
from reconstruct.refine.transport import update_shadows
from reconstruct.stack import Stack

TIMES = 4


def coarse_pictures() -> tuple[Stack, np.ndarray, float]:
    """Pictures of 48×48 whose pixels average 4×4 finer ones, mean normals and mean height (mm)."""
    scene = part("field-3", 48 * TIMES, alpha=0.05)
    fine = pictures(scene)

    def pooled(images: np.ndarray) -> np.ndarray:
        """(N, h, w) of (N, H, W)."""
        return np.moveaxis(averaged(np.moveaxis(images, 0, -1), TIMES), -1, 0)

    stack = Stack(
        fine.ids, pooled(fine.radiance), pooled(fine.clipped) > 0, fine.noise_floor / TIMES**2,
        fine.noise_gain / TIMES**2,
    )  # fmt: skip
    normals = averaged(scene.normals, TIMES)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return stack, normals, float(scene.points_mm[..., 2].mean())


def test_small_pictures_are_divided_and_large_ones_are_not() -> None:
    assert [fineness((side, side // 2)) for side in (16, 64, 128, 129, 512)] == [4, 4, 2, 1, 1]


def test_a_shiny_surface_that_bends_within_its_pixels_is_found(monkeypatch) -> None:
    """Its normals turn by a lobe's width from pixel to pixel."""
    stack, normals, mean_height_mm = coarse_pictures()
    rig = rig_of(48 * TIMES)
    options = Options(height_mm=mean_height_mm, start="halfvector", uncertainty=False)

    def found() -> tuple[float, float]:
        """Mean error of the normals in degrees, and the residual."""
        surface = reconstruct("refine", stack, rig.camera.binned(TIMES), rig.lights, options)
        cosine = np.clip((surface.normals * normals).sum(-1), -1, 1)[4:-4, 4:-4]
        return float(np.degrees(np.arccos(cosine)).mean()), surface.summary["residual"]

    as_areas = found()
    monkeypatch.setattr(subpixel, "MOST", 1)
    as_points = found()
    assert as_areas[0] < 0.75 * as_points[0]  # 0.55° and 0.85°
    assert as_areas[1] < as_points[1]


def test_areas_that_explain_nothing_leave_no_trace() -> None:
    _, problem, truth = at_the_truth(32)
    height_mm = float(problem.height_mm(truth).mean())
    update_shadows(problem, truth)
    material, cost = fit_material(problem, truth, first_materials(problem, truth, FINAL)[0], FINAL)
    code, traced = problem.pictures.code.copy(), problem.traced
    better = State(truth, material, cost=0.01 * cost)
    found = within_pixels(problem, better, FINAL, height_mm, False, 1.0, lambda state: state)
    assert found is better
    np.testing.assert_array_equal(problem.pictures.code, code)
    assert problem.traced is traced
