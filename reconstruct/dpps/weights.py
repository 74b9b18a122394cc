"""Weights on disk: safetensors in half precision, with what they were trained on.

A file is read without pickle and is refused with a sentence when it is not ours, was made for
another encoding, or does not fit the network it describes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from intake.errors import told_as
from intake.trees import whole
from reconstruct.dpps.encoding import CHANNELS, ENCODING
from reconstruct.errors import ReconstructError
from reconstruct.tensors import described, read_tensors

FORMAT = "rig-weights/1"
SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "any-rig.safetensors"
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    channels: int = CHANNELS
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    pixelwise: int = 32

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "widths": list(self.widths), "encoding": ENCODING}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Shape:
        """The sizes that `to_json` wrote."""
        sizes = {key: value for key, value in data.items() if key != "encoding"}
        return Shape(**{**sizes, "widths": tuple(sizes["widths"])})

    def filters(self) -> Iterator[tuple[str, int, int, int]]:
        """Name, channels in and out, and side of every filter that a batch norm follows."""
        w = self.widths
        yield "pixel.0", self.channels, self.pixelwise, 1
        yield "pixel.1", self.pixelwise, w[0], 1
        yield "stem", w[0], w[0], 3
        for i, (fine, coarse) in enumerate(itertools.pairwise(w)):
            yield f"down.{i}.first", fine, coarse, 3
            yield f"down.{i}.second", coarse, coarse, 3
        yield "middle.first", w[-1], w[-1], 3
        yield "middle.second", w[-1], w[-1], 3
        for i, (coarse, fine) in enumerate(itertools.pairwise(w[:0:-1])):
            yield f"up.{i}.first", fine + coarse, fine, 3
            yield f"up.{i}.second", fine, fine, 3
        yield f"up.{len(w) - 2}", w[0] + w[1], w[0], 3

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The tensors of a file, with their sizes."""
        sizes: dict[str, tuple[int, ...]] = {}
        for name, inside, outside, side in self.filters():
            sizes[f"{name}.0.weight"] = (outside, inside, side, side)
            sizes |= {f"{name}.1.{part}": (outside,) for part in NORM}
        return sizes | {"head.weight": (5, 2 * self.widths[0], 1, 1), "head.bias": (5,)}


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's sizes, its tensors in float32 by name, and facts about how it was trained."""

    shape: Shape
    tensors: dict[str, NDArray[np.float32]]
    facts: dict[str, Any]


def write_weights(weights: Weights, path: Path) -> None:
    """Write the network's weights in half precision."""
    halves = {}
    for name, value in weights.tensors.items():
        with np.errstate(over="ignore"):
            halves[name] = np.ascontiguousarray(value, np.float16)
        if not np.isfinite(halves[name]).all():
            raise ReconstructError(f"the weights '{name}' do not fit into half precision")
    save_file(
        halves,
        path,
        metadata={
            "format": FORMAT,
            "network": "any-rig",
            "shape": json.dumps(weights.shape.to_json()),
            "facts": json.dumps(weights.facts),
        },
    )


def read_weights(path: Path | None = None) -> Weights:
    """The weights of a file, by default those that are shipped.

    Raises `ReconstructError` when the file is missing, is no weights file or does not fit.
    """
    path = path or SHIPPED
    if not path.is_file():
        raise ReconstructError(f"there are no weights at {path}; train some with `rig train`")
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT or metadata.get("network") != "any-rig":
        raise ReconstructError(
            f"{path} holds '{metadata.get('network', 'unknown')}' weights in the format "
            f"'{metadata.get('format', 'unknown')}'; expected 'any-rig' in '{FORMAT}'"
        )
    described_shape, facts = described(metadata, "shape", path), described(metadata, "facts", path)
    try:
        encoding, channels = described_shape["encoding"], described_shape["channels"]
        shape = Shape.from_json(described_shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ReconstructError(f"{path} does not describe its network: {error!r}") from error
    if encoding != ENCODING or channels != CHANNELS:
        raise ReconstructError(
            f"{path} was trained on the encoding '{encoding}' with {channels} channels; this "
            f"version makes '{ENCODING}' with {CHANNELS}: use weights of this version"
        )
    with told_as(ReconstructError):
        for width in (*shape.widths, shape.pixelwise):
            whole(width, f"{path}: a width of the network", 1, 4096)
    if not 2 <= len(shape.widths) <= 8:
        raise ReconstructError(f"{path} describes a network of {len(shape.widths)} levels")
    own = shape.tensors()
    wrong = sorted(set(own) ^ set(tensors)) or sorted(
        name for name, size in own.items() if tensors[name].shape != size
    )
    if wrong:
        raise ReconstructError(
            f"{path} does not fit the network it describes: {len(wrong)} tensors are missing, "
            f"unknown or of another size, first '{wrong[0]}'"
        )
    full = {name: value.astype(np.float32) for name, value in tensors.items()}
    return Weights(shape, full, facts)
