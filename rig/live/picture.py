"""What the live page says about one frame: histogram, clipped share, focus, a JPEG to look at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.camera.base import Frame

BINS = 128
LEAST_LIGHT = 1e-3  # of full scale


@dataclass(frozen=True)
class Reading:
    """Figures of one frame.

    `focus` is the Tenengrad figure (Krotkov 1987: mean squared Sobel gradient), less what noise
    alone makes of it, over the square of the mean light, so that it does not change with exposure;
    its maximum over the focus ring is sharp. It is 0 where there is hardly any light.
    """

    frame_id: int
    width: int
    height: int
    full_scale: int
    mean: float
    maximum: int
    clipped_percent: float
    focus: float
    histogram: tuple[int, ...]


def full_scale(frame: Frame) -> int:
    """The largest count of the frame's bit depth."""
    return (1 << frame.bits) - 1


def read(frame: Frame, black: float = 0.0) -> Reading:
    """Figures of a frame (black level left in: the histogram shows what the sensor gave).

    Parameters
    ----------
    black : counts without the LED, which are no light of the picture
    """
    pixels = frame.pixels
    top = full_scale(frame)
    counts, _ = np.histogram(pixels, bins=BINS, range=(0, top + 1))
    image = pixels.astype(np.float32)
    mean = float(image.mean())
    return Reading(
        frame_id=frame.frame_id,
        width=pixels.shape[1],
        height=pixels.shape[0],
        full_scale=top,
        mean=mean,
        maximum=int(pixels.max()),
        clipped_percent=100.0 * float(np.mean(pixels >= top)),
        focus=_focus(image, mean - black, top),
        histogram=tuple(int(count) for count in counts),
    )


def _focus(image: NDArray[np.float32], light: float, top: int) -> float:
    if light < LEAST_LIGHT * top:
        return 0.0
    gradient = cv2.Sobel(image, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(image, cv2.CV_32F, 0, 1) ** 2
    # White noise of variance v makes 2 · 12 v of it: the squares of Sobel's weights add up to 12.
    noise = 24 * _noise(image) ** 2
    return max(float(gradient.mean()) - noise, 0.0) / light**2


def _noise(image: NDArray[np.float32]) -> float:
    """Standard deviation of white noise (Immerkær 1996), by the median against edges."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rest = cv2.filter2D(image, cv2.CV_32F, mask)
    return float(np.median(np.abs(rest))) / (0.6745 * 6)


def jpeg(frame: Frame, longest: int = 1024) -> bytes:
    """The frame as JPEG for the eye (gamma 2.2), clipped pixels red, at most `longest` px wide."""
    top = full_scale(frame)
    clipped = frame.pixels >= top
    scale = min(1.0, longest / max(frame.pixels.shape))
    grey = np.power(frame.pixels.astype(np.float32) / top, 1 / 2.2) * 255
    picture: NDArray[np.uint8] = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    picture[clipped] = (40, 40, 255)
    if scale < 1:
        # The largest value of a block would hide detail and the mean would hide clipped pixels:
        # average, then mark the blocks that hold a clipped one.
        size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        mark = cv2.resize(clipped.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        # One lone pixel is easily overlooked: mark its neighbours too.
        mark = cv2.dilate(mark.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        small[mark] = (40, 40, 255)
        picture = np.asarray(small, dtype=np.uint8)
    # Colour at full resolution: the default would smear red spots away.
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85, *sampling])
    return bytes(data.tobytes())
