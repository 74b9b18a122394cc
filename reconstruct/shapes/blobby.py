"""Smooth random parts: random fields and metaballs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from reconstruct.shapes.base import HeightGrid, Shape

CELLS = 192  # nodes of the grid along a side


def _grid(size_mm: float, cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    step = 1.35 * size_mm / (cells - 1)  # margin: a perspective camera sees past the field
    axis = (np.arange(cells) - (cells - 1) / 2) * step
    return *np.meshgrid(axis, axis), step


def random_field(
    seed: int,
    size_mm: float = 110.0,
    slope_deg: float = 15.0,
    correlation_mm: float | None = None,
    relief_mm: float | None = None,
    cells: int = CELLS,
) -> Shape:
    """A stationary random surface.

    Parameters
    ----------
    slope_deg : median slope over the field, met exactly
    correlation_mm : 1/e correlation length; default a random one, 6 to 25 % of the field
    relief_mm : peak to valley to aim at; fixes the correlation length in its stead
    cells : nodes of the grid along a side
    """
    rng = np.random.default_rng(seed)
    if relief_mm is not None:
        # A Gaussian field spans about six standard deviations, and its median slope is
        # sqrt(2) sigma / correlation × 0.83 (a Rayleigh distribution's median over its rms).
        correlation_mm = 0.83 * np.sqrt(2.0) * (relief_mm / 6.0) / np.tan(np.radians(slope_deg))
        correlation_mm = float(np.clip(correlation_mm, 0.02 * size_mm, 0.5 * size_mm))
    elif correlation_mm is None:
        correlation_mm = size_mm * float(np.exp(rng.uniform(np.log(0.06), np.log(0.25))))
    step = 1.35 * size_mm / (cells - 1)
    noise = rng.standard_normal((cells, cells))
    kx = 2 * np.pi * fft.rfftfreq(cells, step)
    ky = 2 * np.pi * fft.fftfreq(cells, step)
    k2 = ky[:, None] ** 2 + kx**2
    amplitude = np.exp(-k2 * correlation_mm**2 / 8.0)
    z = fft.irfft2(fft.rfft2(noise) * amplitude, s=noise.shape)
    dy, dx = np.gradient(z, step)
    z *= np.tan(np.radians(slope_deg)) / np.median(np.hypot(dx, dy))
    z -= z.mean()
    parameters = {
        "seed": seed,
        "size_mm": size_mm,
        "slope_deg": slope_deg,
        "correlation_mm": correlation_mm,
    }
    return Shape("field", HeightGrid(z, step, exact=False), parameters=parameters)


def metaballs(seed: int, size_mm: float = 110.0, relief_mm: float | None = None) -> Shape:
    """4 to 24 blobs melting into each other over a plane: the top of a sum of Gaussians' level set.

    Parameters
    ----------
    relief_mm : greatest height; default a third of the field
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(4, 25))
    x, y, step = _grid(size_mm, CELLS)
    centre = rng.uniform(-0.55, 0.55, (count, 2)) * size_mm
    radius = rng.uniform(0.07, 0.22, count) * size_mm * (8.0 / max(count, 8)) ** 0.25
    stretch = rng.uniform(0.6, 1.0, count)
    angle = rng.uniform(0, np.pi, count)
    total = np.zeros_like(x)
    for (cx, cy), r, s, a in zip(centre, radius, stretch, angle, strict=True):
        u = ((x - cx) * np.cos(a) + (y - cy) * np.sin(a)) / r
        v = (-(x - cx) * np.sin(a) + (y - cy) * np.cos(a)) / (s * r)
        total += np.exp(-(u * u + v * v))
    level = np.log(total + 1e-12) - np.log(0.25)
    z = np.sqrt(np.logaddexp(0.0, 4.0 * level) / 4.0 + 1e-3)
    z -= z.min()
    z *= (size_mm / 3.0 if relief_mm is None else relief_mm) / z.max()
    z -= z.mean()
    parameters = {"seed": seed, "size_mm": size_mm, "balls": count}
    return Shape("metaballs", HeightGrid(z, step, exact=False), parameters=parameters)
