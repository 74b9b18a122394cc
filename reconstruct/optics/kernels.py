"""Fused float32 kernels: radiance of many lights on a grid of surface points, and cast shadows.

Parallel over image rows (shading) and over lights (shadows). Arrays are planes, component first,
so that the loop over the pixels of a row vectorises.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

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

_ZERO, _ONE, _QUARTER = F(0), F(1), F(0.25)
_INV_PI = F(1 / np.pi)
_FAR_BELOW = F(-1e30)
_TILE = 16  # pixels along the side of what is looked at together

# Rows of the scratch array: what a pixel contributes to all its lights, computed once.
_X, _Y, _Z, _NX, _NY, _NZ, _VX, _VY, _VZ = range(9)
_SPEC, _DIFF, _IAX, _IAY, _AX, _AY, _TX, _TY, _TZ = range(9, 18)
_SCRATCH = 18


class Places(NamedTuple):
    """What the camera sees, and from where.

    Attributes
    ----------
    points, normals : (3, H, W) float32, world frame, mm; NaN where there is no surface
    tangents : (3, H, W) float32 directions of alpha_x (need not be orthogonal to the normals);
        (3, 1, 1) if isotropic
    centre : (3,) float32 optical centre of the camera, mm
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    tangents: NDArray[np.float32]
    centre: NDArray[np.float32]


class Lamps(NamedTuple):
    """N lights.

    Attributes
    ----------
    position, axis : (N, 3) float32
    strength, lobe : (N,) float32, intensity × power, and exponent
    """

    position: NDArray[np.float32]
    axis: NDArray[np.float32]
    strength: NDArray[np.float32]
    lobe: NDArray[np.float32]


class Finish(NamedTuple):
    """A microfacet lobe over a Lambertian part.

    Attributes
    ----------
    alpha_x, alpha_y, weight, diffuse : (H, W) float32, broadcast views allowed
    n, k : float32 complex index
    distribution : GGX or BECKMANN
    anisotropic : if not, alpha_x alone is used
    """

    alpha_x: NDArray[np.float32]
    alpha_y: NDArray[np.float32]
    weight: NDArray[np.float32]
    diffuse: NDArray[np.float32]
    n: Any
    k: Any
    distribution: int
    anisotropic: bool


@njit(cache=True, fastmath=FAST, error_model="numpy", forceinline=True)
def _light_pixel(s, x, lamp, index, distribution, anisotropic):
    """Radiance that one light makes in pixel x of the scratch row."""
    lx, ly, lz, ax, ay, az, strength, lobe = lamp
    dx, dy, dz = lx - s[_X, x], ly - s[_Y, x], lz - s[_Z, x]
    inv_d2 = _ONE / (dx * dx + dy * dy + dz * dz)
    inv_d = np.sqrt(inv_d2)
    dx *= inv_d
    dy *= inv_d
    dz *= inv_d
    nx, ny, nz = s[_NX, x], s[_NY, x], s[_NZ, x]
    n_l = nx * dx + ny * dy + nz * dz
    irradiance = strength * inv_d2 * lobe_falloff(-(ax * dx + ay * dy + az * dz), lobe)
    # The half vector is left unnormalised; its length gives v·h = |l + v| / 2.
    hx, hy, hz = dx + s[_VX, x], dy + s[_VY, x], dz + s[_VZ, x]
    h2 = max(hx * hx + hy * hy + hz * hz, F(1e-12))
    n_h = nx * hx + ny * hy + nz * hz
    inv_nh2 = _ONE / max(n_h * n_h, F(1e-12))
    # n × h rather than 1 - (n·h)²: keeps its digits on near mirrors.
    cx, cy, cz = ny * hz - nz * hy, nz * hx - nx * hz, nx * hy - ny * hx
    if anisotropic:
        tx, ty, tz = s[_TX, x], s[_TY, x], s[_TZ, x]
        # h along the tangent, and across it: (n × t)·h = t·(h × n) = -t·(n × h)
        h_t = tx * hx + ty * hy + tz * hz
        h_b = -(tx * cx + ty * cy + tz * cz)
        exponent2 = (h_t * h_t * s[_IAX, x] + h_b * h_b * s[_IAY, x]) * inv_nh2
        l_t = tx * dx + ty * dy + tz * dz
        l_b = -(tx * (ny * dz - nz * dy) + ty * (nz * dx - nx * dz) + tz * (nx * dy - ny * dx))
        spread2 = s[_AX, x] * l_t * l_t + s[_AY, x] * l_b * l_b
    else:
        exponent2 = (cx * cx + cy * cy + cz * cz) * inv_nh2 * s[_IAX, x]
        spread2 = s[_AX, x] * max(_ONE - n_l * n_l, _ZERO)
    density = slope_density(distribution, exponent2, n_h * n_h / h2)
    fresnel = conductor_fresnel(F(0.5) * np.sqrt(h2), index[0], index[1])
    specular = s[_SPEC, x] * density * fresnel * smith_g1(distribution, n_l, spread2)
    value = irradiance * (specular + s[_DIFF, x] * n_l)
    return value if n_l > _ZERO else _ZERO


