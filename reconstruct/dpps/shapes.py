"""Random height fields for training: smooth reliefs, metaballs, machined parts and mixtures.

Heights are dimensionless and are scaled by the caller to a wanted slope. Everything comes from
one `numpy.random.Generator`, so a seed is a shape.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Field = NDArray[np.float32]
Rng = np.random.Generator


def _grid(n: int) -> tuple[Field, Field]:
    """Coordinates in [-0.5, 0.5] of the pixel centres."""
    axis = ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y


@functools.cache
def _frequencies(n: int) -> Field:
    """Cycles over the field of the half spectrum of twice the field."""
    m = 2 * n
    return np.asarray(
        np.hypot(np.fft.fftfreq(m, 1 / m)[:, None], np.fft.rfftfreq(m, 1 / m)[None]) / 2,
        dtype=np.float32,
    )


def smooth(rng: Rng, n: int, cycles: float | None = None) -> Field:
    """Gaussian random field, band-limited, with a random spectral fall-off."""
    cycles = float(np.exp(rng.uniform(np.log(0.7), np.log(7)))) if cycles is None else cycles
    m = 2 * n  # twice the field, so that it is not periodic over the part
    frequency = _frequencies(n)
    if rng.random() < 0.5:
        spectrum = np.exp(-0.5 * (frequency / cycles) ** 2)
    else:
        exponent = rng.uniform(1.5, 3.0)
        spectrum = (1 + (frequency / cycles) ** 2) ** (-exponent / 2 - 0.5)
        spectrum *= np.exp(-0.5 * (frequency / (n / 7)) ** 2)
    real, imaginary = rng.standard_normal((2, m, m // 2 + 1), dtype=np.float32)
    field = fft.irfft2((real + 1j * imaginary) * spectrum, s=(m, m))[:n, :n]
    return np.asarray(field / (field.std() + 1e-9), dtype=np.float32)


def blobs(rng: Rng, n: int) -> Field:
    """Metaballs: soft maximum of ellipsoidal bumps, some of them pits."""
    x, y = _grid(n)
    count = int(rng.integers(2, 13))
    total = np.zeros((n, n), dtype=np.float32)
    sharp = rng.random() < 0.4
    for _ in range(count):
        cx, cy = rng.uniform(-0.5, 0.5, 2)
        radius = float(np.exp(rng.uniform(np.log(0.08), np.log(0.4))))
        angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.5, 1)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / ratio
        r2 = (u * u + v * v) / radius**2
        height = radius * rng.uniform(0.5, 1.5) * (1 if rng.random() < 0.75 else -1)
        if sharp:  # metaball polynomial: finite support
            bump = np.clip(1 - r2 / 3, 0, None) ** 2 * height
            total = (
                np.where(np.abs(bump) > np.abs(total), bump, total)
                if height > 0 and (rng.random() < 0.3)
                else total + bump
            )
        else:
            total = total + np.exp(-r2) * height
    return total.astype(np.float32)


def _ramp(distance: Field, width: float) -> Field:
    """0 to 1 over a slope of this width, corners slightly rounded."""
    t = np.clip(distance / width + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t) * 0.5 + t * 0.5)


def machined(rng: Rng, n: int) -> Field:
    """Plateaus, rings, bores, ribs, grooves, cones, caps and ramps."""
    x, y = _grid(n)
    total = np.zeros((n, n), dtype=np.float32)
    for _ in range(int(rng.integers(1, 6))):
        cx, cy = rng.uniform(-0.35, 0.35, 2)
        angle = rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        r = np.hypot(u, v)
        size = float(np.exp(rng.uniform(np.log(0.08), np.log(0.4))))
        wall = float(np.exp(rng.uniform(np.log(2.0 / n), np.log(0.12))))
        height = rng.uniform(0.3, 1) * (1 if rng.random() < 0.6 else -1) * 0.1
        kind = int(rng.integers(0, 9))
        if kind == 0:  # disc plateau or bore
            part = _ramp(size - r, wall)
        elif kind == 1:  # rectangular plateau, rounded corners
            b = size * rng.uniform(0.4, 1)
            corner = min(size, b) * rng.uniform(0, 0.8)
            q = np.hypot(
                np.maximum(np.abs(u) - size + corner, 0), np.maximum(np.abs(v) - b + corner, 0)
            )
            q += np.minimum(np.maximum(np.abs(u) - size, np.abs(v) - b) + corner, 0) * (q == 0)
            part = _ramp(corner - q, wall)
        elif kind == 2:  # ring
            part = _ramp(size * rng.uniform(0.1, 0.4) - np.abs(r - size), wall)
        elif kind == 3:  # rib or slot
            part = _ramp(size * 0.4 - np.abs(u), wall)
        elif kind == 4:  # step across the field
            part = _ramp(u, wall)
        elif kind == 5:  # cone or its frustum
            part = np.clip(1 - r / size, 0, rng.uniform(0.4, 1))
            height *= size / 0.1
        elif kind == 6:  # spherical cap on a flat
            part = np.sqrt(np.clip(1.0 - (r / size) ** 2 * rng.uniform(0.3, 0.95), 0, None)) * (
                r < size
            )
            part = part - part[r < size].min(initial=1.0) * (r < size)
            height *= size / 0.1
        elif kind == 7:  # turned or milled grooves
            period = rng.uniform(5.0 / n, 0.25)
            coordinate = r if rng.random() < 0.6 else u
            part = 0.5 + 0.5 * np.cos(2 * np.pi * coordinate / period)
            if rng.random() < 0.5:
                part = part * _ramp(size - r, wall)
            height *= period / 0.3
        else:  # cylinder lying in the surface
            part = np.sqrt(np.clip(1 - (u / size) ** 2 * 0.9, 0.1, None)) - np.sqrt(0.1)
            height *= size / 0.1
        total = total + (part * height).astype(np.float32)
    if rng.random() < 0.4:  # slightly bent or tilted
        total = total + smooth(rng, n, 0.7) * rng.uniform(0, 0.04)
    return total.astype(np.float32)


def random_height(rng: Rng, n: int) -> Field:
    """One random part, (n, n), arbitrary vertical scale, mean 0."""
    choice = rng.random()
    if choice < 0.32:
        field = smooth(rng, n)
    elif choice < 0.58:
        field = blobs(rng, n)
    elif choice < 0.78:
        field = machined(rng, n)
    else:
        first = (smooth, blobs)[int(rng.integers(2))](rng, n)
        second = machined(rng, n)
        first = first / (np.ptp(first) + 1e-6)
        second = second / (np.ptp(second) + 1e-6)
        weight = rng.uniform(0.2, 1)
        mix = rng.random()
        if mix < 0.5:
            field = first + weight * second
        elif mix < 0.75:
            field = np.maximum(first, second * weight + rng.uniform(-0.2, 0.5))
        else:
            field = np.minimum(first, second * weight + rng.uniform(-0.5, 0.2))
    return np.asarray(field - field.mean(), dtype=np.float32)


def outline(rng: Rng, n: int) -> NDArray[np.bool_]:
    """Where the part is: mostly the whole field, else a disc, a rectangle or a blob."""
    x, y = _grid(n)
    kind = rng.random()
    if kind < 0.55:
        return np.ones((n, n), dtype=bool)
    if kind < 0.7:
        return np.asarray(np.hypot(x, y) < rng.uniform(0.3, 0.6))
    if kind < 0.85:
        a, b = rng.uniform(0.25, 0.5, 2)
        return np.asarray((np.abs(x) < a) & (np.abs(y) < b))
    return np.asarray(smooth(rng, n, 1.0) > rng.uniform(-1.2, -0.2))
