"""Which lights a fit explains worst: their pictures beside those of the fit's own model."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.refine.pixel import CLIPPED_BIT
from reconstruct.refine.problem import Problem
from reconstruct.refine.solve import State
from reconstruct.surface import Residual

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
    scale, epsilon = problem.pictures.scale, problem.pictures.epsilon
    for place in range(height):
        row = place * step + step // 2  # of the rows between, none: these are looked at
        model = problem.render_rows(state.u, state.material, row, row + 1)
        _averaged(
            captured[row], problem.pictures.code[row], problem.weight[row], model[0],
            scale, epsilon, step, pair[:, place],
        )  # fmt: skip
    own, modelled = pair
    error = np.nansum(np.square(own - modelled), axis=(0, 1), dtype=np.float64)
    level = np.nansum(np.square(own), axis=(0, 1), dtype=np.float64)
    order = np.argsort(-error / np.maximum(level, 1e-30), kind="stable")[:COUNT]
    reference = np.float32(problem.pictures.reference)
    return tuple(
        Residual(int(ids[k]), pair[0, ..., k] * reference, pair[1, ..., k] * reference)
        for k in order
    )


@njit(cache=True, nogil=True)
def _averaged(captured, code, weight, model, scale, epsilon, step, pair):
    """Means over `step` pixels of a row, captured and modelled, into (2, w, N); NaN where none.

    The response, lens and pixel area, is what was taken from the captured pictures' codes: it is
    added to the model (W, N).
    """
    scale, epsilon = np.float32(scale), np.float32(epsilon)
    _, width, count = pair.shape
    for c in range(width):
        for k in range(count):
            own, modelled, number = np.float32(0.0), np.float32(0.0), 0
            for x in range(c * step, (c + 1) * step):
                if weight[x] > 0 and captured[x, k] & CLIPPED_BIT == 0:
                    seen = np.float32(captured[x, k] >> 2) * scale
                    kept = np.float32(code[x, k] >> 2) * scale
                    own += seen * seen - epsilon
                    modelled += model[x, k] + (seen * seen - kept * kept)
                    number += 1
            if number > 0:
                pair[0, c, k], pair[1, c, k] = own / number, modelled / number
            else:
                pair[0, c, k] = pair[1, c, k] = np.nan
