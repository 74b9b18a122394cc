"""Parts in pictures too large to trace mirrored light for each of their pixels."""

from __future__ import annotations

import numpy as np
import pytest
from staged_pictures import pictures, small_rig

from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.refine import problem, reflectance, transport
from reconstruct.shapes.staged import Feature, stacked
from rig.staged_scene import StagedScene


@pytest.mark.slow
def test_mirrored_light_of_a_large_part_is_followed_by_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small pictures stand for large ones, on whose cells much light comes from other places."""
    monkeypatch.setattr(problem, "LARGE_PIXELS", 1 << 10)
    monkeypatch.setattr(transport, "GRID", 32)
    monkeypatch.setattr(reflectance, "mirrors", lambda *of_problem: True)
    features = [
        Feature("box", (0.0, 0.0), (20.0, 14.0), 6.0),
        Feature("box", (0.0, 0.0), (12.0, 8.0), 1.0),
    ]
    scene = StagedScene(
        small_rig(60.0), stacked("part", features, {}), Material.metal("Cu", 0.25), disc_points=3
    )
    stack, camera, lights = pictures(scene), scene.rig.camera, scene.rig.lights
    found = find_on_stage(stack, camera, lights)
    assert found is not None

    surface = reconstruct_on_stage("refine", stack, camera, lights, Options(), found)

    told = max(surface.summary["pieces"], key=lambda piece: piece["pixels"])
    assert abs(told["level_mm"] - 6.0) < max(0.05, 3.0 * told["sigma_mm"])
    assert np.isfinite(surface.height_mm[found.mask]).mean() > 0.5
