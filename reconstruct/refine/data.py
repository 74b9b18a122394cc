"""Pictures in the form the kernel reads: √ scale, 14 bits, two flags, lights innermost.

The square root makes photon noise equal at all levels; 14 bits of it are 150 times finer than the
noise of a 12,000 e⁻ pixel, and half the memory of float32. Bit 0 says clipped, bit 1 shadowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.refine.pixel import CLIPPED_BIT, LEVELS, SHADOW_BIT
from reconstruct.stack import Stack

# The root of less says more of the read noise than of the part.
LEAST_EPSILON = 1e-4
# OpenCV filters that many channels at once.
CHANNELS = 512
BLOCK_PX = 32  # pixels that are coded at once


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
        if epsilon > read:
            value = radiance * np.float32(1.0 / reference) + np.float32(epsilon)
            inside = value if mask is None else value[:, mask[rows]]
            dim += float(np.sum(1.0 - (epsilon - read) / np.maximum(inside, epsilon)))
            seen += inside.size
        _encode(radiance, clipped, 1.0 / reference, epsilon, 1.0 / scale, code[rows])
    noise = 0.5 * float(np.sqrt(gain / reference))
    return Pictures(code, reference, scale, epsilon, noise, dim / seen if seen else 1.0)


@njit(cache=True, nogil=True)
def _encode(radiance, clipped, gain, epsilon, per_unit, code):
    """(h, W, N) codes, their shadow bit clear, of (N, h, W) radiance."""
    gain, epsilon, per_unit = np.float32(gain), np.float32(epsilon), np.float32(per_unit)
    count, height, width = radiance.shape
    block = np.empty((count, BLOCK_PX), np.uint16)  # transposed within the cache
    for r in range(height):
        for begin in range(0, width, BLOCK_PX):
            size = min(BLOCK_PX, width - begin)
            for k in range(count):
                own = radiance[k, r, begin : begin + size]
                for c in range(size):
                    value = max(own[c] * gain + epsilon, np.float32(0.0))
                    level = min(np.rint(np.sqrt(value) * per_unit), np.float32(LEVELS))
                    block[k, c] = (np.int32(level) << 2) | clipped[k, r, begin + c]
            for c in range(size):
                for k in range(count):
                    code[r, begin + c, k] = block[k, c]


@njit(cache=True, nogil=True, error_model="numpy")
def take_light(captured, scale, light, code):
    """Fill in the codes (h, w, N) of captured ones with some light taken from them.

    That light is in units of the reference. Codes keep the shadow bits that they have.
    """
    scale = np.float32(scale)
    for r in range(code.shape[0]):
        for c in range(code.shape[1]):
            own, less, new = captured[r, c], light[r, c], code[r, c]
            for k in range(len(own)):
                root = np.float32(own[k] >> 2) * scale
                level = np.rint(np.sqrt(max(root * root - less[k], np.float32(0.0))) / scale)
                bits = (own[k] & CLIPPED_BIT) | (new[k] & SHADOW_BIT)
                new[k] = (np.int32(min(level, np.float32(LEVELS))) << 2) | bits


def binned(pictures: Pictures, factor: int) -> Pictures:
    """Averages of factor × factor pixels (of radiance, not of its root); odd edges are dropped."""
    height, width = (size // factor for size in pictures.shape)
    n = len(pictures)
    code = np.empty((height, width, n), np.uint16)
    _bin(pictures.code, factor, pictures.scale, code)
    return Pictures(
        code, pictures.reference, pictures.scale, pictures.epsilon, pictures.noise / factor,
        pictures.dim,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _bin(code, factor, scale, out):
    """Codes of the mean radiance of blocks of pixels, their shadow bit clear."""
    scale = np.float32(scale)
    height, width, count = out.shape
    total, over = np.empty(count, np.float32), np.empty(count, np.uint16)
    for r in range(height):
        for c in range(width):
            total[:] = 0.0
            over[:] = 0
            for y in range(r * factor, (r + 1) * factor):
                for x in range(c * factor, (c + 1) * factor):
                    own = code[y, x]
                    for k in range(count):
                        root = np.float32(own[k] >> 2) * scale
                        total[k] += root * root
                        over[k] |= own[k] & 1
            for k in range(count):
                level = np.rint(np.sqrt(total[k] / (factor * factor)) / scale)
                out[r, c, k] = (np.int32(min(level, LEVELS)) << 2) | over[k]


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
        soft = cv2.GaussianBlur(part, (taps, taps), sigma, borderType=cv2.BORDER_REFLECT_101)
        out[..., first : first + CHANNELS] = soft.reshape(part.shape)
    return out
