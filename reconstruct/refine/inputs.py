"""What `reconstruct.refine.pixel` takes for one pixel: geometry, light, target, material."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
    PER_PIXEL,
    SEEN,
    SHADOW_BIT,
    STRIDE,
    TARGET,
    TRUST,
    WORK,
    irradiance,
    sample,
)


class Level(NamedTuple):
    """What the kernels read of a level of the fit; of (H, W) pixels and N lights.

    Attributes
    ----------
    xy : (2, H, W) float32 normalised image coordinates
    jacobians : (4, H, W) or (4, 1, 1), from slopes per pixel to slopes per normalised coordinate
    rotation, centre : camera to world, and the optical centre, mm
    lights : (8, N) float32 table of lights
    flat : (gh, gw, N) factors on the irradiance; their cells tile the picture
    traced, traced_step : (gh, gw, N) inter-reflected radiance, and the side of its cells in px; see
        `Problem.traced`
    code, scale, epsilon : (H, W, N) uint16 coded √-pictures; see `reconstruct.refine.data`
    weight : (H, W) float32, 0 outside the mask
    doubt : error of the traced light as a share of it, over twice the noise of the √-pictures
    local : (3, H, W) or (3, 1, 1): each pixel's log-factor on ks, addition to kd, log-factor on α
    """

    xy: Any
    jacobians: Any
    rotation: Any
    centre: Any
    lights: Any
    flat: Any
    traced: Any
    traced_step: float
    code: Any
    scale: float
    epsilon: float
    weight: Any
    doubt: float
    local: Any


class Finish(NamedTuple):
    """A material for the kernels: vector (6,) float32, model, and kind and place of its marks."""

    vector: Any
    model: int
    brush: Any


class Robust(NamedTuple):
    """A robust loss for the kernels."""

    kind: int
    width: float


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


@njit(**PER_PIXEL)
def pixel_geometry(u, r, c, x, y, jacobian, rotation, centre, geometry):
    """Point, normal and their derivatives of pixel (r, c) into `geometry` (6, 3), world frame.

    Rows: point, unit normal, ∂n/∂p, ∂n/∂q, ∂P/∂u, unit vector to the camera.
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


@njit(**PER_PIXEL)
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


@njit(**PER_PIXEL)
def indirect_at(traced, p, q, n, work):
    """Indirect light at the slopes (p, q), its derivatives and, for its trust, it as it was traced.

    From `Problem.traced` of a pixel.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    p0, q0 = traced[3 * n], traced[3 * n + 1]
    reach = LINEAR * (one + p0 * p0 + q0 * q0)
    farthest = max(max(abs(p - p0), abs(q - q0)), np.float32(1e-9))
    held = min(one, reach / farthest)
    dp, dq = (p - p0) * held, (q - q0) * held
    for k in range(n):
        value = traced[k] + dp * traced[n + k] + dq * traced[2 * n + k]
        lit = one if value > zero else zero
        work[TRUST + k] = traced[k]
        work[INDIRECT + k] = value * lit
        work[INDIRECT_P + k] = traced[n + k] * lit
        work[INDIRECT_Q + k] = traced[2 * n + k] * lit


@njit(**PER_PIXEL)
def prepare(r, c, u, level, finish, space):
    """Geometry, light, target and material of pixel (r, c) into `space`, from `scratch`."""
    geometry64, geometry, tangent, jac, mat, work = space
    xy, jacobians, traced, code, brush = (
        level.xy, level.jacobians, level.traced, level.code, finish.brush,
    )  # fmt: skip
    n = code.shape[2]
    tiny, doubt = np.float32(1e-6), np.float32(level.doubt)
    whole = jacobians.shape[1] > 1
    for i in range(4):
        jac[i] = jacobians[i, r, c] if whole else jacobians[i, 0, 0]
    _, p, q = pixel_geometry(
        u, r, c, xy[0, r, c], xy[1, r, c], jac, level.rotation, level.centre, geometry64
    )
    for i in range(6):
        for j in range(3):
            geometry[i, j] = geometry64[i, j]
    tangent_at(int(brush[0]), brush[1], brush[2], brush[3], geometry64[0], tangent)
    irradiance(geometry[0], n, level.flat, r, c, code.shape, work)
    if traced.shape[2] > n:
        indirect_at(traced[r, c], np.float32(p), np.float32(q), n, work)
    else:
        if traced.shape[0] > 1:
            step = np.float32(level.traced_step)
            sample(traced, np.float32(r), np.float32(c), step, step, INDIRECT, work)
        for k in range(n):
            work[TRUST + k] = work[INDIRECT + k]
    for k in range(n):
        bits = code[r, c, k]
        target = np.float32(bits >> 2) * np.float32(level.scale)
        # Noise and the error of the traced light add up. The weight is that of the surface which it
        # was traced at: one that moved would be no part of the gradient, and steps that fit the
        # pictures better would be refused.
        light = work[TRUST + k]
        least = max(max(target * target, light), tiny)
        work[TRUST + k] = least / (least + doubt * doubt * light * light)
        work[TARGET + k] = target
        work[SEEN + k] = np.float32(1 - ((bits & SHADOW_BIT) >> 1))
        work[CLIPPED + k] = np.float32(bits & CLIPPED_BIT)
    for i in range(N_MATERIAL):
        mat[i] = finish.vector[i]
    if level.local.shape[1] > 1:
        mat[2] += level.local[0, r, c]
        mat[4] += level.local[1, r, c]
        mat[0] += level.local[2, r, c]
        mat[1] += level.local[2, r, c]
