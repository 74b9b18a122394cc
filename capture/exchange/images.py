"""Pictures of other people's captures: decoding without loss, and where they saturate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from intake.errors import told_as
from intake.pictures import read_picture

Channel = Literal["red", "green", "blue"]
_PLACE = {"blue": 0, "green": 1, "red": 2}  # OpenCV's order
_CURVE = np.arange(256) / 255
_LINEAR = np.rint(  # of sRGB codes (IEC 61966-2-1), as 16-bit codes
    65535 * np.where(_CURVE <= 0.04045, _CURVE / 12.92, ((_CURVE + 0.055) / 1.055) ** 2.4)
).astype(np.uint16)


@told_as(DataError)
def read_grey(path: Path, channel: Channel | None = None) -> tuple[NDArray[np.uint16], int]:
    """A picture as (H, W) uint16 codes, unchanged, and the bits of its file (8 or 16).

    Parameters
    ----------
    channel : which channel of a colour picture to take; None refuses colour

    Raises
    ------
    DataError
        if it is no picture, not 8 or 16 bit, or in colour
    """
    image = read_picture(path).pixels
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} holds {image.dtype} pixels: expected 8 or 16 bit, linear")
    if image.ndim == 3:
        if np.all(image == image[..., :1]):
            image = image[..., 0]
        elif channel is None:
            raise DataError(
                f"{path} is in colour: choose one channel with --channel green, or convert the "
                "pictures to linear grey"
            )
        else:
            image = image[..., _PLACE[channel]]
    if path.suffix.lower() in (".jpg", ".jpeg") and image.dtype == np.uint8:
        image = _LINEAR[image]  # a photograph: sRGB
    bits = 8 * image.dtype.itemsize
    return np.ascontiguousarray(image, dtype=np.uint16), bits


@dataclass(frozen=True)
class CodeScale:
    """What the codes of some pictures mean.

    Attributes
    ----------
    bits : of the file, 8 or 16
    full_scale : the largest code there can be: 65520 where 12 bits lie on top of 16
    saturation : codes from here on are clipped
    shape : (H, W)
    """

    bits: int
    full_scale: int
    saturation: int
    shape: tuple[int, int]


def code_scale(paths: Iterable[Path], channel: Channel | None = None) -> CodeScale:
    """Find how pictures are coded: unused low bits, and where they saturate.

    A sensor may saturate below its largest code. Then many pixels share the largest code met: it
    holds at least four times as many pixels as the eight codes below it on average.

    Raises
    ------
    DataError
        if a picture cannot be read, or size or depth differ between pictures
    """
    return scale_of((*read_grey(path, channel), path) for path in paths)


def scale_of(pictures: Iterable[tuple[NDArray[np.uint16], int, object]]) -> CodeScale:
    """The same of codes (H, W), the bits of what they came from, and a name for messages."""
    histogram = np.zeros(65536, dtype=np.int64)
    shape: tuple[int, int] | None = None
    bits = 0
    for image, depth, name in pictures:
        here = (int(image.shape[0]), int(image.shape[1]))
        if shape is None:
            shape, bits = here, depth
        elif (here, depth) != (shape, bits):
            raise DataError(
                f"{name} is {here[1]}×{here[0]} at {depth} bit, the first picture is "
                f"{shape[1]}×{shape[0]} at {bits} bit: all must be alike"
            )
        histogram += np.bincount(image.ravel(), minlength=65536)
    if shape is None:
        raise DataError("there is no picture")
    codes = np.flatnonzero(histogram)
    used = int(np.bitwise_or.reduce(codes))
    step = min(used & -used, 256) if codes.size >= 32 else 1  # a few codes prove nothing
    full = (2**bits - 1) // step * step
    largest = int(codes[-1])
    below = histogram[max(0, largest - 8 * step) : largest : step]
    piled = histogram[largest] >= 16 and histogram[largest] >= 4 * max(
        1.0, float(below.sum() / max(below.size, 1))
    )
    saturation = largest if below.size >= 8 and piled else full
    return CodeScale(bits, full, min(saturation, full), shape)
