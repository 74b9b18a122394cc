"""Light in the pictures that no LED gave, told on matt parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.agreement import CoarseStack, fit

Array = NDArray[np.float64]

LEAST = 0.04
"""Share of a typical picture's light from which it is said; sound matt parts feign 0.01."""
LOW, ALL_OVER = 15.0, 0.5
"""Percent of the cells with least, and what share of the typical one even they hold."""
EXPLAINS = 0.5
"""What is left unexplained with it, over what is without, at most."""
LIT = 0.2
"""Share of a cell's brightest from which it is in no shadow."""


def room_light(small: CoarseStack, lights: Lights, height_mm: float) -> float | None:
    """Share of a typical picture's light that comes without the LEDs; None where none is told.

    A matt cell in no shadow shows the cosine of each light's angle times its irradiance. What is
    the same in all pictures, however strong and near their lights, is of something else. Gloss and
    rough matt finishes feign less than nothing, or hardly anything.
    """
    found = fit(small, lights, "matt", height_mm)
    radiance = np.maximum(small.radiance[small.valid], 0.0)
    irradiance = found.root**2
    towards = np.moveaxis(found.vectors, 0, -1) * irradiance[..., None]
    ever = np.full((*radiance.shape, 1), irradiance.mean())
    top = radiance.max(axis=1, keepdims=True)
    weight = (radiance > LIT * top) / np.sqrt(np.maximum(radiance, 1e-30))
    with_it, left = _least_squares(np.concatenate([towards, ever], axis=-1), radiance, weight)
    _, without = _least_squares(towards, radiance, weight)
    share = with_it[:, 3] * irradiance.mean() / np.maximum(np.median(radiance, axis=1), 1e-30)
    typical, low = float(np.median(share)), float(np.percentile(share, LOW))
    told = LEAST < typical < 1 and low > ALL_OVER * typical and left < EXPLAINS * without
    return typical if told else None


def _least_squares(columns: Array, values: Array, weight: Array) -> tuple[Array, float]:
    """(P, k) solutions over the lights for (P, N, k) columns, and what they leave of (P, N)."""
    weighted, known = columns * weight[..., None], values * weight
    normal = np.einsum("pni,pnj->pij", weighted, weighted)
    right = np.einsum("pni,pn->pi", weighted, known)
    solution = (np.linalg.pinv(normal, hermitian=True) @ right[..., None])[..., 0]
    error = known - np.einsum("pni,pi->pn", weighted, solution)
    return solution, float(np.sum(error**2))
