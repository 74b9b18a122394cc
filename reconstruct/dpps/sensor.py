"""What a sensor makes of radiance: shot and read noise, ambient left over, clipping, steps.

One pass over pixels × lights, float32; noise comes from a fixed table entered at a random place
for every pixel, which costs a tenth of drawing it.
"""

# mypy: disable-error-code="untyped-decorator,assignment"

from __future__ import annotations

import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
TABLE = 1 << 18


@functools.cache
def normal_table() -> F32:
    """Standard normal numbers, always the same."""
    return np.random.default_rng(0).standard_normal(TABLE, dtype=np.float32)


def noise_places(rng: np.random.Generator, pixels: int, lights: int) -> NDArray[np.int64]:
    """Where each pixel enters `normal_table`."""
    return rng.integers(0, TABLE - lights, pixels)


@njit(fastmath=True, error_model="numpy", cache=True)
def expose(
    image: F32, lit: NDArray[np.bool_], scale: float, table: F32, places: NDArray[np.int64],
    read: float, per_electron: float, ambient: float, clips: bool, step: float,
) -> NDArray[np.uint8]:  # fmt: skip
    """Turn (P, N) radiance into what is recorded, in place; returns where it clipped.

    `scale` brings radiance to shares of full scale, `read` is read noise there, `per_electron`
    what one electron is worth (its root times the signal's root is shot noise), `ambient` an
    offset, `step` the quantisation (0: none). Only pixels of `lit` are touched.
    """
    pixels, count = image.shape
    clipped = np.zeros((pixels, count), dtype=np.uint8)
    zero, one = np.float32(0.0), np.float32(1.0)
    scale, ambient = np.float32(scale), np.float32(ambient)
    read2, gain = np.float32(read * read), np.float32(per_electron)
    coarse = step > 0
    step = np.float32(step) if coarse else one
    levels = one / step
    for i in range(pixels):
        if not lit[i]:
            continue
        here, noise = image[i], table[places[i] : places[i] + count]
        for k in range(count):
            value = here[k] * scale
            here[k] = value + ambient + noise[k] * math.sqrt(read2 + value * gain)
        if clips:
            marks = clipped[i]
            for k in range(count):
                marks[k] = np.uint8(1) if here[k] >= one else np.uint8(0)
                here[k] = min(here[k], one)
        if coarse:
            for k in range(count):
                here[k] = math.floor(max(here[k], zero) * levels + np.float32(0.5)) * step
    return clipped
