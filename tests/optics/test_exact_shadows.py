"""Shadows that machined parts cast, against geometry that is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from reconstruct.shapes.features import cast_shadows
from reconstruct.shapes.staged import STAGED, Feature, stacked

LIGHT = np.array([[-200.0, 30.0, 150.0]])


def edge_along_x(features: list[Feature], y: float, from_x: float, to_x: float, z: float) -> float:
    """Where a shadow on level ground ends on a line along x, by counting lit points."""
    listed = stacked("part", features, {}).parameters["features"]
    x = np.linspace(from_x, to_x, 20_001)
    points = np.stack([x, np.full_like(x, y), np.full_like(x, z)], axis=-1)[None]
    dark = cast_shadows(listed, points, LIGHT)[0, 0] == 0
    return float(from_x + dark.mean() * (to_x - from_x))


def ends(edge_x: float, top: float, ground: float) -> float:
    """Where the shadow of an edge across x ends on the ground."""
    px, _, pz = LIGHT[0]
    return edge_x + (edge_x - px) * (top - ground) / (pz - top)


def test_a_block_s_shadow_on_the_stage_ends_where_it_must() -> None:
    block = [Feature("box", (0.0, 0.0), (20.0, 30.0), 6.0)]
    assert edge_along_x(block, 0.0, 20.0, 40.0, 0.0) == pytest.approx(
        ends(20.0, 6.0, 0.0), abs=3e-3
    )


@pytest.mark.parametrize("depth", [0.2, 1.5, 4.0])
def test_a_pocket_s_wall_casts_its_shadow_on_the_floor(depth: float) -> None:
    block = [
        Feature("box", (0.0, 0.0), (20.0, 30.0), 6.0),
        Feature("box", (0.0, 0.0), (10.0, 12.0), 6.0 - depth),
    ]
    found = edge_along_x(block, 0.0, -10.0, 9.9, 6.0 - depth)
    assert found == pytest.approx(ends(-10.0, 6.0, 6.0 - depth), abs=3e-3)


def test_a_chamfer_casts_by_whichever_of_its_edges_reaches_further() -> None:
    block = [Feature("box", (0.0, 0.0), (20.0, 30.0), 6.0, chamfer_mm=1.0)]
    upper, lower = ends(19.0, 6.0, 0.0), ends(20.0, 5.0, 0.0)
    found = edge_along_x(block, 0.0, 20.0, 45.0, 0.0)
    assert found == pytest.approx(max(upper, lower), abs=0.02)


def test_the_top_is_lit_and_the_stage_sees_what_lies_free() -> None:
    listed = stacked("part", [Feature("disc", (0.0, 0.0), (10.0, 10.0), 5.0)], {})
    points = np.array([[[0.0, 0.0, 5.0], [-15.0, 0.0, 0.0], [11.0, 0.0, 0.0]]])
    seen = cast_shadows(listed.parameters["features"], points, LIGHT)
    np.testing.assert_array_equal(seen, [[[1.0, 1.0, 0.0]]])


@pytest.mark.parametrize("kind", list(STAGED))
def test_shadows_are_those_of_the_part_s_heights(kind: str) -> None:
    """Rays followed in steps of 5 µm through the part's height agree but for grazing ones."""
    part = STAGED[kind](11)
    random = np.random.default_rng(0)
    x, y = random.uniform(-35, 35, (2, 400))
    points = np.stack([x, y, part.height(x, y)], axis=-1)[None]
    seen = cast_shadows(part.parameters["features"], points, LIGHT)[0, 0]
    top = max(feature["level_mm"] for feature in part.parameters["features"])
    towards = LIGHT[0] - points[0]
    share = np.clip((top - points[0, :, 2]) / towards[:, 2], 0, 1)
    way = np.linspace(0, 1, 6_000)[:, None] * share
    along = points[0] + way[..., None] * towards
    clear = (along[..., 2] - part.height(along[..., 0], along[..., 1])).min(axis=0)
    sure = (clear < -0.02) | (clear > -1e-6)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(seen[sure] == 1, clear[sure] > -1e-6)
    assert 0.02 < 1 - seen.mean() < 0.6
