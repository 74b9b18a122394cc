"""Pictures in the form the kernel reads: √ scale, 14 bits, two flags, lights innermost.

The square root makes photon noise equal at all levels; 14 bits of it are 150 times finer than the
noise of a 12,000 e⁻ pixel, and half the memory of float32. Bit 0 says clipped, bit 1 shadowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.pixel import LEVELS
from reconstruct.stack import Stack

# The root of less says more of the read noise than of the part.
LEAST_EPSILON = 1e-4
# OpenCV filters that many channels at once.
CHANNELS = 512


@dataclass(eq=False)
class Pictures:
    """Coded pictures of a part.

    Attributes
    ----------
    code : (H, W, N) uint16: √(I/reference + ε) / scale in 14 bits, shadow bit, clipped bit
    reference : radiance that is 1 in the solver's units
    scale : √-units per level
    epsilon : read noise over shot noise, in units of `reference`
    noise : standard deviation of √(I/reference + ε) by photon and read noise
    dim : share of its variance that is left in the mean over the part: where ε is above the read
        noise, dark pixels vary less
    """

    code: NDArray[np.uint16]
    reference: float
    scale: float
    epsilon: float
    noise: float
    dim: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.code.shape[0], self.code.shape[1]

    def __len__(self) -> int:
        return self.code.shape[2]

    def root(self) -> NDArray[np.float32]:
        """(H, W, N) √(I/reference + ε)."""
        return (self.code >> 2).astype(np.float32) * np.float32(self.scale)

    @property
    def clipped(self) -> NDArray[np.bool_]:
        return (self.code & 1).astype(bool)


def encode(stack: Stack, mask: NDArray[np.bool_] | None = None, band_rows: int = 64) -> Pictures:
    """Code a stack of a part in a mask; bands of rows bound the working memory."""
    n = len(stack)
    height, width = stack.shape
    top = 0.0
    for row in range(0, height, band_rows):
        top = max(top, float(stack.band(slice(row, row + band_rows))[0].max()))
    reference = top if top > 0 else 1.0
    gain = max(stack.noise_gain, 1e-12 * reference)
    read = stack.noise_floor / gain / reference
    epsilon = max(read, LEAST_EPSILON)
    scale = float(np.sqrt(1.0 + epsilon)) / LEVELS
    code = np.empty((height, width, n), np.uint16)
    dim, seen = 0.0, 0
    for row in range(0, height, band_rows):
        rows = slice(row, row + band_rows)
        radiance, clipped = stack.band(rows)
        value = radiance * np.float32(1.0 / reference)
        value += np.float32(epsilon)
        np.maximum(value, 0.0, out=value)
        if epsilon > read:
            inside = value if mask is None else value[:, mask[rows]]
            dim += float(np.sum(1.0 - (epsilon - read) / np.maximum(inside, epsilon)))
            seen += inside.size
        np.sqrt(value, out=value)
        value *= np.float32(1.0 / scale)
        np.rint(value, out=value)
        level = np.minimum(value, LEVELS, out=value).astype(np.uint16)
        level <<= 2
        level |= clipped
        code[rows] = np.moveaxis(level, 0, -1)
    noise = 0.5 * float(np.sqrt(gain / reference))
    return Pictures(code, reference, scale, epsilon, noise, dim / seen if seen else 1.0)


def lessened(
    code: NDArray[np.uint16], scale: float, light: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Codes, their flags cleared, with some light (in units of the reference) taken from them."""
    value = np.square((code >> 2).astype(np.float32) * np.float32(scale)) - light
    root = np.sqrt(np.maximum(value, 0)) / np.float32(scale)
    return np.minimum(np.rint(root), LEVELS).astype(np.uint16) << 2


def binned(pictures: Pictures, factor: int) -> Pictures:
    """Averages of factor × factor pixels (of radiance, not of its root); odd edges are dropped."""
    height, width = (size // factor for size in pictures.shape)
    n = len(pictures)
    code = np.empty((height, width, n), np.uint16)
    for row in range(height):
        band = pictures.code[row * factor : (row + 1) * factor, : width * factor]
        root = (band >> 2).astype(np.float32) * np.float32(pictures.scale)
        value = np.square(root).reshape(factor, width, factor, n).mean(axis=(0, 2))
        clipped = (band & 1).reshape(factor, width, factor, n).max(axis=(0, 2))
        level = np.rint(np.sqrt(value) / np.float32(pictures.scale)).astype(np.uint16)
        code[row] = (np.minimum(level, LEVELS) << 2) | clipped
    return Pictures(
        code, pictures.reference, pictures.scale, pictures.epsilon, pictures.noise / factor,
        pictures.dim,
    )  # fmt: skip


def averaged(images: NDArray[Any], times: int) -> NDArray[Any]:
    """(H, W, N) means over times × times places of (H times, W times, N)."""
    height, width, count = images.shape
    blocks = images.reshape(height // times, times, width // times, times, count)
    return np.asarray(blocks.mean(axis=(1, 3)))


def blurred(images: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur of (h, w, N) over the first two axes."""
    taps = 2 * int(np.ceil(3.5 * sigma)) + 1
    out = np.empty_like(images)
    for first in range(0, images.shape[2], CHANNELS):
        part = np.ascontiguousarray(images[..., first : first + CHANNELS])
        part = cv2.GaussianBlur(part, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT_101)
        out[..., first : first + CHANNELS] = part.reshape(
            images[..., first : first + CHANNELS].shape
        )
    return out
