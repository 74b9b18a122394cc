"""Highlights of a light in a mirror sphere: which blob it is, and where, to sub-pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter, label, maximum_filter

Array = NDArray[np.float64]

CANDIDATES = 5
COUNTS = 1.7
"""Height of the least blob, smoothed, in steps of quantisation."""
SIGMA_FLOOR_PX = 0.02
"""Standard error no centroid is better than (undersampling, lens, form of the LED)."""


SMALL_CORE_PX = 4.0
"""Depth of a clipped core up to which it is located by its brightness, not by its form."""


@dataclass(frozen=True)
class Blob:
    """A bright spot: place and standard error (px), summed light, whether its core is clipped."""

    x: float
    y: float
    sigma: float
    flux: float
    clipped: bool


def _centroid(
    image: Array, noise: float, x: float, y: float, width: float
) -> tuple[float, float, float, float]:
    """Gaussian-windowed centroid, its standard error and flux.

    The window follows the centroid until both agree, which makes it unbiased for symmetric spots
    (Bertin, SExtractor's XWIN_IMAGE). A local background is taken from the window's rim.
    """
    height, wide = image.shape
    reach = int(np.ceil(3 * width)) + 1
    sigma = np.inf
    flux = 0.0
    for _ in range(30):
        c0, r0 = round(x), round(y)
        left, right = max(c0 - reach, 0), min(c0 + reach + 1, wide)
        top, bottom = max(r0 - reach, 0), min(r0 + reach + 1, height)
        if right - left < 3 or bottom - top < 3:
            break
        part = image[top:bottom, left:right]
        rows, columns = np.mgrid[top:bottom, left:right]
        dx, dy = columns - x, rows - y
        distance2 = dx * dx + dy * dy
        rim = distance2 > (2.5 * width) ** 2
        base = float(np.median(part[rim])) if np.count_nonzero(rim) > 6 else 0.0
        value = part - base
        window = np.exp(-0.5 * distance2 / width**2)
        total = float(np.sum(window * value))
        if total <= 0:
            break
        mx = 2 * float(np.sum(window * value * dx)) / total
        my = 2 * float(np.sum(window * value * dy)) / total
        # Shot noise in units in which the blob's own noise is not known: the background's.
        spread = float(np.sum(window**2 * distance2 / 2))
        sigma = 2 * noise * np.sqrt(spread) / total
        flux = float(np.sum(value[distance2 < (2.5 * width) ** 2]))
        x, y = x + float(np.clip(mx, -1, 1)), y + float(np.clip(my, -1, 1))
        if abs(mx) + abs(my) < 1e-4:
            break
    return x, y, float(sigma), flux


def _half_width(image: Array, row: int, column: int) -> float:
    """Gaussian sigma of the spot at a peak, from the area above half its height."""
    reach = 24
    top, left = max(row - reach, 0), max(column - reach, 0)
    part = image[top : row + reach + 1, left : column + reach + 1]
    regions, _ = label(part > 0.5 * image[row, column])
    regions = np.asarray(regions)
    area = int(np.count_nonzero(regions == regions[row - top, column - left]))
    return float(np.sqrt(max(area, 1) / np.pi) / 1.177)


def counting_step(values: Array) -> float:
    """Difference of neighbouring counts in quantised pixels; next to 0 in others."""
    levels = np.unique(np.round(values, 7))
    return float(np.diff(levels).min()) if len(levels) > 1 else 0.0


def find_blobs(
    image: NDArray[Any],
    inside: NDArray[np.bool_],
    clipped: NDArray[np.bool_] | None = None,
    *,
    most: int = CANDIDATES,
) -> list[Blob]:
    """Bright spots of a picture, the strongest first.

    Parameters
    ----------
    image : (H, W), what does not change from light to light taken out
    inside : where to look
    clipped : pixels that are saturated; a clipped core is located by its form, thin rays (a
        starburst) hardly counting
    """
    values = np.asarray(image, dtype=np.float64)
    known = values[inside]
    if not known.size:
        return []
    middle = float(np.median(known))
    noise = max(1.4826 * float(np.median(np.abs(known - middle))), 1e-4)
    # Where most pixels hold the same count, their scatter says nothing of the few that hold
    # another one; the counts themselves do.
    least = max(6 * noise, COUNTS * counting_step(known))
    smooth = gaussian_filter(values, 0.7)
    blobs: list[Blob] = []
    if clipped is not None and np.any(clipped & inside):
        regions, count = label(clipped & inside)
        depth = cv2.distanceTransform(
            np.pad(clipped, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )[1:-1, 1:-1]
        areas = np.bincount(np.ravel(regions), minlength=count + 1)[1:]
        boxes = find_objects(regions)
        for region in np.argsort(areas)[::-1][:most]:
            if areas[region] < 4:
                break
            box = boxes[region]
            rows, columns = np.nonzero(regions[box] == region + 1)
            rows, columns = rows + box[0].start, columns + box[1].start
            weight = depth[rows, columns].astype(np.float64) ** 3
            total = float(weight.sum())
            x, y = float(columns @ weight) / total, float(rows @ weight) / total
            across = float(depth[rows, columns].max())
            flux = float(values[rows, columns].sum()) * (1 + across)
            error = float(np.hypot(0.1, 0.08 * across))
            if across <= SMALL_CORE_PX:
                # Its slopes still tell more than its form.
                width = float(np.clip(np.sqrt(len(rows) / np.pi) / 1.177, 0.8, 12.0))
                u, v, scatter, _ = _centroid(values, noise, x, y, width)
                if np.hypot(u - x, v - y) < 1.0 and np.isfinite(scatter):
                    x, y, error = u, v, float(np.hypot(scatter, 0.05))
            blobs.append(Blob(x, y, error, flux, True))
    peak = (smooth == maximum_filter(smooth, size=5)) & inside
    peak &= smooth > middle + least
    rows, columns = np.nonzero(peak)
    order = np.argsort(smooth[rows, columns])[::-1][: 3 * most]
    for row, column in zip(rows[order], columns[order], strict=True):
        if any(np.hypot(b.x - column, b.y - row) < (12 if b.clipped else 3) for b in blobs):
            continue
        width = float(np.clip(_half_width(values - middle, row, column), 0.8, 12.0))
        x, y, sigma, flux = _centroid(values, noise, float(column), float(row), width)
        if not np.isfinite(sigma) or np.hypot(x - column, y - row) > 2 + width:
            continue
        blobs.append(Blob(x, y, float(np.hypot(sigma, SIGMA_FLOOR_PX)), flux, False))
    blobs.sort(key=lambda b: -b.flux)
    return blobs[:most]
