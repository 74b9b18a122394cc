"""The pictures of one part as linear radiance, ready to be explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError

if TYPE_CHECKING:
    from capture.reading import Recording

Band = tuple[NDArray[np.float32], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Stack:
    """Linear pictures, one per light, in the order of `ids`.

    Attributes
    ----------
    ids : (N,) LED numbers from 1
    radiance : (N, H, W) float32, black level and ambient removed, exposure divided out
    clipped : (N, H, W) bool; the true radiance is at least the one given
    noise_floor, noise_gain : radiance variance = noise_floor + noise_gain × radiance
    """

    ids: NDArray[np.int64]
    radiance: NDArray[np.float32]
    clipped: NDArray[np.bool_]
    noise_floor: float
    noise_gain: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.radiance.shape[1], self.radiance.shape[2]

    def __len__(self) -> int:
        return len(self.ids)

    def band(self, rows: slice) -> Band:
        """(N, h, W) radiance and clip mask of a band of rows."""
        return self.radiance[:, rows], self.clipped[:, rows]

    def select(self, index: NDArray[np.int64]) -> Stack:
        """The pictures at these places, in that order."""
        return Stack(
            self.ids[index],
            self.radiance[index],
            self.clipped[index],
            self.noise_floor,
            self.noise_gain,
        )


def stack_of_radiance(radiance: NDArray[Any], clipped: NDArray[np.bool_] | None = None) -> Stack:
    """A stack of linear radiance, its noise estimated from the grain of the pictures.

    Parameters
    ----------
    radiance : (N, H, W) floats, black level removed, LED 1 first
    clipped : (N, H, W) where radiance is only a lower bound; None for nowhere

    Raises
    ------
    ReconstructError
        if they are not three-dimensional, finite and somewhere above 0
    """
    from capture.hdr import TYPICAL_FLOOR, TYPICAL_GAIN, spatial_gain

    values = np.ascontiguousarray(radiance, dtype=np.float32)
    if values.ndim != 3 or not np.isfinite(values).all() or not values.size:
        raise ReconstructError(
            f"radiance is {values.shape}: expected finite numbers (N, H, W), one picture per light"
        )
    top = float(values.max())
    if top <= 0:
        raise ReconstructError("all pictures are black: no radiance is above 0")
    over = np.zeros(values.shape, bool) if clipped is None else np.asarray(clipped, bool)
    if over.shape != values.shape:
        raise ReconstructError(f"clipped is {over.shape}, radiance is {values.shape}")
    some = range(0, len(values), max(1, len(values) // 12))
    gain = spatial_gain([values[k] / np.float32(top) for k in some], TYPICAL_FLOOR)
    gain = float(np.clip(gain or TYPICAL_GAIN, 1e-6, 1e-3))
    ids = np.arange(1, len(values) + 1, dtype=np.int64)
    return Stack(ids, values, over, TYPICAL_FLOOR * top * top, gain * top)


def flat_band(
    flat: NDArray[np.float32], shape: tuple[int, int], rows: slice
) -> NDArray[np.float32]:
    """Factors on the irradiance in a band of rows, from a smooth field that is sampled coarsely.

    Parameters
    ----------
    flat : (gh, gw, N) the field like a small picture: its cells tile the whole image
    shape : (H, W) of the whole image
    rows : band of rows

    Returns
    -------
    (N, h, W) float32, linear between the middles of the cells
    """
    height, width = shape
    down = _between_cells(np.arange(height)[rows], height, flat.shape[0])
    across = _between_cells(np.arange(width), width, flat.shape[1])
    return np.einsum("hg,gwn,xw->nhx", down, flat, across, optimize=True)


def _between_cells(pixels: NDArray[np.int64], size: int, cells: int) -> NDArray[np.float32]:
    """(pixels, cells) weights of linear interpolation along one side of an image."""
    place = np.clip((pixels + 0.5) * cells / size - 0.5, 0, cells - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)


# Recordings of up to so many values (5 bytes each) are kept in memory once read.
KEPT_VALUES = 1 << 25


class RecordedStack(Stack):
    """A stack that stays on disk; bands are read when asked for.

    `radiance` and `clipped` of all pictures are read at their first use, which for 96 pictures of
    five megapixels takes 2.4 GB: methods that care for memory ask for bands. Small recordings are
    kept once read: several look at them, and decoding a picture takes longer than looking.
    """

    def __init__(self, recording: Recording, leds: Sequence[int] | None = None) -> None:
        chosen = tuple(recording.leds if leds is None else leds)
        floor, gain = recording.radiance_noise()
        put = object.__setattr__  # the fields of a frozen dataclass
        put(self, "_recording", recording)
        put(self, "_leds", chosen)
        put(self, "ids", np.asarray(chosen, dtype=np.int64))
        put(self, "noise_floor", float(floor))
        put(self, "noise_gain", float(gain))

    @property
    def name(self) -> str:
        """Of the recording."""
        return str(self._recording.folder.name)  # type: ignore[attr-defined]

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self._recording.shape  # type: ignore[attr-defined]
        return int(height), int(width)

    def band(self, rows: slice) -> Band:
        if self.shape[0] * self.shape[1] * len(self) <= KEPT_VALUES:
            radiance, clipped = self._all
            return radiance[:, rows], clipped[:, rows]
        return self._read(rows)

    def _read(self, rows: slice) -> Band:
        band: Band = self._recording.radiance(self._leds, rows)  # type: ignore[attr-defined]
        return band

    @cached_property
    def _all(self) -> Band:
        return self._read(slice(None))

    @property
    def radiance(self) -> NDArray[np.float32]:  # type: ignore[override]
        return self._all[0]

    @property
    def clipped(self) -> NDArray[np.bool_]:  # type: ignore[override]
        return self._all[1]

    def select(self, index: NDArray[np.int64]) -> RecordedStack:
        return RecordedStack(
            self._recording,  # type: ignore[attr-defined]
            [self._leds[int(i)] for i in index],  # type: ignore[attr-defined]
        )
