"""Which lights a fit explains worst: their pictures beside those of the fit's own model."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.problem import Problem
from reconstruct.refine.solve import State
from reconstruct.surface import Residual

Map = NDArray[np.float32]
# Longer side of the pictures: they are looked at, not measured from.
LONGEST, COUNT, BAND_ROWS = 256, 4, 64


def worst_residuals(
    problem: Problem, state: State, ids: NDArray[np.int64], captured: NDArray[np.uint16]
) -> tuple[Residual, ...]:
    """The lights whose pictures differ most from the fit's, relative to their own brightness.

    Parameters
    ----------
    ids : (N,) the lights' numbers
    captured : (H, W, N) codes of the pictures before the response was taken from them
    """
    step = max(1, -(-max(problem.shape) // LONGEST))
    height, width = (size // step for size in problem.shape)
    count = len(problem.pictures)
    pair = np.empty((2, height, width, count), np.float32)
    for first in range(0, height, max(1, BAND_ROWS // step)):
        last = min(first + max(1, BAND_ROWS // step), height)
        rows = slice(first * step, last * step)
        model = problem.render_rows(state.u, state.material, rows.start, rows.stop)
        seen = _radiance(captured[rows], problem)
        # the response, lens and pixel area, is what was taken from the captured pictures
        model += seen - _radiance(problem.pictures.code[rows], problem)
        bad = (captured[rows] & 1).astype(bool) | (problem.weight[rows] == 0)[..., None]
        for out, image in zip(pair, (seen, model), strict=True):
            image[bad] = np.nan
            blocks = image[:, : width * step].reshape(last - first, step, width, step, count)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a block without surface
                out[first:last] = np.nanmean(blocks, axis=(1, 3))
    error = np.nansum(np.square(pair[0] - pair[1]), axis=(0, 1))
    level = np.nansum(np.square(pair[0]), axis=(0, 1))
    order = np.argsort(-error / np.maximum(level, 1e-30), kind="stable")[:COUNT]
    pair *= np.float32(problem.pictures.reference)
    return tuple(
        Residual(int(ids[k]), pair[0, ..., k].copy(), pair[1, ..., k].copy()) for k in order
    )


def _radiance(code: NDArray[np.uint16], problem: Problem) -> Map:
    """Radiance in units of the pictures' reference."""
    root = (code >> 2).astype(np.float32) * np.float32(problem.pictures.scale)
    return np.asarray(np.square(root) - np.float32(problem.pictures.epsilon))
