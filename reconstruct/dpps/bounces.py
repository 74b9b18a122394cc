"""What a part reflects onto itself, for training pictures: few rays a pixel, cheaply marched.

In a steep and shiny part most of the light that a pixel sends to the camera can come from a
neighbouring flank, twice as much as from the lamp itself; a start that has not met this takes the
mirror image of a wall for a slope.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.dpps.scene import F32, Finish, reflected, view_of
from reconstruct.optics.lobes import drawn_direction, frame_of
from reconstruct.optics.microfacet import BECKMANN, GGX

# Variance of slopes by which the lobes of mirrored places are widened: few rays stand for many.
WIDER = np.float32(0.002)


class Paths(NamedTuple):
    """What is followed: `rays` a pixel, `longest` places on a path, (H, W, 2) uniform `jitter`."""

    jitter: F32
    rays: int
    longest: int


@njit(fastmath=True, error_model="numpy", inline="always")
def _met(points, normals, lit, top, pixel, row, column, dx, dy, dz):
    """The pixel where a ray from a pixel's point meets the surface, or -1, -1; strides grow."""
    height, width, _ = points.shape
    run = math.sqrt(dx * dx + dy * dy)
    if run < np.float32(0.2) and dz > 0:  # no wall is that steep
        return -1, -1
    right, down = dx / run, -dy / run
    climb = dz / run * pixel
    start = points[row, column, 2]
    step = np.float32(1.5)
    while step < width + height:
        c = math.floor(column + right * step + np.float32(0.5))
        r = math.floor(row + down * step + np.float32(0.5))
        if c < 0 or r < 0 or c >= width or r >= height:
            return -1, -1
        z = start + climb * step
        if z < points[r, c, 2]:
            if not lit[r, c]:
                return -1, -1
            # Where the back is met, a pixel's height stood for its neighbourhood: on.
            n = normals[r, c]
            if dx * n[0] + dy * n[1] + dz * n[2] < np.float32(-0.02):
                return r, c
        if climb > 0 and z > top:
            return -1, -1
        step = step * np.float32(1.05) + np.float32(0.3)
    return -1, -1


@njit(fastmath=True, error_model="numpy", cache=True)
def bounced(
    points: F32, normals: F32, lit: NDArray[np.bool_], centre: F32, position: F32, strength: F32,
    finish: Finish, paths: Paths, margin: int,
) -> F32:  # fmt: skip
    """(H − 2 margin, W − 2 margin, N) radiance that comes by one place of the part or more.

    `strength` (H, W, N) is the lights' at each place (see `scene.render`). Rays leave by the
    microfacets alone, alike along and across the grain; where they land all is reflected.
    """
    alpha, _, _, beckmann, index, diffuse = finish
    jitter, rays, longest = paths
    height, width, _ = points.shape
    count = position.shape[0]
    out = np.zeros((height - 2 * margin, width - 2 * margin, count), dtype=np.float32)
    one = np.float32(1.0)
    qx, qy, qz = position[:, 0].copy(), position[:, 1].copy(), position[:, 2].copy()
    east = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    kind = BECKMANN if beckmann else GGX
    share = one / np.float32(rays)
    pixel = points[height // 2, width // 2 + 1, 0] - points[height // 2, width // 2, 0]
    top = points[..., 2].max()
    for row in range(margin, height - margin):
        for column in range(margin, width - margin):
            if not lit[row, column]:
                continue
            here = out[row - margin, column - margin]
            for i in range(rays):
                u1 = (np.float32(i) + jitter[row, column, 0]) * share
                u2 = np.float32(i) * np.float32(0.754877666) + jitter[row, column, 1]
                u2 -= math.floor(u2)
                r, c = row, column
                n = normals[r, c]
                tx, ty, tz, bx, by, bz = frame_of(n, east)
                ox, oy, oz = view_of(centre, points[r, c, 0], points[r, c, 1], points[r, c, 2])
                gain = share
                for _ in range(longest):
                    vz = n[0] * ox + n[1] * oy + n[2] * oz
                    if vz <= np.float32(0.02):
                        break
                    vx, vy = tx * ox + ty * oy + tz * oz, bx * ox + by * oy + bz * oz
                    a = alpha[r, c]
                    lx, ly, lz, weight = drawn_direction(
                        vx, vy, vz, a, a, index[0], index[1], kind, np.float32(u1), np.float32(u2)
                    )
                    gain *= weight
                    if gain < np.float32(0.02) * share:
                        break
                    dx = tx * lx + bx * ly + n[0] * lz
                    dy = ty * lx + by * ly + n[1] * lz
                    dz = tz * lx + bz * ly + n[2] * lz
                    r, c = _met(points, normals, lit, top, pixel, r, c, dx, dy, dz)
                    if r < 0:
                        break
                    n = normals[r, c]
                    tx, ty, tz, bx, by, bz = frame_of(n, east)
                    nv = -(dx * n[0] + dy * n[1] + dz * n[2])
                    px, py, pz = points[r, c, 0], points[r, c, 1], points[r, c, 2]
                    a2 = alpha[r, c] * alpha[r, c] + WIDER
                    kd, seen = diffuse[r, c], strength[r, c]
                    for k in range(count):
                        x, y, z = qx[k] - px, qy[k] - py, qz[k] - pz
                        inv = one / math.sqrt(x * x + y * y + z * z)
                        here[k] += gain * seen[k] * reflected(
                            (n[0], n[1], n[2]), (tx, ty, tz), (x * inv, y * inv, z * inv),
                            (-dx, -dy, -dz), nv, a2, a2, kind, index, kd,
                        )  # fmt: skip
                    ox, oy, oz = -dx, -dy, -dz
                    u1 = u1 * np.float32(37.0) + jitter[r, c, 0]
                    u1 -= math.floor(u1)
                    u2 = u2 * np.float32(41.0) + jitter[r, c, 1]
                    u2 -= math.floor(u2)
    return out
