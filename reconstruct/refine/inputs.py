"""What `reconstruct.refine.pixel` takes for one pixel: geometry, light, target, material."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from reconstruct.refine.pixel import (
    CLIPPED,
    CLIPPED_BIT,
    INDIRECT,
    INDIRECT_P,
    INDIRECT_Q,
    JIT,
    LIGHT_ROWS,
    LINEAR,
    N_MATERIAL,
    SEEN,
    SHADOW_BIT,
    STRIDE,
    TARGET,
    WORK,
    irradiance,
    sample,
)


@njit(**JIT)
def scratch(lights):
    """What `prepare` fills (geometry64, geometry, tangent, jac, mat, work), the lights in it."""
    work = np.zeros(WORK, np.float32)
    for i in range(LIGHT_ROWS):
        for k in range(lights.shape[1]):
            work[i * STRIDE + k] = lights[i, k]
    return (
        np.empty((6, 3)),
        np.empty((6, 3), np.float32),
        np.empty(3, np.float32),
        np.empty(4),
        np.empty(N_MATERIAL, np.float32),
        work,
    )


@njit(**JIT)
def pixel_geometry(u, r, c, x, y, jacobian, rotation, centre, geometry):
    """Point, normal and their derivatives of pixel (r, c) into `geometry` (7, 3), world frame.

    Rows: point, unit normal, ∂n/∂p, ∂n/∂q, ∂P/∂u, unit vector to the camera, spare.
    `u` is log-depth at pixel corners; the Jacobian (4,) takes pixel slopes to normalised ones.
    """
    u00, u01, u10, u11 = u[r, c], u[r, c + 1], u[r + 1, c], u[r + 1, c + 1]
    mean = 0.25 * (u00 + u01 + u10 + u11)
    uc = 0.5 * ((u01 - u00) + (u11 - u10))
    ur = 0.5 * ((u10 - u00) + (u11 - u01))
    p = uc * jacobian[0] + ur * jacobian[1]
    q = uc * jacobian[2] + ur * jacobian[3]
    depth = math.exp(mean)
    mz = -(1.0 + x * p + y * q)
    length = math.sqrt(p * p + q * q + mz * mz)
    n0, n1, n2 = p / length, q / length, mz / length
    # ∂m/∂p = (1, 0, −x), ∂m/∂q = (0, 1, −y), projected off the normal
    sp = n0 - x * n2
    sq = n1 - y * n2
    for i in range(3):
        r0, r1, r2 = rotation[i, 0], rotation[i, 1], rotation[i, 2]
        ray = r0 * x + r1 * y + r2
        geometry[0, i] = centre[i] + depth * ray
        geometry[4, i] = depth * ray
        geometry[5, i] = -ray / math.sqrt(x * x + y * y + 1.0)
        n = r0 * n0 + r1 * n1 + r2 * n2
        geometry[1, i] = n
        geometry[2, i] = (r0 - r2 * x - n * sp) / length
        geometry[3, i] = (r1 - r2 * y - n * sq) / length
    return mean, p, q


@njit(**JIT)
def tangent_at(kind, angle, cx, cy, point, out):
    """Direction of the brushing marks: straight at an angle, or circles about (cx, cy) mm."""
    out[2] = np.float32(0.0)
    if kind == 1:
        x = point[0] - cx
        y = point[1] - cy
        length = math.sqrt(x * x + y * y) + 1e-6
        out[0] = -y / length
        out[1] = x / length
    else:
        out[0] = math.cos(angle)
        out[1] = math.sin(angle)


@njit(**JIT)
def indirect_at(traced, p, q, n, work):
    """Indirect light at the slopes (p, q) and its derivatives from `Problem.traced` of a pixel."""
    zero, one = np.float32(0.0), np.float32(1.0)
    p0, q0 = traced[3 * n], traced[3 * n + 1]
    reach = LINEAR * (one + p0 * p0 + q0 * q0)
    farthest = max(max(abs(p - p0), abs(q - q0)), np.float32(1e-9))
    held = min(one, reach / farthest)
    dp, dq = (p - p0) * held, (q - q0) * held
    for k in range(n):
        value = traced[k] + dp * traced[n + k] + dq * traced[2 * n + k]
        lit = one if value > zero else zero
        work[INDIRECT + k] = value * lit
        work[INDIRECT_P + k] = traced[n + k] * lit
        work[INDIRECT_Q + k] = traced[2 * n + k] * lit


@njit(**JIT)
def prepare(
    r, c, u, xy, jacobians, rotation, centre, flat, flat_step, indirect, indirect_step, obs, scale,
    material, brush, local, geometry64, geometry, tangent, jac, mat, work,
):  # fmt: skip
    """Geometry, light, target and material of pixel (r, c) for `pixel_rows`; see `system_rows`."""
    n = obs.shape[2]
    whole = jacobians.shape[1] > 1
    for i in range(4):
        jac[i] = jacobians[i, r, c] if whole else jacobians[i, 0, 0]
    _, p, q = pixel_geometry(u, r, c, xy[0, r, c], xy[1, r, c], jac, rotation, centre, geometry64)
    for i in range(6):
        for j in range(3):
            geometry[i, j] = geometry64[i, j]
    tangent_at(int(brush[0]), brush[1], brush[2], brush[3], geometry64[0], tangent)
    irradiance(
        geometry[0, 0], geometry[0, 1], geometry[0, 2], n, flat,
        np.float32(r), np.float32(c), np.float32(flat_step), work,
    )  # fmt: skip
    if indirect.shape[2] > n:
        indirect_at(indirect[r, c], np.float32(p), np.float32(q), n, work)
    elif indirect.shape[0] > 1:
        sample(indirect, np.float32(r), np.float32(c), np.float32(indirect_step), INDIRECT, work)
    for k in range(n):
        code = obs[r, c, k]
        work[TARGET + k] = np.float32(code >> 2) * np.float32(scale)
        work[SEEN + k] = np.float32(1 - ((code & SHADOW_BIT) >> 1))
        work[CLIPPED + k] = np.float32(code & CLIPPED_BIT)
    for i in range(N_MATERIAL):
        mat[i] = material[i]
    if local.shape[1] > 1:
        mat[2] += local[0, r, c]
        mat[4] += local[1, r, c]
