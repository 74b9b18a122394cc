"""A recording as the calibration's pictures: one linear picture per light."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from capture.verify import open_unharmed
from intake.arrays import read_npy
from intake.errors import told_as


class RecordedPictures:
    """What `calib.views.Pictures` asks for, out of a recording.

    The picture in room light, if one was taken, lies beside the frames as ``ambient.npy``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recording = open_unharmed(folder)

    @property
    def ids(self) -> tuple[int, ...]:
        return self.recording.leds

    @property
    def exposure(self) -> float | None:
        return 1.0 if self.recording.radiometric else None

    @cached_property
    def ambient(self) -> NDArray[np.float32] | None:
        path = self.folder.parent / f"{self.folder.name}-ambient.npy"
        if not path.is_file():
            return None
        with told_as(DataError):
            picture = read_npy(path).astype(np.float32)
        if picture.shape != self.recording.shape:
            raise DataError(f"{path} is {picture.shape}, the pictures are {self.recording.shape}")
        return picture

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def names(self) -> dict[int, str]:
        """Name of each LED's picture."""
        return self.recording.picture_names

    def name(self, index: int) -> str:
        return f"{self.folder} LED {self.ids[index]}"

    def read(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        image = self.recording.linear(self.ids[index])
        return image.radiance, image.clipped