@njit(cache=True, fastmath=FAST, error_model="numpy", forceinline=True)
def _prepare_row(s, y, places, finish):
    points, normals, tangents, centre = places
    alpha_x, alpha_y, weight, diffuse, _, _, distribution, anisotropic = finish
    for x in range(points.shape[2]):
        px, py, pz = points[0, y, x], points[1, y, x], points[2, y, x]
        nx, ny, nz = normals[0, y, x], normals[1, y, x], normals[2, y, x]
        vx, vy, vz = centre[0] - px, centre[1] - py, centre[2] - pz
        inv = _ONE / np.sqrt(vx * vx + vy * vy + vz * vz)
        vx *= inv
        vy *= inv
        vz *= inv
        n_v = nx * vx + ny * vy + nz * vz
        ax, ay = alpha_x[y, x] * alpha_x[y, x], alpha_y[y, x] * alpha_y[y, x]
        tx, ty, tz = _ZERO, _ZERO, _ZERO
        if anisotropic:
            tx, ty, tz = tangents[0, y, x], tangents[1, y, x], tangents[2, y, x]
            along = tx * nx + ty * ny + tz * nz
            tx -= along * nx
            ty -= along * ny
            tz -= along * nz
            inv = _ONE / np.sqrt(max(tx * tx + ty * ty + tz * tz, F(1e-20)))
            tx *= inv
            ty *= inv
            tz *= inv
            v_t = tx * vx + ty * vy + tz * vz
            v_b = vx * (ny * tz - nz * ty) + vy * (nz * tx - nx * tz) + vz * (nx * ty - ny * tx)
            spread2 = ax * v_t * v_t + ay * v_b * v_b
            area = alpha_x[y, x] * alpha_y[y, x]
        else:
            spread2 = ax * max(_ONE - n_v * n_v, _ZERO)
            area = ax
        good = n_v > _ZERO  # false for NaN: a pixel without surface stays dark
        safe = n_v if good else _ONE
        s[_X, x], s[_Y, x], s[_Z, x] = px, py, pz
        s[_NX, x], s[_NY, x], s[_NZ, x] = nx, ny, nz
        s[_VX, x], s[_VY, x], s[_VZ, x] = vx, vy, vz
        masking = smith_g1(distribution, safe, spread2)
        s[_SPEC, x] = weight[y, x] * masking * _QUARTER / (safe * area) if good else _ZERO
        s[_DIFF, x] = diffuse[y, x] * _INV_PI if good else _ZERO
        s[_IAX, x], s[_IAY, x] = _ONE / ax, _ONE / ay
        s[_AX, x], s[_AY, x] = ax, ay
        s[_TX, x], s[_TY, x], s[_TZ, x] = tx, ty, tz
        if not good:
            s[_NX, x], s[_NY, x], s[_NZ, x] = _ZERO, _ZERO, _ZERO
            s[_X, x], s[_Y, x], s[_Z, x] = _ZERO, _ZERO, _ZERO
            s[_VX, x], s[_VY, x], s[_VZ, x] = _ZERO, _ZERO, _ZERO


@njit(cache=True, fastmath=FAST, error_model="numpy", forceinline=True)
def _shade_row(out, y, places, lamps, finish):
    width = places.points.shape[2]
    s = np.empty((_SCRATCH, width), np.float32)
    _prepare_row(s, y, places, finish)
    position, axis, strength, lobe = lamps
    index = (finish.n, finish.k)
    anisotropic, ggx = finish.anisotropic, finish.distribution == GGX
    for i in range(len(strength)):
        lamp = (
            position[i, 0], position[i, 1], position[i, 2], axis[i, 0], axis[i, 1], axis[i, 2],
            strength[i], lobe[i],
        )  # fmt: skip
        # Constants in the calls let the compiler drop what a case does not need.
        if anisotropic and ggx:
            for x in range(width):
                out[i, y, x] += _light_pixel(s, x, lamp, index, GGX, True)
        elif anisotropic:
            for x in range(width):
                out[i, y, x] += _light_pixel(s, x, lamp, index, BECKMANN, True)
        elif ggx:
            for x in range(width):
                out[i, y, x] += _light_pixel(s, x, lamp, index, GGX, False)
        else:
            for x in range(width):
                out[i, y, x] += _light_pixel(s, x, lamp, index, BECKMANN, False)


