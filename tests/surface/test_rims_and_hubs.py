"""Levels of floors within rims, of edges and pins in others' shadows, and of a shaft."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from staged_pictures import pictures, small_rig

from reconstruct import piece_shadows
from reconstruct.levels import Rise
from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from reconstruct.shapes.staged import Feature, stacked
from reconstruct.surface import Surface
from rig.staged_scene import StagedScene

Field = NDArray[np.float64]

MIDDLE = (0.0, 0.0)


def reconstructed(shape: Shape) -> tuple[Surface, Field]:
    """The surface of a part in pictures of the virtual rig, and its true heights."""
    scene = StagedScene(small_rig(60.0), shape, Material.metal("Cu", 0.25), disc_points=3)
    stack, camera, lights = pictures(scene), scene.rig.camera, scene.rig.lights
    found = find_on_stage(stack, camera, lights)
    assert found is not None
    surface = reconstruct_on_stage("refine", stack, camera, lights, Options(), found)
    return surface, scene.points_mm[..., 2]


def shaft() -> Shape:
    """A stepped shaft that lies on its side; shadows are cast by fine stairs below its surface."""
    axis, steps = 9.0, ((-11.0, 11.0, 9.0), (11.0, 11.0, 5.5))  # middle, half length, radius

    def height(x: Field, y: Field) -> Field:
        z = np.zeros(np.broadcast(x, y).shape)
        for middle, half, radius in steps:
            own = (np.abs(x - middle) <= half) & (np.abs(y) < radius)
            z = np.where(own, axis + np.sqrt(np.maximum(radius**2 - y * y, 0.0)), z)
        return z

    features = [
        Feature("box", (middle, 0.0), (half, radius * float(np.sin(turn))), level)
        for middle, half, radius in steps
        for turn in np.linspace(0.5 * np.pi, 0.05, 40)
        for level in [axis + radius * float(np.cos(turn))]
    ]
    listed = [feature.__dict__ for feature in features]
    return Shape("shaft", height, lambda x, y: height(x, y) > 0, None, {"features": listed})


def level_near(surface: Surface, true_mm: float) -> dict[str, Any]:
    told = surface.summary["pieces"]
    return min(told, key=lambda piece: abs(piece["level_mm"] - true_mm))


@pytest.mark.slow
def test_outer_chamfer_of_a_narrow_rim_does_not_move_the_floor_within() -> None:
    """The chamfer faces the lights whose shadows fall on the floor, and shines beside the rim."""
    rim, floor, wide = 3.0, 2.4, 2.4
    features = [
        Feature("box", MIDDLE, (20.0, 13.0), rim, chamfer_mm=0.3),
        Feature("box", MIDDLE, (20.0 - wide, 13.0 - wide), floor),
    ]
    surface, _ = reconstructed(stacked("part", features, {}))
    upper, lower = level_near(surface, rim), level_near(surface, floor)
    assert upper is not lower

    assert abs(upper["level_mm"] - lower["level_mm"] - (rim - floor)) < 0.05


@pytest.mark.slow
def test_shadow_of_a_hub_beyond_the_edge_does_not_move_the_edge() -> None:
    """Under low lights the hub's shadow reaches the stage past that of the edge."""
    top, hub = 3.0, 9.0
    features = [
        Feature("box", MIDDLE, (20.0, 14.0), top),
        Feature("disc", (0.0, 8.0), (4.5, 4.5), hub),
        Feature("disc", (12.0, -8.0), (4.5, 4.5), hub),
    ]
    surface, _ = reconstructed(stacked("part", features, {}))
    told = surface.summary["height_told"]

    assert abs(told["mm"] - top) < 3.0 * told["sigma_mm"] < 0.06


@pytest.mark.slow
def test_pins_in_each_others_shadows_are_told() -> None:
    """Shadows between pins are no low steps of the base, and no step goes up to the base."""
    base, top = 3.5, 8.0
    places = [(x, y) for x in (-14.0, -2.0, 10.0) for y in (-9.0, 1.0, 11.0)]
    pins = [Feature("box", place, (2.4, 2.4), top) for place in places]
    surface, true_mm = reconstructed(
        stacked("part", [Feature("box", MIDDLE, (24.0, 18.0), base), *pins], {})
    )
    told = surface.summary["pieces"]

    assert len(told) == 1 + len(pins)
    for piece, true in zip(told, [base, *[top] * len(pins)], strict=True):
        assert abs(piece["level_mm"] - true) < 3.0 * piece["sigma_mm"] < 0.3
    claimed = np.isfinite(surface.height_mm)
    off = np.abs(surface.height_mm - true_mm)[claimed] / surface.sigma_mm[claimed]
    assert (off < 3.0).mean() > 0.995


@pytest.mark.slow
def test_hub_is_told_by_its_shadow_on_the_part_where_its_bore_tells_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Walls light the stage in a bore, and what is told there is low, with a wide sigma."""
    top, hub = 3.0, 7.0
    measured = piece_shadows.PieceShadows.rise

    def low_in_bores(shadows: Any, upper: int, lower: int, *rest: Any) -> Rise | None:
        told = measured(shadows, upper, lower, *rest)
        if told is None or lower != piece_shadows.HOLE:
            return told
        return replace(told, mm=top + 1.0, sigma_mm=1.0)

    monkeypatch.setattr(piece_shadows.PieceShadows, "rise", low_in_bores)
    features = [
        Feature("box", MIDDLE, (20.0, 16.0), top),
        Feature("disc", MIDDLE, (8.5, 8.5), hub),
        Feature("disc", MIDDLE, (4.5, 4.5), 0.0),
    ]
    surface, _ = reconstructed(stacked("part", features, {}))
    told = level_near(surface, hub)

    assert told["told_by"] == "shadow"
    assert abs(told["level_mm"] - hub) < 3.0 * told["sigma_mm"]
    assert told["sigma_mm"] < 0.5


@pytest.mark.slow
def test_levels_of_a_shaft_on_its_side_are_unsure() -> None:
    """It has no upper edge: each light finds its own height that casts the shadow."""
    surface, true_mm = reconstructed(shaft())
    claimed = surface.mask & (true_mm > 0) & (surface.sigma_mm < 1.0)
    off = np.abs(surface.height_mm - true_mm)[claimed] / surface.sigma_mm[claimed]
    assert np.count_nonzero(off > 3.0) < 20
