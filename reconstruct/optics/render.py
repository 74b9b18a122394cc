"""Render: the radiance a camera sees of a surface under each light of a rig.

    L_k = intensity · power_k · cos(ψ)^lobe_k / d² · f_r(n, l, v) · max(0, n·l) · visibility

In numba, float32.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics import kernels
from reconstruct.optics.lights import spread_disc, strength
from reconstruct.optics.material import Lobe, Material, Value
from reconstruct.optics.microfacet import DISTRIBUTIONS
from reconstruct.optics.shadows import visibility

Map = NDArray[np.float32]
_f32 = np.float32


def _planes(vectors: NDArray[Any]) -> Map:
    """(H, W, 3) as contiguous float32 (3, H, W)."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(vectors), -1, 0), dtype=_f32)


def _map(value: Value, shape: tuple[int, int]) -> Map:
    return np.broadcast_to(np.asarray(value, dtype=_f32), shape)


def _lamps(lights: Lights) -> kernels.Lamps:
    return kernels.Lamps(
        np.ascontiguousarray(lights.position_mm, dtype=_f32),
        np.ascontiguousarray(lights.axis, dtype=_f32),
        strength(lights).astype(_f32),
        np.ascontiguousarray(lights.lobe, dtype=_f32),
    )


def _finish(lobe: Lobe, diffuse: Value, shape: tuple[int, int]) -> kernels.Finish:
    return kernels.Finish(
        _map(lobe.alpha, shape),
        _map(lobe.across, shape),
        _map(lobe.weight, shape),
        _map(diffuse, shape),
        _f32(lobe.n),
        _f32(lobe.k),
        DISTRIBUTIONS[lobe.distribution],
        lobe.anisotropic,
    )


def render(
    points_mm: NDArray[Any],
    normals: NDArray[Any],
    camera: Camera,
    lights: Lights,
    material: Material,
    *,
    shadows: bool = True,
    disc_radius_mm: float = 0.0,
    disc_count: int = 7,
    blur_px: float = 0.0,
) -> Map:
    """Radiance of every light at every pixel.

    Parameters
    ----------
    points_mm, normals : (H, W, 3) the surface seen by each pixel, world frame; NaN where none
    shadows : cast shadows too (attached shadows always are)
    disc_radius_mm, disc_count : LEDs as discs of `disc_count` points (soft shadows, wide
        highlights); 0 for point lights
    blur_px : sigma of the lens; on fine relief leaving it out costs several per cent

    Returns
    -------
    (N, H, W) float32 radiance, 0 where there is no surface
    """
    tangents = np.zeros((3, 1, 1), _f32)
    if any(lobe.anisotropic for lobe in material.lobes):
        tangents = _planes(material.tangent_map(np.asarray(points_mm)))
    places = kernels.Places(
        _planes(points_mm), _planes(normals), tangents, camera.centre_mm.astype(_f32)
    )
    shape = places.points.shape[1:]
    # The Lambertian part rides along with the first lobe; alone, it needs one of weight zero.
    lobes = material.lobes or (Lobe(weight=0.0),)

    def radiance(part: Lights) -> Map:
        image = np.zeros((len(part), *shape), _f32)
        lamps = _lamps(part)
        for number, lobe in enumerate(lobes):
            diffuse = material.diffuse if number == 0 else 0.0
            kernels.shade(image, places, lamps, _finish(lobe, diffuse, shape))
        if shadows:
            image *= visibility(points_mm, camera, part.position_mm)
        return image

    if disc_radius_mm > 0.0:
        discs = (spread_disc(lights, i, disc_radius_mm, disc_count) for i in range(len(lights)))
        out = np.stack([radiance(disc).sum(axis=0) for disc in discs])
    else:
        out = radiance(lights)
    if blur_px > 0.0:
        for image in out:
            cv2.GaussianBlur(image, (0, 0), blur_px, dst=image, borderType=cv2.BORDER_REPLICATE)
    return out
