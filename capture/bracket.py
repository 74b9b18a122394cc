"""Which exposures a part needs: from a few test shots to a bracket without clipping or gaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from capture.errors import DeviceError

Counts = NDArray[np.uint16]
TestShot = Callable[[float, int], Counts]

HIGHEST = 0.8  # of full scale, where the brightest pixels of the shortest exposure may lie
LOWEST = 0.03  # of full scale, where the dimmest lit pixels of the longest exposure should lie
BRIGHT_PERCENTILE, DIM_PERCENTILE = 99.9, 5.0
FACTOR = 4.0  # between exposures: each pixel then lies in the upper quarter of one of them
MOST = 5  # exposures
CLIPPED_SHARE = 1e-4


def spread(leds: Sequence[int], count: int = 12) -> tuple[int, ...]:
    """A few LEDs evenly taken from the list."""
    places = np.unique(np.linspace(0, len(leds) - 1, min(count, len(leds))).round().astype(int))
    return tuple(leds[place] for place in places)


def propose(
    take: TestShot,
    leds: Sequence[int],
    full_scale: Callable[[], int],
    start_us: float,
    limits_us: tuple[float, float],
) -> tuple[float, ...]:
    """Test shots, then the bracket that leaves neither clipped highlights nor unlit pixels.

    Parameters
    ----------
    take : takes a picture (H, W) with an exposure (µs) of an LED (0: dark)
    leds : a few LEDs to test with
    full_scale : the largest count, known after the first shot
    start_us : where to begin
    limits_us : shortest and longest exposure allowed

    Returns
    -------
    Exposures in µs, ascending, rounded to two digits.

    Raises
    ------
    DeviceError
        if the pictures stay dark, or clipped at the shortest exposure
    """
    shortest, longest = limits_us
    exposure = min(max(start_us, shortest), longest)
    for _ in range(12):
        dark = take(exposure, 0).astype(np.float64)
        scale = full_scale()
        brightest = np.zeros_like(dark)
        clipped = np.zeros(dark.shape, dtype=bool)
        for led in leds:
            picture = take(exposure, led)
            clipped |= picture >= scale
            brightest = np.maximum(brightest, (picture - dark) / scale)
        high = float(np.percentile(brightest, BRIGHT_PERCENTILE))
        if clipped.mean() > CLIPPED_SHARE and exposure > shortest:
            exposure = max(shortest, exposure / 8)
        elif high < 0.1 and exposure < longest:
            exposure = min(longest, exposure * min(8.0, 0.5 / max(high, 1e-3)))
        else:
            break
    if high < 0.01:
        raise DeviceError(
            f"even {exposure / 1000:g} ms leave the picture dark: is the lens open and the LED "
            "board powered?"
        )
    low = float(np.percentile(brightest, DIM_PERCENTILE))
    first = min(max(HIGHEST / high * exposure, shortest), longest)
    # A pixel that no test LED lights at all says nothing about exposure; noise is its floor.
    last = min(max(LOWEST / max(low, 1e-4) * exposure, first), longest)
    return bracket(first, last)


def bracket(first_us: float, last_us: float) -> tuple[float, ...]:
    """Exposures from first to last, a factor of `FACTOR` or less apart, at most `MOST`."""
    steps = math.ceil(math.log(max(last_us / first_us, 1.0)) / math.log(FACTOR) - 1e-9)
    count = min(MOST, steps + 1)
    factor = min(FACTOR, (last_us / first_us) ** (1 / max(1, count - 1)))
    values = [_two_digits(first_us * factor**n) for n in range(count)]
    return tuple(dict.fromkeys(values))


def _two_digits(value_us: float) -> float:
    """Rounded down to two digits, at least 1 µs."""
    unit = 10.0 ** (math.floor(math.log10(max(value_us, 1.0))) - 1)
    return max(1.0, float(round(math.floor(value_us / unit + 1e-9) * unit)))
