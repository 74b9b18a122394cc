"""What the network sees: moments of the half vector, the same for any number and order of lights.

Each light k of a pixel stands for one half vector h_k, the normal a mirror would need there. Its
stereographic image a = (h_x, h_y) / (1 + h_z) is averaged under the weights w^p, w being the
radiance divided by the irradiance that the calibrated light would give, for several powers p:
small powers see the wide lobe and the diffuse part, large ones the highlight. Mean and covariance
of a, a few ratios of power means and the level make the channels. Coordinates are those of the
camera (x right, y up, z towards it), so that any rig and any pose of the camera look alike.
"""

# mypy: disable-error-code="untyped-decorator,assignment"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

F32 = NDArray[np.float32]

POWERS = (0.0, 0.25, 0.5, 1.0, 1.5, 3.0)
LEVEL = 33  # place of the level among the moments
CHANNELS = 42
UNIT_PX = 64  # the height head's unit: so many pixels' width
ENCODING = "half-vector-moments/1"  # written into weight files; change when channels change

SCALE = np.array([3, 3, 10, 10, 10] * len(POWERS) + [1] * 12, dtype=np.float32)


@njit(fastmath=True, error_model="numpy", parallel=True, cache=True)
def _moments(
    radiance: F32, clipped: NDArray[np.uint8], lit: NDArray[np.bool_], points: F32, centre: F32,
    position: F32, axis: F32, lobe: F32, power: F32, floor: float,
) -> F32:  # fmt: skip
    """(P, 35) raw moments of (P, N) radiance; everything in the camera-aligned frame.

    The loops over lights have no branches, so that they run on vectors of lights.
    """
    pixels, count = radiance.shape
    out = np.zeros((pixels, 35), dtype=np.float32)
    one, zero = np.float32(1.0), np.float32(0.0)
    tiny = np.float32(1e-30)
    floor = np.float32(floor)
    qx, qy, qz = position[:, 0].copy(), position[:, 1].copy(), position[:, 2].copy()
    sx, sy, sz = axis[:, 0].copy(), axis[:, 1].copy(), axis[:, 2].copy()
    lambertian = True  # all lobes 1: no power function
    for k in range(count):
        if lobe[k] != one:
            lambertian = False
    for i in prange(pixels):
        if not lit[i]:
            continue
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
        inv = one / math.sqrt(vx * vx + vy * vy + vz * vz)
        vx *= inv
        vy *= inv
        vz *= inv
        weight = np.empty(count, dtype=np.float32)
        first = np.empty(count, dtype=np.float32)  # half vector, stereographic
        second = np.empty(count, dtype=np.float32)
        fall = np.empty(count, dtype=np.float32)
        here = radiance[i]
        for k in range(count):
            lx, ly, lz = qx[k] - px, qy[k] - py, qz[k] - pz
            inv = one / math.sqrt(lx * lx + ly * ly + lz * lz)
            lx *= inv
            ly *= inv
            lz *= inv
            fall[k] = max(-(lx * sx[k] + ly * sy[k] + lz * sz[k]), np.float32(0.05))
            weight[k] = max(here[k] - floor, zero) / (power[k] * inv * inv)
            hx, hy, hz = vx + lx, vy + ly, vz + lz
            inv = one / (math.sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6))
            # half vectors behind the camera plane do not occur for lights above the part
            inv = inv / max(np.float32(0.2), one + hz * inv)
            first[k] = hx * inv
            second[k] = hy * inv
        if lambertian:
            for k in range(count):
                weight[k] /= fall[k]
        else:
            for k in range(count):
                weight[k] /= fall[k] ** lobe[k]
        top = zero
        for k in range(count):
            top = max(top, weight[k])
        clips = 0
        for k in range(count):
            clips += np.int32(clipped[i, k])
        sums = np.zeros((6, 6), dtype=np.float32)
        for half in range(2):  # three powers at a time: their sums fit into the registers
            t0, t1, t2, t3, t4, t5 = zero, zero, zero, zero, zero, zero
            u0, u1, u2, u3, u4, u5 = zero, zero, zero, zero, zero, zero
            v0, v1, v2, v3, v4, v5 = zero, zero, zero, zero, zero, zero
            for k in range(count):
                w, a, b = weight[k], first[k], second[k]
                if half == 0:
                    y = math.sqrt(math.sqrt(w))
                    x = one
                    z = math.sqrt(w)
                else:
                    x = w
                    y = w * math.sqrt(w)
                    z = w * w * w
                aa, ab, bb = a * a, a * b, b * b
                t0 += x
                t1 += x * a
                t2 += x * b
                t3 += x * aa
                t4 += x * ab
                t5 += x * bb
                u0 += y
                u1 += y * a
                u2 += y * b
                u3 += y * aa
                u4 += y * ab
                u5 += y * bb
                v0 += z
                v1 += z * a
                v2 += z * b
                v3 += z * aa
                v4 += z * ab
                v5 += z * bb
            j = 3 * half
            sums[j] = np.array([t0, t1, t2, t3, t4, t5], dtype=np.float32)
            sums[j + 1] = np.array([u0, u1, u2, u3, u4, u5], dtype=np.float32)
            sums[j + 2] = np.array([v0, v1, v2, v3, v4, v5], dtype=np.float32)
        n = np.float32(count)
        mean = sums[3, 0] / n
        for j in range(6):
            if sums[j, 0] <= tiny:
                continue
            s = one / sums[j, 0]
            a = sums[j, 1] * s
            b = sums[j, 2] * s
            out[i, 5 * j] = a
            out[i, 5 * j + 1] = b
            out[i, 5 * j + 2] = sums[j, 3] * s - a * a
            out[i, 5 * j + 3] = sums[j, 4] * s - a * b
            out[i, 5 * j + 4] = sums[j, 5] * s - b * b
        if mean > tiny:
            root = sums[2, 0] / n
            out[i, 30] = math.log(max(root * root / mean, np.float32(1e-3)))
            out[i, 31] = math.log(max(sums[4, 0] / n, tiny)) - 1.5 * math.log(mean)
            out[i, 32] = math.log(max(top / mean, np.float32(1e-3)))
        out[i, 33] = mean
        out[i, 34] = np.float32(clips) / n
    return out


