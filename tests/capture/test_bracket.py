"""The bracket: test shots in, exposures out that clip nothing and leave nothing unlit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.bracket import FACTOR, bracket, propose, spread
from capture.errors import DeviceError

LIMITS = (20.0, 2e6)


def camera(rate: np.ndarray, shots: list[float] | None = None):  # type: ignore[no-untyped-def]
    """A camera that counts `rate` (fraction of full scale per µs) and clips."""

    def take(exposure_us: float, led: int) -> np.ndarray:
        if shots is not None:
            shots.append(exposure_us)
        lit = rate * exposure_us if led else 0 * rate
        return np.clip(16 + lit * 4079, 0, 4095).astype(np.uint16)

    return take


@given(st.floats(-5.0, -3.5), st.floats(0.0, 2.0), st.floats(100, 50_000))
def test_highlights_are_not_clipped_and_dim_pixels_are_lit(
    brightest: float, decades: float, start_us: float
) -> None:
    rate = np.logspace(brightest - decades, brightest, 2000).reshape(40, 50)
    found = propose(camera(rate), (1, 2), lambda: 4095, start_us, LIMITS)
    assert list(found) == sorted(set(found))
    assert rate.max() * found[0] <= 0.95
    dim = np.percentile(rate, 5)
    assert dim * found[-1] >= 0.02
    for pixel in (rate.max(), np.median(rate), dim):
        best = max(pixel * e for e in found if pixel * e < 1)
        assert best >= 0.02


def test_a_dark_picture_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="lens"):
        propose(camera(np.zeros((8, 8))), (1,), lambda: 4095, 8000, LIMITS)


def test_few_shots_suffice() -> None:
    shots: list[float] = []
    propose(camera(np.full((8, 8), 1e-4), shots), (1, 2, 3), lambda: 4095, 8000, LIMITS)
    assert len(shots) <= 4


@given(st.floats(20, 1e5), st.floats(1, 1e4))
def test_a_bracket_climbs_in_bounded_steps(first: float, ratio: float) -> None:
    found = bracket(first, first * ratio)
    assert 1 <= len(found) <= 5
    assert found[0] <= first * 1.001
    for low, high in itertools.pairwise(found):
        assert high / low <= FACTOR * 1.1


def test_test_leds_are_spread() -> None:
    assert spread(range(1, 97), 6) == (1, 20, 39, 58, 77, 96)
    assert spread((5, 9)) == (5, 9)
