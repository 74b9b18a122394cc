"""Fast approximate pictures of a height field under near lights, for training.

GGX or Beckmann microfacets (Walter et al. 2007) with Schlick's Fresnel term and Smith's shadowing,
anisotropy, a diffuse share, near lights with cos^m lobes, soft cast shadows by a horizon map, and
one bounce of inter-reflection along sampled mirror facets. Layout: pixels × lights, float32;
one thread, since samples are made in processes of their own.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,assignment"

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
AZIMUTHS = 32


@njit(fastmath=True, cache=True)
def horizon(points: F32) -> F32:
    """(H, W, 32) tangent of the horizon's elevation towards each azimuth (x right, y up).

    Azimuths are even in the diamond angle y / (|x| + |y|), which needs no arctangent.
    """
    height, width, _ = points.shape
    out = np.full((height, width, AZIMUTHS), np.float32(-10.0), dtype=np.float32)
    reach = max(height, width)
    for row in range(height):
        for j in range(AZIMUTHS):
            turn = 4.0 * j / AZIMUTHS
            dx0 = 1 - turn if turn <= 2 else turn - 3
            dy0 = turn if turn <= 1 else (2 - turn if turn <= 3 else turn - 4)
            long = math.sqrt(dx0 * dx0 + dy0 * dy0)
            dc = np.float32(dx0 / long)
            dr = np.float32(-dy0 / long)
            for column in range(width):
                best = np.float32(-10.0)
                step = np.float32(1.0)
                x0, y0, z0 = points[row, column, 0], points[row, column, 1], points[row, column, 2]
                while step < reach:
                    c = int(column + dc * step + np.float32(0.5))
                    r = int(row + dr * step + np.float32(0.5))
                    if c < 0 or r < 0 or c >= width or r >= height:
                        break
                    dx = points[r, c, 0] - x0
                    dy = points[r, c, 1] - y0
                    run = math.sqrt(dx * dx + dy * dy)
                    if run > 0:
                        best = max(best, (points[r, c, 2] - z0) / run)
                    step = step * np.float32(1.25) + np.float32(0.4)
                out[row, column, j] = best
    return out


@njit(fastmath=True, inline="always")
def _brdf(
    nx, ny, nz, tx, ty, tz, lx, ly, lz, vx, vy, vz, ax, ay, beckmann, f0, kd
):  # fmt: skip
    """f_r times max(0, n·l); zero where either direction is below the surface."""
    nl = nx * lx + ny * ly + nz * lz
    nv = nx * vx + ny * vy + nz * vz
    if nl <= np.float32(0.0) or nv <= np.float32(1e-3):
        return np.float32(0.0)
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    inv = np.float32(1.0) / math.sqrt(hx * hx + hy * hy + hz * hz)
    hx *= inv
    hy *= inv
    hz *= inv
    nh = nx * hx + ny * hy + nz * hz
    vh = max(vx * hx + vy * hy + vz * hz, np.float32(0.0))
    th = tx * hx + ty * hy + tz * hz
    bh2 = max(np.float32(1.0) - nh * nh - th * th, np.float32(0.0))
    q = (th * th) / (ax * ax) + bh2 / (ay * ay)
    alpha2 = ax * ay
    nh2 = nh * nh
    if beckmann:
        d = math.exp(-q / nh2) / (np.float32(math.pi) * alpha2 * nh2 * nh2)
    else:
        s = q + nh2
        d = np.float32(1.0) / (np.float32(math.pi) * alpha2 * s * s)
    gl = np.float32(2.0) * nl / (nl + math.sqrt(alpha2 + (np.float32(1.0) - alpha2) * nl * nl))
    gv = np.float32(2.0) * nv / (nv + math.sqrt(alpha2 + (np.float32(1.0) - alpha2) * nv * nv))
    m = np.float32(1.0) - vh
    m2 = m * m
    fresnel = f0 + (np.float32(1.0) - f0) * m2 * m2 * m
    return fresnel * d * gl * gv / (np.float32(4.0) * nv) + kd * nl * np.float32(1 / math.pi)


@njit(fastmath=True, cache=True)
def render(
    points: F32, normals: F32, lit: NDArray[np.bool_], centre: F32, position: F32, axis: F32,
    lobe: F32, power: F32, radius: float, alpha: F32, ratio: float, grain: float,
    beckmann: bool, f0: float, diffuse: F32, shade: F32, bounce: F32,
) -> F32:  # fmt: skip
    """(H, W, N) radiance.

    `lit` marks the part (elsewhere black), `alpha` and `diffuse` are (H, W), `ratio` the
    anisotropy αx/αy along azimuth `grain`, `radius` the LEDs' radius in mm, `shade` the horizon
    map, `bounce` (S, 2) uniform samples for inter-reflection (S = 0: none).
    """
    height, width, _ = points.shape
    count = position.shape[0]
    direct = np.zeros((height, width, count), dtype=np.float32)
    gx, gy = np.float32(math.cos(grain)), np.float32(math.sin(grain))
    root = np.float32(math.sqrt(ratio))
    disc = np.float32(radius)
    visible = np.zeros((height, width, count), dtype=np.float32)
    irradiance = np.zeros((height, width, count), dtype=np.float32)
    for row in range(height):
        for column in range(width):
            if not lit[row, column]:
                continue
            px, py, pz = points[row, column, 0], points[row, column, 1], points[row, column, 2]
            nx, ny, nz = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
            vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
            inv = np.float32(1.0) / math.sqrt(vx * vx + vy * vy + vz * vz)
            vx *= inv
            vy *= inv
            vz *= inv
            # the grain's direction within the surface
            along = gx * nx + gy * ny
            tx, ty, tz = gx - along * nx, gy - along * ny, -along * nz
            inv = np.float32(1.0) / math.sqrt(tx * tx + ty * ty + tz * tz + np.float32(1e-9))
            tx *= inv
            ty *= inv
            tz *= inv
            ax = alpha[row, column] * root
            ay = alpha[row, column] / root
            for k in range(count):
                lx, ly, lz = position[k, 0] - px, position[k, 1] - py, position[k, 2] - pz
                inv = np.float32(1.0) / math.sqrt(lx * lx + ly * ly + lz * lz)
                lx *= inv
                ly *= inv
                lz *= inv
                e = power[k] * inv * inv
                if lobe[k] > 0:
                    cosine = -(lx * axis[k, 0] + ly * axis[k, 1] + lz * axis[k, 2])
                    cosine = max(cosine, np.float32(0.0))
                    e *= cosine if lobe[k] == 1 else cosine ** lobe[k]
                run = math.sqrt(lx * lx + ly * ly) + np.float32(1e-6)
                place = ly / (abs(lx) + abs(ly) + np.float32(1e-9))  # the diamond angle
                if lx < 0:
                    place = np.float32(2.0) - place
                elif place < 0:
                    place += np.float32(4.0)
                place *= np.float32(AZIMUTHS / 4)
                j = int(place)
                t = place - np.float32(j)
                j0 = j % AZIMUTHS
                j1 = (j + 1) % AZIMUTHS
                tangent = (
                    shade[row, column, j0] * (np.float32(1.0) - t) + shade[row, column, j1] * t
                )
                soft = disc * inv * np.float32(2.0) + np.float32(0.01)
                # elevation difference as a tangent of small angles
                gap = (lz - tangent * run) / math.sqrt(np.float32(1.0) + tangent * tangent)
                v = min(max(gap / soft + np.float32(0.5), np.float32(0.0)), np.float32(1.0))
                visible[row, column, k] = v
                irradiance[row, column, k] = e * v
                if v > 0:
                    # an LED's disc widens the lobe: alpha² + (half-vector spread)²
                    spread = np.float32(0.25) * disc * inv
                    bx = math.sqrt(ax * ax + spread * spread)
                    by = math.sqrt(ay * ay + spread * spread)
                    direct[row, column, k] = e * v * _brdf(
                        nx, ny, nz, tx, ty, tz, lx, ly, lz, vx, vy, vz,
                        bx, by, beckmann, f0, diffuse[row, column],
                    )  # fmt: skip
    samples = bounce.shape[0]
    if samples == 0:
        return direct
    total = direct.copy()
    pixel = points[height // 2, width // 2 + 1, 0] - points[height // 2, width // 2, 0]
    for row in range(height):
        for column in range(width):
            if not lit[row, column]:
                continue
            px, py, pz = points[row, column, 0], points[row, column, 1], points[row, column, 2]
            nx, ny, nz = normals[row, column, 0], normals[row, column, 1], normals[row, column, 2]
            if nz > np.float32(0.97):  # nearly level: its mirror sees the sky
                continue
            vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
            inv = np.float32(1.0) / math.sqrt(vx * vx + vy * vy + vz * vz)
            vx *= inv
            vy *= inv
            vz *= inv
            # frame around the normal
            s = np.float32(1.0) + nz
            ux, uy, uz = np.float32(1.0) - nx * nx / s, -nx * ny / s, -nx
            wx, wy, wz = -nx * ny / s, np.float32(1.0) - ny * ny / s, -ny
            a = alpha[row, column]
            for i in range(samples):
                u = bounce[i, 0]
                if beckmann:
                    tan2 = -a * a * math.log(np.float32(1.0) - u)
                else:
                    tan2 = a * a * u / (np.float32(1.0) - u + np.float32(1e-4))
                mz = np.float32(1.0) / math.sqrt(np.float32(1.0) + tan2)
                sine = math.sqrt(max(np.float32(1.0) - mz * mz, np.float32(0.0)))
                phi = np.float32(2 * math.pi) * bounce[i, 1]
                mx, my = sine * math.cos(phi), sine * math.sin(phi)
                hx = mx * ux + my * wx + mz * nx
                hy = mx * uy + my * wy + mz * ny
                hz = mx * uz + my * wz + mz * nz
                vh = vx * hx + vy * hy + vz * hz
                if vh <= 0:
                    continue
                twice = vh + vh
                rx, ry, rz = twice * hx - vx, twice * hy - vy, twice * hz - vz
                if rx * nx + ry * ny + rz * nz <= np.float32(0.02):
                    continue
                run = math.sqrt(rx * rx + ry * ry)
                if run < np.float32(0.3) and rz > 0:
                    continue
                ux2, uy2 = rx / run, ry / run
                climb = rz / run
                step = np.float32(1.5)
                hit = False
                hr, hc = 0, 0
                while step < width + height:
                    hc = int(column + ux2 * step + np.float32(0.5))
                    hr = int(row - uy2 * step + np.float32(0.5))
                    if hc < 0 or hr < 0 or hc >= width or hr >= height:
                        break
                    if pz + climb * step * pixel < points[hr, hc, 2]:
                        hit = True
                        break
                    step = step * np.float32(1.05) + np.float32(0.3)
                if not hit or not lit[hr, hc]:
                    continue
                qx, qy, qz = normals[hr, hc, 0], normals[hr, hc, 1], normals[hr, hc, 2]
                if -(rx * qx + ry * qy + rz * qz) <= np.float32(0.02):
                    continue
                m = np.float32(1.0) - vh
                fresnel = f0 + (np.float32(1.0) - f0) * m * m * m * m * m
                weight = fresnel / np.float32(samples)
                sx, sy, sz = points[hr, hc, 0], points[hr, hc, 1], points[hr, hc, 2]
                # widen the second lobe: few samples stand for the first one
                b = math.sqrt(
                    alpha[hr, hc] * alpha[hr, hc] + np.float32(0.5) * a * a + np.float32(0.0025)
                )
                b = np.float32(b)
                for k in range(count):
                    e = irradiance[hr, hc, k]
                    if e <= 0:
                        continue
                    lx, ly, lz = position[k, 0] - sx, position[k, 1] - sy, position[k, 2] - sz
                    inv = np.float32(1.0) / math.sqrt(lx * lx + ly * ly + lz * lz)
                    total[row, column, k] += weight * e * _brdf(
                        qx, qy, qz, np.float32(1.0), np.float32(0.0), np.float32(0.0),
                        lx * inv, ly * inv, lz * inv, -rx, -ry, -rz,
                        b, b, beckmann, f0, diffuse[hr, hc],
                    )  # fmt: skip
    return total


@njit(fastmath=True, cache=True)
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
