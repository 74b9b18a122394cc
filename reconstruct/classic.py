"""Baselines, done properly: near-light Lambertian least squares and the weighted half vector.

Both look at one pixel at a time for its normal, integrate, and repeat at the new heights, since
near lights shine from another direction and distance on a surface that lies elsewhere.
"""

from __future__ import annotations

import math
import time
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.integrate import (
    at_mean_height,
    height_of,
    image_coordinates,
    integrate_normals,
    log_depth_at,
    normals_of,
)
from reconstruct.methods import Options
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Surface

_JIT = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}


@njit(**_JIT)
def _beam(lights, k, px, py, pz):
    """Unit vector from a place to a light, and the irradiance across it."""
    lx, ly, lz = lights[0, k] - px, lights[1, k] - py, lights[2, k] - pz
    d2 = lx * lx + ly * ly + lz * lz
    il = 1.0 / math.sqrt(d2)
    psi = -(lx * lights[3, k] + ly * lights[4, k] + lz * lights[5, k]) * il
    return lx * il, ly * il, lz * il, lights[6, k] * max(psi, 0.05) ** lights[7, k] / d2


@njit(**_JIT)
def _half_vector(radiance, points, centre, lights, power, normals, weights):
    """Mean of the half vectors under (radiance / irradiance)^power, and the trust in it."""
    n, height, width = radiance.shape
    for r in range(height):
        for c in range(width):
            px, py, pz = points[r, c, 0], points[r, c, 1], points[r, c, 2]
            vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
            iv = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
            sx = sy = sz = 0.0
            for k in range(n):
                value = radiance[k, r, c]
                if value <= 0:
                    continue
                lx, ly, lz, e = _beam(lights, k, px, py, pz)
                hx, hy, hz = lx + vx * iv, ly + vy * iv, lz + vz * iv
                ih = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz)
                w = (value / e) ** power
                sx += w * hx * ih
                sy += w * hy * ih
                sz += w * hz * ih
            length = math.sqrt(sx * sx + sy * sy + sz * sz)
            if length > 0:
                normals[r, c, 0] = sx / length
                normals[r, c, 1] = sy / length
                normals[r, c, 2] = sz / length
            else:
                normals[r, c, 0] = normals[r, c, 1] = normals[r, c, 2] = math.nan
            weights[r, c] = 1.0 if length > 0 else 0.0


@njit(**_JIT)
def _lambert(radiance, clipped, points, lights, dark, rounds, normals, weights):
    """Albedo times normal by re-weighted least squares; shadows and clipped pixels are out."""
    n, height, width = radiance.shape
    rows = np.empty((n, 3))
    value = np.empty(n)
    weight = np.empty(n)
    for r in range(height):
        for c in range(width):
            px, py, pz = points[r, c, 0], points[r, c, 1], points[r, c, 2]
            used = 0
            top = 0.0
            for k in range(n):
                rows[k, 0], rows[k, 1], rows[k, 2], e = _beam(lights, k, px, py, pz)
                # divided by the irradiance: the model is ρ n·l for all lights alike
                value[k] = radiance[k, r, c] / e
                weight[k] = 0.0 if clipped[k, r, c] or radiance[k, r, c] <= dark else 1.0
                used += 1 if weight[k] > 0 else 0
                top = max(top, value[k])
            b0 = b1 = b2 = 0.0
            for turn in range(rounds):
                a00 = a01 = a02 = a11 = a12 = a22 = y0 = y1 = y2 = 0.0
                scale = 0.0
                if turn > 0:
                    count = 0
                    for k in range(n):
                        if weight[k] > 0:
                            fit = b0 * rows[k, 0] + b1 * rows[k, 1] + b2 * rows[k, 2]
                            scale += abs(value[k] - fit)
                            count += 1
                    scale = scale / max(count, 1) + 1e-9 * top
                for k in range(n):
                    w = weight[k]
                    if w == 0.0:
                        continue
                    if turn > 0:
                        fit = b0 * rows[k, 0] + b1 * rows[k, 1] + b2 * rows[k, 2]
                        t = (value[k] - fit) / scale
                        w = 1.0 / ((1.0 + t * t) * (1.0 + t * t))
                    x0, x1, x2 = rows[k, 0], rows[k, 1], rows[k, 2]
                    a00 += w * x0 * x0
                    a01 += w * x0 * x1
                    a02 += w * x0 * x2
                    a11 += w * x1 * x1
                    a12 += w * x1 * x2
                    a22 += w * x2 * x2
                    y0 += w * x0 * value[k]
                    y1 += w * x1 * value[k]
                    y2 += w * x2 * value[k]
                ridge = 1e-6 * (a00 + a11 + a22) + 1e-30
                a00 += ridge
                a11 += ridge
                a22 += ridge
                c00 = a11 * a22 - a12 * a12
                c01 = a02 * a12 - a01 * a22
                c02 = a01 * a12 - a02 * a11
                det = a00 * c00 + a01 * c01 + a02 * c02
                c11 = a00 * a22 - a02 * a02
                c12 = a01 * a02 - a00 * a12
                c22 = a00 * a11 - a01 * a01
                b0 = (c00 * y0 + c01 * y1 + c02 * y2) / det
                b1 = (c01 * y0 + c11 * y1 + c12 * y2) / det
                b2 = (c02 * y0 + c12 * y1 + c22 * y2) / det
            length = math.sqrt(b0 * b0 + b1 * b1 + b2 * b2)
            good = used >= 3 and length > 0
            for i in range(3):
                b = b0 if i == 0 else (b1 if i == 1 else b2)
                normals[r, c, i] = b / length if good else math.nan
            weights[r, c] = 1.0 if good else 0.0


