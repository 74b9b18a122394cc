"""What is known of a picture, and what is asked of it: the vocabulary of the proof of pairing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.plan import Kind

GRID = 16  # cells of a thumbnail along each side
CLIPPED_ABOVE = 0.9  # of full scale, mean of a cell
UNMEASURED = 0.15  # relative spread of the powers of LEDs of one kind
CELL_NOISE = 2e-4  # of full scale: what noise and dark frames may do to a cell
State = Literal["pass", "fail", "unknown"]
Judgement = Literal["good", "unproven", "bad"]
Thumbnail = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One question asked of a picture; `predicted`: answered by a prediction, which may err."""

    state: State
    why: str
    predicted: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one picture.

    Attributes
    ----------
    index, kind, led : of the shot
    thumbnail : (GRID, GRID) float32, mean fraction of full scale per cell
    frame_id : of the camera, None for a picture from before an interruption
    echo : the LED that the board says it lit, None if it said nothing
    camera_us : the camera's clock at the exposure, µs, None if it has none
    board_us : the board's clock when it lit the LED (plus settle time), µs, None outside sequences
    sequence : number of the uploaded sequence it belongs to (0: none); clocks are fitted in each
    slack_us : how much earlier or later the exposure may come without missing light
    """

    index: int
    kind: Kind
    led: int
    thumbnail: Thumbnail
    frame_id: int | None = None
    echo: int | None = None
    camera_us: float | None = None
    board_us: float | None = None
    sequence: int = 0
    slack_us: float = 0.0


@dataclass(frozen=True, eq=False)
class Reference:
    """How each LED's light looks: (N, M) pictures of `leds`; `source` says from where.

    `pictures` come from an earlier recording (M = GRID², dark removed, clipped cells NaN) or from
    the light positions of a calibration (`direction_pictures`). `gain` is the relative standard
    deviation of an LED's brightness about them: `UNMEASURED` where nobody measured the powers.
    """

    leds: tuple[int, ...]
    pictures: NDArray[np.float64]
    source: str
    recorded: bool
    gain: float = 0.0


# thumbnails -----------------------------------------------------------------------------------
def thumbnail(pixels: NDArray[np.uint16], full_scale: int) -> Thumbnail:
    """(GRID, GRID) means of a picture (H, W), as fractions of full scale."""
    small = cv2.resize(pixels, (GRID, GRID), interpolation=cv2.INTER_AREA)
    # Rounded as it is stored, so that a resumed run judges the very same numbers.
    stored = np.rint(small.astype(np.float64) * (65535 / full_scale))
    return np.asarray(stored / 65535, dtype=np.float32)


def pack(small: Thumbnail) -> str:
    """A thumbnail as text for the journal."""
    stored = np.rint(small.astype(np.float64) * 65535).clip(0, 65535).astype("<u2")
    return base64.b64encode(stored.tobytes()).decode("ascii")


def unpack(text: str) -> Thumbnail:
    """What `pack` wrote; raises `ValueError`."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u2")
    return np.asarray(raw.reshape(GRID, GRID) / 65535, dtype=np.float32)


def darkest(frames: Sequence[Evidence]) -> Thumbnail | None:
    darks = [frame.thumbnail for frame in frames if frame.kind == "dark"]
    return np.min(darks, axis=0) if darks else None
