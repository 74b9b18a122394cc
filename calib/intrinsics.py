"""The camera from pictures of a flat board: OpenCV's solver, then covariance and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.board import Board
from calib.camera import Camera
from calib.errors import CalibrationError

Array = NDArray[np.float64]

MIN_VIEWS = 4
MIN_TILT_DEG = 12.0
MIN_COVERAGE = 0.35
CELLS = 6
MAX_RMS_PX = 2.0


@dataclass(frozen=True, eq=False)
class BoardView:
    """A board found in a picture: indices (n,) of its corners and their pixels (n, 2)."""

    name: str
    index: NDArray[np.int64]
    pixels: Array


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """A camera and its certificate.

    Attributes
    ----------
    camera : with pose of the stage and covariance
    names, rms_px : of the views
    poses : (n, 4, 4) board to camera of each view
    sigma_px : standard error of a corner
    coverage : part of the picture (of `CELLS` × `CELLS` cells) where corners were
    """

    camera: Camera
    names: tuple[str, ...]
    rms_px: Array
    poses: Array
    sigma_px: float
    coverage: float


def find_board(name: str, image: NDArray[np.uint8], board: Board) -> BoardView | None:
    """The board in a grey picture, or None where too little of it is seen."""
    index, pixels = board.find(image)
    if len(index) < 6:
        return None
    columns = board.columns - 1
    if len(set(index % columns)) < 2 or len(set(index // columns)) < 2:
        return None  # all corners on a line
    return BoardView(name, index, pixels)


def covered(views: Sequence[BoardView], shape: tuple[int, int]) -> float:
    """Part of the picture's cells in which there were corners."""
    height, width = shape
    cells = {
        (int(y * CELLS // height), int(x * CELLS // width))
        for view in views
        for x, y in view.pixels
        if 0 <= x < width and 0 <= y < height
    }
    return len(cells) / CELLS**2


def _tilts(rotations: Array) -> tuple[Array, Array]:
    """Tilts of the boards about the camera's vertical and horizontal axis, degrees (signed)."""
    normal = rotations[:, :, 2] * np.sign(rotations[:, 2, 2])[:, None]
    left_right = np.degrees(np.arctan2(normal[:, 0], normal[:, 2]))
    up_down = np.degrees(np.arctan2(normal[:, 1], normal[:, 2]))
    return left_right, up_down


def missing_tilt(rotations: Array) -> str | None:
    """What to do about boards that were not tilted enough; None if they were.

    Views of a plane fix the focal length only as far as they are tilted against each other
    (Zhang 2000, section 2.4: parallel views add nothing).
    """
    left_right, up_down = _tilts(rotations)
    wide = [float(np.ptp(left_right)), float(np.ptp(up_down))]
    if max(wide) >= 2 * MIN_TILT_DEG and min(wide) >= MIN_TILT_DEG:
        return None
    if max(wide) < MIN_TILT_DEG:
        return (
            "the board is seen from the same direction in all pictures: tilt it 20–40° to the "
            "left and right, and towards and away from you"
        )
    if wide[0] < wide[1]:
        return (
            f"the tilt to the left and right is missing (the views span {wide[0]:.0f}°): raise the "
            "board's left edge in one picture and its right edge in another, by 20–40°"
        )
    return (
        f"the tilt towards and away from you is missing (the views span {wide[1]:.0f}°): raise "
        "the board's near edge in one picture and its far edge in another, by 20–40°"
    )


def _parameters(K: Array, dist: Array, poses: Sequence[tuple[Array, Array]]) -> Array:
    inner = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *dist]
    outer = [value for rvec, tvec in poses for value in (*rvec, *tvec)]
    return np.array([*inner, *outer])


def _jacobian(
    K: Array, dist: Array, poses: Sequence[tuple[Array, Array]], objects: Sequence[Array]
) -> Array:
    """Derivative of all corners by fx fy cx cy k1 k2 p1 p2 k3 and the poses."""
    blocks = []
    for place, ((rvec, tvec), points) in enumerate(zip(poses, objects, strict=True)):
        _, J = cv2.projectPoints(points.reshape(-1, 1, 3), rvec, tvec, K, dist)
        J = np.asarray(J)
        row = np.zeros((len(J), 9 + 6 * len(poses)))
        row[:, :9] = J[:, 6:15]
        row[:, 9 + 6 * place : 15 + 6 * place] = J[:, :6]
        blocks.append(row)
    return np.vstack(blocks)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread: its solver adds up the views in the order in which threads end.

    The same pictures would else give another camera in the tenth digit each time.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def calibrate_camera(
    views: Sequence[BoardView],
    board: Board,
    shape: tuple[int, int],
    *,
    stage: str | None = None,
    board_thickness_mm: float = 0.0,
) -> CameraCalibration:
    """Intrinsics, distortion and the stage's pose from views of a board.

    Parameters
    ----------
    stage : name of the view in which the board lies flat on the stage, printed side up; by
        default the last view. The stage centre is put where the optical axis meets the stage, x
        to the right in the picture.
    board_thickness_mm : of the board, whose lower side is the stage's plane

    Raises
    ------
    CalibrationError : with too few views, too little tilt or coverage, saying what is missing
    """
    if len(views) < MIN_VIEWS:
        raise CalibrationError(
            f"the board was found in {len(views)} pictures and {MIN_VIEWS} are the least (10 to 20 "
            "are good): is its size right, and is it sharp and evenly lit?"
        )
    corners = board.corners_mm
    objects = [np.asarray(corners[view.index]) for view in views]
    images = [view.pixels.astype(np.float32) for view in views]
    height, width = shape
    with _one_thread():
        rms, K, dist, rvecs, tvecs = cv2.calibrateCamera(
            [o.reshape(-1, 1, 3).astype(np.float32) for o in objects],
            [i.reshape(-1, 1, 2) for i in images],
            (width, height),
            None,
            None,
        )
    K = np.asarray(K, dtype=np.float64)
    dist = np.asarray(dist, dtype=np.float64).ravel()[:5]
    poses = [
        (np.asarray(r, dtype=np.float64).ravel(), np.asarray(t, dtype=np.float64).ravel())
        for r, t in zip(rvecs, tvecs, strict=True)
    ]
    rotations = np.array([cv2.Rodrigues(r)[0] for r, _ in poses])
    complaint = missing_tilt(rotations)
    if complaint is not None:
        raise CalibrationError(f"these pictures do not fix the camera: {complaint}")
    coverage = covered(views, shape)
    if coverage < MIN_COVERAGE:
        raise CalibrationError(
            f"the board covers {100 * coverage:.0f} % of the picture over all views: move it into "
            "the corners too, or the lens' distortion stays unknown"
        )
    if not np.isfinite(rms) or rms > MAX_RMS_PX:
        raise CalibrationError(
            f"the corners miss the model by {rms:.1f} px: is the board flat, and are its squares "
            f"{board.columns} × {board.rows} of {board.square_mm:g} mm?"
        )
    errors = []
    for (rvec, tvec), points, pixels in zip(poses, objects, images, strict=True):
        predicted, _ = cv2.projectPoints(points.reshape(-1, 1, 3), rvec, tvec, K, dist)
        errors.append(np.asarray(predicted).reshape(-1, 2) - pixels)
    residual = np.vstack(errors).ravel()
    J = _jacobian(K, dist, poses, objects)
    freedom = max(1, len(residual) - J.shape[1])
    sigma = float(np.sqrt(np.sum(residual**2) / freedom))
    scale = 1 / np.maximum(np.linalg.norm(J, axis=0), 1e-12)
    inverse = np.linalg.pinv((J * scale).T @ (J * scale), rcond=1e-14)
    # Corners of a tilted board are found less well than those of one that lies flat, so each view
    # counts with its own scatter (White 1980).
    own = np.concatenate([np.full(e.size, np.mean(np.square(e))) for e in errors])
    spread = (J * scale).T @ (J * scale * own[:, None]) * len(residual) / freedom
    covariance = inverse @ spread @ inverse * scale[:, None] * scale[None, :]
    names = [view.name for view in views]
    place = names.index(stage) if stage is not None else len(views) - 1
    R, t = stage_pose(K, dist, poses[place], shape, board_thickness_mm)
    block = [*range(9), *range(9 + 6 * place, 15 + 6 * place)]
    told = _of_stage(K, dist, poses[place], shape, board_thickness_mm)
    covariance = told @ covariance[np.ix_(block, block)] @ told.T
    camera = Camera(width, height, K, dist, R, t, covariance)
    matrices = np.tile(np.eye(4), (len(poses), 1, 1))
    matrices[:, :3, :3] = rotations
    matrices[:, :3, 3] = [tvec for _, tvec in poses]
    return CameraCalibration(
        camera=camera,
        names=tuple(names),
        rms_px=np.array([float(np.sqrt(np.mean(np.sum(e**2, axis=1)))) for e in errors]),
        poses=matrices,
        sigma_px=sigma,
        coverage=coverage,
    )


def _of_stage(
    K: Array, dist: Array, pose: tuple[Array, Array], shape: tuple[int, int], thickness_mm: float
) -> Array:
    """(15, 15) derivative of the camera's step (see `Camera.moved`) by lens and board's pose.

    The stage's origin and its x are where the picture has them: of the board's pose only its plane
    reaches the camera, and about that the stage's frame is surer than the board's corner.
    """
    before, t = stage_pose(K, dist, pose, shape, thickness_mm)
    at = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2], *dist, *pose[0], *pose[1]])
    steps = np.array([0.1] * 4 + [1e-4] * 5 + [1e-5] * 3 + [1e-3] * 3)
    derivative = np.zeros((15, 15))
    derivative[:9, :9] = np.eye(9)
    for k, step in enumerate(steps):
        ends = []
        for sign in (1.0, -1.0):
            v = at.copy()
            v[k] += sign * step
            lens = np.array([[v[0], 0, v[2]], [0, v[1], v[3]], [0, 0, 1.0]])
            R, there = stage_pose(lens, v[4:9], (v[9:12], v[12:]), shape, thickness_mm)
            turn = R @ before.T
            turn = 0.5 * (turn - turn.T)[[2, 0, 1], [1, 2, 0]]
            ends.append(np.concatenate([turn, there - t]))
        derivative[9:, k] = (ends[0] - ends[1]) / (2 * step)
    return derivative


def stage_pose(
    K: Array,
    dist: Array,
    pose: tuple[Array, Array],
    shape: tuple[int, int],
    board_thickness_mm: float = 0.0,
) -> tuple[Array, Array]:
    """World (stage) to camera, from a board that lies on the stage.

    The world's z is the board's normal towards the camera; x is the picture's right, laid into
    the stage; the origin is where the middle of the picture sees the stage.
    """
    rvec, tvec = pose
    board = np.asarray(cv2.Rodrigues(rvec)[0], dtype=np.float64)
    z = board[:, 2]
    z = z if z @ tvec < 0 else -z
    x = np.array([1.0, 0.0, 0.0]) - z[0] * z
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    R = np.stack([x, y, z], axis=1)
    origin = tvec - board_thickness_mm * z
    height, width = shape
    middle = Camera(width, height, K, dist, np.eye(3)).rays(
        np.array([[(width - 1) / 2, (height - 1) / 2]])
    )[0]
    t = middle * float(z @ origin) / float(z @ middle)
    return R, np.asarray(t)
