"""Which pixels of a fitted surface are claimed, and what those that are not leave unsure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.pixel import SHADOW_BIT
from reconstruct.refine.problem import Problem
from reconstruct.surface import Flag

# Slopes less sure than this, from a pixel's nearest neighbourhood alone, are a guess.
UNLIT_SLOPE_SIGMA = 0.1
# Fewer lights than this, or than this share of them, leave a pixel in the shadow.
FEW_LIGHTS, FEW_SHARE = 8, 0.25
# By how much guessed slopes are off, all of a place in the same direction.
GUESSED_SLOPE_SIGMA = 0.5


def islands(told: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) places whose height only guessed slopes join to the largest told place of their piece.

    Their slopes are told, their level is not: it is summed up over slopes that no light tells.

    Parameters
    ----------
    told : (H, W) places whose slopes the pictures tell
    inside : (H, W) the part; its connected pieces are looked at one by one
    """
    pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[1]
    count, label, stats, _ = cv2.connectedComponentsWithStats(told.astype(np.uint8), connectivity=8)
    piece_of = np.zeros(count, np.int64)
    piece_of[label[told]] = pieces[told]
    main: dict[int, int] = {}
    for k in range(1, count):
        best = main.get(int(piece_of[k]))
        if best is None or stats[k, cv2.CC_STAT_AREA] > stats[best, cv2.CC_STAT_AREA]:
            main[int(piece_of[k])] = k
    kept: NDArray[np.bool_] = np.isin(label, list(main.values()))
    return told & ~kept


def quality(problem: Problem, slope_sigma: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) flags of a fitted surface: outside, clipped, shadowed, unlit."""
    code, count = problem.pictures.code, len(problem.pictures)
    flags = np.zeros(problem.shape, np.uint8)
    for row in range(problem.shape[0]):
        lit = np.count_nonzero((code[row] & SHADOW_BIT) == 0, axis=1)
        light = np.square((code[row] >> 2).astype(np.float32) * problem.pictures.scale)
        lost = (light * (code[row] & 1)).sum(axis=1)
        flags[row, lost > 0.5 * light.sum(axis=1)] |= np.uint8(Flag.CLIPPED)
        flags[row, lit < max(min(FEW_LIGHTS, count), FEW_SHARE * count)] |= np.uint8(Flag.SHADOWED)
    flags[slope_sigma > UNLIT_SLOPE_SIGMA] |= np.uint8(Flag.UNLIT)
    inside = problem.weight > 0
    flags[islands(inside & ((flags & int(Flag.UNLIT)) == 0), inside)] |= np.uint8(Flag.UNLIT)
    flags[problem.weight == 0] = np.uint8(Flag.OUTSIDE)
    return flags


def guessed_mean_sigma_mm(problem: Problem, flags: NDArray[np.uint8]) -> float:
    """Sigma of the mean height of what is claimed, the mean of the whole part being given.

    Where no light tells the slopes, the part may lie as much off as slopes of
    `GUESSED_SLOPE_SIGMA` carry it over the way from the nearest told place; the mean height that is
    given holds all of it.
    """
    inside = problem.weight > 0
    told = inside & ((flags & int(Flag.UNLIT)) == 0)
    if not told.any() or (told == inside).all():
        return 0.0
    away_px = cv2.distanceTransform((~told).astype(np.uint8), cv2.DIST_L2, 5)
    depth = float(np.linalg.norm(problem.centre))
    pixel_mm = depth / float(np.sqrt(problem.camera.K[0, 0] * problem.camera.K[1, 1]))
    away_mm = float(away_px[inside & ~told].sum(dtype=np.float64)) / inside.sum() * pixel_mm
    return GUESSED_SLOPE_SIGMA * away_mm
