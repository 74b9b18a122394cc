"""The pictures of one part as linear radiance, ready to be explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
