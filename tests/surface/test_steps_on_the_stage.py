"""Steps on parts whose pictures change everywhere: grooved ones, and small ones full of edges.

Where a step is not seen, the height above it may not be told as if there were none.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from reconstruct.shapes.staged import Feature, stacked
from reconstruct.stack import Stack
from reconstruct.surface import Surface
from rig.simulate import VirtualRig, dome, virtual_camera
from rig.staged_scene import StagedScene

Field = NDArray[np.float64]

CENTRE = (2.0, -1.0)
GROOVED_TOP, STEP = 5.0, 1.2
HUB, TOP, FLOOR = 6.2, 4.0, 3.0


def rig(field_mm: float) -> VirtualRig:
    lights, nominal = dome(48)
    return VirtualRig(virtual_camera((160, 160), field_mm), lights, nominal)


def pictures(scene: StagedScene) -> Stack:
    lights = scene.rig.lights
    images = np.stack([scene.irradiance(int(led)) for led in lights.ids])
    images *= 12_000.0 / np.quantile(images, 0.998)
    random = np.random.default_rng(1)
    seen = random.poisson(images) + random.normal(0, 3.0, images.shape)
    radiance = (np.minimum(seen, 12_000.0) / 12_000.0).astype(np.float32)
    return Stack(lights.ids, radiance, radiance >= 1.0, 9.0 / 12_000**2, 1.0 / 12_000)


def measured(scene: StagedScene) -> Surface:
    stack, camera, lights = pictures(scene), scene.rig.camera, scene.rig.lights
    found = find_on_stage(stack, camera, lights)
    assert found is not None
    return reconstruct_on_stage("refine", stack, camera, lights, Options(), found)


def turned_disc() -> Shape:
    """Concentric grooves of 3.25 mm, 0.1 mm deep, and a concentric step.

    The grooves rise from each rim inwards, from the middle of their depth. Shadows are cast by
    level features that touch them from below, and by the rims.
    """
    outer, inner, bore, pitch, half_depth, lip = 26.0, 13.0, 3.25, 3.25, 0.05, 0.1

    def height(x: Field, y: Field) -> Field:
        from_middle = np.hypot(x - CENTRE[0], y - CENTRE[1])
        level = GROOVED_TOP + np.where(from_middle <= inner, STEP, 0.0)
        grooves = half_depth * np.sin(2 * np.pi * (outer - from_middle) / pitch)
        return np.where((from_middle <= outer) & (from_middle > bore), level + grooves, 0.0)

    casting = [
        (outer, GROOVED_TOP),
        (outer - lip, GROOVED_TOP - half_depth),
        (inner, GROOVED_TOP + STEP),
        (inner - lip, GROOVED_TOP + STEP - half_depth),
        (bore, 0.0),
    ]
    features = [Feature("disc", CENTRE, (radius, radius), level) for radius, level in casting]
    listed = [feature.__dict__ for feature in features]
    return Shape("disc", height, lambda x, y: height(x, y) > 0, None, {"features": listed})


def gear_blank() -> Shape:
    """35 mm wide: 22 teeth, a ring of a recess, a hub in it, a bore with a keyway."""
    radii = ((17.5, TOP), (11.9, FLOOR), (8.5, HUB), (4.0, 0.0))
    features = [Feature("disc", CENTRE, (radius, radius), level) for radius, level in radii]
    for turn in 2 * np.pi * np.arange(22) / 22:
        at = (CENTRE[0] + 17.2 * float(np.cos(turn)), CENTRE[1] + 17.2 * float(np.sin(turn)))
        features.append(Feature("box", at, (2.2, 1.2), 0.0, float(turn)))
    features.append(Feature("box", (CENTRE[0] + 4.0, CENTRE[1]), (1.5, 1.5), 0.0))
    return stacked("gear", features, {})


def beyond(scene: StagedScene, surface: Surface) -> tuple[Field, NDArray[np.bool_]]:
    """What is claimed: how many sigma from the truth, and where."""
    claimed = surface.mask & scene.mask
    error = surface.height_mm - scene.points_mm[..., 2]
    return np.abs(error)[claimed] / surface.sigma_mm[claimed], claimed


@pytest.mark.slow
def test_step_on_a_turned_disc_is_not_claimed_flat() -> None:
    aluminium = Material.metal("Al", 0.2, distribution="beckmann")
    scene = StagedScene(rig(70.0), turned_disc(), aluminium, disc_points=3)
    surface = measured(scene)
    sigmas, claimed = beyond(scene, surface)
    assert claimed.sum() > 0.7 * scene.mask.sum()
    assert np.mean(sigmas <= 3.0) >= 0.97
    # The level outside the step is told all the same, if not finer than the grooves are deep.
    outside = claimed & (scene.points_mm[..., 2] < GROOVED_TOP + 0.5 * STEP)
    assert np.median(surface.sigma_mm[outside]) < 0.1


@pytest.mark.slow
def test_hub_and_recess_of_a_small_gear_are_not_claimed_flat() -> None:
    chromium = Material.metal("Cr", 0.25, distribution="beckmann")
    scene = StagedScene(rig(60.0), gear_blank(), chromium, disc_points=3)
    surface = measured(scene)
    sigmas, claimed = beyond(scene, surface)
    true = scene.points_mm[..., 2]
    assert np.mean(sigmas <= 3.0) >= 0.97
    assert (claimed & (np.abs(true - TOP) < 0.02)).sum() > 1000
    assert (claimed & (np.abs(true - HUB) < 0.02)).sum() > 500
    told = [piece["level_mm"] for piece in surface.summary["pieces"]]
    assert any(abs(level - HUB) < 0.5 for level in told)


@pytest.mark.slow
def test_plateau_does_not_get_the_height_of_the_skirt_about_it() -> None:
    """The outline is the skirt's, and so is the shadow on the stage."""
    skirt, plateau = 2.0, 3.0
    features = [
        Feature("box", (0.0, 0.0), (20.0, 14.0), skirt, 0.3),
        Feature("box", (0.0, 0.0), (18.0, 12.0), plateau, 0.3),
    ]
    part = stacked("skirt", features, {})
    scene = StagedScene(rig(60.0), part, Material.metal("Cu", 0.25), disc_points=3)
    sigmas, claimed = beyond(scene, measured(scene))
    assert (claimed & (np.abs(scene.points_mm[..., 2] - plateau) < 0.02)).sum() > 3000
    assert np.mean(sigmas <= 3.0) >= 0.97
