"""Lamps that stand far away: told as directions, and only where the pictures say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calib.distant import distant_lights
from tests.calib.test_solve import random_rig, view_of, views_of


def test_lamps_far_away_give_directions_from_all_places() -> None:
    rng = np.random.default_rng(3)
    camera, lights, radius = random_rig(rng, 10)
    lights = replace(lights, position_mm=lights.position_mm * 100)
    found = distant_lights(views_of(rng, camera, lights, radius, 3, 0.02), camera, radius)
    assert found is not None
    assert not found.missing
    unit = found.lights.position_mm / np.linalg.norm(found.lights.position_mm, axis=1)[:, None]
    true = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.clip(np.sum(unit * true, axis=1), -1, 1))).max() < 0.5
    assert found.at_least_mm < np.linalg.norm(lights.position_mm, axis=1).max()


def test_a_lamp_whose_highlights_disagree_is_missing() -> None:
    rng = np.random.default_rng(3)
    camera, lights, radius = random_rig(rng, 10)
    lights = replace(lights, position_mm=lights.position_mm * 100)
    views = views_of(rng, camera, lights, radius, 3, 0.02)
    views[0].blobs[4] = views[0].blobs[5]
    found = distant_lights(views, camera, radius)
    assert found is not None
    assert "do not agree" in found.missing[4]
    assert 4 not in found.lights.ids


@pytest.mark.parametrize("moved_mm", [0, 1, 5, 40])
def test_near_lamps_are_never_taken_for_far_ones(moved_mm: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        camera, lights, radius = random_rig(rng, 12)
        views = [view_of(rng, camera, lights, radius, (x, 0), 0.1, f"{x}") for x in (0, moved_mm)]
        assert distant_lights(views, camera, radius) is None
