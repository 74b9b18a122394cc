"""Cast shadows of near point lights on a surface seen by a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.optics import kernels

Map = NDArray[np.float32]
_HIDDEN = np.float32(-1e6)  # inverse depth of pixels without surface: never in anyone's way


def light_images(
    camera: Camera, position_mm: NDArray[Any], reference_depth_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Column, row and scaled inverse depth of lights, and whether they are before the camera.

    The scaled inverse depth is ``z0 (z0/z - 1)``, a height in mm near the reference depth z0 (mm).
    Lens distortion is left out: the pencil of rays is straight only without it, and what it
    displaces is a fraction of a pixel of a shadow's edge.
    """
    at = np.asarray(position_mm, dtype=np.float64) @ camera.R.T + camera.t
    depth = at[:, 2]
    # A light level with the camera has its image at infinity: far enough is as good.
    least = 1e-6 * reference_depth_mm
    depth = np.where(np.abs(depth) < least, np.where(depth < 0, -least, least), depth)
    image = (at / depth[:, None]) @ camera.K.T
    image[:, 2] = reference_depth_mm * (reference_depth_mm / depth - 1.0)
    return image, depth > 0


def depth_of(points_mm: NDArray[Any], camera: Camera) -> NDArray[np.float64]:
    """(H, W) depth in mm, in the camera's frame, of points (H, W, 3) in the world's."""
    return np.asarray(np.asarray(points_mm, dtype=np.float64) @ camera.R[2] + camera.t[2])


def scaled_inverse_depth(depth_mm: NDArray[np.float64]) -> tuple[Map, float]:
    """(H, W) ``z0 (z0/z - 1)`` of depths z, and the reference depth z0, mm (their mean).

    Depths are NaN where there is no surface.
    """
    good = np.isfinite(depth_mm)
    reference = float(depth_mm[good].mean()) if good.any() else 1.0
    scaled = reference * (reference / np.where(good, depth_mm, reference) - 1.0)
    return np.where(good, scaled, _HIDDEN).astype(np.float32), reference


@dataclass(frozen=True, eq=False)
class Relief:
    """A surface as seen from a camera, ready for the shadows of any lights to be cast on it."""

    camera: Camera
    w: Map
    transposed: Map
    tiles: Map
    reference_mm: float

    @staticmethod
    def of(depth_mm: NDArray[np.float64], camera: Camera) -> Relief:
        """Of the (H, W) depth of a surface in the camera's frame; NaN where there is none."""
        w, reference = scaled_inverse_depth(depth_mm)
        whole = w.min() > _HIDDEN
        tiles = kernels.climbs(w) if whole else np.empty((0, 0, 5), np.float32)
        return Relief(camera, w, np.ascontiguousarray(w.T), tiles, reference)

    def cast_by(self, position_mm: NDArray[Any]) -> NDArray[np.bool_]:
        """(N,) which lights may cast a shadow; by the others every pixel sees all of them."""
        image, forward = light_images(self.camera, position_mm, self.reference_mm)
        return ~kernels.clear(self.tiles, image, forward)

    def lit_by(self, position_mm: NDArray[Any]) -> Map:
        """(N, H, W) share of each light that each pixel sees; see `visibility`."""
        image, forward = light_images(self.camera, position_mm, self.reference_mm)
        softness_mm = 0.25 * self.reference_mm / float(self.camera.K[0, 0])
        out = np.empty((len(image), *self.w.shape), np.float32)
        kernels.cast(self.w, self.transposed, self.tiles, image, forward, softness_mm, out)
        return out


def visibility(points_mm: NDArray[Any], camera: Camera, position_mm: NDArray[Any]) -> Map:
    """Which lights each pixel can see past the rest of the surface (attached shadows aside).

    Parameters
    ----------
    points_mm : (H, W, 3) surface seen by `camera`, world frame; NaN where there is none
    position_mm : (N, 3) lights

    Returns
    -------
    (N, H, W) float32 in 0..1; a pixel a quarter of one below the shadow's edge is fully dark
    """
    return Relief.of(depth_of(points_mm, camera), camera).lit_by(position_mm)
