"""Which lights a fit explains worst: their pictures beside those of the fit's own model."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.refine import kernel
from reconstruct.refine.inputs import Level
from reconstruct.refine.pixel import CLIPPED_BIT
from reconstruct.refine.problem import Problem, finish_of
from reconstruct.refine.solve import State
from reconstruct.surface import Residual

# Longer side of the pictures: they are looked at, not measured from. Every so many-th of their rows
# tells which lights they are of.
LONGEST, COUNT, TELLING = 256, 4, 4


def worst_residuals(
    problem: Problem, state: State, ids: NDArray[np.int64], captured: NDArray[np.uint16]
) -> tuple[Residual, ...]:
    """The lights whose pictures differ most from the fit's, relative to their own brightness.

    Parameters
    ----------
    ids : (N,) the lights' numbers
    captured : (H, W, N) codes of the pictures before the response was taken from them
    """
    own, modelled = _pair(problem, state, problem.level(), captured, TELLING)
    error = np.nansum(np.square(own - modelled), axis=(0, 1), dtype=np.float64)
    level = np.nansum(np.square(own), axis=(0, 1), dtype=np.float64)
    worst = np.argsort(-error / np.maximum(level, 1e-30), kind="stable")[:COUNT]
    pair = _pair(problem, state, problem.of_lights(worst), captured.take(worst, -1))
    own, modelled = pair * np.float32(problem.pictures.reference)
    return tuple(
        Residual(int(ids[k]), own[..., place], modelled[..., place])
        for place, k in enumerate(worst)
    )


def _pair(
    problem: Problem, state: State, level: Level, captured: NDArray[np.uint16], every: int = 1
) -> NDArray[np.float32]:
    """(2, h, w, n) pictures of a level, captured and modelled; every so many-th of their rows."""
    step = max(1, -(-max(problem.shape) // LONGEST))
    height, width = (size // step for size in problem.shape)
    rows, count = range(height)[::every], captured.shape[-1]
    pair = np.empty((2, len(rows), width, count), np.float32)
    scale, epsilon = problem.pictures.scale, problem.pictures.epsilon
    finish = finish_of(state.material)
    model = np.empty((1, problem.shape[1], count), np.float32)
    for place, number in enumerate(rows):
        row = number * step + step // 2  # of the rows between, none: these are looked at
        kernel.render_rows((row, row + 1), state.u, level, finish, model)
        _averaged(
            captured[row], level.code[row], problem.weight[row], model[0], scale, epsilon, step,
            pair[:, place],
        )  # fmt: skip
    return pair


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
