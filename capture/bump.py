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
        rng = np.random.default_rng(seed)
        self.power = rng.uniform(0.85, 1.15, led_count)
        self._gloss = gloss
        height, width = shape
        pixel_mm = field_mm / width
        x = (np.arange(width) - (width - 1) / 2) * pixel_mm
        y = ((height - 1) / 2 - np.arange(height)) * pixel_mm
        centre = rng.uniform(-0.1, 0.1, 2) * field_mm
        sigma_mm, top_mm = field_mm * rng.uniform(0.15, 0.22), field_mm * rng.uniform(0.07, 0.12)
        dx, dy = np.meshgrid(x - centre[0], y - centre[1])
        z = top_mm * np.exp(-(dx**2 + dy**2) / (2 * sigma_mm**2))
        normal = np.stack([z * dx / sigma_mm**2, z * dy / sigma_mm**2, np.ones_like(z)], axis=-1)
        self._normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
        self._point = np.stack([dx + centre[0], dy + centre[1], z], axis=-1)
        self._seen: dict[int, NDArray[np.float32]] = {}

    def irradiance(self, led: int) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs; about 0.6 on the plane."""
        if led not in self._seen:
            self._seen[led] = self._shade(led)
        return self._seen[led]

    def _shade(self, led: int) -> NDArray[np.float32]:
        to_led = self.position_mm[led - 1] - self._point
        distance = np.linalg.norm(to_led, axis=-1, keepdims=True)
        direction = to_led / distance
        cosine = np.clip(np.sum(direction * self._normal, axis=-1), 0, None)
        half = direction + np.array([0.0, 0.0, 1.0])
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        highlight = np.clip(np.sum(half * self._normal, axis=-1), 0, None) ** 40
        falloff = (280.0 / distance[..., 0]) ** 2
        shade = 0.6 * (cosine + self._gloss * 5 * highlight * (cosine > 0)) * falloff
        return np.asarray(shade * self.power[led - 1], dtype=np.float32)

    def ambient(self) -> NDArray[np.float32]:
        return np.full(self.shape, 1e-4, dtype=np.float32)
