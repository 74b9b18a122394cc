"""Render: the radiance a camera sees of a surface under each light of a rig.

    L_k = intensity · power_k · cos(ψ)^lobe_k / d² · f_r(n, l, v) · max(0, n·l) · visibility

This is the fast backend (numba, float32). `reconstruct.optics.differentiable` holds the same model
in torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics import kernels
from reconstruct.optics.lights import spread_disc, strength
from reconstruct.optics.material import Lobe, Material, Value
from reconstruct.optics.microfacet import BECKMANN, GGX
from reconstruct.optics.shadows import visibility

Map = NDArray[np.float32]
_f32 = np.float32


def _planes(vectors: NDArray[Any]) -> Map:
    """(H, W, 3) as contiguous float32 (3, H, W)."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(vectors), -1, 0), dtype=_f32)


def _map(value: Value, shape: tuple[int, int]) -> Map:
    return np.broadcast_to(np.asarray(value, dtype=_f32), shape)


def _shade(
    out: Map,
    points: Map,
    normals: Map,
    tangents: Map,
    camera: Camera,
    lights: Lights,
    lobe: Lobe,
    diffuse: Value,
    parallel: bool,
) -> None:
    shape = points.shape[1:]
    across = lobe.alpha if lobe.alpha_across is None else lobe.alpha_across
    run = kernels.shade if parallel else kernels.shade_serial
    run(
        out,
        points,
        normals,
        tangents,
        camera.centre_mm.astype(_f32),
        np.ascontiguousarray(lights.position_mm, dtype=_f32),
        np.ascontiguousarray(lights.axis, dtype=_f32),
        strength(lights).astype(_f32),
        np.ascontiguousarray(lights.lobe, dtype=_f32),
        _map(lobe.alpha, shape),
        _map(across, shape),
        _map(lobe.weight, shape),
        _map(diffuse, shape),
        _f32(lobe.n),
        _f32(lobe.k),
        {"ggx": GGX, "beckmann": BECKMANN}[lobe.distribution],
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
    led_factor: NDArray[Any] | None = None,
    pixel_factor: NDArray[Any] | None = None,
    disc_radius_mm: float = 0.0,
    disc_count: int = 7,
    blur_px: float = 0.0,
    parallel: bool = True,
) -> Map:
    """Radiance of every light at every pixel.

    Parameters
    ----------
    points_mm, normals : (H, W, 3) the surface seen by each pixel, world frame; NaN where none
    shadows : cast shadows too (attached shadows always are)
    led_factor : (N,) calibration factor of each LED
    pixel_factor : (H, W) or (N, H, W) flat-field factor
    disc_radius_mm, disc_count : LEDs as discs of `disc_count` points (soft shadows, wide
        highlights); 0 for point lights
    blur_px : sigma of the lens; on fine relief leaving it out costs several per cent
    parallel : use all threads; False inside workers

    Returns
    -------
    (N, H, W) float32 radiance, 0 where there is no surface
    """
    points, planes = _planes(points_mm), _planes(normals)
    tangents = np.zeros((3, 1, 1), _f32)
    if any(lobe.anisotropic for lobe in material.lobes):
        tangents = _planes(material.tangent_map(np.asarray(points_mm)))
    # The Lambertian part rides along with the first lobe; alone, it needs one of weight zero.
    lobes = material.lobes or (Lobe(weight=0.0),)

    def radiance(part: Lights) -> Map:
        image = np.zeros((len(part), *points.shape[1:]), _f32)
        for number, lobe in enumerate(lobes):
            diffuse = material.diffuse if number == 0 else 0.0
            _shade(image, points, planes, tangents, camera, part, lobe, diffuse, parallel)
        if shadows:
            image *= visibility(points_mm, camera, part.position_mm, parallel=parallel)
        return image

    if disc_radius_mm > 0.0:
        discs = (spread_disc(lights, i, disc_radius_mm, disc_count) for i in range(len(lights)))
        out = np.stack([radiance(disc).sum(axis=0) for disc in discs])
    else:
        out = radiance(lights)
    if blur_px > 0.0:
        for image in out:
            cv2.GaussianBlur(image, (0, 0), blur_px, dst=image, borderType=cv2.BORDER_REPLICATE)
    if led_factor is not None:
        out *= np.asarray(led_factor, dtype=_f32)[:, None, None]
    if pixel_factor is not None:
        out *= np.asarray(pixel_factor, dtype=_f32)
    return out


def render_chunks(
    points_mm: NDArray[Any],
    normals: NDArray[Any],
    camera: Camera,
    lights: Lights,
    material: Material,
    memory_bytes: float = 256e6,
    **options: Any,
) -> Iterator[tuple[slice, Map]]:
    """`render` a few lights at a time, so that no call holds more than `memory_bytes`.

    Yields the slice of lights and its (n, H, W) radiance. `options` go to `render`.
    """
    height, width = np.asarray(points_mm).shape[:2]
    each = max(1, int(memory_bytes / (8.0 * height * width)))
    for start in range(0, len(lights), each):
        chosen = slice(start, min(start + each, len(lights)))
        part = dict(options)
        if part.get("led_factor") is not None:
            part["led_factor"] = np.asarray(part["led_factor"])[chosen]
        factor = part.get("pixel_factor")
        if factor is not None and np.ndim(factor) == 3:
            part["pixel_factor"] = factor[chosen]
        index = np.arange(len(lights))[chosen]
        yield chosen, render(points_mm, normals, camera, lights.select(index), material, **part)
