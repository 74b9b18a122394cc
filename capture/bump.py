"""A small virtual scene: a matt, slightly glossy bump under a dome of LEDs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def dome_mm(count: int, radius_mm: float = 280.0) -> NDArray[np.float64]:
    """(count, 3) positions spread over a dome by the golden angle, 25° to 80° above the stage."""
    low, high = np.sin(np.radians(25.0)), np.sin(np.radians(80.0))
    z = low + (high - low) * (np.arange(count) + 0.5) / count
    azimuth = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    ring = np.sqrt(1 - z**2)
    return radius_mm * np.column_stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z])


class Bump:
    """A Gaussian bump on a plane, seen from above; Lambert plus a Blinn-Phong highlight.

    Parameters
    ----------
    shape : (H, W) pixels
    led_count : LEDs on the dome
    field_mm : width of the field of view
    seed : moves and scales the bump: another seed is another part
    gloss : strength of the highlight beside the matt part
    """

    def __init__(
        self,
        shape: tuple[int, int] = (480, 640),
        led_count: int = 96,
        field_mm: float = 100.0,
        seed: int = 0,
        gloss: float = 0.15,
    ) -> None:
        self.shape = shape
        self.led_count = led_count
        self.position_mm = dome_mm(led_count)
        self.power = np.random.default_rng(led_count).uniform(0.85, 1.15, led_count)  # the rig's
        rng = np.random.default_rng(seed)
        self._gloss = gloss
        height, width = shape
        pixel_mm = field_mm / width
        x = ((np.arange(width) - (width - 1) / 2) * pixel_mm).astype(np.float32)
        y = (((height - 1) / 2 - np.arange(height)) * pixel_mm).astype(np.float32)
        centre = rng.uniform(-0.1, 0.1, 2).astype(np.float32) * np.float32(field_mm)
        sigma_mm, top_mm = field_mm * rng.uniform(0.15, 0.22), field_mm * rng.uniform(0.07, 0.12)
        self._x, self._y = np.meshgrid(x, y)
        dx, dy = self._x - centre[0], self._y - centre[1]
        square = np.float32(1 / sigma_mm**2)
        self._z = np.float32(top_mm) * np.exp(-0.5 * square * (dx**2 + dy**2))
        slope_x, slope_y = self._z * dx * square, self._z * dy * square
        length = np.sqrt(slope_x**2 + slope_y**2 + 1)
        self._nx, self._ny, self._nz = slope_x / length, slope_y / length, 1 / length
        self._seen: dict[int, NDArray[np.float32]] = {}

    def irradiance(self, led: int) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs; about 0.6 on the plane."""
        if led not in self._seen:
            self._seen[led] = self._shade(led)
        return self._seen[led]

    def _shade(self, led: int) -> NDArray[np.float32]:
        px, py, pz = self.position_mm[led - 1].astype(np.float32)
        dx, dy, dz = px - self._x, py - self._y, pz - self._z
        distance = np.sqrt(dx**2 + dy**2 + dz**2)
        dx, dy, dz = dx / distance, dy / distance, dz / distance
        cosine = np.maximum(dx * self._nx + dy * self._ny + dz * self._nz, 0)
        # The half vector towards a camera straight above, times its length.
        facing = dx * self._nx + dy * self._ny + (dz + 1) * self._nz
        shine = np.maximum(facing, 0) ** 2 / (2 + 2 * dz)
        highlight = (shine * shine) ** 2
        highlight = (highlight * highlight) ** 2 * (cosine > 0)  # the cosine to the power of 32
        falloff = (np.float32(280.0) / distance) ** 2
        shade = 0.6 * (cosine + self._gloss * 5 * highlight) * falloff
        return np.asarray(shade * self.power[led - 1], dtype=np.float32)

    def ambient(self) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs of a nearly dark room."""
        return np.full(self.shape, 1e-4, dtype=np.float32)
