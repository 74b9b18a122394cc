"""Light that reaches the camera after bouncing between places of the same part.

Traced backwards from the camera on a coarse grid: a half vector is drawn from the normals that
the camera sees, the mirrored ray is marched over the surface, and where it lands all lights are
evaluated at once. Further bounces continue from there.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics.lights import strength
from reconstruct.optics.material import Material
from reconstruct.optics.microfacet import (
    BECKMANN,
    FAST,
    GGX,
    F,
    conductor_fresnel,
    lobe_falloff,
    slope_density,
    smith_g1,
)
from reconstruct.optics.shadows import scaled_inverse_depth, visibility

Map = NDArray[np.float32]
_ZERO, _ONE, _QUARTER, _TWO = F(0), F(1), F(0.25), F(2)
_INV_PI, _TAU = F(1 / np.pi), F(2 * np.pi)


@njit(cache=True)
def frame_of(n, t):
    """Rows of the local frame: tangent made orthogonal, bitangent, normal."""
    along = t[0] * n[0] + t[1] * n[1] + t[2] * n[2]
    tx, ty, tz = t[0] - along * n[0], t[1] - along * n[1], t[2] - along * n[2]
    length2 = tx * tx + ty * ty + tz * tz
    if length2 < F(1e-10):  # the tangent stands on the surface: any other will do
        tx, ty, tz = _ZERO, n[2], -n[1]
        length2 = ty * ty + tz * tz + F(1e-20)
    inv = _ONE / np.sqrt(length2)
    tx, ty, tz = tx * inv, ty * inv, tz * inv
    bx, by, bz = n[1] * tz - n[2] * ty, n[2] * tx - n[0] * tz, n[0] * ty - n[1] * tx
    return tx, ty, tz, bx, by, bz


@njit(cache=True)
def _visible_normal(vx, vy, vz, ax, ay, u1, u2):
    """A half vector from the visible normals of a GGX surface (Heitz 2018, listing 1)."""
    hx, hy, hz = ax * vx, ay * vy, vz
    inv = _ONE / np.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx * inv, hy * inv, hz * inv
    across2 = hx * hx + hy * hy
    if across2 > F(1e-12):
        inv = _ONE / np.sqrt(across2)
        ex, ey = -hy * inv, hx * inv
    else:
        ex, ey = _ONE, _ZERO
    # second axis: h × first
    fx, fy, fz = -hz * ey, hz * ex, hx * ey - hy * ex
    r = np.sqrt(u1)
    p1, p2 = r * np.cos(_TAU * u2), r * np.sin(_TAU * u2)
    s = F(0.5) * (_ONE + hz)
    p2 = (_ONE - s) * np.sqrt(max(_ONE - p1 * p1, _ZERO)) + s * p2
    p3 = np.sqrt(max(_ONE - p1 * p1 - p2 * p2, _ZERO))
    mx = ax * (p1 * ex + p2 * fx + p3 * hx)
    my = ay * (p1 * ey + p2 * fy + p3 * hy)
    mz = max(p2 * fz + p3 * hz, F(1e-6))
    inv = _ONE / np.sqrt(mx * mx + my * my + mz * mz)
    return mx * inv, my * inv, mz * inv


@njit(cache=True)
def drawn_direction(vx, vy, vz, ax, ay, n, k, distribution, u1, u2):
    """Mirrored direction in the local frame and the sample's weight f cos / pdf."""
    if distribution == GGX:
        mx, my, mz = _visible_normal(vx, vy, vz, ax, ay, u1, u2)
        weight = _ONE
    else:
        # All Beckmann normals (Walter 2007, eqs. 28 and 29, stretched by the two widths).
        slope = np.sqrt(-np.log(max(_ONE - u1, F(1e-9))))
        mx, my = -ax * slope * np.cos(_TAU * u2), -ay * slope * np.sin(_TAU * u2)
        inv = _ONE / np.sqrt(mx * mx + my * my + _ONE)
        mx, my, mz = mx * inv, my * inv, inv
        v_m = vx * mx + vy * my + vz * mz
        g_v = smith_g1(distribution, vz, ax * ax * vx * vx + ay * ay * vy * vy)
        weight = g_v * max(v_m, _ZERO) / (max(vz, F(1e-4)) * mz)
    v_m = vx * mx + vy * my + vz * mz
    dx, dy, dz = _TWO * v_m * mx - vx, _TWO * v_m * my - vy, _TWO * v_m * mz - vz
    if v_m <= _ZERO or dz <= _ZERO:
        return _ZERO, _ZERO, _ONE, _ZERO
    weight *= conductor_fresnel(v_m, n, k)
    weight *= smith_g1(distribution, dz, ax * ax * dx * dx + ay * ay * dy * dy)
    return dx, dy, dz, weight


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _march(w, highest, step_bias, u, v, level, du, dv, dw):
    """First pixel that a ray (column, row, scaled inverse depth) meets, or -1, -1.

    The ray moves by (du, dv, dw) per step, at most one pixel along each axis.
    """
    height, width = w.shape
    top, right = F(height - 1), F(width - 1)
    for step in range(1, 2 * (height + width)):
        u += du
        v += dv
        level += dw
        if not (u >= _ZERO and v >= _ZERO and u <= right and v <= top):
            return -1, -1
        if dw >= _ZERO and level > highest:
            return -1, -1
        c, r = min(int(u), width - 2), min(int(v), height - 2)
        f, g = u - F(c), v - F(r)
        upper = w[r, c] + f * (w[r, c + 1] - w[r, c])
        lower = w[r + 1, c] + f * (w[r + 1, c + 1] - w[r + 1, c])
        if step > 1 and upper + g * (lower - upper) > level + step_bias:
            return int(v + F(0.5)), int(u + F(0.5))
    return -1, -1


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _add_direct(out, gain, point, normal, tangent, ox, oy, oz, seen, position, axis, power,
                exponent, alpha, across, weight, diffuse, index, distribution):  # fmt: skip
    """Add gain × the direct light that leaves a point towards (ox, oy, oz), for every LED."""
    n_o = normal[0] * ox + normal[1] * oy + normal[2] * oz
    if not n_o > _ZERO:
        return
    tx, ty, tz, bx, by, bz = frame_of(normal, tangent)
    o_t, o_b = tx * ox + ty * oy + tz * oz, bx * ox + by * oy + bz * oz
    px, py, pz = point[0], point[1], point[2]
    nx, ny, nz = normal[0], normal[1], normal[2]
    for number in range(len(alpha)):
        ax, ay = alpha[number], across[number]
        ax2, ay2 = ax * ax, ay * ay
        n, k, kind = index[number, 0], index[number, 1], distribution[number]
        g_o = smith_g1(kind, n_o, ax2 * o_t * o_t + ay2 * o_b * o_b)
        scale = gain * weight[number] * g_o * _QUARTER / (n_o * ax * ay)
        base = gain * diffuse * _INV_PI if number == 0 else _ZERO
        for i in range(len(power)):
            dx, dy, dz = position[0, i] - px, position[1, i] - py, position[2, i] - pz
            inv_d2 = _ONE / (dx * dx + dy * dy + dz * dz)
            inv_d = np.sqrt(inv_d2)
            dx, dy, dz = dx * inv_d, dy * inv_d, dz * inv_d
            n_l = max(nx * dx + ny * dy + nz * dz, _ZERO)
            lobe = lobe_falloff(-(axis[0, i] * dx + axis[1, i] * dy + axis[2, i] * dz), exponent[i])
            irradiance = power[i] * inv_d2 * lobe * seen[i]
            hx, hy, hz = dx + ox, dy + oy, dz + oz
            h2 = max(hx * hx + hy * hy + hz * hz, F(1e-12))
            n_h = nx * hx + ny * hy + nz * hz
            h_t, h_b = tx * hx + ty * hy + tz * hz, bx * hx + by * hy + bz * hz
            e2 = (h_t * h_t / ax2 + h_b * h_b / ay2) / max(n_h * n_h, F(1e-12))
            l_t, l_b = tx * dx + ty * dy + tz * dz, bx * dx + by * dy + bz * dz
            spread2 = ax2 * l_t * l_t + ay2 * l_b * l_b
            fresnel = conductor_fresnel(F(0.5) * np.sqrt(h2), n, k)
            if kind == GGX:
                spec = slope_density(GGX, e2, n_h * n_h / h2) * smith_g1(GGX, n_l, spread2)
            else:
                spec = slope_density(BECKMANN, e2, n_h * n_h / h2)
                spec *= smith_g1(BECKMANN, n_l, spread2)
            value = irradiance * (scale * spec * fresnel + base * n_l)
            out[i] += value if n_l > _ZERO else _ZERO


