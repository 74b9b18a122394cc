"""What each pixel of a camera sees of a part: mean position and mean normal."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.shapes.base import HeightGrid, Shape

Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A part on a camera's pixels.

    Attributes
    ----------
    points_mm : (H, W, 3) float32 mean position of each pixel, world frame
    normals : (H, W, 3) float32 unit mean normal
    mask : (H, W) bool, the pixel lies on the part
    """

    points_mm: Map
    normals: Map
    mask: NDArray[np.bool_]

    @property
    def height_mm(self) -> Map:
        return np.asarray(self.points_mm[..., 2])

    def masked(self) -> Sampled:
        """NaN outside the part."""
        points, normals = self.points_mm.copy(), self.normals.copy()
        points[~self.mask] = np.nan
        normals[~self.mask] = np.nan
        return Sampled(points, normals, self.mask)


def corner_rays(camera: Camera) -> NDArray[np.float64]:
    """(H + 1, W + 1, 3) viewing directions through the pixel corners, z component -1."""
    columns, rows = np.meshgrid(
        np.arange(camera.width + 1) - 0.5, np.arange(camera.height + 1) - 0.5
    )
    rays = camera.rays(np.stack([columns, rows], axis=-1))
    return np.asarray(rays / -rays[..., 2:])


def intersect(
    shape: Shape, origin_mm: NDArray[Any], rays: NDArray[Any], iterations: int = 12
) -> NDArray[np.float64]:
    """Points where rays from above meet a part.

    Fixed point z ← h(x(z), y(z)); contracts as long as slope × tangent of the ray's angle stays
    below 1, as it does for a camera that looks down. At vertical walls it stops on the wall.

    Parameters
    ----------
    origin_mm : (3,); rays : (..., 3) with z component -1
    """
    if isinstance(shape.height, HeightGrid):
        z = shape.height.meets(origin_mm, rays, iterations)
        return np.asarray(origin_mm + (origin_mm[2] - z)[..., None] * rays)
    z = np.zeros(rays.shape[:-1])
    for _ in range(iterations):
        depth = origin_mm[2] - z
        new = shape.height(origin_mm[0] + depth * rays[..., 0], origin_mm[1] + depth * rays[..., 1])
        change = np.abs(new - z).max(initial=0.0)
        z = new
        if change < 1e-6:
            break
    return np.asarray(origin_mm + (origin_mm[2] - z)[..., None] * rays)


def normals_from_corners(corners_mm: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) unnormalised normals of the cells between (H + 1, W + 1, 3) corner points.

    Cross product of the cell's diagonals; rows run down the image, so z comes out towards the
    camera. Its length is twice the cell's area.
    """
    first = corners_mm[:-1, 1:] - corners_mm[1:, :-1]  # lower left to upper right
    second = corners_mm[:-1, :-1] - corners_mm[1:, 1:]  # lower right to upper left
    return np.cross(first, second)


@njit(cache=True, nogil=True, error_model="numpy")
def _average_cells(corners, factor, points, normals):
    """Mean position and unit mean normal over factor × factor cells per pixel."""
    for y in range(points.shape[0]):
        for x in range(points.shape[1]):
            px = py = pz = nx = ny = nz = 0.0
            for r in range(y * factor, (y + 1) * factor):
                for c in range(x * factor, (x + 1) * factor):
                    a, b = corners[r, c], corners[r, c + 1]
                    d, e = corners[r + 1, c], corners[r + 1, c + 1]
                    px += a[0] + b[0] + d[0] + e[0]
                    py += a[1] + b[1] + d[1] + e[1]
                    pz += a[2] + b[2] + d[2] + e[2]
                    ux, uy, uz = b[0] - d[0], b[1] - d[1], b[2] - d[2]
                    vx, vy, vz = a[0] - e[0], a[1] - e[1], a[2] - e[2]
                    mx, my, mz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
                    inv = 1.0 / np.sqrt(mx * mx + my * my + mz * mz)
                    nx += mx * inv
                    ny += my * inv
                    nz += mz * inv
            share = 0.25 / (factor * factor)
            points[y, x, 0], points[y, x, 1], points[y, x, 2] = px * share, py * share, pz * share
            inv = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz)
            normals[y, x, 0], normals[y, x, 1], normals[y, x, 2] = nx * inv, ny * inv, nz * inv


def sample(
    shape: Shape, camera: Camera, supersample: int = 2, rays: NDArray[Any] | None = None
) -> Sampled:
    """Mean position and normal of the part in each pixel.

    Parameters
    ----------
    supersample : cells along a pixel's side over which position and normal are averaged
    rays : ``corner_rays(camera.subdivided(supersample))``, where one camera sees many parts
    """
    if rays is None:
        rays = corner_rays(camera.subdivided(supersample))
    corners = intersect(shape, camera.centre_mm, rays)
    points = np.empty((*camera.shape, 3), np.float32)
    normals = np.empty((*camera.shape, 3), np.float32)
    _average_cells(corners, supersample, points, normals)
    if shape.inside is None:
        mask = np.ones(camera.shape, dtype=bool)
    else:
        part = np.asarray(shape.inside(corners[..., 0], corners[..., 1]), dtype=bool)
        mask = np.ones(camera.shape, dtype=bool)
        for row in range(supersample + 1):
            for column in range(supersample + 1):
                rows = slice(row, row + supersample * (camera.height - 1) + 1, supersample)
                columns = slice(column, column + supersample * (camera.width - 1) + 1, supersample)
                mask &= part[rows, columns]
    return Sampled(points, normals, mask)
