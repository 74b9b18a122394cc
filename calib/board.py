"""Chessboards and ChArUco boards: the target to print, and finding it in a picture."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.corners import refine_corners
from calib.errors import CalibrationError

Array = NDArray[np.float64]

MIN_CORNERS = 6
DICTIONARIES = {
    "5X5_250": cv2.aruco.DICT_5X5_250,
    "4X4_250": cv2.aruco.DICT_4X4_250,
    "6X6_250": cv2.aruco.DICT_6X6_250,
    "5X5_1000": cv2.aruco.DICT_5X5_1000,
    "APRILTAG_36h11": cv2.aruco.DICT_APRILTAG_36h11,
    "ARUCO_ORIGINAL": cv2.aruco.DICT_ARUCO_ORIGINAL,
}
LEAST_SQUARE_MM, LARGEST_SQUARE_MM = 0.5, 500.0
PAPERS = {
    "A4": (297.0, 210.0),
    "A3": (420.0, 297.0),
    "LETTER": (279.4, 215.9),
    "A5": (210.0, 148.0),
}


@dataclass(frozen=True)
class Board:
    """A flat target of squares.

    Attributes
    ----------
    columns, rows : squares, not inner corners
    square_mm : side of a square
    kind : ``charuco`` (may be partly out of view) or ``chessboard``
    legacy : whether a ChArUco board is of the pattern before OpenCV 4.6, which differs from
        today's where the number of rows is even
    dictionary : of a ChArUco board's markers, one of `DICTIONARIES`
    """

    columns: int = 13
    rows: int = 9
    square_mm: float = 15.0
    kind: Literal["charuco", "chessboard"] = "charuco"
    legacy: bool = False
    dictionary: str = "5X5_250"

    @property
    def marker_mm(self) -> float:
        return 0.75 * self.square_mm

    @property
    def corners_mm(self) -> Array:
        """(n, 3) inner corners in the board's frame: x right, y down the printed page, z = 0."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        grid = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
        return np.asarray(grid * self.square_mm, dtype=np.float64)

    def _charuco(self) -> Any:
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARIES[self.dictionary])
        board = cv2.aruco.CharucoBoard(
            (self.columns, self.rows), self.square_mm, self.marker_mm, dictionary
        )
        board.setLegacyPattern(self.legacy)
        return board

    def check(self) -> None:
        """Raise `CalibrationError` if there can be no such board."""
        if not LEAST_SQUARE_MM <= self.square_mm <= LARGEST_SQUARE_MM:
            guess = ""
            if 0 < self.square_mm < LEAST_SQUARE_MM:
                guess = f"; if that is in metres, give {1000 * self.square_mm:g}"
            raise CalibrationError(
                f"a square of {self.square_mm:g} mm is no board's: its side is in mm{guess}"
            )
        if not (3 <= self.columns <= 40 and 3 <= self.rows <= 40 and self.square_mm > 0):
            raise CalibrationError(
                f"a board of {self.columns} × {self.rows} squares of {self.square_mm} mm cannot be "
                "used: 3 to 40 squares each way"
            )

    def find(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Array]:
        """Corners in a grey picture: indices (n,) into `corners_mm` and pixels (n, 2)."""
        index, pixels = self._detect(image)
        fine, _ = refine_corners(
            image, pixels, self.corners_mm[index, :2], self.square_mm,
            markers=self.kind == "charuco",
        )  # fmt: skip
        return index, fine

    def _detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Array]:
        if self.kind == "charuco":
            found = cv2.aruco.CharucoDetector(self._charuco()).detectBoard(image)
            corners, ids = found[0], found[1]
            if ids is None or len(ids) < MIN_CORNERS:
                return np.zeros(0, dtype=np.int64), np.zeros((0, 2))
            index = np.asarray(ids).ravel().astype(np.int64)
            pixels = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
            return index, pixels - charuco_origin_px()
        pixels = _chessboard(image, (self.columns - 1, self.rows - 1))
        return np.arange(len(pixels), dtype=np.int64), pixels

    def draw(self, pixels_per_square: int) -> NDArray[np.uint8]:
        """The board as a picture without margin."""
        if self.kind == "charuco":
            size = (self.columns * pixels_per_square, self.rows * pixels_per_square)
            image = self._charuco().generateImage(size, marginSize=0)
            return np.asarray(image, dtype=np.uint8)
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        squares = np.where((x + y) % 2 == 0, 0, 255).astype(np.uint8)
        tile = np.ones((pixels_per_square, pixels_per_square), dtype=np.uint8)
        return np.asarray(np.kron(squares, tile), dtype=np.uint8)


