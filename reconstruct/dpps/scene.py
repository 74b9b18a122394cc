"""Fast pictures of a height field under near lights, for training.

Reflectance is that of `reconstruct.optics.microfacet`; near lights have cos^m lobes. Cast shadows
are approximate, soft and by a horizon map; what the part reflects onto itself is added by
`reconstruct.dpps.bounces`. Layout: pixels × lights, float32; one thread, since samples are made in
processes of their own.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,assignment"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.optics.microfacet import (
    BECKMANN,
    GGX,
    conductor_fresnel,
    slope_density,
    smith_g1,
)

F32 = NDArray[np.float32]
AZIMUTHS = 32


class Lamps(NamedTuple):
    """N lights: (N, 3) position and axis, (N,) lobe and power, and the radius of all, mm."""

    position: F32
    axis: F32
    lobe: F32
    power: F32
    radius: float


class Finish(NamedTuple):
    """What reflects.

    Attributes
    ----------
    alpha : (H, W) width of the lobe
    ratio, grain : anisotropy αx/αy, and the azimuth along which it lies
    beckmann : the lobe's kind, else GGX
    complex_index : n and k of the metal
    diffuse : (H, W) Lambertian share
    """

    alpha: F32
    ratio: float
    grain: float
    beckmann: bool
    complex_index: tuple[np.float32, np.float32]
    diffuse: F32


@njit(fastmath=True, error_model="numpy", cache=True)
def horizon(points: F32) -> F32:
    """(H, W, 32) tangent of the horizon's elevation towards each azimuth (x right, y up).

    Azimuths are even in the diamond angle y / (|x| + |y|), which needs no arctangent. One step
    along one azimuth is the same shift for all pixels, so that rows are compared as a whole.
    """
    height, width, _ = points.shape
    x, y, z = points[..., 0].copy(), points[..., 1].copy(), points[..., 2].copy()
    best = np.empty((height, width), dtype=np.float32)
    out = np.empty((height, width, AZIMUTHS), dtype=np.float32)
    reach = max(height, width)
    for j in range(AZIMUTHS):
        turn = 4.0 * j / AZIMUTHS
        dx = 1 - turn if turn <= 2 else turn - 3
        dy = turn if turn <= 1 else (2 - turn if turn <= 3 else turn - 4)
        long = math.sqrt(dx * dx + dy * dy)
        best[:] = np.float32(-10.0)
        step = 1.0
        while step < reach:
            right = math.floor(dx / long * step + 0.5)
            down = math.floor(-dy / long * step + 0.5)
            first, last = max(0, -right), min(width, width - right)
            for row in range(max(0, -down), min(height, height - down)):
                x0, y0, z0, top = x[row], y[row], z[row], best[row]
                x1, y1, z1 = x[row + down], y[row + down], z[row + down]
                for c in range(first, last):
                    ex, ey = x1[c + right] - x0[c], y1[c + right] - y0[c]
                    square = ex * ex + ey * ey + np.float32(1e-12)
                    top[c] = max(top[c], (z1[c + right] - z0[c]) / math.sqrt(square))
            step = step * 1.25 + 0.4
        out[..., j] = best
    return out


@njit(fastmath=True, error_model="numpy", inline="always")
def reflected(normal, tangent, light, view, nv, ax2, ay2, kind, index, kd):
    """f_r times max(0, n·l), for n·v > 0 given as `nv`; without branches over lights."""
    nx, ny, nz = normal
    tx, ty, tz = tangent
    lx, ly, lz = light
    vx, vy, vz = view
    zero, one = np.float32(0.0), np.float32(1.0)
    nl = nx * lx + ny * ly + nz * lz
    # The half vector is left unnormalised; its length gives v·h = |l + v| / 2.
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    h2 = max(hx * hx + hy * hy + hz * hz, np.float32(1e-12))
    nh2 = max((nl + nv) * (nl + nv), np.float32(1e-12))
    lt, vt = tx * lx + ty * ly + tz * lz, tx * vx + ty * vy + tz * vz
    ht2 = (lt + vt) * (lt + vt)
    across = max(h2 - nh2 - ht2, zero)
    density = slope_density(kind, (ht2 / ax2 + across / ay2) / nh2, nh2 / h2)
    to_light = ax2 * lt * lt + ay2 * max(one - nl * nl - lt * lt, zero)
    to_view = ax2 * vt * vt + ay2 * max(one - nv * nv - vt * vt, zero)
    masking = smith_g1(kind, nl, to_light) * smith_g1(kind, nv, to_view)
    fresnel = conductor_fresnel(np.float32(0.5) * math.sqrt(h2), index[0], index[1])
    specular = fresnel * density * masking / (np.float32(4.0) * nv * math.sqrt(ax2 * ay2))
    return specular + kd * nl * np.float32(1 / math.pi) if nl > zero else zero


@njit(fastmath=True, error_model="numpy", inline="always")
def view_of(centre, px, py, pz):
    vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
    inv = np.float32(1.0) / math.sqrt(vx * vx + vy * vy + vz * vz)
    return vx * inv, vy * inv, vz * inv


@njit(fastmath=True, error_model="numpy", cache=True)
def render(
    points: F32, normals: F32, lit: NDArray[np.bool_], centre: F32, lamps: Lamps, finish: Finish,
    shade: F32, margin: int,
) -> tuple[F32, F32]:  # fmt: skip
    """(H, W, N) radiance, and the lights' strength at each pixel: power times lobe and visibility
    over the square of the distance.

    `lit` marks the part (elsewhere black), `shade` is the horizon map. Radiance is left out (zero)
    in a frame of `margin` pixels.
    """
    position, axis, lobe, power, radius = lamps
    alpha, ratio, grain, beckmann, index, diffuse = finish
    height, width, _ = points.shape
    count = position.shape[0]
    one, zero = np.float32(1.0), np.float32(0.0)
    direct = np.empty((height, width, count), dtype=np.float32)
    irradiance = np.empty((height, width, count), dtype=np.float32)
    gx, gy = np.float32(math.cos(grain)), np.float32(math.sin(grain))
    root = np.float32(math.sqrt(ratio))
    disc = np.float32(radius)
    kind = BECKMANN if beckmann else GGX
    # one light after the other in memory, as the loops over lights want it
    qx, qy, qz = position[:, 0].copy(), position[:, 1].copy(), position[:, 2].copy()
    sx, sy, sz = axis[:, 0].copy(), axis[:, 1].copy(), axis[:, 2].copy()
    halves = np.empty(count, dtype=np.int64)  # cos^m as a power of √cos
    alike = True
    for k in range(count):
        halves[k] = round(2 * lobe[k])
        alike = alike and lobe[k] == lobe[0] and 2 * lobe[k] == halves[k]
    lx, ly, lz, near, fall, place = np.empty((6, count), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            here, strength = direct[row, column], irradiance[row, column]
            if not lit[row, column]:
                here[:] = zero
                strength[:] = zero
                continue
            px, py, pz = points[row, column, 0], points[row, column, 1], points[row, column, 2]
            nx, ny, nz = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
            vx, vy, vz = view_of(centre, px, py, pz)
            nv = nx * vx + ny * vy + nz * vz
            for k in range(count):
                x, y, z = qx[k] - px, qy[k] - py, qz[k] - pz
                inv = one / math.sqrt(x * x + y * y + z * z)
                x *= inv
                y *= inv
                z *= inv
                lx[k], ly[k], lz[k], near[k] = x, y, z, inv
                fall[k] = max(-(x * sx[k] + y * sy[k] + z * sz[k]), zero)
                strength[k] = power[k] * inv * inv
                p = y / (abs(x) + abs(y) + np.float32(1e-9))  # the diamond angle
                p = np.float32(2.0) - p if x < zero else p
                p = p + np.float32(4.0) if p < zero else p
                place[k] = p * np.float32(AZIMUTHS / 4)
            if alike and halves[0] == 2:
                for k in range(count):
                    strength[k] *= fall[k]
            elif alike:
                for k in range(count):
                    fall[k] = math.sqrt(fall[k])
                for _ in range(halves[0]):
                    for k in range(count):
                        strength[k] *= fall[k]
            else:
                for k in range(count):
                    strength[k] *= fall[k] ** lobe[k]
            tangents = shade[row, column]
            for k in range(count):
                j = np.int32(place[k])
                t = place[k] - np.float32(j)
                place[k] = tangents[j % AZIMUTHS] * (one - t) + tangents[(j + 1) % AZIMUTHS] * t
            for k in range(count):
                # how far the LED stands over the horizon, in radii of its disc
                tangent, run = place[k], math.sqrt(lx[k] * lx[k] + ly[k] * ly[k])
                gap = (lz[k] - tangent * run) / math.sqrt(one + tangent * tangent)
                soft = disc * near[k] * np.float32(2.0) + np.float32(0.01)
                strength[k] *= min(max(gap / soft + np.float32(0.5), zero), one)
            inner = margin <= row < height - margin and margin <= column < width - margin
            if nv <= np.float32(1e-3) or not inner:
                here[:] = zero
                continue
            # the grain's direction within the surface
            along = gx * nx + gy * ny
            tx, ty, tz = gx - along * nx, gy - along * ny, -along * nz
            inv = one / math.sqrt(tx * tx + ty * ty + tz * tz + np.float32(1e-9))
            tx *= inv
            ty *= inv
            tz *= inv
            ax, ay = alpha[row, column] * root, alpha[row, column] / root
            kd = diffuse[row, column]
            for k in range(count):
                # an LED's disc widens the lobe: alpha² + (half-vector spread)²
                spread = np.float32(0.25) * disc * near[k]
                here[k] = strength[k] * reflected(
                    (nx, ny, nz), (tx, ty, tz), (lx[k], ly[k], lz[k]), (vx, vy, vz), nv,
                    ax * ax + spread * spread, ay * ay + spread * spread, kind, index, kd,
                )  # fmt: skip
    return direct, irradiance


@njit(fastmath=True, error_model="numpy", cache=True)
def blur(image: F32, centre: float, side: float) -> F32:
    """Separable 3-tap lens blur of (H, W, N); weights centre + 2 side = 1, edges repeated."""
    height, width, count = image.shape
    middle = np.empty_like(image)
    out = np.empty_like(image)
    a, b = np.float32(centre), np.float32(side)
    for row in range(height):
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            for k in range(count):
                middle[row, column, k] = a * image[row, column, k] + b * (
                    image[row, left, k] + image[row, right, k]
                )
    for row in range(height):
        up, down = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            for k in range(count):
                out[row, column, k] = a * middle[row, column, k] + b * (
                    middle[up, column, k] + middle[down, column, k]
                )
    return out
