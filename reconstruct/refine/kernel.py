"""The numba kernel: sums over lights and pixels of what `reconstruct.refine.pixel` gives.

For the rows of an image: the pixel's gradient and 3×3 Gauss-Newton matrix with the material's
products (`system_rows`), rendered pictures (`render_rows`), and normal equations of the lens's blur
(`lens_rows`) and of a pixel's own material (`local_rows`). Nothing per pixel-light is kept, so
memory does not grow with lights.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from reconstruct.refine.inputs import prepare, scratch
from reconstruct.refine.pixel import (
    BY_AX,
    BY_AY,
    BY_G,
    BY_KD,
    BY_KS,
    BY_OFFSET,
    BY_P,
    BY_Q,
    BY_U,
    HUBER,
    JIT,
    LOSS,
    N_MATERIAL,
    N_SUMS,
    PER_PIXEL,
    RESIDUAL,
    SHADOW_BIT,
    STRIDE,
    pixel_rows,
    radiance_rows,
)


@njit(**PER_PIXEL)
def _dot(work, a, b, n):
    # Slices, since an index with a variable offset would be checked for its sign.
    x = work[a : a + n]
    y = work[b : b + n]
    total = np.float32(0.0)
    for k in range(n):
        total += x[k] * y[k]
    return total


@njit(**PER_PIXEL)
def pixel_sums(work, n, pw, r, c, sums, per_pixel):
    """Loss, gradient and matrix of pixel (r, c), of weight `pw`, by what `pixel_rows` gave."""
    zero = np.float32(0.0)
    by_u, by_p, by_q = work[BY_U : BY_U + n], work[BY_P : BY_P + n], work[BY_Q : BY_Q + n]
    residual, loss = work[RESIDUAL : RESIDUAL + n], work[LOSS : LOSS + n]
    acc, gu, gp, gq = zero, zero, zero, zero
    uu, up, uq, pp, pq, qq = zero, zero, zero, zero, zero, zero
    for k in range(n):  # all sums at once, for each column is then read once
        u, p, q, rest = by_u[k], by_p[k], by_q[k], residual[k]
        acc += loss[k]
        gu += u * rest
        gp += p * rest
        gq += q * rest
        uu += u * u
        up += u * p
        uq += u * q
        pp += p * p
        pq += p * q
        qq += q * q
    per_pixel[r, c] = acc * pw
    sums[0, r, c], sums[1, r, c], sums[2, r, c] = gu * pw, gp * pw, gq * pw
    sums[3, r, c], sums[4, r, c], sums[5, r, c] = uu * pw, up * pw, uq * pw
    sums[6, r, c], sums[7, r, c], sums[8, r, c] = pp * pw, pq * pw, qq * pw


@njit(**PER_PIXEL)
def cross_sums(work, n, pw, column, r, c, j, cross):
    """Products of u, p and q with a column of the material into `cross`; that of the residual."""
    zero = np.float32(0.0)
    own, u, p, q = zero, zero, zero, zero
    for k in range(n):
        by = work[column + k]
        own += by * work[RESIDUAL + k]
        u += by * work[BY_U + k]
        p += by * work[BY_P + k]
        q += by * work[BY_Q + k]
    cross[0, j, r, c], cross[1, j, r, c], cross[2, j, r, c] = u * pw, p * pw, q * pw
    return own * pw


@njit(**JIT)
def pack_shadows(seen, weight, plane):
    """Bits of an (H, W) uint8 plane: pixels of the part that see less than half of a light.

    seen : (K, H, W) share of each of up to eight lights that a pixel sees
    """
    for k in range(len(seen)):
        bit = np.uint8(1 << k)
        for r in range(plane.shape[0]):
            for c in range(plane.shape[1]):
                if seen[k, r, c] < 0.5 and weight[r, c] > 0.0:
                    plane[r, c] |= bit


@njit(**JIT)
def mark_shadows(rows, code, hidden, casting):
    """Set or clear the shadow bits of image rows [first, last) of (H, W, N) codes.

    Parameters
    ----------
    hidden : (H, W, G) planes of `pack_shadows`
    casting : (K,) the light of each of their bits; the others cast no shadow
    """
    keep, shadow = np.uint16(0xFFFF ^ SHADOW_BIT), np.uint16(SHADOW_BIT)
    first, last = rows
    for r in range(first, last):
        for c in range(code.shape[1]):
            own = code[r, c]
            for k in range(len(own)):
                own[k] &= keep
            for place in range(hidden.shape[2]):
                bits = hidden[r, c, place]
                if bits:
                    for k in range(8 * place, min(8 * place + 8, len(casting))):
                        if (bits >> (k & 7)) & 1:
                            own[casting[k]] |= shadow


@njit(**JIT)
def render_rows(rows, u, level, finish, out):
    """Radiance M + B of image rows [first, last) into `out` (last − first, W, N).

    Shadow bits of the codes are heeded, the pictures in them are not.
    """
    first, last = rows
    _, width_px, n = level.code.shape
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    weight, zero = level.weight, np.float32(0.0)
    for r in range(first, last):
        for c in range(width_px):
            if weight[r, c] == 0.0:
                for k in range(n):
                    out[r - first, c, k] = 0.0
                continue
            prepare(r, c, u, level, finish, space)
            radiance_rows(geometry, tangent, n, zero, mat, finish.model, HUBER, zero, work)
            for k in range(n):
                out[r - first, c, k] = work[RESIDUAL + k]


@njit(**JIT)
def lens_rows(rows, u, level, finish, loss, change):
    """Normal equations of a change of all pictures and of the material, slopes eliminated.

    Parameters
    ----------
    change : (last − first, W, N) how the pictures change with the unknown s (their blur, say)

    Returns
    -------
    (K+1)² + K+1 + 1 float64: matrix and right side for (s, material), slopes of each pixel
    projected out (as if they were free: heights that tie them only add knowledge), and the loss
    """
    first, last = rows
    _, width_px, n = level.code.shape
    size = N_MATERIAL + 1
    total = np.zeros(size * size + size + 1)
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    kind, width = loss.kind, np.float32(loss.width)
    weight, model, epsilon = level.weight, finish.model, np.float32(level.epsilon)
    columns = np.array([BY_U, BY_AX, BY_AY, BY_KS, BY_G, BY_KD, BY_OFFSET])
    by_p = np.empty(size)
    by_q = np.empty(size)
    for r in range(first, last):
        for c in range(width_px):
            pw = weight[r, c]
            if pw == 0.0:
                continue
            prepare(r, c, u, level, finish, space)
            pixel_rows(geometry, tangent, n, epsilon, mat, model, kind, width, work)
            # Light added to a picture acts as the offset does; the column of u is free for it.
            acc = np.float32(0.0)
            for k in range(n):
                work[BY_U + k] = work[BY_OFFSET + k] * change[r - first, c, k]
                acc += work[LOSS + k]
            total[-1] += acc * pw
            pp = _dot(work, BY_P, BY_P, n) + 1e-12
            pq = _dot(work, BY_P, BY_Q, n)
            qq = _dot(work, BY_Q, BY_Q, n) + 1e-12
            det = pp * qq - pq * pq
            if det < 1e-4 * pp * qq:
                continue
            rp = _dot(work, BY_P, RESIDUAL, n)
            rq = _dot(work, BY_Q, RESIDUAL, n)
            for i in range(size):
                by_p[i] = _dot(work, BY_P, columns[i], n)
                by_q[i] = _dot(work, BY_Q, columns[i], n)
            for i in range(size):
                column = columns[i]
                sp = (qq * by_p[i] - pq * by_q[i]) / det
                sq = (pp * by_q[i] - pq * by_p[i]) / det
                total[size * size + i] -= pw * (_dot(work, column, RESIDUAL, n) - sp * rp - sq * rq)
                for j in range(i, size):
                    product = _dot(work, column, columns[j], n) - sp * by_p[j] - sq * by_q[j]
                    total[i * size + j] += pw * product
    for i in range(size):
        for j in range(i):
            total[i * size + j] = total[j * size + i]
    return total


@njit(**JIT)
def local_rows(rows, u, level, finish, loss, terms, per_pixel):
    """Normal equations of each pixel's own ln(ks), kd and ln(α), its slopes eliminated.

    See `system_rows` for what is not said here.

    Parameters
    ----------
    terms : (9, H, W) out: right sides of ln(ks), kd, ln(α); the matrix's upper triangle by rows
    per_pixel : (H, W) out: the loss
    """
    first, last = rows
    _, width_px, n = level.code.shape
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    kind, width = loss.kind, np.float32(loss.width)
    weight, model, epsilon = level.weight, finish.model, np.float32(level.epsilon)
    own = (BY_KS, BY_KD, BY_AX)
    for r in range(first, last):
        for c in range(width_px):
            pw = weight[r, c]
            per_pixel[r, c] = 0.0
            for i in range(9):
                terms[i, r, c] = 0.0
            if pw == 0.0:
                continue
            prepare(r, c, u, level, finish, space)
            pixel_rows(geometry, tangent, n, epsilon, mat, model, kind, width, work)
            acc = np.float32(0.0)
            for k in range(n):
                acc += work[LOSS + k]
                work[BY_AX + k] += work[BY_AY + k]  # both widths by one factor
            per_pixel[r, c] = acc * pw
            pp = _dot(work, BY_P, BY_P, n) * np.float32(1.001) + np.float32(1e-12)
            pq = _dot(work, BY_P, BY_Q, n)
            qq = _dot(work, BY_Q, BY_Q, n) * np.float32(1.001) + np.float32(1e-12)
            det = pp * qq - pq * pq
            rp = _dot(work, BY_P, RESIDUAL, n)
            rq = _dot(work, BY_Q, RESIDUAL, n)
            at = 3
            for i in range(3):
                ip = _dot(work, BY_P, own[i], n)
                iq = _dot(work, BY_Q, own[i], n)
                by_p = (qq * ip - pq * iq) / det
                by_q = (pp * iq - pq * ip) / det
                terms[i, r, c] = pw * (by_p * rp + by_q * rq - _dot(work, own[i], RESIDUAL, n))
                for j in range(i, 3):
                    jp = _dot(work, BY_P, own[j], n)
                    jq = _dot(work, BY_Q, own[j], n)
                    shared = _dot(work, own[i], own[j], n)
                    terms[at, r, c] = pw * (shared - by_p * jp - by_q * jq)
                    at += 1


@njit(**JIT)
def system_rows(rows, u, level, finish, loss, sums, cross, per_pixel, with_cross):
    """Gradient, Gauss-Newton matrix and material products of image rows [first, last).

    Parameters
    ----------
    rows : first and last
    u : (H+1, W+1) float64 log-depth at pixel corners
    level, finish, loss : `inputs.Level`, `inputs.Finish`, `inputs.Robust`
    sums : (9, H, W) out: g_u g_p g_q, uu up uq pp pq qq
    cross : (3, K, H, W) out, if with_cross: products of (u, p, q) with the material
    per_pixel : (H, W) out: sum of the robust loss over the lights

    Returns
    -------
    (K + K²,) float64: material gradient and matrix summed over these rows
    """
    first, last = rows
    _, width_px, n = level.code.shape
    k_material = N_MATERIAL
    total = np.zeros(k_material + k_material * k_material)
    space = scratch(level.lights)
    _, geometry, tangent, _, mat, work = space
    kind, width = loss.kind, np.float32(loss.width)
    weight, model, epsilon = level.weight, finish.model, np.float32(level.epsilon)
    entries = np.arange(k_material)
    if finish.vector[0] == finish.vector[1]:  # then BY_AX is by both widths, and BY_AY is empty
        entries = np.array([0, 2, 3, 4, 5])
    for r in range(first, last):
        for c in range(width_px):
            if weight[r, c] == 0.0:
                for i in range(N_SUMS):
                    sums[i, r, c] = 0.0
                per_pixel[r, c] = 0.0
                if with_cross:
                    for i in range(3):
                        for j in range(k_material):
                            cross[i, j, r, c] = 0.0
                continue
            prepare(r, c, u, level, finish, space)
            pixel_rows(geometry, tangent, n, epsilon, mat, model, kind, width, work)
            pw = weight[r, c]
            pixel_sums(work, n, pw, r, c, sums, per_pixel)
            if with_cross:
                total[0] += cross_sums(work, n, pw, BY_AX, r, c, 0, cross)
                total[1] += cross_sums(work, n, pw, BY_AY, r, c, 1, cross)
                total[2] += cross_sums(work, n, pw, BY_KS, r, c, 2, cross)
                total[3] += cross_sums(work, n, pw, BY_G, r, c, 3, cross)
                total[4] += cross_sums(work, n, pw, BY_KD, r, c, 4, cross)
                total[5] += cross_sums(work, n, pw, BY_OFFSET, r, c, 5, cross)
                for at in range(len(entries)):
                    j = entries[at]
                    for i in entries[at:]:
                        product = _dot(work, BY_AX + i * STRIDE, BY_AX + j * STRIDE, n)
                        total[k_material + j * k_material + i] += product * pw
    for j in range(k_material):
        for i in range(j):
            total[k_material + j * k_material + i] = total[k_material + i * k_material + j]
    return total