@njit(cache=True, parallel=True, error_model="numpy")
def _trace(out, w, z0, focal, points, shown, normals, tangents, centre, basis, seen, position, axis,
           power, exponent, alpha, across, weight, diffuse, index, distribution, samples,
           bounces, jitter):  # fmt: skip
    """Indirect radiance (h, w, N) of a grid; see `indirect`.

    basis : (3, 3) rotation world to camera; focal : (fx, fy, cx, cy) of the grid.
    """
    height, width = w.shape
    highest = _ZERO
    for y in range(height):
        for x in range(width):
            highest = max(highest, w[y, x]) if (x or y) else w[y, x]
    bias = F(0.02) * z0 / focal[0]
    share = _ONE / F(samples)
    lobes = len(index)
    for y in prange(height):
        for x in range(width):
            if np.isnan(normals[y, x, 2]):
                continue
            # Lobe and Lambertian shares are drawn in proportion to their weights.
            for s in range(samples):
                u1 = (F(s) + jitter[y, x, 0]) * share
                u2 = F(s) * F(0.754877666) + jitter[y, x, 1]
                u2 -= np.floor(u2)
                u3 = F(s) * F(0.569840291) + jitter[y, x, 2]
                u3 -= np.floor(u3)
                r, c = np.int64(y), np.int64(x)
                ox, oy, oz = (
                    centre[0] - points[y, x, 0],
                    centre[1] - points[y, x, 1],
                    centre[2] - points[y, x, 2],
                )
                inv = _ONE / np.sqrt(ox * ox + oy * oy + oz * oz)
                ox, oy, oz = ox * inv, oy * inv, oz * inv
                gain = share
                for bounce in range(bounces):
                    normal = shown[y, x] if bounce == 0 else normals[r, c]
                    tx, ty, tz, bx, by, bz = frame_of(normal, tangents[r, c])
                    vx, vy = tx * ox + ty * oy + tz * oz, bx * ox + by * oy + bz * oz
                    vz = normal[0] * ox + normal[1] * oy + normal[2] * oz
                    if vz <= _ZERO:
                        break
                    total = diffuse[r, c]
                    for number in range(lobes):
                        total += weight[r, c, number]
                    if total <= _ZERO:
                        break
                    pick = u3 * total
                    chosen = 0
                    while chosen < lobes and pick >= weight[r, c, chosen]:
                        pick -= weight[r, c, chosen]
                        chosen += 1
                    if chosen < lobes:
                        lx, ly, lz, factor = drawn_direction(
                            vx, vy, vz, alpha[r, c, chosen], across[r, c, chosen],
                            index[chosen, 0], index[chosen, 1], distribution[chosen], u1, u2,
                        )  # fmt: skip
                        u3 = pick / max(weight[r, c, chosen], F(1e-9))
                    else:  # cosine-weighted
                        root = np.sqrt(u1)
                        lx, ly = root * np.cos(_TAU * u2), root * np.sin(_TAU * u2)
                        lz, factor = np.sqrt(max(_ONE - u1, _ZERO)), _ONE
                        u3 = pick / max(diffuse[r, c], F(1e-9))
                    gain *= factor * total
                    if gain <= F(1e-4) * share:
                        break
                    dx = tx * lx + bx * ly + normal[0] * lz
                    dy = ty * lx + by * ly + normal[1] * lz
                    dz = tz * lx + bz * ly + normal[2] * lz
                    # The ray is straight in (column, row, inverse depth): its velocity there.
                    cz = basis[2, 0] * dx + basis[2, 1] * dy + basis[2, 2] * dz
                    cx = basis[0, 0] * dx + basis[0, 1] * dy + basis[0, 2] * dz
                    cy = basis[1, 0] * dx + basis[1, 1] * dy + basis[1, 2] * dz
                    depth = z0 * z0 / (w[r, c] + z0)
                    du = cx * focal[0] - (F(c) - focal[2]) * cz
                    dv = cy * focal[1] - (F(r) - focal[3]) * cz
                    dw = -z0 * z0 * cz / depth
                    longest = max(abs(du), abs(dv))
                    if longest < F(1e-9):
                        break
                    inv = _ONE / longest
                    qr, qc = _march(
                        w, highest, bias, F(c), F(r), w[r, c], du * inv, dv * inv, dw * inv
                    )
                    if qr < 0 or np.isnan(normals[qr, qc, 2]):
                        break
                    _add_direct(
                        out[y, x], gain, points[qr, qc], normals[qr, qc], tangents[qr, qc],
                        -dx, -dy, -dz, seen[qr, qc], position, axis, power, exponent,
                        alpha[qr, qc], across[qr, qc], weight[qr, qc], diffuse[qr, qc], index,
                        distribution,
                    )  # fmt: skip
                    r, c = qr, qc
                    ox, oy, oz = -dx, -dy, -dz
                    u1 = u1 * F(37.0) + jitter[qr, qc, 0]
                    u1 -= np.floor(u1)
                    u2 = u2 * F(41.0) + jitter[qr, qc, 1]
                    u2 -= np.floor(u2)


