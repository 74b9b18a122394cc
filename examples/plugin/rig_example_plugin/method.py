"""A method: the brightness-weighted mean direction of the light as the normal."""

from __future__ import annotations

import numpy as np

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.integrate import height_of, image_coordinates, integrate_normals
from reconstruct.methods import Options
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Surface


def mean_direction(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """Normals towards where most light came from, halved with the view (for shiny parts)."""
    points = camera.points_at_height(options.height_mm)
    towards = lights.position_mm[:, None, None] - points
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    light = np.einsum("nhw,nhwc->hwc", np.maximum(stack.radiance, 0) ** 2, towards)
    light /= np.linalg.norm(light, axis=-1, keepdims=True) + 1e-12
    normals = light - camera.rays()
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    mask = np.ones(stack.shape, bool) if options.mask is None else options.mask
    log_depth = integrate_normals(normals, camera, options.height_mm, mask)
    height = height_of(log_depth, camera, image_coordinates(camera)[0])
    unknown = np.full(stack.shape, np.nan, np.float32)
    return Surface(
        camera,
        np.where(mask, height, np.nan).astype(np.float32),
        np.where(mask[..., None], normals, np.nan).astype(np.float32),
        sigma_mm=unknown,
        normal_sigma_deg=unknown,
        flags=np.where(mask, 0, int(Flag.OUTSIDE)).astype(np.uint8),
        summary={"method": "mean"},
    )
