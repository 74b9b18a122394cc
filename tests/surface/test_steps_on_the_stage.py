"""Steps on parts whose pictures change everywhere: grooved ones, and small ones full of edges.

Where a step is not seen, the height above it may not be told as if there were none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from staged_pictures import pictures, small_rig

from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from reconstruct.shapes.staged import Feature, stacked
from reconstruct.surface import Surface
from rig.staged_scene import StagedScene

Field = NDArray[np.float64]

CENTRE = (2.0, -1.0)
GROOVED_TOP, STEP = 5.0, 1.2
HUB, TOP, FLOOR = 6.2, 4.0, 3.0


class Measured(NamedTuple):
    """A surface, its true heights, the part, what of it is claimed, how many sigma off."""

    surface: Surface
    true_mm: Field
    mask: NDArray[np.bool_]
    claimed: NDArray[np.bool_]
    sigmas: Field


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


def measured(shape: Shape, field_mm: float, metal: Material) -> Measured:
    scene = StagedScene(small_rig(field_mm), shape, metal, disc_points=3)
    stack, camera, lights = pictures(scene), scene.rig.camera, scene.rig.lights
    found = find_on_stage(stack, camera, lights)
    assert found is not None
    surface = reconstruct_on_stage("refine", stack, camera, lights, Options(), found)
    true = scene.points_mm[..., 2]
    claimed = surface.mask & scene.mask
    sigmas = (np.abs(surface.height_mm - true) / surface.sigma_mm)[claimed]
    return Measured(surface, true, scene.mask, claimed, sigmas)


@pytest.mark.slow
def test_step_on_a_turned_disc_is_not_claimed_flat() -> None:
    aluminium = Material.metal("Al", 0.2, distribution="beckmann")
    seen = measured(turned_disc(), 70.0, aluminium)
    assert seen.claimed.sum() > 0.7 * seen.mask.sum()
    assert np.mean(seen.sigmas <= 3.0) >= 0.97
    # The level outside the step is told all the same, if not finer than the grooves are deep.
    outside = seen.claimed & (seen.true_mm < GROOVED_TOP + 0.5 * STEP)
    assert np.median(seen.surface.sigma_mm[outside]) < 0.1


@pytest.mark.slow
def test_hub_and_recess_of_a_small_gear_are_not_claimed_flat() -> None:
    chromium = Material.metal("Cr", 0.25, distribution="beckmann")
    seen = measured(gear_blank(), 60.0, chromium)
    assert np.mean(seen.sigmas <= 3.0) >= 0.97
    assert (seen.claimed & (np.abs(seen.true_mm - TOP) < 0.02)).sum() > 1000
    assert (seen.claimed & (np.abs(seen.true_mm - HUB) < 0.02)).sum() > 500
    told = [piece["level_mm"] for piece in seen.surface.summary["pieces"]]
    assert any(abs(level - HUB) < 0.5 for level in told)


@pytest.mark.slow
def test_plateau_does_not_get_the_height_of_the_skirt_about_it() -> None:
    """The outline is the skirt's, and so is the shadow on the stage."""
    skirt, plateau = 2.0, 3.0
    features = [
        Feature("box", (0.0, 0.0), (20.0, 14.0), skirt, 0.3),
        Feature("box", (0.0, 0.0), (18.0, 12.0), plateau, 0.3),
    ]
    seen = measured(stacked("skirt", features, {}), 60.0, Material.metal("Cu", 0.25))
    assert (seen.claimed & (np.abs(seen.true_mm - plateau) < 0.02)).sum() > 3000
    assert np.mean(seen.sigmas <= 3.0) >= 0.97
