"""Which board pictures show, where it is not the one that was named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.board import DICTIONARIES, Board

SAMPLE = 5
OFF = 0.03
"""By how much of the board corners may miss a plane's picture: what a lens distorts."""
SHARE = 0.5


def _corners(image: NDArray[np.uint8], board: Board) -> int:
    """Corners found that lie as those of a plane; 0 where the layout is another."""
    index, pixels = board.find(image)
    if len(index) < 6:
        return 0
    plane = board.corners_mm[index, :2]
    H, _ = cv2.findHomography(plane.astype(np.float32), pixels.astype(np.float32), 0)
    if H is None:
        return 0
    mapped = cv2.perspectiveTransform(plane.reshape(-1, 1, 2), H).reshape(-1, 2)
    size = float(np.ptp(pixels, axis=0).max())
    rms = float(np.sqrt(((mapped - pixels) ** 2).sum(axis=1).mean()))
    return len(index) if rms < OFF * size else 0


def _variants(board: Board) -> Iterator[tuple[Board, str]]:
    """Boards that people mean by the one named, each with the words for it."""
    larger = replace(board, columns=board.columns + 1, rows=board.rows + 1)
    turned = replace(board, columns=board.rows, rows=board.columns)
    inner = (
        f"{larger.columns}×{larger.rows} squares: {board.columns}×{board.rows} are its inner "
        "corners"
    )
    first = replace(board, legacy=True)
    if board.kind == "charuco":
        yield first, "a ChArUco board of the pattern before OpenCV 4.6"
    yield larger, inner
    if board.kind == "charuco":
        yield replace(larger, legacy=True), inner + ", in the pattern before OpenCV 4.6"
    yield turned, f"{turned.columns}×{turned.rows} squares, columns and rows exchanged"
    if board.kind == "charuco":
        yield (
            replace(turned, legacy=True),
            (f"{turned.columns}×{turned.rows} squares in the pattern before OpenCV 4.6"),
        )
        for name in DICTIONARIES:
            if name != board.dictionary:
                yield replace(board, dictionary=name), f"a ChArUco board of markers {name}"
        yield replace(board, kind="chessboard"), "a plain chessboard"
        yield replace(larger, kind="chessboard"), "a plain chessboard of " + inner
    else:
        yield replace(board, kind="charuco"), "a ChArUco board"


def which_board(pictures: Sequence[NDArray[np.uint8]], board: Board) -> tuple[Board, str | None]:
    """The board that pictures show: the one named, or the one that they fit far better.

    Returns
    -------
    the board, and what it is if it is not the one named
    """
    some = np.unique(np.linspace(0, len(pictures) - 1, min(SAMPLE, len(pictures))).astype(int))
    sample = [pictures[k] for k in some]

    def score(candidate: Board) -> float:
        """Share of the corners that the pictures can show, found where they belong."""
        every = (candidate.columns - 1) * (candidate.rows - 1) * len(sample)
        return sum(_corners(image, candidate) for image in sample) / every

    named = score(board)
    other = replace(board, legacy=True)
    if board.kind == "charuco" and board.rows % 2 == 0 and score(other) > named:
        return other, "a ChArUco board of the pattern before OpenCV 4.6"
    if named > SHARE:
        return board, None
    best, found, words = named, board, None
    for candidate, what in _variants(board):
        value = score(candidate)
        if value > best + 0.1:
            best, found, words = value, candidate, what
        if best > SHARE:
            break
    return found, words