@njit(cache=True, parallel=True, nogil=True)
def shade(out, places, lamps, finish):
    """Add the unshadowed radiance of N `Lamps` on an (H, W) grid of `Places` to ``out`` (N, H, W).

    ``out`` is float32, the surface's reflectance a `Finish`.
    """
    for y in prange(places.points.shape[1]):
        _shade_row(out, np.int64(y), places, lamps, finish)


# Cast shadows ------------------------------------------------------------------------------------


@njit(cache=True, fastmath=FAST, error_model="numpy", forceinline=True)
def _sweep(w, eu, ev, we, side, forward, softness, out):
    """Shadows of one light in the wedge |u - eu| <= |v - ev| on one side of the light's image.

    A straight line in space is straight in (column, row, inverse depth) too, so the rays to a
    light are the pencil of lines through its image e, and along one line at distance r from e
    point q hides point p from the light if (w_q - w_e)/r_q > (w_p - w_e)/r_p, q nearer. One sweep
    over the rows with a running maximum per line of the pencil therefore finds all shadows.

    Parameters
    ----------
    w : (H, W) float32 scaled inverse depth; eu, ev, we : image and inverse depth of the light
    side : +1 for the rows below ev, -1 for those above
    forward : the light lies in front of the camera (behind, the pencil is run inwards)
    softness : excess in units of w over which light fades
    out : (H, W) float32 visibility, written where the wedge is
    """
    height, width = w.shape
    first = max(0, int(np.ceil(ev + 0.5))) if side > 0 else 0
    last = height - 1 if side > 0 else min(height - 1, int(np.floor(ev - 0.5)))
    if first > last:
        return
    near, far = (first, last) if side > 0 else (last, first)
    r_near, r_far = side * (near - ev), side * (far - ev)
    edge0, edge1 = -eu, width - 1 - eu
    t_min = max(-1.0, min(edge0 / r_near, edge0 / r_far))
    t_max = min(1.0, max(edge1 / r_near, edge1 / r_far))
    if t_min > t_max:
        return
    dt = 1.0 / r_far
    count = int(np.ceil((t_max - t_min) / dt)) + 2
    highest = np.full(count, _FAR_BELOW, np.float32)
    level = np.empty(width, np.float32)
    # What cannot be negative is not asked whether it is.
    last_line, last_column, one = np.uint32(count - 2), np.uint32(width - 2), np.uint32(1)
    rows = last - first + 1
    for i in range(rows):
        y = near + side * i if forward else far - side * i
        r = side * (y - ev)
        a = F(r_far / r)
        b = F(we * ((side * (y - far)) / r))
        for x in range(width):
            level[x] = w[y, x] * a + b
        u0, du = eu + t_min * r, dt * r
        x0 = max(0, int(np.ceil(eu - r)))
        x1 = min(width - 1, int(np.floor(eu + r)))
        inv_du, shift = F(1.0 / du), F((x0 - u0) / du)
        inv_soft = F(1.0 / softness) / a
        for x in range(x0, x1 + 1):
            at = max(shift + F(np.int32(x - x0)) * inv_du, _ZERO)
            line = min(np.uint32(at), last_line)
            f = at - F(line)
            excess = highest[line] + f * (highest[line + one] - highest[line]) - level[x]
            out[y, x] = min(max(_ONE - excess * inv_soft, _ZERO), _ONE)
        j0 = max(0, int(np.ceil(-u0 / du)))
        j1 = min(count - 1, int(np.floor((width - 1 - u0) / du)))
        start, step = F(u0 + j0 * du), F(du)
        for j in range(j0, j1 + 1):
            u = max(start + F(np.int32(j - j0)) * step, _ZERO)
            column = min(np.uint32(u), last_column)
            f = u - F(column)
            highest[j] = max(highest[j], level[column] + f * (level[column + one] - level[column]))


