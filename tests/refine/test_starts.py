"""Where refinement starts from, and where the search for a start ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_parts import part, pictures

from reconstruct.dpps.captured import read_captured
from reconstruct.errors import ReconstructError
from reconstruct.integrate import log_depth_at
from reconstruct.methods import Options, reconstruct
from reconstruct.refine.config import RefineConfig
from reconstruct.refine.problem import Material
from reconstruct.refine.refinement import Refinement
from reconstruct.stack import Stack, flat_band
from rig.simulate import virtual_rig

CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"


def test_a_learned_start_without_weights_is_refused_only_where_it_is_asked_for() -> None:
    scene = part("field-3", 32, leds=16)
    height_mm = float(scene.points_mm[..., 2].mean())
    nowhere = Path("nowhere.safetensors")
    said: list[str] = []
    for start in ("dpps", "auto"):
        options = Options(
            height_mm=height_mm, start=start, weights=nowhere, uncertainty=False, say=said.append,
            refine=RefineConfig(explained=0.0, response=False),
        )  # fmt: skip
        if start == "dpps":
            with pytest.raises(ReconstructError, match="no weights at"):
                reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
        else:
            reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
            assert any("no learned start" in line for line in said)


def test_the_order_of_starts_changes_nothing() -> None:
    scene = part("field-3", 48, leds=24)
    truth = float(scene.points_mm[..., 2].mean())
    heights = []
    for starts in (("halfvector", "flat"), ("flat", "halfvector")):
        options = Options(
            height_mm=truth, uncertainty=False, threads=1,
            refine=RefineConfig(starts=starts, explained=0.0),
        )  # fmt: skip
        surface = reconstruct(
            "refine", pictures(scene), scene.rig.camera, scene.rig.lights, options
        )
        assert len(surface.summary["starts"]) == 4
        heights.append(surface.height_mm)
    np.testing.assert_array_equal(*heights)


def test_the_search_ends_with_a_start_that_explains_its_pictures() -> None:
    scene = part("field-1", 112, blur_px=0.0)
    truth = float(scene.points_mm[..., 2].mean())
    options = Options(height_mm=truth, uncertainty=False)
    surface = reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
    assert list(surface.summary["starts"]) == ["halfvector/ggx"]
    assert surface.summary["refine"]["config"]["starts"] == ("halfvector", "dpps")
    assert surface.summary["refine"]["stages"]["start"]["seconds"] > 0


def test_more_pictures_than_the_kernels_hold_are_refused() -> None:
    scene = part("field-3", 16, leds=16)
    stack = pictures(scene)
    many = np.tile(np.arange(16), 65)
    stack = Stack(
        np.arange(1, 1041), stack.radiance[many], stack.clipped[many], stack.noise_floor,
        stack.noise_gain,
    )  # fmt: skip
    lights = replace(scene.rig.lights.select(many), ids=np.arange(1, 1041))
    with pytest.raises(ReconstructError, match="at most 1024 pictures, got 1040"):
        reconstruct("refine", stack, scene.rig.camera, lights)


@pytest.mark.parametrize("method", ["halfvector", "lambert"])
def test_a_baseline_heeds_the_flat_field(method: str) -> None:
    scene = part("field-3", 32, leds=24)
    stack = pictures(scene)
    flat = np.repeat(np.linspace(0.6, 1.0, 32 * 32).reshape(32, 32, 1), 24, -1).astype(np.float32)
    darker = replace(stack, radiance=stack.radiance * np.moveaxis(flat, -1, 0))
    rig = scene.rig
    plain = reconstruct(method, stack, rig.camera, rig.lights)
    given = reconstruct(method, darker, rig.camera, rig.lights, Options(flat=flat))
    np.testing.assert_allclose(given.height_mm, plain.height_mm, atol=1e-3)


def test_flat_field_of_a_picture_that_is_not_square_lies_where_its_cells_tile_it() -> None:
    rig = virtual_rig(8, (24, 64), seed=5)
    ids, shape = rig.lights.ids, (8, 24, 64)
    stack = Stack(ids, np.ones(shape, np.float32), np.zeros(shape, bool), 1e-6, 1e-4)
    flat = np.tile(np.linspace(1.0, 1.5, 12 * 12).reshape(12, 12, 1), 8).astype(np.float32)
    u = log_depth_at(0.0, rig.camera)
    seen = [
        Refinement(stack, rig.camera, rig.lights, Options(flat=field))
        .problem(1)
        .render_rows(u, Material(ks=1e-8, kd=0.5), 0, 24)
        for field in (flat, None)
    ]
    factor = np.moveaxis(flat_band(flat, rig.camera.shape, slice(None)), 0, -1)
    np.testing.assert_allclose(seen[0] / seen[1], factor, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
def test_a_steep_part_ends_in_one_place_from_either_start() -> None:
    capture = read_captured(CAPTURES / "steep")
    heights = []
    for start in ("halfvector", "dpps"):
        options = Options(
            height_mm=capture.mean_height_mm, mask=capture.mask, start=start, uncertainty=False
        )
        surface = reconstruct("refine", capture.stack, capture.camera, capture.lights, options)
        degrees, height_mm = capture.errors(surface)
        assert height_mm < 0.025
        assert degrees < 0.10
        heights.append(surface.height_mm[capture.mask])
    assert (heights[1] - heights[0]).std() < 0.002
