"""Views of one part brought together: turned and tilted, with holes, noise and wrong heights."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tilted_parts import tilted

from reconstruct.errors import ReconstructError
from reconstruct.merge import Merged, merge
from reconstruct.shapes.base import Shape
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample
from reconstruct.surface import Flag, Surface
from rig.simulate import virtual_camera

SIDE = 96
SIGMA_MM = 0.01


def seen(part: Shape, steepest_deg: float, seed: int, stage: bool = False) -> Surface:
    """A view as a rig would measure it: no height on slopes steeper than some angle."""
    camera = virtual_camera((SIDE, SIDE), tilt_deg=0.0)
    true = sample(part, camera, 1)
    random = np.random.default_rng(seed)
    height = true.points_mm[..., 2] + random.normal(0, SIGMA_MM, true.points_mm.shape[:2])
    normals = true.normals.copy()
    flags = np.zeros(height.shape, np.uint8)
    unlit = normals[..., 2] < np.cos(np.radians(steepest_deg))
    if stage:
        outside = true.points_mm[..., 2] < 0.5
        flags[outside] = int(Flag.OUTSIDE)
        unlit |= outside
    height[unlit], normals[unlit] = np.nan, np.nan
    sigma = np.where(unlit, np.nan, SIGMA_MM).astype(np.float32)
    return Surface(
        camera, height.astype(np.float32), normals.astype(np.float32), sigma, sigma.copy(), flags
    )


def turn(*degrees: float) -> np.ndarray:
    return Rotation.from_euler("zxy", degrees, degrees=True).as_matrix()


@cache
def relief() -> Shape:
    return shape("field", 3, slope_deg=18.0, correlation_mm=18.0)


TURNS = [(0.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, 0.0, -15.0), (40.0, -10.0, 5.0)]


@cache
def views() -> list[Surface]:
    return [seen(tilted(relief(), turn(*by)), 24.0, k) for k, by in enumerate(TURNS)]


@cache
def merged() -> Merged:
    return merge(views())


def test_tilted_views_fill_what_one_misses_and_agree_with_the_truth() -> None:
    one, found = views()[0], merged()
    true = sample(relief(), one.camera, 1).points_mm[..., 2]
    error = found.surface.height_mm - true
    assert found.surface.mask.sum() > one.mask.sum() + 0.5 * (~one.mask).sum()
    assert np.sqrt(np.nanmean(error**2)) < 0.012
    within = np.abs(error)[found.surface.mask] <= found.surface.sigma_mm[found.surface.mask]
    assert 0.55 < within.mean() < 0.85


@pytest.mark.parametrize("k", [1, 2, 3])
def test_poses_are_found_within_three_sigma(k: int) -> None:
    pose = merged().poses[k]
    off = pose.R @ turn(*TURNS[k])
    angle = Rotation.from_matrix(off).as_rotvec()
    assert np.degrees(np.linalg.norm(angle)) < 0.05
    shift = pose.moved(turn(*TURNS[k]) @ pose.centre_mm) - pose.centre_mm
    miss = np.concatenate([angle, shift])
    assert np.sqrt(miss @ np.linalg.solve(pose.covariance, miss) / 6) < 3.0
    assert pose.undetermined == 0


def test_chosen_view_gives_the_picture() -> None:
    found = merge(views()[:3], chosen=1)
    true = sample(tilted(relief(), turn(*TURNS[1])), found.surface.camera, 1).points_mm[..., 2]
    assert np.sqrt(np.nanmean((found.surface.height_mm - true) ** 2)) < 0.012
    assert found.surface.summary["chosen"] == 2


def test_flat_part_turned_on_the_stage_is_laid_on_its_outline() -> None:
    def bracket(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        foot = (np.abs(x + 4) < 26) & (np.abs(y) < 10)
        arm = (np.abs(x + 20) < 9) & (np.abs(y - 14) < 16)
        return np.where(foot | arm, 5.0, 0.0)

    part = Shape("bracket", bracket)
    c, s = np.cos(np.radians(70)), np.sin(np.radians(70))
    turned = Shape("turned", lambda x, y: bracket(c * x + s * y, c * y - s * x))
    found = merge([seen(part, 30, 0, stage=True), seen(turned, 30, 1, stage=True)])
    angle = Rotation.from_matrix(found.poses[1].R).as_euler("zxy", degrees=True)
    assert angle[0] == pytest.approx(-70, abs=0.5)
    assert np.abs(found.poses[1].t).max() < 0.6
    assert np.sqrt(np.nanmean((found.surface.height_mm - 5.0) ** 2)) < 0.02


def test_mesh_holds_what_only_other_views_see() -> None:
    found = merged()
    assert len(found.mesh.vertices_mm) > found.surface.mask.sum()
    assert np.isfinite(found.mesh.vertices_mm).all()
    assert found.mesh.faces.max() < len(found.mesh.vertices_mm)


def test_what_the_surfaces_leave_open_is_named_and_stays_as_it_was_told() -> None:
    ball = Shape("ball", lambda x, y: np.sqrt(150.0**2 - x**2 - y**2) - 140.0)
    back = turn(0, -15, 0)
    told = [None, (back, np.zeros(3))]
    found = merge([seen(ball, 14, 0), seen(tilted(ball, turn(0, 15, 0)), 14, 1)], starts=told)
    assert found.poses[1].undetermined == 3
    off = Rotation.from_matrix(found.poses[1].R @ back.T).as_rotvec(degrees=True)
    assert np.linalg.norm(off) < 0.01
    assert found.surface.mask.sum() > 1.2 * seen(ball, 14, 0).mask.sum()
    true = sample(ball, found.surface.camera, 1).points_mm[..., 2]
    assert np.sqrt(np.nanmean((found.surface.height_mm - true) ** 2)) < 0.03


def test_a_single_view_is_refused() -> None:
    with pytest.raises(ReconstructError, match="two views"):
        merge(views()[:1])
