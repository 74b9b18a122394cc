"""Light that reaches the camera after bouncing between places of the same part.

Traced backwards from the camera on a coarse grid: a half vector is drawn from the normals that
the camera sees, the mirrored ray is marched over the surface, and where it lands all lights are
evaluated at once. Further bounces continue from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics.lights import strength
from reconstruct.optics.material import Lobe, Material
from reconstruct.optics.microfacet import DISTRIBUTIONS
from reconstruct.optics.shadows import depth_of, scaled_inverse_depth, visibility
from reconstruct.optics.tracing import Scene, trace

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Rays:
    """How light is traced.

    Attributes
    ----------
    samples : rays per place of the grid
    bounces : longest path, counted in places the light comes by before the last
    seed : of what is drawn
    """

    samples: int = 64
    bounces: int = 3
    seed: int = 0


def _binned(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Mean over factor × factor pixels of (H, W, C), leaving out NaN and the ragged border."""
    if factor == 1:
        return np.asarray(values, dtype=np.float64)
    height, width = values.shape[0] // factor, values.shape[1] // factor
    blocks = np.asarray(values[: height * factor, : width * factor], dtype=np.float64)
    blocks = blocks.reshape(height, factor, width, factor, -1)
    good = np.isfinite(blocks).all(axis=-1, keepdims=True)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def scene_of(
    points_mm: NDArray[Any], normals: NDArray[Any], camera: Camera, lights: Lights,
    material: Material, *, grid: int, rays: Rays, shown: NDArray[Any] | None = None,
    seen: Map | None = None,
) -> Scene:  # fmt: skip
    """What the kernels trace on a grid of about `grid` places along the longer side.

    The arguments are those of `indirect`, and `seen` of `Scene` where it is known.
    """
    factor = max(1, max(camera.shape) // grid)
    coarse = camera.binned(factor) if factor > 1 else camera
    points = _binned(np.asarray(points_mm), factor)
    mean_normals = _binned(np.asarray(normals), factor)
    if factor > 1:
        mean_normals /= np.linalg.norm(mean_normals, axis=-1, keepdims=True)
    shape = points.shape[:2]

    def per_pixel(value: Any) -> NDArray[np.float64]:
        value = np.asarray(value, dtype=np.float64)
        if value.ndim == 0:
            return np.full(shape, float(value))
        return _binned(value[..., None], factor)[..., 0]

    lobes = material.lobes or (Lobe(weight=0.0),)  # the Lambertian part rides along with a lobe
    stacked = [np.zeros((*shape, len(lobes)), np.float32) for _ in range(3)]
    for number, lobe in enumerate(lobes):
        stacked[0][..., number] = per_pixel(lobe.alpha)
        stacked[1][..., number] = per_pixel(lobe.across)
        stacked[2][..., number] = per_pixel(lobe.weight)
    index = np.array([[lobe.n, lobe.k] for lobe in lobes], dtype=np.float32)
    kinds = np.array([DISTRIBUTIONS[lobe.distribution] for lobe in lobes])
    tangents = np.ascontiguousarray(material.tangent_map(points), dtype=np.float32)

    w, z0 = scaled_inverse_depth(depth_of(points, coarse))
    if seen is None:
        seen = np.moveaxis(visibility(points, coarse, lights.position_mm), 0, -1)
    jitter = np.random.default_rng(rays.seed).random((*shape, 5), dtype=np.float32)
    K = coarse.K
    return Scene(
        w,
        np.float32(z0),
        np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], dtype=np.float32),
        points.astype(np.float32),
        (mean_normals if shown is None else shown).astype(np.float32),
        mean_normals.astype(np.float32),
        tangents,
        coarse.centre_mm.astype(np.float32),
        coarse.R.astype(np.float32),
        np.ascontiguousarray(seen),
        np.ascontiguousarray(lights.position_mm.T, dtype=np.float32),
        np.ascontiguousarray(lights.axis.T, dtype=np.float32),
        strength(lights).astype(np.float32),
        np.ascontiguousarray(lights.lobe, dtype=np.float32),
        stacked[0],
        stacked[1],
        stacked[2],
        per_pixel(material.diffuse).astype(np.float32),
        index,
        kinds,
        rays.samples,
        rays.bounces,
        jitter,
    )


def indirect(
    points_mm: NDArray[Any],
    normals: NDArray[Any],
    camera: Camera,
    lights: Lights,
    material: Material,
    *,
    grid: int = 128,
    rays: Rays = Rays(),
    smooth: float = 0.7,
    shown: NDArray[Any] | None = None,
) -> Map:
    """Radiance of each light that the camera sees after one or more bounces on the part.

    Parameters
    ----------
    points_mm, normals : (H, W, 3) surface, NaN where there is none
    grid : pixels along the longer side of the grid that is traced; finer changes little
    smooth : Gaussian blur (grid pixels) of the result, against the noise of sampling
    shown : (h, w, 3) other normals of the places that the camera sees, on the coarse grid; what
        they mirror keeps its own, and light is traced only where they are not NaN

    Returns
    -------
    (N, h, w) float32 on the coarse grid, ``image size // factor`` pixels with
    ``factor = max(1, longer side // grid)``; `upsampled` brings it to the image
    """
    scene = scene_of(
        points_mm, normals, camera, lights, material, grid=grid, rays=rays, shown=shown
    )
    out = np.zeros((*scene.w.shape, len(lights)), np.float32)
    trace(out, 1, 0, np.zeros((1, 1, 6), np.float32), scene)
    images = np.ascontiguousarray(np.moveaxis(out, -1, 0))
    if smooth > 0:
        images = np.stack([cv2.GaussianBlur(image, (0, 0), smooth) for image in images])
    return images


def upsampled(images: Map, shape: tuple[int, int]) -> Map:
    """(N, H, W) images of `indirect` brought to the camera's pixels, bilinear."""
    height, width = shape
    factor = height // images.shape[1] if images.shape[1] else 1
    factor = max(factor, 1)
    # Pixel x of the image lies at (x + 1/2) / factor - 1/2 of the grid; the ragged border repeats.
    columns = (np.arange(width, dtype=np.float32) + 0.5) / factor - 0.5
    rows = (np.arange(height, dtype=np.float32) + 0.5) / factor - 0.5
    map_x, map_y = np.meshgrid(columns, rows)
    return np.stack(
        [
            cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for image in images
        ]
    )