def _chessboard(image: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """Inner corners (n, 2) of a chessboard, or none: by the search of sectors, or the classic one.

    On a dark ground the outer squares run into it. The search of sectors misses such boards with
    its own normalisation and finds them without; the classic search finds them at once.
    """
    accurate = cv2.CALIB_CB_ACCURACY
    for flags in (accurate | cv2.CALIB_CB_NORMALIZE_IMAGE, accurate):
        good, corners = cv2.findChessboardCornersSB(image, size, flags=flags)
        if good:
            return np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
    good, corners = cv2.findChessboardCorners(image, size, flags=flags | cv2.CALIB_CB_FAST_CHECK)
    if not good:
        good, corners = cv2.findChessboardCorners(image, size, flags=flags)
    if not good:
        return np.zeros((0, 2))
    found = np.asarray(corners, dtype=np.float32).reshape(-1, 2)
    grid = found.reshape(size[1], size[0], 2)
    apart = min(
        np.linalg.norm(np.diff(grid, axis=0), axis=-1).min(),
        np.linalg.norm(np.diff(grid, axis=1), axis=-1).min(),
    )
    reach = int(np.clip(apart / 3, 2, 11))
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 60, 1e-3)
    fine = cv2.cornerSubPix(image, found.reshape(-1, 1, 2), (reach, reach), (-1, -1), until)
    return np.asarray(fine, dtype=np.float64).reshape(-1, 2)


@lru_cache(maxsize=1)
def charuco_origin_px() -> float:
    """Where this OpenCV's ChArUco detector counts pixels from: 0, or 0.5 in OpenCV 4.

    Measured on a drawn board, whose corners lie between pixels whose centres are integers.
    """
    board, scale, margin = Board(5, 4, 1.0), 40, 40
    picture = cv2.copyMakeBorder(
        board.draw(scale), margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=255
    )
    picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
    corners, ids, *_ = cv2.aruco.CharucoDetector(board._charuco()).detectBoard(picture)
    expected = board.corners_mm[np.ravel(ids), :2] * scale + margin - 0.5
    off = np.asarray(corners, dtype=np.float64).reshape(-1, 2) - expected
    return round(2 * float(np.median(off))) / 2


def to_grey8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture of any depth stretched to 8 bits for the detectors."""
    values = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(values, [0.5, 99.5])
    stretched = np.clip(255 * (values - low) / max(high - low, 1e-9), 0, 255)
    return np.asarray(stretched.astype(np.uint8))


def write_target(path: Path, board: Board, paper: str = "A4") -> None:
    """Write the board as a PDF page to print at 100 %, with a ruler to check the print.

    Raises
    ------
    CalibrationError : if the board does not fit on the paper
    """
    board.check()
    if paper.upper() not in PAPERS:
        raise CalibrationError(f"paper '{paper}' is not known: {', '.join(PAPERS)}")
    width, height = PAPERS[paper.upper()]
    across, down = board.columns * board.square_mm, board.rows * board.square_mm
    if across > width - 10 or down > height - 24:
        raise CalibrationError(
            f"the board of {across:g} × {down:g} mm does not fit on {paper} "
            f"({width - 10:g} × {height - 24:g} mm can be printed): smaller or fewer squares"
        )
    pixels = board.draw(64)
    mm = 72 / 25.4
    left, bottom = (width - across) / 2, (height - down) / 2 + 4
    kind = "ChArUco 5x5" if board.kind == "charuco" else "Chessboard"
    words = (
        f"{kind}, {board.columns} x {board.rows} squares of {board.square_mm:g} mm. Print at "
        "100 %, glue to something flat, and measure: this bar is 100 mm."
    )
    bar = bottom - 8
    content = (
        f"q {across * mm:.4f} 0 0 {down * mm:.4f} {left * mm:.4f} {bottom * mm:.4f} cm /Im Do Q\n"
        f"0.8 w {left * mm:.3f} {bar * mm:.3f} m {(left + 100) * mm:.3f} {bar * mm:.3f} l S\n"
        f"{left * mm:.3f} {(bar - 1) * mm:.3f} m {left * mm:.3f} {(bar + 1) * mm:.3f} l S\n"
        f"{(left + 100) * mm:.3f} {(bar - 1) * mm:.3f} m "
        f"{(left + 100) * mm:.3f} {(bar + 1) * mm:.3f} l S\n"
        f"BT /F 8 Tf {left * mm:.3f} {(bar - 5) * mm:.3f} Td ({words}) Tj ET\n"
    ).encode("latin-1")
    image = zlib.compress(pixels.tobytes(), 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width * mm:.3f} {height * mm:.3f}] "
            "/Contents 4 0 R /Resources << /XObject << /Im 5 0 R >> /Font << /F 6 0 R >> >> >>"
        ).encode(),
        b"<< /Length %d >>\nstream\n" % len(content) + content + b"endstream",
        (
            f"<< /Type /XObject /Subtype /Image /Width {pixels.shape[1]} /Height "
            f"{pixels.shape[0]} /ColorSpace /DeviceGray /BitsPerComponent 8 /Interpolate false "
            f"/Filter /FlateDecode /Length {len(image)} >>\nstream\n"
        ).encode()
        + image
        + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    path.write_bytes(bytes(out))
