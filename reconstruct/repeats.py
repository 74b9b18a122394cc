"""How a result would differ had the same part been recorded again as it lay: by noise alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.nearest import filled_in

LEAST = 4  # changes that can tell a spread


@dataclass(frozen=True, eq=False)
class Repeats:
    """Changes of height that further recordings would bring, drawn with the noise of the pictures.

    Attributes
    ----------
    change_mm : (K, h, w) float32, NaN off the part
    block_px : side in pixels of a place of these maps
    row_px, column_px : pixel of the picture where they begin
    """

    change_mm: NDArray[np.float32]
    block_px: int = 1
    row_px: int = 0
    column_px: int = 0

    def shifted(self, row_px: int, column_px: int) -> Repeats:
        """The same in a picture of which theirs is a window that begins there."""
        return replace(self, row_px=self.row_px + row_px, column_px=self.column_px + column_px)

    def at(self, camera: Camera, points_mm: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Each change at points of the surface.

        Parameters
        ----------
        points_mm : (…, 3) world frame

        Yields
        ------
        (…) mm
        """
        pixel = camera.project(points_mm)
        place = np.stack([
            (pixel[..., 1] + 0.5 - self.row_px) / self.block_px - 0.5,
            (pixel[..., 0] + 0.5 - self.column_px) / self.block_px - 0.5,
        ])  # fmt: skip
        there = np.asarray(np.isfinite(self.change_mm).all(axis=0))
        from scipy import ndimage  # takes 0.1 s to load

        for change in filled_in(self.change_mm, there):
            filled = change.astype(np.float64)
            yield np.asarray(ndimage.map_coordinates(filled, place, order=1, mode="nearest"))
