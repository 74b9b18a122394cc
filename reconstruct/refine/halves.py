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
from reconstruct.refine.kernel import pixel_sums
from reconstruct.refine.pixel import (
    BY_P,
    BY_Q,
    BY_U,
    JIT,
    N_MATERIAL,
    N_SUMS,
    PER_PIXEL,
    RESIDUAL,
    STRIDE,
    pixel_rows,
)
from reconstruct.refine.problem import Loss, Material, Problem, System

Array = NDArray[np.float64]
HALVES = 12
# Longer side up to which errors are drawn at full size; of larger pictures on coarser pixels.
DRAWN_PX = 128
# A pixel has two slopes and brings one unknown: half of what a light's own residual was bent by.
UNKNOWNS_PER_SLOPE = np.float32(0.5)


def block_px(shape: tuple[int, int]) -> int:
    """Side of the blocks of pixels on which errors of pictures of this shape are drawn."""
    return max(1, -(-max(shape) // DRAWN_PX))


def balanced_signs(lights: int, draws: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(draws, lights) of ±1, rows orthogonal over as many lights as a power of two."""
    size = 1 << int(np.ceil(np.log2(max(lights, draws + 1))))
    rows = rng.permutation(np.arange(1, size))[:draws]
    columns = rng.permutation(size)[:lights]
    return np.ascontiguousarray(hadamard(size)[np.ix_(rows, columns)], np.float32)


@njit(**PER_PIXEL)
def signed_sums(work, n, pw, signs, signed, r, c, out):
    """Add a pixel's signed gradients to block (r, c) of `out`; `signed` (N,) is for its use."""
    for d in range(len(signs)):
        for k in range(n):
            signed[k] = signs[d, k] * work[RESIDUAL + k]
        for i in range(3):
            column = work[BY_U + i * STRIDE : BY_U + i * STRIDE + n]
            acc = np.float32(0.0)
            for k in range(n):
                acc += column[k] * signed[k]
            out[d, i, r, c] += acc * pw


@njit(**JIT)
def signed_rows(rows, u, level, finish, loss, factor, signs, sums, per_pixel, out):
    """Signed gradients of image rows [first, last), with what `kernel.system_rows` gives of them.

    Parameters
    ----------
    factor : pixels along a block's side; rows begin with a block
    signs : (R, N)
    sums, per_pixel : (9, H, W) and (H, W) out, as of `kernel.system_rows`
    out : (R, 3, h, w) out: gradients by (log-depth, two slopes), summed over blocks
    """
    first, last = rows
    _, width_px, n = level.code.shape
    height, width = out.shape[2:]
    signed = np.empty(n, np.float32)
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    kind, limit = loss.kind, np.float32(loss.width)
    weight, model, epsilon = level.weight, finish.model, np.float32(level.epsilon)
    for r in range(first, last):
        for c in range(width_px):
            pw = weight[r, c]
            if pw == 0.0:
                for i in range(N_SUMS):
                    sums[i, r, c] = 0.0
                per_pixel[r, c] = 0.0
                continue
            prepare(r, c, u, level, finish, space)
            pixel_rows(geometry, tangent, n, epsilon, mat, model, kind, limit, work)
            pixel_sums(work, n, pw, r, c, sums, per_pixel)
            rr, cc = r // factor, c // factor
            if rr >= height or cc >= width:
                continue
            pp, pq, qq = sums[6, r, c] / pw, sums[7, r, c] / pw, sums[8, r, c] / pw
            det = pp * qq - pq * pq + np.float32(1e-6) * (pp + qq) * (pp + qq) + np.float32(1e-20)
            # What a light's residual would be had the pixel been fitted without it.
            for k in range(n):
                p, q = work[BY_P + k], work[BY_Q + k]
                leverage = (p * p * qq - np.float32(2.0) * p * q * pq + q * q * pp) / det
                work[RESIDUAL + k] /= np.float32(1.0) - UNKNOWNS_PER_SLOPE * leverage
            signed_sums(work, n, pw, signs, signed, rr, cc, out)


def signed_gradients(
    problem: Problem, u: Array, material: Material, loss: Loss, draws: int = HALVES
) -> tuple[System, NDArray[np.float32]]:
    """What an evaluation gives, and gradients of the fit with the lights' shares signed.

    Returns
    -------
    `System` without the material; (draws, 3, h, w) by (log-depth, two slopes), means over blocks
    of `block_px` pixels
    """
    factor = block_px(problem.shape)
    height, width = problem.shape
    count = len(problem.pictures)
    signs = balanced_signs(count, draws, np.random.default_rng(1))
    sums = np.empty((N_SUMS, height, width), np.float32)
    per_pixel = np.empty((height, width), np.float32)
    out = np.zeros((draws, 3, height // factor, width // factor), np.float32)
    given = problem.inputs(material, loss)
    blocks = height // factor
    edges = np.linspace(0, blocks, min(blocks, 4 * problem.threads) + 1).astype(int) * factor
    edges[-1] = height

    def rows(band: tuple[int, int]) -> None:
        signed_rows(band, u, *given, factor, signs, sums, per_pixel, out)

    problem.mapped(rows, list(pairwise(edges.tolist())))
    out /= np.float32(factor**2)
    none = np.zeros(N_MATERIAL)
    return System(per_pixel, sums, None, none, np.outer(none, none)), out
