"""The white plate: what its pictures say about the lights.

A matt plate of reflectance ρ at height z shows light k at a point x as (Lambert; inverse square)

    L = V(x) · (ρ / π) · I · power · cos(ψ)^m · s_z / |s|³,   s = light − x,

with V the lens' vignetting. The logarithm is linear in log power and in log V, which makes the
fit well behaved. Pictures are averaged over blocks of pixels; the plate's texture is one unknown
factor per block, common to all lights, and is marginalised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.views import Pictures

Array = NDArray[np.float64]

BLOCKS = 24
MIN_SIGMA = 2e-4
"""Least relative error of a block's mean: what the model itself is good for."""


@dataclass(frozen=True, eq=False)
class PlateData:
    """Block means of the plate's pictures.

    Attributes
    ----------
    ids : (N,) LED numbers
    points_mm : (M, 3) block centres on the plate
    radius2 : (M,) squared distance from the principal point, 1 at the picture's farthest corner
    log_radiance : (N, M)
    sigma : (N, M) standard error of `log_radiance`; infinite where clipped or dark
    exposure_known : whether the radiance is comparable with other captures
    """

    ids: NDArray[np.int64]
    points_mm: Array
    radius2: Array
    log_radiance: Array
    sigma: Array
    exposure_known: bool


def block_means(image: NDArray[np.float32], blocks: int) -> tuple[Array, Array]:
    """Mean of blocks × blocks parts of an image and the standard error of each mean.

    The scatter is taken from differences of neighbours, so that a slope does not count as noise.
    """
    height, width = image.shape
    rows = np.linspace(0, height, blocks + 1).astype(int)
    columns = np.linspace(0, width, blocks + 1).astype(int)

    def sums(values: Array) -> Array:
        return np.asarray(np.add.reduceat(np.add.reduceat(values, rows[:-1], 0), columns[:-1], 1))

    area = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    values = image.astype(np.float64)
    step = np.zeros_like(values)
    step[:, 1:-1] = (2 * values[:, 1:-1] - values[:, :-2] - values[:, 2:]) ** 2 / 6
    return sums(values) / area, np.sqrt(sums(step)) / area


class PlatePictures(Pictures, Protocol):
    """Pictures of the plate, with their relative exposure where that is known."""

    @property
    def exposure(self) -> float | None: ...
    @property
    def names(self) -> dict[int, str]: ...


def measure_plate(
    pictures: PlatePictures,
    camera: Camera,
    *,
    height_mm: float = 0.0,
    blocks: int = BLOCKS,
    progress: Callable[[int], None] | None = None,
) -> PlateData:
    """Average the plate's pictures over blocks.

    Parameters
    ----------
    height_mm : height of the plate's surface above the stage plane
    progress : called with the number of pictures done
    """
    blocks = min(blocks, *camera.shape)
    exposure = pictures.exposure or 1.0
    logs, sigmas = [], []
    for index in range(len(pictures)):
        image, clipped = pictures.read(index)
        if image.shape != camera.shape:
            raise CalibrationError(
                f"{pictures.name(index)} has {image.shape[1]} × {image.shape[0]} pixels and the "
                f"camera {camera.width} × {camera.height}"
            )
        mean, error = block_means(image, blocks)
        dirty = block_means(clipped.astype(np.float32), blocks)[0] > 0
        lit = (mean > 8 * error) & (mean > 1e-5) & ~dirty
        safe = np.where(lit, mean, 1.0)
        logs.append(np.log(safe / exposure).ravel())
        # A common scatter per picture steadies the blocks' own; shot noise grows with the mean.
        typical = np.median(error[lit] / np.sqrt(mean[lit])) if lit.any() else 0.0
        relative = np.hypot(typical / np.sqrt(safe), MIN_SIGMA)
        sigmas.append(np.where(lit, relative, np.inf).ravel())
        if progress is not None:
            progress(index + 1)
    rows = np.linspace(0, camera.height, blocks + 1).astype(int)
    columns = np.linspace(0, camera.width, blocks + 1).astype(int)
    v, u = np.meshgrid(
        (rows[:-1] + rows[1:] - 1) / 2, (columns[:-1] + columns[1:] - 1) / 2, indexing="ij"
    )
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    corner = np.array([[x, y] for x in (0, camera.width - 1) for y in (0, camera.height - 1)])
    axis = camera.K[:2, 2]
    return PlateData(
        ids=np.array(pictures.ids, dtype=np.int64),
        points_mm=camera.points_at_height(height_mm, pixels),
        radius2=np.sum((pixels - axis) ** 2, axis=1) / np.sum((corner - axis) ** 2, axis=1).max(),
        log_radiance=np.array(logs),
        sigma=np.array(sigmas),
        exposure_known=pictures.exposure is not None,
    )


def tangents(axis: Array) -> Array:
    """(..., 3, 2) two unit vectors across each unit vector (..., 3)."""
    flat = axis.reshape(-1, 3)
    other = np.eye(3)[np.argmin(np.abs(flat), axis=1)]
    first = np.cross(flat, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.asarray(np.stack([first, np.cross(flat, first)], axis=-1).reshape(*axis.shape, 2))


def log_pattern(
    points_mm: Array, position_mm: Array, axis: Array, lobe: Array
) -> tuple[Array, Array, Array, Array]:
    """Logarithm of ``cos(ψ)^m s_z / |s|³`` and its derivatives.

    Parameters
    ----------
    points_mm : (M, 3) on a plane facing up
    position_mm, axis, lobe : (N, 3), (N, 3), (N,)

    Returns
    -------
    value : (N, M)
    by_position : (N, M, 3)
    by_axis : (N, M, 2) along `tangents` of the axis
    by_lobe : (N, M), which is log cos ψ
    """
    s = position_mm[:, None, :] - points_mm[None]
    squared = np.sum(s * s, axis=-1)
    along = np.maximum(-np.einsum("kmi,ki->km", s, axis), 1e-6)
    up = np.maximum(s[..., 2], 1e-6)
    log_cosine = np.log(along) - 0.5 * np.log(squared)
    m = lobe[:, None]
    value = m * log_cosine + np.log(up) - 1.5 * np.log(squared)
    by_position = -(m + 3)[..., None] * s / squared[..., None]
    by_position -= (m / along)[..., None] * axis[:, None, :]
    by_position[..., 2] += 1 / up
    by_axis = -(m / along)[..., None] * np.einsum("kmi,kij->kmj", s, tangents(axis))
    return value, by_position, by_axis, log_cosine