def _binned(values: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Mean over factor × factor pixels of (H, W, C), leaving out NaN and the ragged border."""
    height, width = values.shape[0] // factor, values.shape[1] // factor
    blocks = np.asarray(values[: height * factor, : width * factor], dtype=np.float64)
    blocks = blocks.reshape(height, factor, width, factor, -1)
    good = np.isfinite(blocks).all(axis=-1, keepdims=True)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def indirect(
    points_mm: NDArray[Any],
    normals: NDArray[Any],
    camera: Camera,
    lights: Lights,
    material: Material,
    *,
    grid: int = 128,
    samples: int = 64,
    bounces: int = 3,
    seed: int = 0,
    smooth: float = 0.7,
    shown: NDArray[Any] | None = None,
) -> Map:
    """Radiance of each light that the camera sees after one or more bounces on the part.

    Parameters
    ----------
    points_mm, normals : (H, W, 3) surface, NaN where there is none
    grid : pixels along the longer side of the grid that is traced; finer changes little
    samples : rays per grid pixel
    bounces : longest path, counted in places the light comes by before the last
    smooth : Gaussian blur (grid pixels) of the result, against the noise of sampling
    shown : (h, w, 3) other normals of the places that the camera sees, on the coarse grid; what
        they mirror keeps its own

    Returns
    -------
    (N, h, w) float32 on the coarse grid, ``image size // factor`` pixels with
    ``factor = max(1, longer side // grid)``; `upsampled` brings it to the image
    """
    factor = max(1, max(camera.shape) // grid)
    coarse = camera.binned(factor) if factor > 1 else camera
    points = _binned(np.asarray(points_mm), factor)
    mean_normals = _binned(np.asarray(normals), factor)
    mean_normals /= np.linalg.norm(mean_normals, axis=-1, keepdims=True)
    shape = points.shape[:2]

    def per_pixel(value: Any) -> NDArray[np.float64]:
        value = np.asarray(value, dtype=np.float64)
        if value.ndim == 0:
            return np.full(shape, float(value))
        return _binned(value[..., None], factor)[..., 0]

    lobes = material.lobes
    stacked = [np.zeros((*shape, len(lobes)), np.float32) for _ in range(3)]
    for number, lobe in enumerate(lobes):
        stacked[0][..., number] = per_pixel(lobe.alpha)
        across = lobe.alpha if lobe.alpha_across is None else lobe.alpha_across
        stacked[1][..., number] = per_pixel(across)
        stacked[2][..., number] = per_pixel(lobe.weight)
    if lobes:
        index = np.array([[lobe.n, lobe.k] for lobe in lobes], dtype=np.float32)
        kinds = np.array([{"ggx": GGX, "beckmann": BECKMANN}[lobe.distribution] for lobe in lobes])
    else:  # the Lambertian part rides along with a lobe: give it one of weight zero
        stacked = [np.full((*shape, 1), v, np.float32) for v in (0.5, 0.5, 0.0)]
        index, kinds = np.array([[1.5, 3.0]], np.float32), np.array([GGX])
    tangents = np.ascontiguousarray(material.tangent_map(points), dtype=np.float32)

    w, z0 = scaled_inverse_depth(points, coarse)
    seen = np.moveaxis(visibility(points, coarse, lights.position_mm), 0, -1)
    jitter = np.random.default_rng(seed).random((*shape, 3), dtype=np.float32)
    K = coarse.K
    out = np.zeros((*shape, len(lights)), np.float32)
    _trace(
        out,
        w,
        np.float32(z0),
        np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], dtype=np.float32),
        points.astype(np.float32),
        (mean_normals if shown is None else shown).astype(np.float32),
        mean_normals.astype(np.float32),
        tangents,
        coarse.centre_mm.astype(np.float32),
        coarse.R.astype(np.float32),
        np.ascontiguousarray(seen),
        np.ascontiguousarray(lights.position_mm.T, dtype=np.float32),
        np.ascontiguousarray(lights.axis.T, dtype=np.float32),
        strength(lights).astype(np.float32),
        np.ascontiguousarray(lights.lobe, dtype=np.float32),
        *stacked,
        per_pixel(material.diffuse).astype(np.float32),
        index,
        kinds,
        samples,
        bounces,
        jitter,
    )
    images = np.ascontiguousarray(np.moveaxis(out, -1, 0))
    if smooth > 0:
        images = np.stack([cv2.GaussianBlur(image, (0, 0), smooth) for image in images])
    return images


def upsampled(images: Map, shape: tuple[int, int]) -> Map:
    """(N, H, W) images of `indirect` brought to the camera's pixels, bilinear."""
    height, width = shape
    factor = height // images.shape[1] if images.shape[1] else 1
    factor = max(factor, 1)
    # Pixel x of the image lies at (x + 1/2) / factor - 1/2 of the grid; the ragged border repeats.
    columns = (np.arange(width, dtype=np.float32) + 0.5) / factor - 0.5
    rows = (np.arange(height, dtype=np.float32) + 0.5) / factor - 0.5
    map_x, map_y = np.meshgrid(columns, rows)
    return np.stack(
        [
            cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for image in images
        ]
    )
