"""Areal parameters of ISO 25178-2 on a scale-limited surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError

UNITS = {
    "Sa": "µm",
    "Sq": "µm",
    "Sz": "µm",
    "Sp": "µm",
    "Sv": "µm",
    "Ssk": "",
    "Sku": "",
    "Sdq": "",
    "Sdr": "%",
}


def areal_parameters(z_mm: NDArray[Any], step_mm: float) -> dict[str, float]:
    """Height and hybrid parameters of a surface from which form and waviness are gone.

    Heights count from the mean of the measured points (ISO 25178-2:2021, 4.3). Gradients are
    differences of neighbours (EUR 15178 EN, 1993); the developed area of Sdr is that of the
    triangles of each cell, mean of its two diagonals.

    Parameters
    ----------
    z_mm : (ny, nx), NaN where nothing was measured
    step_mm : distance of neighbours

    Returns
    -------
    Sa, Sq, Sz, Sp, Sv in µm; Ssk, Sku and Sdq (slope) without unit; Sdr in percent
    """
    z = np.asarray(z_mm, dtype=np.float64)
    good = np.isfinite(z)
    if np.count_nonzero(good) < 9:
        raise ReconstructError("too few measured points for areal parameters")
    heights = z[good] - z[good].mean()
    sq = float(np.sqrt(np.mean(heights**2)))
    flat = sq < 1e-15
    gx = (z[1:, 1:] - z[1:, :-1]) / step_mm
    gy = (z[1:, 1:] - z[:-1, 1:]) / step_mm
    slope = gx**2 + gy**2
    return {
        "Sa": 1e3 * float(np.mean(np.abs(heights))),
        "Sq": 1e3 * sq,
        "Sz": 1e3 * float(np.ptp(heights)),
        "Sp": 1e3 * float(heights.max()),
        "Sv": 1e3 * float(-heights.min()),
        "Ssk": 0.0 if flat else float(np.mean(heights**3)) / sq**3,
        "Sku": 0.0 if flat else float(np.mean(heights**4)) / sq**4,
        "Sdq": float(np.sqrt(np.nanmean(slope))) if np.isfinite(slope).any() else float("nan"),
        "Sdr": _developed(z, step_mm),
    }


def _developed(z: NDArray[np.float64], step: float) -> float:
    """Interfacial area ratio, percent: the cells' triangles against the cells."""
    a, b, c, d = z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]

    def triangle(rise_x: NDArray[np.float64], rise_y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(step * np.sqrt(step**2 + rise_x**2 + rise_y**2) / 2)

    one = triangle(b - a, c - a) + triangle(d - c, d - b)
    other = triangle(b - a, d - b) + triangle(d - c, c - a)
    area = (one + other) / 2
    if not np.isfinite(area).any():
        return float("nan")
    return 100 * (float(np.nanmean(area)) / step**2 - 1)