class Lamps(NamedTuple):
    """Point lights in the camera-aligned frame: (N, 3), (N, 3), (N,) and (N,) arrays.

    Attributes
    ----------
    position : mm
    axis : unit vectors, where they point
    lobe : exponents m of cos^m
    power : relative
    """

    position: NDArray[Any]
    axis: NDArray[Any]
    lobe: NDArray[Any]
    power: NDArray[Any]


def moments(
    radiance: F32,
    clipped: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    points: NDArray[Any],
    centre: NDArray[Any],
    lamps: Lamps,
    floor: float = 0.0,
) -> F32:
    """What every pixel's lights say for themselves, in the unit of the radiance.

    Parameters
    ----------
    radiance : (H, W, N) float32, linear, any common scale
    clipped : (H, W, N) uint8, 1 where the radiance is only a lower bound
    mask : (H, W) where the part is
    points : (H, W, 3) mm, where each ray meets the assumed base surface, camera-aligned frame
    centre : (3,) optical centre, same frame
    lamps : the lights, same frame
    floor : radiance below this is noise

    Returns
    -------
    (H, W, 35) float32
    """
    height, width, count = radiance.shape
    raw = _moments(
        np.ascontiguousarray(radiance, dtype=np.float32).reshape(-1, count),
        np.ascontiguousarray(clipped).reshape(-1, count),
        np.ascontiguousarray(mask).ravel(),
        np.ascontiguousarray(points, dtype=np.float32).reshape(-1, 3),
        np.ascontiguousarray(centre, dtype=np.float32),
        *(np.ascontiguousarray(each, dtype=np.float32) for each in lamps),
        np.float32(floor),
    )
    return np.asarray(raw.reshape(height, width, 35))


def median_level(raw: F32, mask: NDArray[np.bool_]) -> float:
    """Median over the lit pixels of the level that `moments` found; 1 where nothing is lit."""
    level = raw[..., LEVEL]
    lit = mask & (level > 0)
    return float(np.median(level[lit])) if lit.any() else 1.0


def encode(
    raw: F32,
    mask: NDArray[np.bool_],
    view: NDArray[Any],
    base_slope: NDArray[Any],
    lights: int,
    reference: float | None = None,
) -> F32:
    """Channels for the network.

    Parameters
    ----------
    raw : (H, W, 35) `moments` of the pixels
    mask : (H, W) where the part is
    view : (H, W, 3) from the base surface towards the optical centre, any length
    base_slope : (H, W, 2) derivative of log depth of the base along columns and rows, times
        64 px, over the pixel's angle times 64 (dimensionless, about the slope)
    lights : how many there are
    reference : level that counts as 1; None for the median of these pixels

    Returns
    -------
    (42, H, W) float32, zero outside the mask; in memory a pixel's channels lie side by side
    """
    height, width = mask.shape
    level = raw[..., LEVEL]
    if reference is None:
        reference = median_level(raw, mask)
    out = np.zeros((height, width, CHANNELS), dtype=np.float32)
    out[..., :35] = raw
    out[..., 30:33] = np.clip(out[..., 30:33], -6, 8) * 0.5
    out[..., LEVEL] = np.clip(np.log(np.maximum(level, 1e-30) / reference), -6, 6)
    towards = view.astype(np.float32)
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    out[..., 35:37] = 3 * towards[..., :2]
    out[..., 37:39] = np.clip(base_slope, -5, 5)
    out[..., 39] = 4.0 / math.sqrt(lights)
    out[..., 40] = level <= 0
    out[..., 41] = 1.0
    out *= SCALE
    out[~mask] = 0
    return np.moveaxis(out, -1, 0)


def slope_of_log_depth(log_depth: NDArray[Any], pixel_angle: float) -> NDArray[np.float32]:
    """(H, W, 2) central differences of log depth along columns and rows per pixel angle."""
    rows, columns = np.gradient(log_depth)
    return (np.stack([columns, rows], axis=-1) / pixel_angle).astype(np.float32)
