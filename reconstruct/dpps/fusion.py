"""Normals and a rough height made into one surface: a screened Poisson equation in log depth.

In the camera-aligned frame a pixel looks along q = (X, Y, -1) and its point is Z q. With u = log Z
the normal obeys n · ∂(Z q) = 0, so ∂u/∂X = -n_x / (n·q) and ∂u/∂Y = -n_y / (n·q): perspective
normals are an ordinary gradient of log depth (Durou & Courteille 2007). The height head pulls the
low frequencies with a small weight λ.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.linear import conjugate_gradients

Array = NDArray[np.float64]
STEEPEST = np.cos(np.radians(86.0))


def slopes_of(normals: NDArray[Any], rays: NDArray[Any]) -> Array:
    """(H, W, 2) ∂u/∂X, ∂u/∂Y of log depth from (H, W, 3) normals and (H, W, 2) rays X, Y."""
    n = np.asarray(normals, dtype=np.float64)
    length = np.sqrt(1 + (rays**2).sum(-1))
    facing = n[..., 2] - n[..., 0] * rays[..., 0] - n[..., 1] * rays[..., 1]
    facing = np.maximum(facing, STEEPEST * length)
    return np.asarray(n[..., :2] / facing[..., None])


def normals_of(slopes: NDArray[Any], rays: NDArray[Any]) -> Array:
    """(H, W, 3) unit normals from ∂u/∂X, ∂u/∂Y and rays; the inverse of `slopes_of`."""
    n = np.concatenate([slopes, 1 + (slopes * rays).sum(-1, keepdims=True)], axis=-1)
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True))


def pixel_slopes(log_depth: NDArray[Any], mask: NDArray[np.bool_]) -> Array:
    """(H, W, 2) differences of log depth per pixel along columns and rows, within the mask.

    Central where both neighbours are on the part, one-sided at its edge, 0 where neither is.
    """
    out = np.zeros((*log_depth.shape, 2))
    for place, axis in ((0, 1), (1, 0)):
        u, m = np.moveaxis(log_depth, axis, 0), np.moveaxis(mask, axis, 0)
        step = np.where(m[1:] & m[:-1], u[1:] - u[:-1], 0.0)
        count = (m[1:] & m[:-1]).astype(float)
        total = np.zeros_like(u, dtype=np.float64)
        number = np.zeros_like(total)
        total[:-1] += step
        total[1:] += step
        number[:-1] += count
        number[1:] += count
        out[..., place] = np.moveaxis(total / np.maximum(number, 1), 0, axis)
    return out


def fuse(
    slope_px: NDArray[Any],
    guess: NDArray[Any],
    mask: NDArray[np.bool_],
    screen: float,
    weight: NDArray[Any] | None = None,
    tolerance: float = 1e-5,
) -> Array:
    """Log depth whose differences are `slope_px`, held near `guess`.

    Minimises Σ w (u_j - u_i - g_ij)² + λ Σ (u - guess)² over the pixels of the mask.

    Parameters
    ----------
    slope_px : (H, W, 2) wanted difference of u per pixel along columns and rows
    guess : (H, W) log depth
    mask : (H, W)
    screen : λ
    weight : (H, W) trust in the slopes, about 1

    Returns
    -------
    (H, W) float64, NaN outside the mask
    """
    if not mask.any():
        return np.full(mask.shape, np.nan)
    height, width = mask.shape
    trust = np.ones(mask.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    # Along columns, then along rows: weights of the differences between neighbours on the part.
    pairs: tuple[tuple[Any, Any], ...] = (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    )
    weights = [
        np.where(mask[first] & mask[second], 0.5 * (trust[first] + trust[second]), 0.0)
        for first, second in pairs
    ]
    right = np.zeros(mask.shape)
    for place, ((first, second), w) in enumerate(zip(pairs, weights, strict=True)):
        wanted = 0.5 * (slope_px[..., place][first] + slope_px[..., place][second])
        # solve for the change of the guess
        pull = np.where(w > 0, w * (wanted - (guess[second] - guess[first])), 0.0)
        right[first] -= pull
        right[second] += pull

    def apply(x: Array) -> Array:
        out = screen * x
        for (first, second), w in zip(pairs, weights, strict=True):
            pull = w * (x[second] - x[first])
            out[first] -= pull
            out[second] += pull
        return out

    # OpenCV's transform takes even sides; SciPy's would be 0.3 s of loading for a few transforms.
    rows, columns = height + height % 2, width + width % 2
    kx = 2 - 2 * np.cos(np.pi * np.arange(columns) / columns)
    ky = 2 - 2 * np.cos(np.pi * np.arange(rows) / rows)
    spectrum = float(trust[mask].mean()) * (ky[:, None] + kx[None]) + max(screen, 1e-12)
    symbol, inside = spectrum.astype(np.float32), mask.astype(np.float32)
    padded = np.zeros((rows, columns), np.float32)

    def precondition(residual: Array) -> Array:
        padded[:height, :width] = residual
        field = cv2.idct(cv2.dct(padded) / symbol)[:height, :width]
        return np.asarray(field * inside, dtype=np.float64)

    change = conjugate_gradients(apply, right, precondition, tolerance, 200)
    return np.where(mask, guess + change, np.nan)
