"""Where a lobe sends light: directions drawn from it, and how much it sends along a given one."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

import numpy as np
from numba import njit

from reconstruct.optics.microfacet import GGX, F, conductor_fresnel, slope_density, smith_g1

_ZERO, _ONE, _TWO, _TAU = F(0), F(1), F(2), F(2 * np.pi)


@njit(cache=True, forceinline=True)
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


@njit(cache=True, forceinline=True)
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


@njit(cache=True, forceinline=True)
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


@njit(cache=True, error_model="numpy", forceinline=True)
def lobe_towards(normal, tangent, o, d, ax, ay, kind):
    """f cos of a lobe from direction d to o, but for what does not depend on the normal."""
    n_o = normal[0] * o[0] + normal[1] * o[1] + normal[2] * o[2]
    n_d = normal[0] * d[0] + normal[1] * d[1] + normal[2] * d[2]
    if n_o <= _ZERO or n_d <= _ZERO:
        return _ZERO
    if kind < 0:
        return n_d
    tx, ty, tz, bx, by, bz = frame_of(normal, tangent)
    o_t, o_b = tx * o[0] + ty * o[1] + tz * o[2], bx * o[0] + by * o[1] + bz * o[2]
    d_t, d_b = tx * d[0] + ty * d[1] + tz * d[2], bx * d[0] + by * d[1] + bz * d[2]
    hx, hy, hz = o[0] + d[0], o[1] + d[1], o[2] + d[2]
    h2 = hx * hx + hy * hy + hz * hz + F(1e-12)
    ax2, ay2 = ax * ax, ay * ay
    h_t, h_b, n_h = o_t + d_t, o_b + d_b, n_o + n_d
    density = slope_density(kind, (h_t * h_t / ax2 + h_b * h_b / ay2) / (n_h * n_h), n_h * n_h / h2)
    density *= smith_g1(kind, n_o, ax2 * o_t * o_t + ay2 * o_b * o_b) / n_o
    return density * smith_g1(kind, n_d, ax2 * d_t * d_t + ay2 * d_b * d_b)
