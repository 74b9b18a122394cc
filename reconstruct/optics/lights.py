"""Near lights as the renderer wants them, and LEDs of finite size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights


def strength(lights: Lights) -> NDArray[np.float64]:
    """(N,) intensity × power, radiance units × mm²; intensity 1 where it is not known."""
    return np.asarray(lights.power * (1.0 if lights.intensity is None else lights.intensity))


def disc_intensity(radiance: float, radius_mm: float) -> float:
    """On-axis intensity (radiance × mm²) of a Lambertian disc: radiance × area, lobe 1."""
    return radiance * np.pi * radius_mm**2


def disc_points(radius_mm: float, count: int) -> NDArray[np.float64]:
    """(count, 2) points that cover a disc evenly (Vogel's sunflower spiral), mm."""
    index = np.arange(count) + 0.5
    r = radius_mm * np.sqrt(index / count)
    angle = index * np.pi * (3.0 - np.sqrt(5.0))
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)


def spread_disc(lights: Lights, index: int, radius_mm: float, count: int) -> Lights:
    """One LED of `lights` as `count` point lights on a disc across its axis, power shared out."""
    many = lights.select(np.full(count, index))
    axis = many.axis[0]
    u = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
    u /= np.linalg.norm(u)
    offset = disc_points(radius_mm, count)
    position = many.position_mm + offset[:, :1] * u + offset[:, 1:] * np.cross(axis, u)
    return replace(many, position_mm=position, power=many.power / count, covariance=None)
