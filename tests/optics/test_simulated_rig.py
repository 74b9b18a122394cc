"""The virtual rig: scenes that camera and board can share, with a truth to hold results against."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture.world import World
from reconstruct.errors import ReconstructError
from reconstruct.shapes.catalogue import SHAPES, shape
from rig.simulate import (
    dome,
    named_part,
    part_scene,
    plate_scene,
    scene_of,
    virtual_camera,
    virtual_rig,
)
from rig.simulated_ball import BallScene, ball_poses, ball_scenes, mirror_points

RIG = virtual_rig(8, (96, 96), seed=3)


@pytest.mark.parametrize("name", ["block-1", "turned-2"])
def test_pictures_drawn_together_are_those_drawn_one_by_one(name: str) -> None:
    together, single = scene_of(name, rig=RIG), scene_of(name, rig=RIG)
    together.draw([2, 5, 7])
    for led in (2, 5, 7):
        assert np.array_equal(together.irradiance(led), single.irradiance(led))


def test_the_preset_is_a_dome_of_96_leds_near_its_drawing() -> None:
    lights, nominal = dome()
    assert len(lights) == 96
    off = np.linalg.norm(lights.position_mm - nominal, axis=1)
    assert 2.0 < np.median(off) < 8.0
    radius = np.linalg.norm(lights.position_mm, axis=1)
    assert 265 < radius.min() < radius.max() < 295
    towards_stage = -(lights.axis * lights.position_mm).sum(1) / radius
    assert towards_stage.min() > np.cos(np.radians(10))


def test_the_camera_sees_its_field_from_its_distance() -> None:
    camera = virtual_camera((100, 200), field_mm=110.0)
    assert 200 * camera.pixel_mm() == pytest.approx(110.0, rel=0.02)
    assert camera.centre_mm[2] == pytest.approx(420.0, abs=1.0)
    middle = camera.project(np.array([0.0, 10.0, 0.0]))
    assert middle[1] < 49.5  # y is up in the image


@pytest.mark.parametrize("name", SHAPES)
def test_every_part_can_be_looked_at(name: str) -> None:
    scene = scene_of(f"{name}-2", rig=RIG)
    image = scene.irradiance(3)
    assert image.shape == scene.shape == (96, 96)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() > 0
    assert scene.irradiance(3) is image  # kept
    assert not scene.irradiance(9).any()  # no such LED: dark
    assert scene.ambient().max() > 0


def test_names_are_parts_and_seeds_and_any_name_is_some_part() -> None:
    assert named_part("coin-3") == ("coin", 3)
    assert named_part("step_gauge") == ("step_gauge", 0)
    assert named_part("A12") == named_part("A12")
    assert named_part("A12")[0] in SHAPES


def test_alpha_out_of_range_is_refused() -> None:
    with pytest.raises(ReconstructError, match="alpha"):
        scene_of("field", rig=RIG, alpha=1.5)


def test_truth_is_written_with_the_scene(tmp_path: Path) -> None:
    scene = part_scene(RIG, shape("field", 1))
    scene.write_truth(tmp_path / "truth.npz")
    with np.load(tmp_path / "truth.npz") as truth:
        assert truth["position"].shape == truth["normal"].shape == (96, 96, 3)
        np.testing.assert_allclose(np.linalg.norm(truth["normal"], axis=-1), 1, atol=1e-5)
        pixels = RIG.camera.project(truth["position"][40, 20])
        np.testing.assert_allclose(pixels, [20, 40], atol=0.1)


def test_the_plate_shows_fall_off_and_power() -> None:
    scene = plate_scene(RIG)
    centre = [scene.irradiance(led)[40:56, 40:56].mean() for led in range(1, 9)]
    lights, gain = RIG.lights, scene.electrons_per_us
    d = np.linalg.norm(lights.position_mm, axis=1)
    aimed = -(lights.axis * lights.position_mm).sum(1) / d
    expected = lights.intensity * lights.power * aimed / d**2
    expected *= lights.position_mm[:, 2] / d * 0.8 / np.pi * gain
    np.testing.assert_allclose(centre, expected, rtol=0.02)


def test_a_world_integrates_the_scene() -> None:
    scene = plate_scene(RIG)
    world = World(scene)
    world.light(2, 0.5, at_us=100)
    world.dark(at_us=1100)
    got = world.electrons(0, 2000)
    expected = scene.ambient() * 2000 + scene.irradiance(2) * 500
    np.testing.assert_allclose(got, expected, rtol=1e-5)


# the mirror ball ---------------------------------------------------------------------------------
def test_mirror_points_obey_the_law_of_reflection() -> None:
    centre, eye = np.array([5.0, -8.0, 12.7]), RIG.camera.centre_mm
    lamps = RIG.lights.position_mm
    at = mirror_points(centre, 12.7, eye, lamps)
    normal = (at - centre) / 12.7
    view, light = eye - at, lamps - at
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    mirrored = 2 * (view * normal).sum(1, keepdims=True) * normal - view
    np.testing.assert_allclose(mirrored, light, atol=1e-9)


def test_the_highlight_is_drawn_where_it_belongs_and_holds_its_light() -> None:
    scene = BallScene(virtual_rig(8, (320, 320), seed=3), np.array([10.0, 5.0, 12.7]))
    for led in (1, 5):
        spot = scene.irradiance(led).astype(float)
        column, row = scene.highlight_px(led)
        top, left = int(row) - 6, int(column) - 6
        window = spot[top : top + 14, left : left + 14]
        rows, columns = np.mgrid[top : top + 14, left : left + 14]
        window = np.maximum(window - np.median(window), 0)
        found = (window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()
        np.testing.assert_allclose(found, (column, row), atol=0.05)


def test_the_ball_hides_the_paper_and_shows_in_room_light() -> None:
    scene = BallScene(virtual_rig(8, (320, 320), seed=3), np.array([0.0, 0.0, 12.7]))
    lit, room = scene.irradiance(1), scene.ambient()
    assert lit[300, 300] > 10 * lit[158:162, 158:162].min()  # the ball's top sees no paper
    assert room[160, 160] < 0.5 * room[20, 20]
    shadow = lit < 0.2 * np.median(lit)
    px_mm = 320 / 110.0
    assert shadow.sum() > np.pi * (0.5 * 12.7 * px_mm) ** 2


def test_poses_cover_the_stage_and_scenes_follow_them() -> None:
    centres = ball_poses(6, seed=2)
    assert np.hypot(centres[:, 0], centres[:, 1]).max() < 40
    assert np.linalg.norm(centres[:, None] - centres, axis=-1)[~np.eye(6, dtype=bool)].min() > 10
    scenes = ball_scenes(RIG, 3)
    assert len(scenes) == 3
    assert not np.allclose(scenes[0].irradiance(1), scenes[1].irradiance(1))


SCENE = """
import hashlib
from rig.simulate import scene_of, virtual_rig
scene = scene_of("field-1", rig=virtual_rig(3, (24, 24)), bounce=False)
print(hashlib.sha256(b"".join(scene.irradiance(led).tobytes() for led in (1, 2, 3))).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kernels_just_compiled_make_the_pictures_of_cached_ones(tmp_path):
    """Else the first recording after an installation differs from all others."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCENE], env=environment, stdout=subprocess.PIPE, check=True
        ).stdout
        for _ in ("compiled", "cached")
    }
    assert len(digests) == 1