def _table(lights: Lights) -> NDArray[np.float64]:
    columns = [lights.position_mm, lights.axis, lights.power, lights.lobe]
    return np.ascontiguousarray(np.column_stack(columns).T)


def flattened(
    radiance: NDArray[np.float32], flat: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """(N, H, W) radiance divided by the flat field (`Options.flat`), brought to its pixels."""
    if flat is None:
        return radiance
    height, width = radiance.shape[1:]
    out = np.empty_like(radiance)
    for k, image in enumerate(radiance):
        factor = cv2.resize(flat[..., k], (width, height), interpolation=cv2.INTER_LINEAR)
        out[k] = image / np.maximum(factor, 1e-3)
    return out


def _iterate(
    kind: str, stack: Stack, camera: Camera, lights: Lights, options: Options, rounds: int
) -> Surface:
    started = time.perf_counter()
    height, width = stack.shape
    xy, jacobians = image_coordinates(camera)
    mask = options.mask if options.mask is not None else np.ones(stack.shape, bool)
    u = log_depth_at(options.height_mm, camera)
    normals = np.empty((height, width, 3), np.float32)
    weights = np.empty((height, width), np.float32)
    table = _table(lights)
    radiance = flattened(stack.radiance, options.flat)
    dark = 3.0 * math.sqrt(max(stack.noise_floor, 0.0))
    for _ in range(rounds):
        points = camera.points_at_height(height_of(u, camera, xy)).astype(np.float32)
        if kind == "lambert":
            _lambert(radiance, stack.clipped, points, table, dark, 6, normals, weights)
        else:
            _half_vector(radiance, points, camera.centre_mm, table, 1.5, normals, weights)
        u = integrate_normals(normals, camera, options.height_mm, mask, weights)
    u = at_mean_height(u, options.height_mm, camera, xy, mask)
    return _surface(kind, u, weights > 0, stack, camera, options, started, xy, jacobians)


def _surface(
    kind: str,
    u: NDArray[np.float64],
    known: NDArray[np.bool_],
    stack: Stack,
    camera: Camera,
    options: Options,
    started: float,
    xy: NDArray[np.float32],
    jacobians: NDArray[np.float32],
) -> Surface:
    mask = options.mask if options.mask is not None else np.ones(stack.shape, bool)
    flags = np.zeros(stack.shape, np.uint8)
    flags[~mask] |= np.uint8(Flag.OUTSIDE)
    flags[mask & ~known] |= np.uint8(Flag.UNLIT)
    flags[stack.clipped.mean(axis=0) > 0.5] |= np.uint8(Flag.CLIPPED)
    gone = ~mask | ~known
    z = height_of(u, camera, xy)
    n = normals_of(u, camera, xy, jacobians)
    z[gone] = np.nan
    n[gone] = np.nan
    unknown = np.full(stack.shape, np.nan, np.float32)
    summary: dict[str, Any] = {
        "method": kind,
        "lights": len(stack),
        "height_mm": options.height_mm,
        "height_sigma_mm": options.height_sigma_mm,
        "seconds": {"solve": time.perf_counter() - started},
    }
    return Surface(
        camera, z.astype(np.float32), n.astype(np.float32), unknown, unknown.copy(), flags,
        {}, summary,
    )  # fmt: skip


def lambert(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """Near-light Lambertian photometric stereo (Woodham 1980, with lights at finite distance)."""
    return _iterate("lambert", stack, camera, lights, options, rounds=4)


def half_vector(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """Normal as the intensity-weighted mean half vector: where the highlights are centred."""
    return _iterate("halfvector", stack, camera, lights, options, rounds=3)
