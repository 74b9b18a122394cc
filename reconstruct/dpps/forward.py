"""The any-rig network on the processor: its layers as products of matrices.

PyTorch takes more seconds to load than the network takes for a picture. So PyTorch trains the
network and serves a GPU, and NumPy predicts elsewhere (decision 0083).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reconstruct.dpps.weights import Weights

F32 = NDArray[np.float32]
EPSILON = np.float32(1e-5)  # of batch norms
BAND = 1 << 16  # so many numbers of a matrix of patches stay in the processor's cache
CORNERS = tuple(itertools.product(range(2), repeat=2))


def _patches(x: F32, size: int, stride: int = 1) -> F32:
    """(H', W', size, size, C) view of what a filter sees at each place of (H, W, C)."""
    seen = sliding_window_view(x, (size, size), axis=(0, 1))  # type: ignore[call-overload]
    return np.asarray(seen.transpose(0, 1, 3, 4, 2)[::stride, ::stride])


def _product(patches: F32, matrix: F32) -> F32:
    """(H, W, O) of (H, W, …) patches and (K, O) weights, band by band."""
    height, width = patches.shape[:2]
    inside, outside = matrix.shape
    out = np.empty((height, width, outside), np.float32)
    rows = max(1, BAND // (width * inside))
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        np.matmul(patches[band].reshape(-1, inside), matrix, out=out[band].reshape(-1, outside))
    return out


def _framed(x: F32) -> F32:
    return np.pad(x, ((1, 1), (1, 1), (0, 0)))


def _positive(x: F32) -> F32:
    return np.maximum(x, 0, out=x)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A 1×1 or 3×3 filter with its batch norm multiplied in: taps (K, K, C, O), bias (O,)."""

    taps: F32
    bias: F32
    stride: int = 1

    def __call__(self, x: F32) -> F32:
        """(H, W, C) to (H / stride, W / stride, O)."""
        size, outside = len(self.taps), len(self.bias)
        patches = _patches(_framed(x) if size == 3 else x, size, self.stride)
        out = _product(patches, self.taps.reshape(-1, outside))
        out += self.bias
        return out


class Joining:
    """A 3×3 filter over a map beside a coarser one, which is doubled in size for it.

    Of a doubled map 3×3 pixels hold 2×2 pixels of the coarse one, so that the filter has 2×2
    weights for each of the four places within a doubled pixel: four ninths of the cost.
    """

    def __init__(self, whole: Convolution, fine: int) -> None:
        self.fine = Convolution(np.ascontiguousarray(whole.taps[:, :, :fine]), whole.bias)
        of_coarse = whole.taps[:, :, fine:]
        spread = np.zeros((2, 2, of_coarse.shape[2], 2, 2, of_coarse.shape[3]), np.float32)
        for within in CORNERS:
            for tap in np.ndindex(3, 3):
                y, x = ((at + on + 1) // 2 - at for at, on in zip(within, tap, strict=True))
                spread[y, x, :, within[0], within[1]] += of_coarse[tap]
        self.spread = spread.reshape(4 * spread.shape[2], -1)

    def __call__(self, fine: F32, coarse: F32) -> F32:
        """(H, W, C) and (H / 2, W / 2, D) to (H, W, O)."""
        out = self.fine(fine)
        height, width = coarse.shape[:2]
        spread = _product(_patches(_framed(coarse), 2), self.spread)
        spread = spread.reshape(height + 1, width + 1, 2, 2, -1)
        for y, x in CORNERS:
            out[y::2, x::2] += spread[y : y + height, x : x + width, y, x]
        return out


def _folded(weights: Weights, name: str, stride: int = 1) -> Convolution:
    """The filter `name`.0 of a file with its norm `name`.1."""
    gain, shift, mean, variance = (
        weights.tensors[f"{name}.1.{part}"]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + EPSILON)
    taps = weights.tensors[f"{name}.0.weight"].transpose(2, 3, 1, 0) * gain
    return Convolution(np.ascontiguousarray(taps), shift - mean * gain, stride)


def _pair(weights: Weights, block: str, stride: int = 1) -> tuple[Convolution, Convolution]:
    return _folded(weights, f"{block}.first", stride), _folded(weights, f"{block}.second")


class Network:
    """Channels (42, H, W) to what the network says (6, H, W); H and W multiples of 16.

    That is the unit normal, log depth over the base in units of 64 pixels' angle, and the logs of
    their expected absolute errors, as `reconstruct.dpps.network.Prediction` has them.
    """

    def __init__(self, weights: Weights) -> None:
        widths = weights.shape.widths
        last = len(widths) - 2
        self.pixel = [_folded(weights, f"pixel.{i}") for i in range(2)]
        self.stem = _folded(weights, "stem")
        self.down = [_pair(weights, f"down.{i}", 2) for i in range(last + 1)]
        self.middle = _pair(weights, "middle")
        pairs = [_pair(weights, f"up.{i}") for i in range(last)]
        self.up = [
            (Joining(first, fine), second)
            for (first, second), fine in zip(pairs, widths[last:0:-1], strict=True)
        ]
        self.last = Joining(_folded(weights, f"up.{last}"), widths[0])
        self.head = weights.tensors["head.weight"][:, :, 0, 0].T
        self.offset = weights.tensors["head.bias"]

    def __call__(self, channels: F32) -> F32:
        x = np.ascontiguousarray(np.moveaxis(channels, 0, -1))
        point = x
        for layer in self.pixel:
            point = _positive(layer(point))
        features = [_positive(self.stem(point))]
        for first, second in self.down:
            features.append(_with_shortcut(_positive(first(features[-1])), second))
        first, second = self.middle
        y = _with_shortcut(_positive(first(features.pop())), second)
        for joining, second in self.up:
            y = _with_shortcut(_positive(joining(features.pop(), y)), second)
        y = _positive(self.last(features.pop(), y))
        half = y.shape[-1]
        out = y @ self.head[:half] + point @ self.head[half:] + self.offset
        a = out[..., :2] + x[..., 15:17] / 3  # beside the mean half vector at power 1
        square = (a * a).sum(-1, keepdims=True)
        said = np.concatenate(
            [2 * a / (1 + square), (1 - square) / (1 + square), out[..., 2:3],
             out[..., 3:].clip(-8, 3)], axis=-1,
        )  # fmt: skip
        return np.moveaxis(said, -1, 0)


def _with_shortcut(x: F32, second: Convolution) -> F32:
    out = second(x)
    out += x
    return _positive(out)
