"""Rays, points and normals under a perspective camera, in torch, differentiable.

World frame, mm. A surface is a depth along each pixel's ray, or a height z over the stage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from calib.camera import Camera


def camera_rays(
    camera: Camera, corners: bool = False, device: Any = None, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Optical centre (3,) and rays (H, W, 3) scaled to z component -1.

    With `corners` the rays pass through the (H + 1, W + 1) pixel corners.
    """
    offset, extra = (-0.5, 1) if corners else (0.0, 0)
    columns, rows = np.meshgrid(
        np.arange(camera.width + extra) + offset, np.arange(camera.height + extra) + offset
    )
    rays = camera.rays(np.stack([columns, rows], axis=-1))
    rays = rays / -rays[..., 2:]
    return (
        torch.as_tensor(camera.centre_mm, dtype=dtype, device=device),
        torch.as_tensor(rays, dtype=dtype, device=device),
    )


def points_at_height(centre: Tensor, rays: Tensor, height_mm: Tensor) -> Tensor:
    """(..., H, W, 3) points of heights (..., H, W) along rays with z component -1."""
    return centre + (centre[2] - height_mm)[..., None] * rays


def points_at_drop(centre: Tensor, rays: Tensor, log_drop: Tensor) -> Tensor:
    """(..., H, W, 3) points ``exp(log_drop)`` mm below the camera: the unknown that refinement
    uses, since its two slopes do not depend on the mean height."""
    return centre + torch.exp(log_drop)[..., None] * rays


def cell_normals(corners_mm: Tensor) -> Tensor:
    """(..., H, W, 3) unit normals of the cells of (..., H + 1, W + 1, 3) corner points.

    The cross product of a cell's diagonals is its exact mean normal for a bilinear patch.
    """
    first = corners_mm[..., :-1, 1:, :] - corners_mm[..., 1:, :-1, :]
    second = corners_mm[..., :-1, :-1, :] - corners_mm[..., 1:, 1:, :]
    return torch.nn.functional.normalize(torch.linalg.cross(first, second), dim=-1)


def cell_points(corners_mm: Tensor) -> Tensor:
    """(..., H, W, 3) middles of the cells of (..., H + 1, W + 1, 3) corner points."""
    return 0.25 * (
        corners_mm[..., :-1, :-1, :]
        + corners_mm[..., 1:, :-1, :]
        + corners_mm[..., :-1, 1:, :]
        + corners_mm[..., 1:, 1:, :]
    )


def normals_of_points(points_mm: Tensor) -> Tensor:
    """(..., H, W, 3) unit normals of a grid of points, by central differences."""
    down = torch.gradient(points_mm, dim=-3)[0]
    right = torch.gradient(points_mm, dim=-2)[0]
    return torch.nn.functional.normalize(torch.linalg.cross(right, -down), dim=-1)
