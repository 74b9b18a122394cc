"""Pictures of other people's captures: decoding without loss, and where they saturate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from capture.exchange.decoding import (
    Decoding,
    developed,
    is_raw,
    linear,
    luminance,
    of_floats,
)
from intake.errors import told_as
from intake.exr import read_exr
from intake.pictures import read_picture

Channel = Literal["red", "green", "blue"]
Way = Channel | Decoding | None
_PLACE = {"blue": 0, "green": 1, "red": 2}  # OpenCV's order
JPEGS = (".jpg", ".jpeg")


@told_as(DataError)
def read_grey(path: Path, way: Way = None) -> tuple[NDArray[np.uint16], int]:
    """A picture as (H, W) uint16 codes, and their bits (8 or 16).

    Codes of PNG, TIFF and the like stay as they are, unless `way` asks for a curve or a mixture of
    colours; JPEG, OpenEXR and raw pictures become linear codes of 16 bits.

    Parameters
    ----------
    way : which channel of a colour picture to take, or how to decode; None refuses colour

    Raises
    ------
    DataError
        if it cannot be decoded this way, or is in colour and no channel is named
    """
    how = way if isinstance(way, Decoding) else Decoding(way)
    if is_raw(path):
        image = developed(path)
    elif path.suffix.lower() == ".exr":
        image = of_floats(read_exr(path).pixels, how.full)
    else:
        image = read_picture(path).pixels
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} holds {image.dtype} pixels: expected 8 or 16 bit, linear")
    curve = how.curve or ("srgb" if path.suffix.lower() in JPEGS else "linear")
    if image.ndim == 3 and np.all(image == image[..., :1]):
        image = image[..., 0]
    if image.ndim == 3:
        if how.channel is None:
            raise DataError(
                f"{path} is in colour: choose one channel with --channel green, mix them with "
                "--channel luminance, or convert the pictures to linear grey"
            )
        if how.channel == "luminance":
            image = luminance(linear(image, curve), how.white)
        else:
            image = linear(image[..., _PLACE[how.channel]], curve)
    else:
        image = linear(image, curve)
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


def code_scale(paths: Iterable[Path], way: Way = None) -> CodeScale:
    """Find how pictures are coded: unused low bits, and where they saturate.

    A sensor may saturate below its largest code. Then many pixels share the largest code met: it
    holds at least four times as many pixels as the eight codes below it on average.

    Raises
    ------
    DataError
        if a picture cannot be read, or size or depth differ between pictures
    """
    return scale_of((*read_grey(path, way), path) for path in paths)


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
