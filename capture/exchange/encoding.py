"""Whether pictures are linear, told from their noise.

The variance of a camera's noise grows with the light, and so with the code of a linear picture.
A gamma curve squeezes bright codes: after it the noise is about the same at every code. Compared
are the brighter and the darker half of the pictures at the same smooth places, so that it does not
matter that one place is rougher than another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.exchange.images import Way, read_grey

Array = NDArray[np.float64]

BLOCK = 4
MOST_PICTURES = 24
MOST_PIXELS = 2**18
LEVELS = (24.0, 250.0)  # of 255: where noise shows and nothing is clipped
SMOOTH = 0.3  # share of the places that is looked at
FEWEST = 100  # places
MOST_ALIKE = 1.04  # pictures at a place, over what noise gives
LEAST_APART = 0.1  # brighter from darker half, logarithm
MOST_ERROR = 0.12  # standard error of the exponent
SHAPE = 6  # coefficients of a paraboloid
LINEAR, CURVED = 1.0, 0.0
"""Exponent of the variance of photon noise by the code, linear and after a gamma curve of 1/2."""


def gamma_remark(pictures: Sequence[Path], channel: Way = None) -> str | None:
    """What to say of pictures that look gamma-encoded, or None; raises like `read_grey`."""
    some = np.unique(np.linspace(0, len(pictures) - 1, MOST_PICTURES).astype(int))
    read = [read_grey(pictures[k], channel) for k in some]
    if len({image.shape for image, _ in read}) > 1:
        return None  # refused where they are recorded, in a sentence that names the picture
    full = max(float(2**bits - 1) for _, bits in read)
    codes = np.array([_strips(image) for image, _ in read]) * (255.0 / full)
    exponent = noise_exponent(codes, 1 / 12 if full == 255 else 0.0)
    if exponent is not None and exponent < (LINEAR + CURVED) / 2:
        return (
            "the pictures look gamma-encoded (sRGB), and not linear: their noise is nearly as "
            "large where they are bright as where they are dark (its variance goes as the code to "
            f"the power {exponent:.1f}, that of linear pictures to 1 or more); normals and heights "
            "will be wrong: switch the camera's gamma off, or export linear pictures of 16 bits"
        )
    if exponent is None and full == 255 and _says_srgb(pictures[0]):
        return (
            f"{pictures[0].name} says of itself that it is gamma-encoded (sRGB), and noise that "
            "would tell is not seen: if that is true, normals and heights will be wrong; export "
            "linear pictures"
        )
    return None


def _strips(image: NDArray[np.uint16]) -> Array:
    """Evenly spaced rows of blocks, so many that a large picture is told in a moment."""
    rows = image.shape[0] // BLOCK
    every = max(1, math.ceil(image.size / MOST_PIXELS))
    cut = image[: rows * BLOCK].reshape(rows, BLOCK, image.shape[1])[::every]
    return np.asarray(cut.reshape(-1, image.shape[1]), dtype=np.float64)


def _says_srgb(path: Path) -> bool:
    """Whether a PNG holds a chunk sRGB, or gAMA of another value than 1 (PNG, 11.3.2)."""
    if path.suffix.lower() != ".png":
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    head = head[: max(head.find(b"IDAT"), 0)]
    place = head.find(b"gAMA")
    linear = place > 0 and head[place + 4 : place + 8] == (100_000).to_bytes(4, "big")
    return b"sRGB" in head or (place > 0 and not linear)


def noise_exponent(codes: Array, rounding: float) -> float | None:
    """Exponent with which the variance of the noise grows with the code; None if it is not seen.

    Parameters
    ----------
    codes : (N, H, W) pictures, 255 is full scale
    rounding : variance of rounding to codes
    """
    level, left = _blocks(codes)
    variance = (left**2).sum(axis=2) / (BLOCK**2 - SHAPE)
    inside = (level > LEVELS[0]) & (level < LEVELS[1])
    often = inside.sum(axis=0) >= 4
    level, variance, inside = level[:, often], variance[:, often], inside[:, often]
    if level.shape[1] < FEWEST:
        return None
    rough = (inside * variance / np.maximum(level, 1)).sum(axis=0) / inside.sum(axis=0)
    smooth = rough <= np.quantile(rough, SMOOTH)
    level, variance, inside = level[:, smooth], variance[:, smooth], inside[:, smooth]
    if _likeness(left[:, often][:, smooth]) > MOST_ALIKE / (BLOCK**2 - SHAPE):
        return None  # the part's texture, not noise
    middle = np.nanmedian(np.where(inside, level, np.nan), axis=0)
    bright, dark = inside & (level > middle), inside & (level < middle)
    above = float(variance[bright].mean()) - rounding
    below = float(variance[dark].mean()) - rounding
    apart = math.log(float(level[bright].mean()) / float(level[dark].mean()))
    if above < 2 * rounding + 0.05 or below < rounding or apart < LEAST_APART:
        return None
    freedom = BLOCK**2 - SHAPE
    error = math.sqrt(2 / freedom * (1 / bright.sum() + 1 / dark.sum())) / apart
    return math.log(above / below) / apart if error < MOST_ERROR else None


def _blocks(codes: Array) -> tuple[Array, Array]:
    """(N, n) mean of each block of pixels, and (N, n, 16) what a paraboloid through it leaves."""
    count, height, width = codes.shape
    rows, columns = height // BLOCK, width // BLOCK
    cut = codes[:, : rows * BLOCK, : columns * BLOCK]
    blocks = cut.reshape(count, rows, BLOCK, columns, BLOCK).transpose(0, 1, 3, 2, 4)
    values = blocks.reshape(count, rows * columns, BLOCK**2)
    y, x = np.mgrid[:BLOCK, :BLOCK].reshape(2, -1) - (BLOCK - 1) / 2
    shape = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1))[0]
    left = values - values @ shape @ shape.T
    return values.mean(axis=2), left


def _likeness(left: Array) -> float:
    """Mean squared cosine between what is left of two pictures at a place.

    It is one over the number of free pixels for noise, which is another in each picture. Texture
    comes again, and shows more where light grazes, though the place is darker then.
    """
    unit = left / (np.linalg.norm(left, axis=2, keepdims=True) + 1e-12)
    cosines = np.einsum("knp,jnp->nkj", unit, unit) ** 2
    count = len(left)
    return float((cosines.sum() - np.trace(cosines, axis1=1, axis2=2).sum()) / cosines.shape[0]) / (
        count * (count - 1)
    )
