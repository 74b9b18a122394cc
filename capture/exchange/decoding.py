"""How codes of pictures become light: display curves, colours, floats, raw pictures."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError, PlanError
from intake.names import RAWS

CURVES = ("linear", "srgb")
REC_709 = (0.2126, 0.7152, 0.0722)  # luminance of linear red, green, blue
TOP = 65535
Mixture = Literal["red", "green", "blue", "luminance"]


@dataclass(frozen=True)
class Decoding:
    """How the pictures of a capture are decoded.

    Attributes
    ----------
    channel : of colour pictures, or their luminance; None refuses colour
    curve : that the codes went through: ``linear``, ``srgb``, or a power such as ``2.2``; empty:
        sRGB for JPEG, linear for others
    white : red, green and blue of a white plate, which luminance takes as equal
    full : value of OpenEXR pictures that becomes the largest code
    """

    channel: Mixture | None = None
    curve: str = ""
    white: tuple[float, float, float] = (1.0, 1.0, 1.0)
    full: float = 1.0

    def __post_init__(self) -> None:
        if self.curve and self.curve not in CURVES and not 0.2 < _power(self.curve) < 5:
            raise PlanError(
                f"there is no curve '{self.curve}': choose linear, srgb, or a power such as 2.2"
            )
        if not all(0 < value < 1e9 for value in (*self.white, self.full)):
            raise DataError("white and full scale must be above 0")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _power(curve: str) -> float:
    try:
        return float(curve)
    except ValueError:
        return float("nan")


def unfit(suffixes: set[str], curve: str) -> str:
    """Why pictures of these endings are unfit for metrology; empty if they are not."""
    if suffixes & {".jpg", ".jpeg"}:
        return (
            "JPEG photographs are neither lossless nor linear: they are taken through the "
            f"{curve or 'sRGB'} curve and are unfit for metrology; raw pictures, or 16-bit PNG or "
            "TIFF, are better"
        )
    if curve and curve != "linear":
        return (
            f"the pictures are taken through the stated curve {curve}: what the camera really did "
            "is not known, and they are unfit for metrology; linear pictures are better"
        )
    return ""


def linear(codes: NDArray[Any], curve: str) -> NDArray[Any]:
    """Codes as linear codes of 16 bits; unchanged where the curve is ``linear``."""
    if curve == "linear":
        return codes
    share = np.arange(int(np.iinfo(codes.dtype).max) + 1) / np.iinfo(codes.dtype).max
    if curve == "srgb":  # IEC 61966-2-1
        light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    else:
        light = share ** _power(curve)
    return np.asarray(np.rint(TOP * light).astype(np.uint16)[codes])


def luminance(image: NDArray[Any], white: tuple[float, float, float]) -> NDArray[np.uint16]:
    """(H, W) codes of 16 bits of (H, W, 3) blue, green, red; what clips in one channel clips.

    Parameters
    ----------
    white : red, green, blue of a white plate: each channel is divided by its own
    """
    top = int(np.iinfo(image.dtype).max)
    weights = np.array(REC_709) / np.array(white)
    weights /= weights.sum()
    light = image[..., ::-1].astype(np.float64) @ weights * (TOP / top)
    codes = np.minimum(np.rint(light), TOP - 1).astype(np.uint16)
    codes[(image == top).any(axis=-1)] = TOP
    return np.asarray(codes)


def of_floats(values: NDArray[Any], full: float) -> NDArray[np.uint16]:
    """Linear floats as codes of 16 bits; `full` and more is clipped."""
    return np.asarray(np.rint(np.clip(values / full, 0, 1) * TOP).astype(np.uint16))


def is_raw(path: Path) -> bool:
    """Whether a name is that of a camera's raw picture."""
    return path.suffix.lower() in RAWS


def developed(path: Path) -> NDArray[np.uint16]:
    """(H, W, 3) blue, green, red of a raw picture: linear, black level off, no white balance.

    Raises
    ------
    DataError
        it cannot be decoded, or rawpy is not installed
    """
    try:
        rawpy = importlib.import_module("rawpy")
    except ModuleNotFoundError:
        raise DataError(f"{path}: raw pictures need rawpy: pip install rawpy") from None
    try:
        with rawpy.imread(str(path)) as raw:
            rgb = raw.postprocess(
                gamma=(1, 1), no_auto_bright=True, use_camera_wb=False, user_wb=[1, 1, 1, 1],
                output_bps=16, output_color=rawpy.ColorSpace.raw, user_flip=0,
            )  # fmt: skip
    except (rawpy.LibRawError, OSError) as error:
        raise DataError(f"{path} cannot be read as a raw picture: {error}") from error
    return np.ascontiguousarray(rgb[..., ::-1])
