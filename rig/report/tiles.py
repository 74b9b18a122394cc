"""Maps as tiles that a page decodes as it needs them: integers of a stated quantum, a pyramid.

A value is stored as a whole number of quanta, and a tile as what each number differs from its
left, upper and upper left neighbours, which is small where a surface is smooth; zlib does the rest.
The page undoes it with the browser's own `DecompressionStream` (``tiles.js``).
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE = 512  # side of a tile, px
OVERVIEW = 384  # longest side of the coarsest level, which the page shows first, px
ZLIB_LEVEL = 1  # higher levels take three times as long for a twentieth less
SIGMA_RATIO = 1.02  # neighbouring values of a sigma: it is known no better
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Coding:
    """How a whole number tells a value; 0 tells that there is none.

    A linear code k tells ``low + (k - 1) quantum``, a logarithmic one ``low · quantum^(k - 1)``.
    """

    kind: str
    low: float
    quantum: float

    def codes(self, values: NDArray[Any]) -> Codes:
        """(H, W) of the values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.kind == "log":
                steps = np.log(np.maximum(values, self.low) / self.low) / math.log(self.quantum)
            else:
                steps = (np.asarray(values, dtype=np.float64) - self.low) / self.quantum
            found = np.isfinite(values)
            return np.where(found, 1 + np.rint(np.where(found, steps, 0)), 0).astype(np.int32)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "low": self.low, "quantum": self.quantum}


def linear(values: NDArray[Any], quantum: float) -> Coding:
    """Whole numbers of a quantum above the lowest value."""
    finite = values[np.isfinite(values)]
    low = float(finite.min()) if finite.size else 0.0
    if finite.size:  # 31 bits hold the range, whatever was asked
        quantum = max(quantum, (float(finite.max()) - low) / 2**30)
    return Coding("linear", low, quantum)


def logarithmic(values: NDArray[Any], ratio: float = SIGMA_RATIO) -> Coding:
    """Positive values, each within half a ratio."""
    positive = values[np.isfinite(values) & (values > 0)]
    return Coding("log", float(positive.min()) if positive.size else 1.0, ratio)


def round_down(value: float) -> float:
    """The greatest of 1, 2 and 5 times a power of ten that is not above a positive value."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return float(max(k * power for k in (1, 2, 5) if k * power <= value * (1 + 1e-9)))


def halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2 × 2 pixels, NaN left out; an odd last row or column stands for itself."""
    rows, columns = values.shape
    padded = np.pad(values, ((0, rows % 2), (0, columns % 2)), constant_values=np.nan)
    found = np.isfinite(padded)
    filled = np.where(found, padded, np.float32(0))
    total = np.zeros(((rows + 1) // 2, (columns + 1) // 2), np.float32)
    count = np.zeros(total.shape, np.uint8)
    for r in (0, 1):
        for c in (0, 1):
            total += filled[r::2, c::2]
            count += found[r::2, c::2]
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def flags_halved(flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What any of 2 × 2 pixels is flagged as."""
    rows, columns = flags.shape
    padded = np.pad(flags, ((0, rows % 2), (0, columns % 2)))
    halves = padded[::2] | padded[1::2]
    return np.asarray(halves[:, ::2] | halves[:, 1::2])


def levels_of(shape: tuple[int, int]) -> int:
    """How many levels a map has: the full one and halves of it down to an overview."""
    return 1 + max(0, math.ceil(math.log2(max(shape) / OVERVIEW)))


def encode(codes: Codes) -> bytes:
    """A tile's whole numbers, compressed."""
    across = np.diff(codes, axis=1, prepend=np.int32(0))
    change = np.diff(across, axis=0, prepend=np.int32(0))
    folded = ((change << 1) ^ (change >> 31)).view(np.uint32)  # signs to the lowest bit
    planes = max(1, (int(folded.max(initial=0)).bit_length() + 7) // 8)
    data = b"".join(((folded >> (8 * k)) & 255).astype(np.uint8).tobytes() for k in range(planes))
    return zlib.compress(data, ZLIB_LEVEL)


def text(codes: Codes) -> str:
    """A tile for a page."""
    return base64.b64encode(encode(codes)).decode("ascii")


def tiles(name: str, levels: list[Codes]) -> Iterator[tuple[str, str]]:
    """Names ``map-level-row-column`` and texts of all tiles, the coarsest level first."""
    for level in range(len(levels) - 1, -1, -1):
        codes = levels[level]
        for r in range(0, codes.shape[0], TILE):
            for c in range(0, codes.shape[1], TILE):
                place = f"{name}-{level}-{r // TILE}-{c // TILE}"
                yield place, text(codes[r : r + TILE, c : c + TILE])
