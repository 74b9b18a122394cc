"""A board on a bench: LEDs, and nothing for a camera to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class BenchScene:
    """One pixel that gets one photo-electron per µs from any LED."""

    shape = (1, 1)

    def __init__(self, led_count: int) -> None:
        self.led_count = led_count

    def irradiance(self, led: int) -> NDArray[np.float32]:
        return np.ones(self.shape, np.float32)

    def ambient(self) -> NDArray[np.float32]:
        return np.zeros(self.shape, np.float32)
