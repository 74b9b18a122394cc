"""OpenEXR pictures: linear floats, one channel or red, green, blue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intake.errors import InputError
from intake.files import read_bytes
from intake.pictures import MAX_DECODED, MAX_FILE, MAX_SIDE, Picture

MAGIC = b"\x76\x2f\x31\x01"
GREY = ("Y", "L", "V")


def read_exr(path: Path) -> Picture:
    """(H, W) or (H, W, 3) blue, green, red, float32 and finite.

    Raises
    ------
    InputError
        if it is no such picture, damaged, too large, or its channels are others
    """
    import OpenEXR

    if read_bytes(path, MAX_FILE)[:4] != MAGIC:
        raise InputError(f"{path} is no OpenEXR picture, or is damaged")
    try:
        with OpenEXR.File(str(path), header_only=True, separate_channels=True) as file:
            low, high = file.header()["dataWindow"]
            width, height = (int(high[k]) - int(low[k]) + 1 for k in (0, 1))
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise InputError(f"{path} says that it is {width}×{height}: no picture is")
        if 12 * width * height > MAX_DECODED:
            raise InputError(f"{path} says that it is {width}×{height}: too large to be a picture")
        with OpenEXR.File(str(path), separate_channels=True) as file:
            pixels = _pixels(file.channels(), path)
    except (RuntimeError, KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    if not np.all(np.isfinite(pixels)):
        raise InputError(f"{path} holds pixels that are no numbers")
    return Picture(pixels)


def _pixels(channels: Any, path: Path) -> Any:
    if all(name in channels for name in "BGR"):
        return np.stack([channels[name].pixels for name in "BGR"], axis=-1).astype(np.float32)
    grey = next((name for name in (*GREY, *channels) if name in channels and name != "A"), None)
    if grey is None or len([name for name in channels if name != "A"]) != 1:
        known = ", ".join(channels)
        raise InputError(f"{path} has the channels {known}: expected one, or R, G and B")
    return np.asarray(channels[grey].pixels, dtype=np.float32)
