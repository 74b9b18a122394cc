"""A simple thing to look at: a matt or glossy bump under a dome of LEDs.

Enough to try capture without a renderer. The virtual rig proper takes its scene from the renderer.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_FIELD_MM = 110.0
_DOME_MM = 280.0
_VIEW = np.array([0.0, 0.0, 1.0])
_CACHE_BYTES = 256_000_000


def dome(count: int, radius_mm: float = _DOME_MM) -> NDArray[np.float64]:
    """(count, 3) mm: LEDs on a spiral of equal area, 15° to 75° above the stage."""
    height = np.linspace(np.sin(np.radians(75)), np.sin(np.radians(15)), count)
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return radius_mm * np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=-1)


class BumpScene:
    """A Gaussian bump on a flat stage, seen from straight above (orthographic).

    Parameters
    ----------
    shape : (H, W) pixels over a field 110 mm wide.
    gloss : share of the light that goes into a Blinn-Phong highlight (1977) of exponent
        `shininess` instead of the Lambertian part, 0 (matt) … 1.
    brightest : photo-electrons per µs of a matt, flat pixel under the highest LED.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (256, 256),
        led_count: int = 96,
        gloss: float = 0.3,
        shininess: float = 40.0,
        bump_mm: float = 6.0,
        brightest: float = 1.0,
        room_light: float = 0.0005,
    ) -> None:
        self.shape = shape
        self.led_count = led_count
        self._gloss, self._shininess = gloss, shininess
        self._brightest, self._room_light = brightest, room_light
        self.lights_mm = dome(led_count)
        height, width = shape
        pitch = _FIELD_MM / width
        x = (np.arange(width) - (width - 1) / 2) * pitch
        y = -(np.arange(height) - (height - 1) / 2)[:, None] * pitch
        sigma = _FIELD_MM / 6
        z = bump_mm * np.exp(-(x**2 + y**2) / (2 * sigma**2))
        slope = z / sigma**2
        normal = np.stack([slope * x, slope * y, np.ones(shape)], axis=-1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        self._normal = normal.astype(np.float32)
        position = np.stack([np.broadcast_to(x, shape), np.broadcast_to(y, shape), z], axis=-1)
        self._position = position.astype(np.float32)
        kept = max(4, min(led_count, _CACHE_BYTES // (4 * height * width)))
        self._cached = lru_cache(maxsize=kept)(self._render)

    def irradiance(self, led: int) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs of LED `led` (from 1); kept for later calls."""
        if not 1 <= led <= self.led_count:
            raise ValueError(f"LED {led} is not one of 1 to {self.led_count}")
        return self._cached(led)

    def ambient(self) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs of room light."""
        return np.full(self.shape, self._room_light, np.float32)

    def _render(self, led: int) -> NDArray[np.float32]:
        to_light = self.lights_mm[led - 1].astype(np.float32) - self._position
        distance = np.linalg.norm(to_light, axis=-1, keepdims=True)
        to_light /= distance
        facing = np.clip(np.sum(self._normal * to_light, axis=-1), 0.0, None)
        half = to_light + _VIEW.astype(np.float32)
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        highlight = np.clip(np.sum(self._normal * half, axis=-1), 0.0, None) ** self._shininess
        # (n + 8) / 8 makes a highlight reflect about what a matt surface would, whatever n
        # (Akenine-Möller, Haines, Hoffman 2008, Real-Time Rendering, section 7.6).
        factor = (self._shininess + 8) / 8
        reflected = (1 - self._gloss) + self._gloss * factor * highlight
        fall_off = (_DOME_MM / distance[..., 0]) ** 2
        image: NDArray[np.float32] = self._brightest * fall_off * facing * reflected
        image.setflags(write=False)
        return image
