"""Surfaces with a known shape, as a reconstruction would give them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reconstruct.metrology.measure import correlated_noise
from reconstruct.shapes.base import Shape
from reconstruct.shapes.sampling import sample
from reconstruct.surface import Surface
from rig.simulate import virtual_camera

Height = Callable[[np.ndarray, np.ndarray], np.ndarray]


def surface_of(height: Height, size: int = 160, sigma_mm: float = 0.001, seed: int = 0) -> Surface:
    """A height field seen by the virtual camera, 110 mm wide, with noise of the stated sigma."""
    camera = virtual_camera((size, size), tilt_deg=0.0)
    seen = sample(Shape("known", height), camera, 1).masked()
    z = np.asarray(seen.points_mm[..., 2], np.float32)
    rng = np.random.default_rng(seed)
    z = z + (sigma_mm * correlated_noise(z.shape, 4.0, rng)).astype(np.float32)
    sigma = np.where(np.isfinite(z), sigma_mm, np.nan).astype(np.float32)
    flags = np.where(np.isfinite(z), 0, 1).astype(np.uint8)
    return Surface(
        camera, z, np.asarray(seen.normals, np.float32), sigma, np.full_like(sigma, 0.05), flags
    )


def bracket(step_mm: float = 1.2, tilt: float = 0.0, dent_um: float = 0.0) -> Height:
    """A plate with a plateau of x > 5 mm, a bore of 8 mm at (-25, 20), and a dent."""

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = np.where(x > 5, step_mm, 0.0) + tilt * x
        z = z - dent_um / 1000 * np.exp(-((x + 20) ** 2 + (y + 20) ** 2) / (2 * 1.5**2))
        return np.where(np.hypot(x + 25, y - 20) < 4, -6.0, z)

    return height
