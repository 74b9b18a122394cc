"""The camera from pictures of boards: rendered, found, solved, and refused where degenerate."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.board import Board, to_grey8, write_target
from calib.camera import Camera
from calib.errors import CalibrationError
from calib.intrinsics import BoardView, CameraCalibration, calibrate_camera, find_board

SHAPE = (480, 640)
K = np.array([[900.0, 0.0, 325.0], [0.0, 905.0, 236.0], [0.0, 0.0, 1.0]])
DIST = np.array([-0.12, 0.05, 0.0004, -0.0003, 0.0])


def pose(board: Board, tilt_x: float, tilt_y: float, x: float = 0, y: float = 0) -> tuple:
    """Board centre at (x, y) of the camera, 420 mm away, tilted by degrees."""
    turn = cv2.Rodrigues(np.radians([tilt_x, tilt_y, 3.0]))[0]
    centre = np.array([board.columns, board.rows, 0]) * board.square_mm / 2
    t = np.array([x, y, 420.0]) - turn @ centre
    return cv2.Rodrigues(turn)[0].ravel(), t


POSES = [
    (0, 0, 0, 0), (28, 0, -40, -30), (-28, 0, 40, 30), (0, 28, -40, 30), (0, -28, 40, -30),
    (20, 20, 60, 50), (-20, 18, -60, 50), (18, -22, -60, -50), (-15, -25, 60, -50), (5, -3, 0, 0),
]  # fmt: skip


def corners_of(board: Board, poses: list, noise_px: float, seed: int = 0) -> list[BoardView]:
    rng = np.random.default_rng(seed)
    views = []
    for n, (a, b, x, y) in enumerate(poses):
        rvec, tvec = pose(board, a, b, x, y)
        points, _ = cv2.projectPoints(board.corners_mm, rvec, tvec, K, DIST)
        pixels = points.reshape(-1, 2) + rng.normal(0, noise_px, (len(board.corners_mm), 2))
        inside = (pixels > 2).all(axis=1) & (pixels < np.array(SHAPE[::-1]) - 3).all(axis=1)
        views.append(BoardView(f"view {n}", np.flatnonzero(inside), pixels[inside]))
    return views


def test_the_same_views_give_the_same_camera_to_the_bit() -> None:
    board = Board(13, 9, 15.0)
    views = corners_of(board, POSES, 0.1)
    first, *others = (calibrate_camera(views, board, SHAPE).camera for _ in range(4))
    for camera in others:
        np.testing.assert_array_equal(camera.K, first.K)
        np.testing.assert_array_equal(camera.dist, first.dist)


def test_camera_within_its_own_error_bars() -> None:
    board = Board(13, 9, 15.0)
    chi2 = []
    for seed in range(6):
        found = calibrate_camera(corners_of(board, POSES, 0.1, seed), board, SHAPE)
        camera = found.camera
        assert camera.covariance is not None
        inner = [camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]]
        off = np.array(inner) - [900, 905, 325, 236]
        chi2.append(off @ np.linalg.inv(camera.covariance[:4, :4]) @ off)
        assert found.sigma_px == pytest.approx(0.1, rel=0.15)
        assert np.abs(off).max() < 2
    assert 0.8 < np.mean(chi2) < 10  # four degrees of freedom


def test_stage_frame_has_x_right_y_up_z_to_the_camera() -> None:
    board = Board(13, 9, 15.0)
    camera = calibrate_camera(corners_of(board, POSES, 0.0), board, SHAPE, stage="view 0").camera
    middle = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
    np.testing.assert_allclose(camera.project(np.zeros(3)), middle, atol=1e-6)
    assert camera.project(np.array([10.0, 0, 0]))[0] > middle[0] + 5
    assert camera.project(np.array([0, 10.0, 0]))[1] < middle[1] - 5
    assert camera.centre_mm[2] == pytest.approx(420, abs=1)


@pytest.mark.parametrize(
    ("poses", "complaint"),
    [
        ([(0, 0, d, 0) for d in (-60, -20, 20, 60, 0)], "same direction"),
        ([(a, 0, 0, a) for a in (-30, -15, 0, 15, 30)], "left and right is missing"),
        ([(0, a, a, 0) for a in (-30, -15, 0, 15, 30)], "away from you is missing"),
        (POSES[:3], "pictures"),
    ],
)
def test_degenerate_sets_are_refused_with_what_is_missing(poses: list, complaint: str) -> None:
    board = Board(13, 9, 15.0)
    with pytest.raises(CalibrationError, match=complaint):
        calibrate_camera(corners_of(board, poses, 0.05), board, SHAPE)


def test_a_board_in_the_middle_only_is_refused() -> None:
    board = Board(9, 7, 8.0)
    poses = [(a, b, 0, 0) for a, b, _, _ in POSES]
    with pytest.raises(CalibrationError, match="corners"):
        calibrate_camera(corners_of(board, poses, 0.05), board, SHAPE)


def rendered(
    board: Board, rvec: np.ndarray, tvec: np.ndarray, edge: float = 1.0, ground: int = 90
) -> np.ndarray:
    """A picture of the board through the distorted camera, twice oversampled.

    `edge` is the white rim in squares, `ground` the grey around it.
    """
    camera = Camera(
        SHAPE[1], SHAPE[0], K, DIST, np.asarray(cv2.Rodrigues(rvec)[0]), np.asarray(tvec)
    )
    ppsq = 40
    rim = round(edge * ppsq)
    art = cv2.copyMakeBorder(board.draw(ppsq), rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=255)
    points = camera.points_at_height(0.0) / board.square_mm * ppsq + rim - 0.5
    small = cv2.remap(
        cv2.GaussianBlur(art, (0, 0), 0.8), points[..., 0].astype(np.float32),
        points[..., 1].astype(np.float32), cv2.INTER_LINEAR, borderValue=ground,
    )  # fmt: skip
    return np.asarray(small)


@pytest.mark.parametrize("kind", ["charuco", "chessboard"])
def test_boards_are_found_to_sub_pixels(kind: str) -> None:
    board = Board(9, 6, 20.0, kind)  # type: ignore[arg-type]
    rvec, tvec = pose(board, 15, -10)
    view = find_board("x", to_grey8(rendered(board, rvec, tvec)), board)
    assert view is not None
    points, _ = cv2.projectPoints(board.corners_mm[view.index], rvec, tvec, K, DIST)
    off = np.linalg.norm(view.pixels - points.reshape(-1, 2), axis=1)
    assert len(view.index) > 0.8 * len(board.corners_mm)
    if kind == "chessboard":  # may be numbered from either end
        other, _ = cv2.projectPoints(board.corners_mm[::-1][view.index], rvec, tvec, K, DIST)
        off = np.minimum(off, np.linalg.norm(view.pixels - other.reshape(-1, 2), axis=1))
    assert np.median(off) < 0.15


@pytest.mark.parametrize("kind", ["charuco", "chessboard"])
def test_boards_are_found_on_a_dark_ground(kind: str) -> None:
    """Cut out of its sheet with a narrow edge, on black cloth in a dark room."""
    board = Board(9, 6, 20.0, kind)  # type: ignore[arg-type]
    grey = rendered(board, *pose(board, 15, -10), edge=0.25, ground=2)
    dark = np.clip(grey * 0.4 + np.random.default_rng(0).normal(0, 1.5, SHAPE), 0, 255)
    view = find_board("x", dark.astype(np.uint8), board)
    assert view is not None
    assert len(view.index) > 0.8 * len(board.corners_mm)


def test_no_board_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)
    assert find_board("x", noise, Board()) is None


def test_target_is_a_pdf_with_the_board_in_it(tmp_path: Path) -> None:
    path = tmp_path / "A4.pdf"
    board = Board()
    write_target(path, board)
    raw = path.read_bytes()
    assert raw.startswith(b"%PDF-1.4")
    assert raw.rstrip().endswith(b"%%EOF")
    start = int(raw.rsplit(b"startxref", 1)[1].split()[0])
    assert raw[start : start + 4] == b"xref"
    data = raw.split(b"/Im Do")[1].split(b"stream\n", 2)[2].split(b"\nendstream")[0]
    assert zlib.decompress(data) == board.draw(64).tobytes()
    with pytest.raises(CalibrationError, match="does not fit"):
        write_target(tmp_path / "big.pdf", Board(30, 20, 30.0))


def test_result_types() -> None:
    board = Board(13, 9, 15.0)
    found = calibrate_camera(corners_of(board, POSES, 0.05), board, SHAPE)
    assert isinstance(found, CameraCalibration)
    assert found.rms_px.shape == (len(POSES),)
    assert found.camera.covariance is not None
    assert np.linalg.eigvalsh(found.camera.covariance).min() > -1e-12


def test_the_stage_s_normal_and_distance_lie_within_their_own_error_bars() -> None:
    """Of the step that `Camera.moved` takes; where the picture lays the stage's x is no error."""
    board = Board(13, 9, 15.0)
    true = calibrate_camera(corners_of(board, POSES, 0.0), board, SHAPE, stage="view 0").camera
    off = []
    for seed in range(12):
        camera = calibrate_camera(corners_of(board, POSES, 0.1, seed), board, SHAPE, stage="view 0")
        found = camera.camera
        assert found.covariance is not None
        turn = cv2.Rodrigues(found.R @ true.R.T)[0].ravel()
        step = np.array([*turn[:2], found.t[2] - true.t[2]])
        sigma = np.sqrt(np.diag(found.covariance)[[9, 10, 14]])
        off.append(step / sigma)
    assert 0.5 < np.sqrt(np.mean(np.square(off))) < 1.6


def test_a_camera_moved_by_its_step() -> None:
    camera = Camera(640, 480, K, DIST, np.diag([1.0, -1.0, -1.0]), np.array([0, 0, 420.0]))
    step = np.zeros(15)
    step[0], step[4], step[9], step[14] = 2.0, 0.01, 0.001, 0.5
    moved = camera.moved(step)
    assert moved.K[0, 0] == 902.0
    assert moved.dist[0] == pytest.approx(-0.11)
    assert moved.t[2] == 420.5
    # A turn about the camera's x by a milliradian: the stage's y axis goes a milliradian deeper.
    np.testing.assert_allclose(moved.R @ [0, 1.0, 0], [0, -1.0, -0.001], atol=1e-6)
