"""Heights on a regular grid: what standards on surface texture speak of.

A `Surface` has one height per pixel, and under perspective the pixels' points are not evenly
spaced in x and y. Everything here that filters or differentiates works on a regular grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from reconstruct.errors import ReconstructError
from reconstruct.nearest import filled_in
from reconstruct.surface import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeightGrid:
    """Heights over x and y, evenly spaced.

    Attributes
    ----------
    z_mm : (ny, nx) float64, NaN where nothing was measured; y grows with the row, x with the column
    step_mm : distance of neighbours, the same in x and y
    x0_mm, y0_mm : world coordinates of the first column and row
    sigma_mm : (ny, nx) one-sigma uncertainty of z, or None
    """

    z_mm: Array
    step_mm: float
    x0_mm: float = 0.0
    y0_mm: float = 0.0
    sigma_mm: Array | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        return np.isfinite(self.z_mm)

    @property
    def x_mm(self) -> Array:
        """(nx,) world x of the columns."""
        return self.x0_mm + self.step_mm * np.arange(self.z_mm.shape[1], dtype=np.float64)

    @property
    def y_mm(self) -> Array:
        """(ny,) world y of the rows."""
        return self.y0_mm + self.step_mm * np.arange(self.z_mm.shape[0], dtype=np.float64)

    def points(self) -> tuple[Array, Array, Array]:
        """x, y, z of the measured points, each (n,)."""
        x, y = np.meshgrid(self.x_mm, self.y_mm)
        return x[self.mask], y[self.mask], self.z_mm[self.mask]

    def with_z(self, z_mm: Array) -> HeightGrid:
        """The same grid with other heights."""
        return replace(self, z_mm=z_mm)

    def at(self, x_mm: NDArray[Any], y_mm: NDArray[Any], order: int = 1) -> Array:
        """Heights between the grid's points (spline of this order), NaN off the surface."""
        place = np.stack(
            [
                (np.asarray(y_mm, dtype=np.float64) - self.y0_mm) / self.step_mm,
                (np.asarray(x_mm, dtype=np.float64) - self.x0_mm) / self.step_mm,
            ]
        )
        return sample(self.z_mm, place, order)


def sample(values: NDArray[Any], place: Array, order: int) -> Array:
    """Sample a map at fractional (row, column); NaN wherever a neighbour needed is NaN.

    Parameters
    ----------
    values : (H, W) with NaN for missing
    place : (2, …) rows and columns
    order : 1 linear, 3 cubic spline
    """
    values = np.asarray(values, dtype=np.float64)
    good = np.isfinite(values)
    if not good.any():
        return np.full(place.shape[1:], np.nan)
    # What lies on the rim must not be lost to rounding.
    last = np.array(values.shape, dtype=np.float64).reshape(2, *[1] * (place.ndim - 1)) - 1
    held = np.clip(place, 0.0, last)
    place = np.where(np.abs(held - place) < 1e-3, held, place)
    filled = filled_in(values, good)
    out = ndimage.map_coordinates(filled, place, order=order, mode="nearest")
    if good.all():
        rows, columns = values.shape
        inside = (place[0] >= -1e-9) & (place[0] <= rows - 1 + 1e-9)
        inside &= (place[1] >= -1e-9) & (place[1] <= columns - 1 + 1e-9)
    else:
        weight = ndimage.map_coordinates(
            good.astype(np.float64), place, order=1, mode="constant", cval=0.0
        )
        inside = weight > 1 - 1e-9
    return np.where(inside, out, np.nan)


def grid_of(surface: Surface, step_mm: float | None = None) -> HeightGrid:
    """Resample a surface to a regular grid in x and y.

    For a grid point (x, y) the pixel that sees it is found by fixed point: guess z, project
    (x, y, z), read z there. It contracts where the slope times the tangent of the viewing angle
    is below one, that is wherever the camera sees the surface as a height field.

    Parameters
    ----------
    step_mm : distance of neighbours; None: the mean distance of neighbouring pixels
    """
    mask = surface.mask
    if np.count_nonzero(mask) < 16:
        raise ReconstructError("the surface has too few valid pixels to measure anything")
    points = surface.points_mm()
    x, y = points[..., 0], points[..., 1]
    if step_mm is None:
        step_mm = float(
            np.sqrt(
                np.nanmedian(np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)))
                * np.nanmedian(np.hypot(np.diff(x, axis=0), np.diff(y, axis=0)))
            )
        )
    if not step_mm > 0:
        raise ReconstructError(f"a grid cannot have a step of {step_mm} mm")
    low = np.array([np.nanmin(x), np.nanmin(y)])
    count = (
        np.floor((np.array([np.nanmax(x), np.nanmax(y)]) - low) / step_mm + 1e-9).astype(int) + 1
    )
    if count.min() < 2 or np.prod(count.astype(float)) > 2e8:
        wanted = "shorter" if count.min() < 2 else "longer"
        raise ReconstructError(
            f"a step of {step_mm:g} mm makes a grid of {count[0]} × {count[1]} points: choose a "
            f"{wanted} one"
        )
    gx, gy = np.meshgrid(
        low[0] + step_mm * np.arange(count[0]), low[1] + step_mm * np.arange(count[1])
    )
    height = np.asarray(surface.height_mm, dtype=np.float64)
    filled = filled_in(height, mask)
    z = np.full(gx.shape, np.nanmean(height))
    place = np.empty((2, *gx.shape))
    for _ in range(20):
        pixel = surface.camera.project(np.stack([gx, gy, z], axis=-1))
        place[0], place[1] = pixel[..., 1], pixel[..., 0]
        new = ndimage.map_coordinates(filled, place, order=1, mode="nearest")
        change = float(np.abs(new - z).max())
        z = new
        if change < 1e-6:
            break
    z = sample(height, place, order=3)
    sigma = np.asarray(surface.sigma_mm, dtype=np.float64)
    return HeightGrid(
        z,
        step_mm,
        float(low[0]),
        float(low[1]),
        sample(sigma, place, order=1) if np.isfinite(sigma).any() else None,
    )
