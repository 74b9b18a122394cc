"""Rays from place to place of a part: drawn at a mirror, marched over the surface, lit where they
land.

The compiled half of `reconstruct.optics.interreflection` and `reconstruct.optics.mirrored`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from reconstruct.optics.lobes import drawn_direction, frame_of, lobe_towards
from reconstruct.optics.marching import PER_RAY, march, tops_of
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
_INV_PI, _TAU = F(1 / np.pi), F(2 * np.pi)


class Scene(NamedTuple):
    """What a ray meets on a grid of (h, w) places, float32; of M lobes and N LEDs.

    Attributes
    ----------
    w, z0 : (h, w) scaled inverse depth z0 (z0 / depth − 1) and its z0
    focal : fx, fy, cx, cy of the grid
    points, normals : (h, w, 3) world frame; NaN where there is no surface
    shown : (h, w, 3) normals of the places that the camera sees; nothing is traced where NaN
    tangents : (h, w, 3) directions of the finish
    centre, basis : optical centre, and rotation from the world to the camera
    seen : (h, w, N) share of each LED that a place sees
    position, axis : (3, N); power, exponent : (N,)
    alpha, across, weight : (h, w, M) of the lobes; diffuse : (h, w)
    index : (M, 2) complex refractive index; distribution : (M,)
    samples, bounces : rays a place, and the longest path
    jitter : (h, w, 5) random numbers of the places
    """

    w: Any
    z0: Any
    focal: Any
    points: Any
    shown: Any
    normals: Any
    tangents: Any
    centre: Any
    basis: Any
    seen: Any
    position: Any
    axis: Any
    power: Any
    exponent: Any
    alpha: Any
    across: Any
    weight: Any
    diffuse: Any
    index: Any
    distribution: Any
    samples: Any
    bounces: Any
    jitter: Any


@njit(**PER_RAY)
def _level(point, centre, basis, z0):
    """Scaled inverse depth of a point before the camera."""
    depth = _ZERO
    for i in range(3):
        depth += basis[2, i] * (point[i] - centre[i])
    return z0 * (z0 / depth - _ONE)


@njit(**PER_RAY)
def _between(u, v, values, out):
    """Fill in (h, w, C) values at column u, row v: bilinear; nearest where a neighbour is NaN."""
    height, width, count = values.shape
    r, c = min(int(v), height - 2), min(int(u), width - 2)
    g, f = v - F(r), u - F(c)
    a, b = values[r, c], values[r, c + 1]
    d, e = values[r + 1, c], values[r + 1, c + 1]
    for i in range(count):
        upper = a[i] + f * (b[i] - a[i])
        lower = d[i] + f * (e[i] - d[i])
        out[i] = upper + g * (lower - upper)
    if np.isnan(out[0]):
        nearest = values[int(v + F(0.5)), int(u + F(0.5))]
        for i in range(count):
            out[i] = nearest[i]


@njit(**PER_RAY)
def _land(u, v, points, normals, point, normal):
    """Fill in the point and unit normal at column u, row v; False outside the part.

    Not those of the nearest pixel: a mirror that bends, or is mirrored, shows no steps.
    """
    if np.isnan(normals[int(v + F(0.5)), int(u + F(0.5)), 2]):
        return False
    _between(u, v, points, point)
    _between(u, v, normals, normal)
    inv = _ONE / np.sqrt(
        normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2] + F(1e-12)
    )
    for i in range(3):
        normal[i] *= inv
    return True


@njit(fastmath=FAST, **PER_RAY)
def add_direct(out, gain, point, normal, towards, r, c, seen, scene):
    """Add gain × the direct light that leaves a point towards a direction, for every LED.

    The material is that of the place (r, c), `seen` (N,) the share of each LED that the point sees.
    """
    ox, oy, oz = towards
    tangent, diffuse = scene.tangents[r, c], scene.diffuse[r, c]
    alpha, across, weight = scene.alpha[r, c], scene.across[r, c], scene.weight[r, c]
    position, axis, power, exponent = scene.position, scene.axis, scene.power, scene.exponent
    index, distribution = scene.index, scene.distribution
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


@njit(**PER_RAY)
def walk(places, start, point, facing, y, x, s, scene, tops):
    """Ray `s` of a pixel: fill in where it lands, time after time, and return how often.

    places : (bounces, 6) share of the light there that reaches the camera, column, row, direction
    start : (9,) column, row, unit normal and direction to the camera where it starts, and its lobe
    """
    w, z0, focal, centre, basis = scene.w, scene.z0, scene.focal, scene.centre, scene.basis
    points, shown, normals, jitter = scene.points, scene.shown, scene.normals, scene.jitter
    alpha, across, weight, diffuse = scene.alpha, scene.across, scene.weight, scene.diffuse
    index, tangents, distribution = scene.index, scene.tangents, scene.distribution
    samples, bounces = scene.samples, scene.bounces
    height, width = w.shape
    bias = F(0.02) * z0 / focal[0]
    share = _ONE / F(samples)
    lobes = len(index)
    # Lobe and Lambertian shares are drawn in proportion to their weights.
    u1 = (F(s) + jitter[y, x, 0]) * share
    u2 = F(s) * F(0.754877666) + jitter[y, x, 1]
    u2 -= np.floor(u2)
    u3 = F(s) * F(0.569840291) + jitter[y, x, 2]
    u3 -= np.floor(u3)
    # From anywhere within the pixel, since that is what the camera sees of it.
    r, c = np.int64(y), np.int64(x)
    u, v = F(s) * F(0.819172513) + jitter[y, x, 3], F(s) * F(0.671043607)
    v += jitter[y, x, 4]
    u = min(max(F(x) + u - np.floor(u) - F(0.5), _ZERO), F(width - 1))
    v = min(max(F(y) + v - np.floor(v) - F(0.5), _ZERO), F(height - 1))
    if not _land(u, v, points, shown, point, facing):
        return 0
    level = _level(point, centre, basis, z0)
    ox, oy, oz = centre[0] - point[0], centre[1] - point[1], centre[2] - point[2]
    inv = _ONE / np.sqrt(ox * ox + oy * oy + oz * oz)
    ox, oy, oz = ox * inv, oy * inv, oz * inv
    start[0], start[1] = u, v
    for i in range(3):
        start[2 + i] = facing[i]
    start[5], start[6], start[7] = ox, oy, oz
    gain = share
    for bounce in range(bounces):
        tx, ty, tz, bx, by, bz = frame_of(facing, tangents[r, c])
        vx, vy = tx * ox + ty * oy + tz * oz, bx * ox + by * oy + bz * oz
        vz = facing[0] * ox + facing[1] * oy + facing[2] * oz
        if vz <= _ZERO:
            return bounce
        total = diffuse[r, c]
        for number in range(lobes):
            total += weight[r, c, number]
        if total <= _ZERO:
            return bounce
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
        if bounce == 0:
            start[8] = F(chosen)
        gain *= factor * total
        if gain <= F(1e-4) * share:
            return bounce
        dx = tx * lx + bx * ly + facing[0] * lz
        dy = ty * lx + by * ly + facing[1] * lz
        dz = tz * lx + bz * ly + facing[2] * lz
        # The ray is straight in (column, row, inverse depth): its velocity there.
        cz = basis[2, 0] * dx + basis[2, 1] * dy + basis[2, 2] * dz
        cx = basis[0, 0] * dx + basis[0, 1] * dy + basis[0, 2] * dz
        cy = basis[1, 0] * dx + basis[1, 1] * dy + basis[1, 2] * dz
        depth = z0 * z0 / (level + z0)
        du = cx * focal[0] - (u - focal[2]) * cz
        dv = cy * focal[1] - (v - focal[3]) * cz
        dw = -z0 * z0 * cz / depth
        longest = max(abs(du), abs(dv))
        if longest < F(1e-9):
            return bounce
        inv = _ONE / longest
        u, v = march(w, tops, bias, u, v, level, du * inv, dv * inv, dw * inv)
        if u < _ZERO or not _land(u, v, points, normals, point, facing):
            return bounce
        r, c = np.int64(v + F(0.5)), np.int64(u + F(0.5))
        places[bounce, 0], places[bounce, 1], places[bounce, 2] = gain, u, v
        places[bounce, 3], places[bounce, 4], places[bounce, 5] = dx, dy, dz
        level = _level(point, centre, basis, z0)
        ox, oy, oz = -dx, -dy, -dz
        u1 = u1 * F(37.0) + jitter[r, c, 0]
        u1 -= np.floor(u1)
        u2 = u2 * F(41.0) + jitter[r, c, 1]
        u2 -= np.floor(u2)
    return bounces


@njit(**PER_RAY)
def arrival(place, scene, point, facing, lit):
    """Fill in point, unit normal and each LED's visibility where a ray of `walk` landed.

    Returns its share of the light, its direction, and the row and column of the nearest pixel.
    """
    u, v = place[1], place[2]
    _land(u, v, scene.points, scene.normals, point, facing)
    _between(u, v, scene.seen, lit)
    return place[0], place[3], place[4], place[5], np.int64(v + F(0.5)), np.int64(u + F(0.5))


@njit(**PER_RAY)
def share_by_slopes(start, place, turn, scene, moved):
    """By what share the light of a ray of `walk` changes with the slopes of the place it leaves.

    turn : (h, w, 6) change of unit normals with slopes p and q. The ray is held; of two slopes its
    lobe sends more or less along it.
    """
    r, c = np.int64(start[1] + F(0.5)), np.int64(start[0] + F(0.5))
    lobe = np.int64(start[8])
    kind, ax, ay = np.int64(-1), _ONE, _ONE
    if lobe < len(scene.distribution):
        kind = scene.distribution[lobe]
        ax, ay = scene.alpha[r, c, lobe], scene.across[r, c, lobe]
    step = F(0.05) * min(ax, ay)
    out_p, out_q = _ZERO, _ZERO
    for k in range(2):
        less, more = _ZERO, _ZERO
        for sign in range(2):
            size = step if sign == 1 else -step
            inv = _ZERO
            for i in range(3):
                moved[i] = start[2 + i] + size * turn[r, c, 3 * k + i]
                inv += moved[i] * moved[i]
            inv = _ONE / np.sqrt(inv)
            for i in range(3):
                moved[i] *= inv
            value = lobe_towards(
                moved, scene.tangents[r, c], (start[5], start[6], start[7]),
                (place[3], place[4], place[5]), ax, ay, kind,
            )  # fmt: skip
            if sign == 1:
                more = value
            else:
                less = value
        change = (more - less) / max(step * (more + less), F(1e-20))
        if k == 0:
            out_p = change
        else:
            out_q = change
    return out_p, out_q


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def trace(out, cells, border, turn, scene):
    """Indirect radiance of cells of cells × cells places, added to `out` (H, W, N) as their mean.

    The first cell begins `border` places from the grid's edges. With `out` (H, W, 3 N) its
    derivatives by the slopes of these places come with it; turn : see `share_by_slopes`.
    """
    tops = tops_of(scene.w)
    share = _ONE / F(cells * cells)
    lights = len(scene.power)
    by_slopes = out.shape[2] > lights
    for row in prange(len(out)):
        places, start = np.empty((scene.bounces, 6), np.float32), np.empty(9, np.float32)
        point, facing = np.empty(3, np.float32), np.empty(3, np.float32)
        lit, sent = np.empty(lights, np.float32), np.empty(lights, np.float32)
        first = border + row * cells
        for y in range(first, first + cells):
            for x in range(border, border + cells * out.shape[1]):
                if np.isnan(scene.shown[y, x, 2]):
                    continue
                here = out[row, (x - border) // cells]
                for s in range(scene.samples):
                    landed = walk(places, start, point, facing, y, x, s, scene, tops)
                    if landed == 0:
                        continue
                    sent[:] = _ZERO
                    for k in range(landed):
                        gain, dx, dy, dz, r, c = arrival(places[k], scene, point, facing, lit)
                        add_direct(
                            sent, share * gain, point, facing, (-dx, -dy, -dz), r, c, lit, scene
                        )
                    for i in range(lights):
                        here[i] += sent[i]
                    if by_slopes:
                        p, q = share_by_slopes(start, places[0], turn, scene, moved=point)
                        for i in range(lights):
                            here[lights + i] += p * sent[i]
                            here[2 * lights + i] += q * sent[i]
