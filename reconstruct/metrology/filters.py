"""Gaussian filters with a cut-off (ISO 16610-21 profiles, ISO 16610-61 areas).

The weighting function is ``s(x) = exp(−π (x / (α λc))²) / (α λc)`` with ``α = √(ln 2 / π)``: a
wave of length λc passes with 50 %. Missing points have no weight: the filter divides by the sum
of the weights that are there, also at the edges (ISO 16610-61, end effects by normalisation).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError, RequestError

ALPHA = float(np.sqrt(np.log(2.0) / np.pi))
_REACH = 1.0  # the weight function is cut at ± λc, where it is below 1e-6 of its middle

Array = NDArray[np.float64]


def gaussian_weights(cutoff_mm: float, step_mm: float, points: int | None = None) -> Array:
    """The sampled weighting function, summing to 1; raises if the cut-off is below two steps.

    Of a field so many `points` long no more of it is made than can reach from end to end.
    """
    if not 0 < cutoff_mm < np.inf:
        raise RequestError(f"a cut-off of {cutoff_mm:g} mm: expected a length above 0 mm")
    if not cutoff_mm >= 2 * step_mm:
        raise ReconstructError(
            f"a cut-off of {cutoff_mm:g} mm is too short for points {step_mm:.3g} mm apart: "
            f"ask for at least {2 * step_mm:.3g} mm"
        )
    half = int(np.ceil(_REACH * cutoff_mm / step_mm))
    if points is not None:
        half = min(half, points - 1)
    x = np.arange(-half, half + 1) * step_mm
    weights = np.exp(-np.pi * (x / (ALPHA * cutoff_mm)) ** 2)
    return np.asarray(weights / weights.sum())


def low_pass(z: NDArray[Any], cutoff_mm: float, step_mm: float) -> Array:
    """Waviness and form: what is longer than the cut-off.

    Parameters
    ----------
    z : (n,) profile or (ny, nx) area, NaN where nothing was measured; stays NaN there
    """
    weights = gaussian_weights(cutoff_mm, step_mm, max(np.shape(z)))
    z = np.asarray(z, dtype=np.float64)
    good = np.isfinite(z)
    if not good.any():
        return z.copy()
    # Around the mean, so that dividing by the weights loses no digits.
    offset = float(z[good].mean())
    along = np.ones(1) if z.ndim == 1 else weights
    total, norm = (
        cv2.sepFilter2D(
            np.atleast_2d(values), cv2.CV_64F, weights, along, borderType=cv2.BORDER_CONSTANT
        ).reshape(z.shape)
        for values in (np.where(good, z - offset, 0.0), good.astype(np.float64))
    )
    return np.where(good, total / np.where(good, norm, 1.0) + offset, np.nan)


def high_pass(z: NDArray[Any], cutoff_mm: float, step_mm: float) -> Array:
    """Roughness: what is shorter than the cut-off."""
    return np.asarray(np.asarray(z, dtype=np.float64) - low_pass(z, cutoff_mm, step_mm))
