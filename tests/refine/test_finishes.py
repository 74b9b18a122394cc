"""Lens blur, directed finishes and dirt: refinement finds them by itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from reconstruct.methods import Options, reconstruct
from reconstruct.optics.material import Material
from reconstruct.shapes.catalogue import shape
from reconstruct.stack import Stack
from reconstruct.surface import Surface
from rig.simulate import RenderedScene, VirtualRig, dome, part_scene, virtual_camera


def rig() -> VirtualRig:
    lights, nominal = dome(40, seed=2)
    return VirtualRig(virtual_camera((96, 96), seed=2), lights, nominal)


def stack_of(scene: RenderedScene, blur_px: float) -> Stack:
    images = np.stack([scene.radiance(k + 1) for k in range(scene.led_count)])
    if blur_px > 0:
        images = np.stack([cv2.GaussianBlur(i, (0, 0), blur_px) for i in images])
    full = float(images.max())
    noise = np.random.default_rng(0).standard_normal(images.shape).astype(np.float32)
    gain = full / 12000
    images += noise * np.sqrt(np.maximum(images, 0) * gain)
    return Stack(
        np.arange(1, len(images) + 1), images, np.zeros(images.shape, bool), (3 * gain) ** 2, gain
    )


def refined(scene: RenderedScene, blur_px: float) -> tuple[Surface, np.ndarray]:
    """The surface, and the angle (°) by which each normal errs, border left out."""
    options = Options(
        height_mm=float(scene.points_mm[..., 2].mean()), start="halfvector", uncertainty=False,
        threads=2,
    )  # fmt: skip
    stack = stack_of(scene, blur_px)
    surface = reconstruct("refine", stack, scene.rig.camera, scene.rig.lights, options)
    dot = (surface.normals * scene.normals).sum(-1)
    return surface, np.degrees(np.arccos(np.clip(dot, -1, 1)))[4:-4, 4:-4]


@pytest.mark.parametrize("quarter_turns", [0, 1], ids=["along", "across"])
def test_direction_of_brushing_is_found(quarter_turns: int) -> None:
    """Whether the marks or what lies across them is the projection of a horizontal direction."""
    angle = np.radians(37.0)
    tangent = angle + quarter_turns * np.pi / 2
    lay = np.array([np.cos(tangent), np.sin(tangent), 0.0])
    narrow, wide = 0.1, 0.28
    alphas = (narrow, wide) if quarter_turns == 0 else (wide, narrow)
    metal = Material.metal("Al", alphas[0], alpha_across=alphas[1], tangents=lay)
    scene = part_scene(rig(), shape("field", 4, slope_deg=14.0), metal)
    surface, error = refined(scene, 0.0)
    assert np.mean(error) < 0.1
    found = surface.material
    assert sorted((found["alpha"], found["alpha_across"])) == pytest.approx(
        [narrow, wide], rel=0.03
    )
    along = found["brush"][1] + (np.pi / 2 if found["alpha"] > found["alpha_across"] else 0.0)
    assert np.degrees((along - angle + np.pi / 2) % np.pi - np.pi / 2) == pytest.approx(0, abs=1)


def test_blur_of_the_lens_is_found_and_taken_out() -> None:
    scene = part_scene(rig(), shape("turned", 3, pitch_mm=9.0), Material.metal("Cr", 0.15))
    surface, error = refined(scene, 0.8)
    assert surface.summary["lens_blur_px"] == pytest.approx(0.8, abs=0.12)
    assert np.mean(error) < 0.35


def test_dirt_is_given_a_material_of_its_own() -> None:
    scene = part_scene(rig(), shape("field", 7, slope_deg=8.0), dirt=True, seed=3)
    surface, error = refined(scene, 0.0)
    assert 0.02 < surface.summary["own_material_share"] < 0.5
    assert np.mean(error) < 0.15


def test_a_clean_even_part_needs_none_of_it() -> None:
    scene = part_scene(rig(), shape("field", 7, slope_deg=8.0))
    surface, error = refined(scene, 0.0)
    assert "own_material_share" not in surface.summary
    assert "lens_blur_px" not in surface.summary
    assert surface.material["alpha"] == surface.material["alpha_across"]
    assert np.mean(error) < 0.08


def test_a_roughness_that_varies_is_fitted_place_by_place() -> None:
    y, x = np.mgrid[:96, :96] / 95.0
    alpha = 0.1 + 0.22 * (0.5 + 0.5 * np.sin(5 * x) * np.cos(6 * y))  # a patina
    stains = np.clip(np.sin(9 * x + 4 * y), 0.0, 1.0) * 0.3
    scene = part_scene(
        rig(), shape("field", 7, slope_deg=8.0), Material.metal("Al", alpha, diffuse=stains)
    )
    surface, error = refined(scene, 0.0)
    assert surface.summary["own_material_share"] == 1.0
    assert np.mean(error) < 0.15
