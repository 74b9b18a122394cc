"""Which lights a fit explains worst: their pictures beside those of the fit's own model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reconstruct.refine.problem import Problem
from reconstruct.refine.solve import State
from reconstruct.surface import Residual

Map = NDArray[np.float32]
# Longer side of the pictures: they are looked at, not measured from.
LONGEST, COUNT = 256, 4


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
    error, level = np.zeros(count), np.zeros(count)
    for place in range(height):
        row = place * step + step // 2  # of the rows between, none: these are looked at
        rows = slice(row, row + 1)
        model = problem.render_rows(state.u, state.material, row, row + 1)
        seen = _radiance(captured[rows], problem)
        # the response, lens and pixel area, is what was taken from the captured pictures
        model += seen - _radiance(problem.pictures.code[rows], problem)
        good = ((captured[rows] & 1) == 0) & (problem.weight[rows] > 0)[..., None]
        number = good[0, : width * step].reshape(width, step, count).sum(axis=1)
        for out, image in zip(pair, (seen, model), strict=True):
            image *= good
            total = image[0, : width * step].reshape(width, step, count).sum(axis=1)
            out[place] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        own, modelled = pair[:, place]
        error += np.nansum(np.square(own - modelled), axis=0)
        level += np.nansum(np.square(own), axis=0)
    order = np.argsort(-error / np.maximum(level, 1e-30), kind="stable")[:COUNT]
    reference = np.float32(problem.pictures.reference)
    return tuple(
        Residual(int(ids[k]), pair[0, ..., k] * reference, pair[1, ..., k] * reference)
        for k in order
    )


def _radiance(code: NDArray[np.uint16], problem: Problem) -> Map:
    """Radiance in units of the pictures' reference."""
    root = (code >> 2).astype(np.float32) * np.float32(problem.pictures.scale)
    return np.asarray(np.square(root) - np.float32(problem.pictures.epsilon))
