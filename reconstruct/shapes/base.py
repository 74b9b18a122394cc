"""A part as a height over the stage, and heights on a grid made smooth by cubic splines."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Height = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Shape:
    """A part on the stage.

    Attributes
    ----------
    name : what it is
    height : function of x and y (mm, world frame, equal shapes) giving z in mm
    inside : function of x and y giving True on the part; None where it fills the field
    lay : function of points (..., 3) giving the direction of machining marks, for anisotropic
        materials; None where there is none
    parameters : everything it was made from, JSON-able
    """

    name: str
    height: Height
    inside: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] | None = None
    lay: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@njit(cache=True, nogil=True, fastmath=True, forceinline=True)
def _spline(coefficients, x, y):
    """Bicubic B-spline at column x and row y."""
    rows, columns = coefficients.shape
    u = min(max(x, 1.0), columns - 2.001)
    v = min(max(y, 1.0), rows - 2.001)
    c, r = int(u), int(v)
    f, g = u - c, v - r
    a, b = 1.0 - f, 1.0 - g
    wx0, wx3 = a * a * a / 6.0, f * f * f / 6.0
    wx1 = 2.0 / 3.0 - f * f * (2.0 - f) / 2.0
    wx2 = 2.0 / 3.0 - a * a * (2.0 - a) / 2.0
    wy = (
        b * b * b / 6.0,
        2.0 / 3.0 - g * g * (2.0 - g) / 2.0,
        2.0 / 3.0 - b * b * (2.0 - b) / 2.0,
        g * g * g / 6.0,
    )
    total = 0.0
    for k in range(4):
        row = r - 1 + k
        total += wy[k] * (
            wx0 * coefficients[row, c - 1]
            + wx1 * coefficients[row, c]
            + wx2 * coefficients[row, c + 1]
            + wx3 * coefficients[row, c + 2]
        )
    return total


@njit(cache=True, nogil=True)
def _spline_at(coefficients, x, y, out):
    for i in range(len(x)):
        out[i] = _spline(coefficients, x[i], y[i])


@njit(cache=True, nogil=True)
def _spline_meets(coefficients, step, centre_x, centre_y, origin, rays, iterations, out):
    """Where rays (n, 3) with z component -1 meet the spline: heights in `out`."""
    rows, columns = coefficients.shape
    z = 0.0
    for i in range(len(rays)):
        # The neighbour's height, left over in z, is a good start.
        for _ in range(iterations):
            depth = origin[2] - z
            u = (origin[0] + depth * rays[i, 0] - centre_x) / step + (columns - 1) / 2
            v = (origin[1] + depth * rays[i, 1] - centre_y) / step + (rows - 1) / 2
            new = _spline(coefficients, u, v)
            change = abs(new - z)
            z = new
            if change < 1e-6:
                break
        out[i] = z


class HeightGrid:
    """Heights on a square grid, interpolated by a bicubic B-spline (continuous curvature).

    Callable like `Shape.height`; outside the grid the border's value holds.

    Parameters
    ----------
    z_mm : (rows, columns) heights; rows run along +y
    step_mm : spacing of the grid
    centre_mm : (x, y) of the grid's middle
    exact : pass through the given heights; False smooths them slightly and is faster to set up
    """

    def __init__(
        self,
        z_mm: NDArray[Any],
        step_mm: float,
        centre_mm: tuple[float, float] = (0.0, 0.0),
        exact: bool = True,
    ) -> None:
        z = np.asarray(z_mm, dtype=np.float64)
        self.step_mm = step_mm
        self.centre_mm = centre_mm
        self.coefficients = ndimage.spline_filter(z, order=3) if exact else z

    def __call__(self, x: NDArray[Any], y: NDArray[Any]) -> Array:
        rows, columns = self.coefficients.shape
        u = (np.asarray(x, np.float64) - self.centre_mm[0]) / self.step_mm + (columns - 1) / 2
        v = (np.asarray(y, np.float64) - self.centre_mm[1]) / self.step_mm + (rows - 1) / 2
        out = np.empty(u.size)
        _spline_at(self.coefficients, u.ravel(), v.ravel(), out)
        return out.reshape(u.shape)

    def meets(self, origin_mm: NDArray[Any], rays: NDArray[Any], iterations: int) -> Array:
        """Heights where rays (..., 3) with z component -1 from an origin meet the surface."""
        flat = np.ascontiguousarray(rays, dtype=np.float64).reshape(-1, 3)
        origin = np.asarray(origin_mm, dtype=np.float64)
        out = np.empty(len(flat))
        x, y = self.centre_mm
        _spline_meets(self.coefficients, self.step_mm, x, y, origin, flat, iterations, out)
        return out.reshape(rays.shape[:-1])


def smooth_step(t: NDArray[Any]) -> NDArray[Any]:
    """0 before -1/2, 1 after 1/2, with continuous curvature between (slope 1.875 in the middle)."""
    t = np.clip(np.asarray(t) + 0.5, 0.0, 1.0)
    return np.asarray(t * t * t * (t * (6.0 * t - 15.0) + 10.0))


SMOOTH_STEP_SLOPE = 1.875  # steepest slope of `smooth_step`


def ramp_width(step_mm: float, slope_deg: float) -> float:
    """Width in mm over which a `smooth_step` of a height reaches a slope at its steepest."""
    return float(max(SMOOTH_STEP_SLOPE * abs(step_mm) / np.tan(np.radians(slope_deg)), 1e-6))
