"""Gradients of the fit with the lights' shares of them taken with signs: half against half.

At the solution the lights' gradients cancel. What each of them still asks for is noise, an error of
its own position, and whatever the model gets wrong as that light shows it, alike over all places
that it lights alike. Taken with random signs (a wild bootstrap whose clusters are the lights: Wu
1986, Cameron, Gelbach and Miller 2008) they drive the surface about as far as they may have driven
it, noise from pixel to pixel and errors of the model over as far as these reach. Signs are rows of
a Hadamard matrix, so that few of them are as good as many drawn ones (McCarthy 1969).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import hadamard

from reconstruct.refine.inputs import prepare, scratch
from reconstruct.refine.pixel import (
    BY_P,
    BY_Q,
    BY_U,
    JIT,
    RESIDUAL,
    STRIDE,
    pixel_rows,
)
from reconstruct.refine.problem import Loss, Material, Problem

Array = NDArray[np.float64]
# A pixel has two slopes and brings one unknown: half of what a light's own residual was bent by.
UNKNOWNS_PER_SLOPE = 0.5


def balanced_signs(lights: int, draws: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(draws, lights) of ±1, rows orthogonal over as many lights as a power of two."""
    size = 1 << int(np.ceil(np.log2(max(lights, draws + 1))))
    rows = rng.permutation(np.arange(1, size))[:draws]
    columns = rng.permutation(size)[:lights]
    return np.ascontiguousarray(hadamard(size)[np.ix_(rows, columns)], np.float32)


@njit(**JIT)
def signed_rows(rows, u, level, finish, loss, factor, signs, share, out):
    """Signed gradients of block rows [first, last); inputs as of `kernel.system_rows`.

    Parameters
    ----------
    factor : pixels along a block's side
    signs : (R, N); share : of a slope that is an unknown of the pixel
    out : (R, 3, h, w) out: gradients by (log-depth, two slopes), summed over blocks
    """
    first, last = rows
    n = level.code.shape[2]
    draws = signs.shape[0]
    signed = np.empty(n, np.float32)
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    kind, width, doubt = loss.kind, np.float32(loss.width), np.float32(level.doubt)
    weight, model, epsilon = level.weight, finish.model, np.float32(level.epsilon)
    for r in range(first * factor, last * factor):
        for c in range(out.shape[3] * factor):
            pw = weight[r, c]
            if pw == 0.0:
                continue
            prepare(r, c, u, level, finish, space)
            pixel_rows(geometry, tangent, n, epsilon, mat, model, kind, width, doubt, work)
            pp, pq, qq = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for k in range(n):
                pp += work[BY_P + k] * work[BY_P + k]
                pq += work[BY_P + k] * work[BY_Q + k]
                qq += work[BY_Q + k] * work[BY_Q + k]
            det = pp * qq - pq * pq + np.float32(1e-6) * (pp + qq) * (pp + qq) + np.float32(1e-20)
            # What a light's residual would be had the pixel been fitted without it.
            for k in range(n):
                p, q = work[BY_P + k], work[BY_Q + k]
                leverage = (p * p * qq - np.float32(2.0) * p * q * pq + q * q * pp) / det
                work[RESIDUAL + k] /= np.float32(1.0) - np.float32(share) * leverage
            rr, cc = r // factor, c // factor
            for d in range(draws):
                for k in range(n):
                    signed[k] = signs[d, k] * work[RESIDUAL + k]
                for i in range(3):
                    column = work[BY_U + i * STRIDE : BY_U + i * STRIDE + n]
                    acc = np.float32(0.0)
                    for k in range(n):
                        acc += column[k] * signed[k]
                    out[d, i, rr, cc] += acc * pw


def signed_gradients(
    problem: Problem, u: Array, material: Material, loss: Loss, signs: NDArray[np.float32],
    factor: int = 1,
) -> NDArray[np.float32]:  # fmt: skip
    """Gradients of the fit with the lights' shares signed.

    Parameters
    ----------
    signs : (R, N) of ±1; factor : side of the blocks of pixels that are summed up

    Returns
    -------
    (R, 3, H / factor, W / factor) by (log-depth, two slopes), means over blocks
    """
    height, width = (size // factor for size in problem.shape)
    out = np.zeros((len(signs), 3, height, width), np.float32)
    given = problem.inputs(material, loss)
    edges = np.linspace(0, height, min(height, 4 * problem.threads) + 1).astype(int)

    def rows(band: tuple[int, int]) -> None:
        signed_rows(band, u, *given, factor, signs, UNKNOWNS_PER_SLOPE, out)

    problem.mapped(rows, list(pairwise(edges.tolist())))
    out /= np.float32(factor**2)
    return out
