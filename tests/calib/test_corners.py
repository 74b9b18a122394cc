"""Corners of drawn boards lie where they were drawn, to a hundredth of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from calib.board import Board
from calib.corners import refine_corners

SIZE_PX, SQUARE_PX, FINER = 97, 24.0, 5
MIDDLE = np.array([48.0, 48.0])
ON_BOARD = np.array([[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)], dtype=float)


def drawn(
    angle_deg: float, blur_px: float, place: NDArray[np.float64], foreshortening: float = 0.03
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A chess pattern seen askew by pixels of full area, and its nine middle corners in it.

    A corner (x, y) of the board, in squares, is seen at ``place + A (x, y) / (1 - f x)``.
    """
    angles = np.radians([angle_deg, angle_deg + 84.0])
    A = SQUARE_PX * np.array([np.cos(angles), np.sin(angles)])
    across = (np.arange(SIZE_PX * FINER) + 0.5) / FINER - 0.5
    offset = np.stack(np.meshgrid(across, across), axis=-1) - place
    plane = offset @ np.linalg.inv(A).T
    plane /= 1 + foreshortening * plane[..., :1]
    sign = np.ones(plane.shape[:2])
    for coordinate in np.moveaxis(plane, -1, 0):
        per_px = FINER * np.hypot(*np.gradient(coordinate))
        line = np.rint(coordinate)
        edge = erf((coordinate - line) / per_px / (np.sqrt(2) * blur_px))
        sign *= np.where(line % 2 == 0, 1.0, -1.0) * edge
    picture = (130 + 90 * sign).reshape(SIZE_PX, FINER, SIZE_PX, FINER).mean(axis=(1, 3))
    corners = place + (ON_BOARD / (1 - foreshortening * ON_BOARD[:, :1])) @ A.T
    return picture, corners


@pytest.mark.parametrize("blur_px", [0.4, 0.9, 1.6])
@pytest.mark.parametrize("angle_deg", [0.0, 3.0, 20.0, 45.0])
def test_corners_have_no_bias(angle_deg: float, blur_px: float) -> None:
    random = np.random.default_rng(1)
    off = []
    for _ in range(3):
        picture, true = drawn(angle_deg, blur_px, MIDDLE + random.uniform(-0.5, 0.5, 2))
        given = true + random.normal(0, 0.1, true.shape)
        found, done = refine_corners(picture, given, ON_BOARD, 1.0)
        assert done.all()
        off.append(found - true)
    assert np.abs(np.mean(np.concatenate(off), axis=0)).max() < 0.005
    assert np.abs(np.concatenate(off)).max() < 0.01


@pytest.mark.parametrize("angle_deg", [0.0, 20.0])
def test_corners_scatter_by_a_hundredth_of_a_pixel(angle_deg: float) -> None:
    """With noise of 1 % and 8 bits, white that is cut off, and light that falls off."""
    random = np.random.default_rng(2)
    fall = np.linspace(1.0, 0.7, SIZE_PX)
    off = []
    for _ in range(4):
        picture, true = drawn(angle_deg, 0.7, MIDDLE + random.uniform(-0.5, 0.5, 2))
        noisy = picture * fall + random.normal(0, 2.0, picture.shape)
        grey = np.clip(np.rint(noisy * 1.3), 0, 255).astype(np.uint8)
        found, done = refine_corners(grey, true + random.normal(0, 0.1, true.shape), ON_BOARD, 1.0)
        assert done.all()
        off.append(found - true)
    assert np.sqrt(np.mean(np.square(off))) < 0.01


def test_what_looks_like_no_corner_keeps_its_place() -> None:
    """One lies in glare, one in noise, one is farther off than a detector is; the rest are good."""
    random = np.random.default_rng(3)
    picture, true = drawn(10.0, 0.7, MIDDLE)
    given = true.copy()
    column, row = np.rint(true[0]).astype(int)
    picture[row - 9 : row + 4, column - 4 : column + 9] = 250.0
    column, row = np.rint(true[2]).astype(int)
    picture[row - 12 : row + 13, column - 12 : column + 13] = random.normal(130, 40, (25, 25))
    given[4] += 4.0
    found, done = refine_corners(picture, given, ON_BOARD, 1.0)
    kept = np.isin(np.arange(9), [0, 2, 4])
    np.testing.assert_array_equal(done, ~kept)
    np.testing.assert_array_equal(found[kept], given[kept])
    assert np.abs(found - true)[~kept].max() < 0.01


def test_corners_at_the_picture_s_rim_keep_their_place() -> None:
    picture, true = drawn(10.0, 0.7, MIDDLE)
    cut = picture[int(true[:, 1].min()) - 3 :]
    given = true - [0.0, int(true[:, 1].min()) - 3]
    found, done = refine_corners(cut, given, ON_BOARD, 1.0)
    top = given[:, 1] < 8
    assert top.any()
    assert not done[top].any()
    assert done[~top].all()
    np.testing.assert_array_equal(found[top], given[top])


def test_markers_beside_a_corner_do_not_draw_it() -> None:
    """Of a ChArUco board, bright squares hold dark markers a few pixels from the corner."""
    board, side, times, cut = Board(6, 5, 20.0, "charuco"), 20, 14, 5
    fine = gaussian_filter(board.draw(side * times)[cut:, cut:].astype(float), 0.6 * times)
    height, width = (n // times for n in fine.shape)
    fine = fine[: height * times, : width * times]
    picture = 30 + 0.75 * fine.reshape(height, times, width, times).mean(axis=(1, 3))
    true = board.corners_mm[:, :2] / board.square_mm * side - cut / times - 0.5
    random = np.random.default_rng(4)
    noisy = picture + random.normal(0, 1.0, picture.shape)
    found, done = refine_corners(
        noisy, true + random.normal(0, 0.1, true.shape), board.corners_mm[:, :2], board.square_mm,
        markers=True,
    )  # fmt: skip
    assert done.all()
    assert np.abs(found - true).max() < 0.02


def test_few_corners_or_corners_on_a_line_are_left_alone() -> None:
    picture, true = drawn(0.0, 0.7, MIDDLE)
    for some in (slice(0, 3), slice(0, 9, 3)):
        found, done = refine_corners(picture, true[some], ON_BOARD[some], 1.0)
        np.testing.assert_array_equal(found, true[some])
        assert not done.any()
    line = np.column_stack([np.arange(5.0), np.zeros(5)])
    found, done = refine_corners(picture, 10 + 9 * line, line, 1.0)
    np.testing.assert_array_equal(found, 10 + 9 * line)
    assert not done.any()