@njit(cache=True, nogil=True)
def climbs(w):
    """(h, w, 5) of tiles: greatest value, then least and greatest step to the next column and row.

    For `cast`, of surfaces without holes.
    """
    height, width = w.shape
    rows, columns = (height + _TILE - 1) // _TILE, (width + _TILE - 1) // _TILE
    out = np.zeros((rows, columns, 5), np.float32)
    for i in range(rows):
        for j in range(columns):
            top = _FAR_BELOW
            low_c, high_c, low_r, high_r = -_FAR_BELOW, _FAR_BELOW, -_FAR_BELOW, _FAR_BELOW
            for y in range(i * _TILE, min(i * _TILE + _TILE, height)):
                down = min(y + 1, height - 1)
                for x in range(j * _TILE, min(j * _TILE + _TILE, width)):
                    right = min(x + 1, width - 1)
                    here, across, below = w[y, x], w[y, right], w[down, x]
                    opposite = w[down, right]
                    top = max(top, here)
                    low_c = min(low_c, min(across - here, opposite - below))
                    high_c = max(high_c, max(across - here, opposite - below))
                    low_r = min(low_r, min(below - here, opposite - across))
                    high_r = max(high_r, max(below - here, opposite - across))
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = top, low_c, high_c
            out[i, j, 3], out[i, j, 4] = low_r, high_r
    return out


@njit(cache=True, nogil=True)
def _share(first, last, low, high):
    """Least and greatest x / √(x² + y²) for x from `first` to `last` and y from `low` to `high`."""
    least = _ZERO if low <= _ZERO <= high else min(abs(low), abs(high))
    most = max(abs(low), abs(high))
    a = first / np.sqrt(first * first + (least if first < _ZERO else most) ** 2 + F(1e-12))
    b = last / np.sqrt(last * last + (least if last > _ZERO else most) ** 2 + F(1e-12))
    return a, b


@njit(cache=True, nogil=True)
def _stands_clear(tiles, eu, ev, we):
    """Whether rays from everywhere to a light climb faster than w does anywhere towards it.

    Then no place can hide another. Bounds hold for a tile with its next row and column.
    """
    ray, rise = -_FAR_BELOW, _FAR_BELOW
    for i in range(tiles.shape[0]):
        low_r, high_r = F(ev - (i + 1) * _TILE), F(ev - i * _TILE)
        for j in range(tiles.shape[1]):
            low_c, high_c = F(eu - (j + 1) * _TILE), F(eu - j * _TILE)
            a, b = _share(low_c, high_c, low_r, high_r)
            c, d = _share(low_r, high_r, low_c, high_c)
            s = tiles[i, j, 1:]
            across = max(max(a * s[0], a * s[1]), max(b * s[0], b * s[1]))
            down = max(max(c * s[2], c * s[3]), max(d * s[2], d * s[3]))
            rise = max(rise, across + down)
            far_c, far_r = max(abs(low_c), abs(high_c)), max(abs(low_r), abs(high_r))
            ray = min(ray, (F(we) - tiles[i, j, 0]) / np.sqrt(far_c * far_c + far_r * far_r))
            if not ray > rise:
                return False
    return True


@njit(cache=True, nogil=True)
def clear(tiles, image, forward):
    """(N,) bool: lights that surely cast no shadow; arguments as of `cast`."""
    out = np.zeros(len(image), np.bool_)
    for i in range(len(image)):
        if forward[i] and tiles.size > 0:
            out[i] = _stands_clear(tiles, image[i, 0], image[i, 1], image[i, 2])
    return out


@njit(cache=True, nogil=True, forceinline=True)
def _cast_one(w, wt, tiles, light, forward, softness, out, scratch):
    height, width = w.shape
    eu, ev, we = light[0], light[1], light[2]
    if forward and tiles.size > 0 and _stands_clear(tiles, eu, ev, we):
        out[:] = _ONE
        return
    scratch[:] = _ONE
    out[:] = _ONE
    _sweep(w, eu, ev, we, 1, forward, softness, out)
    _sweep(w, eu, ev, we, -1, forward, softness, out)
    _sweep(wt, ev, eu, we, 1, forward, softness, scratch)
    _sweep(wt, ev, eu, we, -1, forward, softness, scratch)
    for y in range(height):
        for x in range(width):
            out[y, x] = min(out[y, x], scratch[x, y])


@njit(cache=True, parallel=True, nogil=True)
def cast(w, wt, tiles, image, forward, softness, out):
    """Visibility (1 lit, 0 in cast shadow) of N lights from every pixel.

    Parameters
    ----------
    w, wt : (H, W) and (W, H) float32 scaled inverse depth and its transpose, both contiguous
    tiles : `climbs` of w, to leave out lights that cast no shadow; empty if pixels lack a surface
    image : (N, 3) float64 column, row and scaled inverse depth of each light
    forward : (N,) bool, the light lies in front of the camera
    softness : excess height (units of w) over which a shadow's edge fades
    out : (N, H, W) float32
    """
    for i in prange(len(image)):
        scratch = np.empty(wt.shape, np.float32)
        _cast_one(w, wt, tiles, image[i], forward[i], softness, out[i], scratch)
