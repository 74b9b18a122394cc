"""Levels of the fit: binning factors, and what goes from one level to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.problem import Problem
from reconstruct.spline import spline_values

Array = NDArray[np.float64]
COARSE = 64
# Pixels along the longer side at most on which a late start is told from what came up.
LATE_SIDE = 256


def binning_factors(size: int) -> list[int]:
    """Binning factors from coarse to fine: the first leaves 48 to 96 px, those after it are 1, 8, …

    What a part's places light in each other is lost where fewer pixels are left.
    """
    coarsest = 2 ** max(0, int(np.ceil(np.log2(size / (1.5 * COARSE)))))
    factors = [1]
    while 8 * factors[-1] < coarsest:
        factors.append(8 * factors[-1])
    if coarsest > 1:
        factors.append(coarsest)
    return factors[::-1]


def late_factor(size: int) -> int:
    """The binning factor, a power of two, that leaves `LATE_SIDE` pixels at most."""
    return 2 ** max(0, int(np.ceil(np.log2(size / LATE_SIDE))))


def upsampled(u: Array, factor: int, shape: tuple[int, int]) -> Array:
    """Corner values at a level `factor` times finer, by a cubic spline.

    Corners of the coarse level are corners of the fine one; odd edges repeat the last.
    """
    rows, columns = (np.arange(size + 1) / factor for size in shape)
    return spline_values(u, rows, columns)


def subdivided(problem: Problem, u: Array, times: int) -> tuple[Problem, Array]:
    """The same part on pixels `times` smaller, without pictures, and its log-depth at corners.

    As it is if `times` is 1.
    """
    if times == 1:
        return problem, u
    height, width = (size * times for size in problem.shape)
    empty = replace(
        problem.pictures, code=np.zeros((height, width, len(problem.pictures)), np.uint16)
    )
    fine = Problem(
        problem.camera.subdivided(times), problem.lights, empty,
        problem.weight.repeat(times, 0).repeat(times, 1), problem.flat,
        threads=problem.threads,
    )  # fmt: skip
    if problem.local.shape[1] > 1:
        fine.local = problem.local.repeat(times, 1).repeat(times, 2)
    return fine, upsampled(u, times, fine.shape)


def binned_weight(mask: NDArray[np.bool_] | None, shape: tuple[int, int], factor: int) -> NDArray:
    """(H / factor, W / factor) float32: 1 where a block is inside the mask."""
    if mask is None:
        return np.ones((shape[0] // factor, shape[1] // factor), np.float32)
    height, width = (size // factor for size in shape)
    blocks = mask[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return (blocks.mean(axis=(1, 3)) > 0.99).astype(np.float32)
