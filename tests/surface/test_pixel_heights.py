"""Heights of pixels from a surface whose corners were integrated."""

from __future__ import annotations

import numpy as np
import pytest

from reconstruct.integrate import centre_values, integrate_slopes, pixel_heights

PER_PIXEL = np.array([1, 0, 0, 1], np.float32).reshape(4, 1, 1)


@pytest.mark.parametrize("direction", [0.0, 22.5, 45.0, 90.0])
def test_waves_keep_their_height(direction: float) -> None:
    """Slopes are means over pixels, and so are heights."""
    along = np.radians(direction)
    kx, ky = 2 * np.pi / 8 * np.array([np.cos(along), np.sin(along)])
    rows, columns = np.mgrid[:96, :96]
    phase = kx * columns + ky * rows
    mean = np.sinc(kx / 2 / np.pi) * np.sinc(ky / 2 / np.pi)  # of a pixel, over its middle
    slope, height = mean * np.cos(phase), mean * np.sin(phase)
    inside = np.ones(height.shape, bool)
    corners = centre_values(integrate_slopes(kx * slope, ky * slope, inside, PER_PIXEL))
    found = pixel_heights(corners, inside)
    assert found.mean() == pytest.approx(corners.mean(), abs=1e-12)
    inner = np.s_[8:-8, 8:-8]
    before, after = ((some - height)[inner].std() for some in (corners, found))
    assert after < 0.65 * before


def test_what_is_not_part_does_not_bend_it() -> None:
    inside = np.zeros((32, 32), bool)
    inside[8:24, 8:24] = True
    rows, columns = np.mgrid[:32, :32]
    plane = 0.1 * rows + 0.2 * columns
    height = np.where(inside, plane, 50.0)
    np.testing.assert_allclose(pixel_heights(height, inside)[inside], plane[inside], atol=1e-12)
