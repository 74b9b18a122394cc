"""The camera's own projection and its inverse against OpenCV's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.camera import Camera
from calib.errors import CalibrationError


@pytest.fixture
def camera() -> Camera:
    K = np.array([[900.0, 0, 320.5], [0, 905.0, 236.25], [0, 0, 1]])
    R, _ = cv2.Rodrigues(np.array([3.05, 0.1, -0.05]))
    dist = np.array([-0.21, 0.09, 1e-3, -7e-4, 0.02])
    return Camera(640, 480, K, dist, R, np.array([3.0, -4.0, 420.0]))


def test_projection_is_opencvs(camera: Camera) -> None:
    points = np.random.default_rng(0).uniform([-80, -80, -20], [80, 80, 40], (500, 3))
    rvec, _ = cv2.Rodrigues(camera.R)
    expected, _ = cv2.projectPoints(points.reshape(-1, 1, 3), rvec, camera.t, camera.K, camera.dist)
    np.testing.assert_allclose(camera.project(points), expected.reshape(-1, 2), atol=1e-9)
    np.testing.assert_array_equal(
        camera.project(points.reshape(50, 10, 3)), camera.project(points).reshape(50, 10, 2)
    )
    np.testing.assert_allclose(camera.project(points[0]), expected[0, 0], atol=1e-9)


def test_rays_undo_projection(camera: Camera) -> None:
    points = camera.points_at_height(5.0)
    rows, columns = np.mgrid[:480, :640]
    np.testing.assert_allclose(camera.project(points)[..., 0], columns, atol=1e-8)
    np.testing.assert_allclose(camera.project(points)[..., 1], rows, atol=1e-8)
    np.testing.assert_allclose(points[..., 2], 5.0, atol=1e-10)


def test_a_subdivided_image_is_binned_back(camera: Camera) -> None:
    fine = camera.subdivided(4)
    assert fine.shape == (1920, 2560)
    back = fine.binned(4)
    np.testing.assert_allclose(back.K, camera.K)
    assert back.shape == camera.shape
    # the middle of a pixel is the middle of its sixteen
    at = camera.project(np.array([10.0, -20.0, 5.0]))
    np.testing.assert_allclose(fine.project(np.array([10.0, -20.0, 5.0])), (at + 0.5) * 4 - 0.5)


def test_what_is_no_camera_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "lens.json"
    for text, says in (("[32]", "holds no camera"), ('{"width": 32}', "lacks 'height'")):
        path.write_text(text)
        with pytest.raises(CalibrationError, match=rf"lens\.json {says}"):
            Camera.read(path)
