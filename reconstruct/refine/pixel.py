"""One pixel of the fit: residuals and their Jacobian, fused for numba.

For every pixel and light the model of `reconstruct.optics` is evaluated together with its
derivatives by log-depth u, the two slopes p = ∂u/∂x and q = ∂u/∂y in normalised image coordinates,
and the material; robust weights are applied; sums over the lights give the pixel's gradient and
3×3 Gauss-Newton matrix. Nothing per pixel-light is kept, so memory does not grow with lights.

Geometry (camera frame: z forward; x, y normalised image coordinates): a surface point is
P = e^u (x, y, 1), so ∂P/∂x × ∂P/∂y is along m = (p, q, −(1 + x p + y q)), which points to the
camera. This is exact for perspective, with any distortion, given x, y of each pixel.

Model: M = E(P) V [ks F D(h) G1(l) G1(v) / (4 n·v) + kd/π n·l] + offset + B, with irradiance E
(inverse square, cos^m lobe, flat field), visibility V, Schlick's F = 1 + g (1 − v·h)^5 whose level
is in ks, D and G1 of GGX or Beckmann (Walter et al. 2007, eqs. 25–27, 33–35; anisotropic forms by
Heitz 2014), and the indirect light B of the current surface.

Residual: r = √(M + ε) − √(I + ε), of equal variance at all levels when ε is read noise over shot
noise (Anscombe 1948); a clipped pixel counts only where the model is darker than the picture.

Inner loops run over the lights in float32 without branches or calls, so that LLVM vectorises them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from reconstruct.optics.microfacet import BECKMANN, GGX

HUBER, GEMAN_MCCLURE = 0, 1

# Rows of the table of lights: x y z, axis x y z, strength, lobe.
LIGHT_ROWS = 8
# Entries of the material vector.
MATERIAL = ("ln_alpha_x", "ln_alpha_y", "ln_ks", "g", "kd", "offset")
N_MATERIAL = len(MATERIAL)
# Columns of the Jacobian: u, p, q and the material.
N_COLUMNS = 3 + N_MATERIAL
# Sums per pixel: gradient (3), matrix (6: uu up uq pp pq qq).
N_SUMS = 9
CLIPPED_BIT, SHADOW_BIT = 1, 2
LEVELS = 16383
# Change of the slopes, over 1 + p² + q², up to which indirect light is taken as linear in them.
LINEAR = np.float32(0.15)
# All that the loops over lights touch lies in one buffer, at offsets known when it is compiled:
# LLVM then proves without run-time checks that nothing overlaps, and vectorises. The stride has
# room for `methods.MAX_LIGHTS` and is not a power of two, so that rows do not compete for the same
# cache sets.
STRIDE = 1040
IRRADIANCE, INDIRECT, TARGET, SEEN, CLIPPED = (STRIDE * i for i in range(8, 13))
RESIDUAL, LOSS = STRIDE * 13, STRIDE * 14
# Derivatives of the indirect light by the slopes p and q, and the weight that its error leaves.
INDIRECT_P, INDIRECT_Q, TRUST = STRIDE * 15, STRIDE * 16, STRIDE * 17
COLUMNS = STRIDE * 18
WORK = COLUMNS + STRIDE * N_COLUMNS
_X, _Y, _Z, _AX, _AY, _AZ, _STRENGTH, _LOBE = (STRIDE * i for i in range(8))
BY_U, BY_P, BY_Q, BY_AX, BY_AY, BY_KS, BY_G, BY_KD, BY_OFFSET = (
    COLUMNS + STRIDE * i for i in range(9)
)

JIT = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
# What is called for each pixel makes no array. Without this numba counts references to all arrays
# that it is handed, pixel after pixel, in a third of the time that a pixel takes. All of it is
# inlined: of what stands alone the process that compiles it runs another copy than later ones do,
# and the two round otherwise.
PER_PIXEL = JIT | {"_nrt": False, "forceinline": True}


@njit(**PER_PIXEL)
def irradiance(point, n, flat, row, column, shape, work):
    """Irradiance times d² on a surface facing each light, lobe and flat field in it.

    The cells of the flat field (gh, gw, N) tile the picture, of (H, W, …) = `shape` pixels.
    """
    one = np.float32(1.0)
    px, py, pz = point[0], point[1], point[2]
    unit = True
    for k in range(n):
        unit = unit and work[_LOBE + k] == one
    for k in range(n):
        lx = px - work[_X + k]
        ly = py - work[_Y + k]
        lz = pz - work[_Z + k]
        inv = one / math.sqrt(lx * lx + ly * ly + lz * lz)
        c = (lx * work[_AX + k] + ly * work[_AY + k] + lz * work[_AZ + k]) * inv
        work[IRRADIANCE + k] = c
    if unit:
        for k in range(n):
            work[IRRADIANCE + k] = work[_STRENGTH + k] * max(work[IRRADIANCE + k], np.float32(0.0))
    else:
        for k in range(n):
            # c^m = exp(m ln c); ln by the series of atanh, exp as (e^(x/32))^32: both vectorise.
            c = min(max(work[IRRADIANCE + k], np.float32(0.05)), one)
            z = (c - one) / (c + one)
            z2 = z * z
            series = np.float32(1 / 9) + z2 * (np.float32(1 / 11) + z2 * np.float32(1 / 13))
            series = np.float32(1 / 5) + z2 * (np.float32(1 / 7) + z2 * series)
            series = one + z2 * (np.float32(1 / 3) + z2 * series)
            x = max(work[_LOBE + k] * np.float32(2.0) * z * series, np.float32(-30.0))
            work[IRRADIANCE + k] = work[_STRENGTH + k] * _exp(x)
    if flat.shape[0] > 1 or flat.shape[1] > 1:
        down = np.float32(shape[0] / flat.shape[0])
        across = np.float32(shape[1] / flat.shape[1])
        # Into the place of the residual, which is not known yet.
        sample(flat, np.float32(row), np.float32(column), down, across, RESIDUAL, work)
        for k in range(n):
            work[IRRADIANCE + k] *= work[RESIDUAL + k]


@njit(inline="always", **PER_PIXEL)
def _exp(x):
    """e^x for −30 ≤ x ≤ 0 to 1e-4 without a call, so that loops around it vectorise."""
    one = np.float32(1.0)
    y = x * np.float32(1 / 32)
    e = one + y * (one + y * (np.float32(0.5) + y * (np.float32(1 / 6) + y * np.float32(1 / 24))))
    e = e * e
    e = e * e
    e = e * e
    e = e * e
    return e * e


@njit(**PER_PIXEL)
def sample(grid, row, column, down, across, offset, work):
    """Bilinear sample at a pixel of a coarse (gh, gw, N) map, its cells `down` × `across` px."""
    gh, gw, n = grid.shape
    one = np.float32(1.0)
    y = min(max((row + np.float32(0.5)) / down - np.float32(0.5), 0.0), gh - 1.0)
    x = min(max((column + np.float32(0.5)) / across - np.float32(0.5), 0.0), gw - 1.0)
    r0 = max(min(int(y), gh - 2), 0)
    c0 = max(min(int(x), gw - 2), 0)
    r1 = min(r0 + 1, gh - 1)
    c1 = min(c0 + 1, gw - 1)
    fy = np.float32(y - r0)
    fx = np.float32(x - c0)
    for k in range(n):
        top = grid[r0, c0, k] * (one - fx) + grid[r0, c1, k] * fx
        low = grid[r1, c0, k] * (one - fx) + grid[r1, c1, k] * fx
        work[offset + k] = top * (one - fy) + low * fy


@njit(inline="always", **PER_PIXEL)
def _smith(c, s2, a2, model):
    """Smith's G1 at cosine c and squared sine s2, of squared width a2 along it, and ∂ ln G1/∂c."""
    if model == GGX:
        root = math.sqrt(c * c + a2 * s2)
        return np.float32(2.0) * c / (c + root), a2 / (c * root * (c + root))
    a = c / math.sqrt(a2 * s2)
    num = np.float32(3.535) * a + np.float32(2.181) * a * a
    den = np.float32(1.0) + np.float32(2.276) * a + np.float32(2.577) * a * a
    below = a < np.float32(1.6)
    g1 = num / den if below else np.float32(1.0)
    dg = (np.float32(3.535) + np.float32(4.362) * a) / num - (
        np.float32(2.276) + np.float32(5.154) * a
    ) / den
    return g1, dg * a / (c * s2) if below else np.float32(0.0)


def _pixel_rows(derivatives: bool, model: int, alike: bool) -> Callable[..., None]:
    """The pixel's loop over the lights, compiled for one distribution.

    With derivatives, or for the radiance alone: that stands in place of the residual then. With
    `alike` widths along and across the marks, of which only the derivative by both is given.
    """

    @njit(**PER_PIXEL)
    def pixel_rows(geometry, tangent, n, epsilon, material, robust, width, work):
        """Weighted residual and Jacobian of one pixel, per light; or the radiance alone.

        Parameters
        ----------
        geometry : (6, 3) world point (mm), unit normal, its derivatives by both slopes, derivative
            of the point by log-depth (mm), unit vector to the camera
        tangent : (3,) unit direction of the brushing marks (any, if isotropic)
        n : number of lights
        work : in: lights, irradiance, indirect, its derivatives and trust in it, target, seen,
            clipped; out: weighted residual, loss, weighted Jacobian columns
        """
        one = np.float32(1.0)
        zero = np.float32(0.0)
        tiny = np.float32(1e-6)
        position, normal, d_p, d_q, w, v = (
            geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5],
        )  # fmt: skip
        px, py, pz = position[0], position[1], position[2]
        nx, ny, nz = normal[0], normal[1], normal[2]
        ax, ay, az = d_p[0], d_p[1], d_p[2]
        bx, by, bz = d_q[0], d_q[1], d_q[2]
        wx, wy, wz = w[0], w[1], w[2]
        vx, vy, vz = v[0], v[1], v[2]
        alpha_x = math.exp(material[0])
        alpha_y = math.exp(material[1])
        ks = math.exp(material[2])
        g = material[3]
        kd_pi = material[4] * np.float32(1 / math.pi)
        floor = material[5] + epsilon
        iax2 = one / (alpha_x * alpha_x)
        iay2 = one / (alpha_y * alpha_y)
        dia2 = iax2 - iay2
        # Brushing direction within the tangent plane, and what of it moves with the normal.
        nt = nx * tangent[0] + ny * tangent[1] + nz * tangent[2]
        it = one / math.sqrt(max(one - nt * nt, np.float32(1e-3)))
        tx = (tangent[0] - nt * nx) * it
        ty = (tangent[1] - nt * ny) * it
        tz = (tangent[2] - nt * nz) * it
        at = (ax * tangent[0] + ay * tangent[1] + az * tangent[2]) * it
        bt = (bx * tangent[0] + by * tangent[1] + bz * tangent[2]) * it
        # Terms of the view, the same for all lights.
        nv = max(nx * vx + ny * vy + nz * vz, np.float32(1e-3))
        av = ax * vx + ay * vy + az * vz
        bv = bx * vx + by * vy + bz * vz
        vt = vx * tx + vy * ty + vz * tz
        s2v = max(one - nv * nv, tiny)
        a2v = alpha_y * alpha_y * max(one - nv * nv - vt * vt, zero) + alpha_x * alpha_x * vt * vt
        g1v, dg1v = _smith(nv, s2v, a2v / s2v, model)
        lead = ks * g1v / (np.float32(4.0 * math.pi) * nv * alpha_x * alpha_y)
        dview = dg1v - one / nv
        ax2 = alpha_x * alpha_x
        ay2 = alpha_y * alpha_y
        for k in range(n):
            lx = work[_X + k] - px
            ly = work[_Y + k] - py
            lz = work[_Z + k] - pz
            inv = one / math.sqrt(lx * lx + ly * ly + lz * lz)
            lx *= inv
            ly *= inv
            lz *= inv
            lv = lx * vx + ly * vy + lz * vz
            hinv = one / math.sqrt(max(np.float32(2.0) + np.float32(2.0) * lv, np.float32(1e-4)))
            nl = nx * lx + ny * ly + nz * lz
            al = ax * lx + ay * ly + az * lz
            bl = bx * lx + by * ly + bz * lz
            hn = max((nl + nv) * hinv, np.float32(1e-2))
            ah = (al + av) * hinv
            bh = (bl + bv) * hinv
            ht = zero if alike else ((lx + vx) * tx + (ly + vy) * ty + (lz + vz) * tz) * hinv
            vh = (one + lv) * hinv
            lit = nl > np.float32(1e-4)
            nl = max(nl, np.float32(1e-4))
            # Derivatives of l, h by log-depth.
            wl = wx * lx + wy * ly + wz * lz
            nw = nx * wx + ny * wy + nz * wz
            vw = vx * wx + vy * wy + vz * wz
            nl_u = (nl * wl - nw) * inv
            lv_u = (lv * wl - vw) * inv
            hn_u = nl_u * hinv - hn * lv_u * hinv * hinv
            # The microfacet distribution and its logarithmic derivatives.
            hn2 = hn * hn
            slope = (one - hn2) * iay2
            if not alike:
                slope += ht * ht * dia2
            if model == GGX:
                root = one / (slope + hn2)
                d = root * root
                dln_slope = -np.float32(2.0) * root
                dln_hn = -np.float32(4.0) * hn * root
            else:
                ihn2 = one / hn2
                x = max(-slope * ihn2, np.float32(-30.0))
                d = _exp(x) * ihn2 * ihn2
                dln_slope = -ihn2
                dln_hn = (np.float32(2.0) * slope * ihn2 - np.float32(4.0)) / hn
            slope_hn = -np.float32(2.0) * hn * iay2
            dh = dln_slope * slope_hn + dln_hn
            dt = dln_slope * np.float32(2.0) * ht * dia2
            s2 = max(one - nl * nl, tiny)
            a2l = ay2
            if not alike:
                lt = lx * tx + ly * ty + lz * tz
                a2l = (ay2 * max(s2 - lt * lt, zero) + ax2 * lt * lt) / s2
            g1l, dg1l = _smith(nl, s2, a2l, model)
            f1 = one - vh
            f5 = f1 * f1
            f5 = f5 * f5 * f1
            fresnel = one + g * f5
            e = work[IRRADIANCE + k] * inv * inv
            e = e * work[SEEN + k] if lit else zero
            bare = e * lead * d * g1l
            spec = bare * fresnel
            diff = e * kd_pi * nl
            m = spec + diff + floor + work[INDIRECT + k]
            if not derivatives:
                work[RESIDUAL + k] = max(m, tiny)
                continue
            root_m = math.sqrt(max(m, tiny))
            r = root_m - work[TARGET + k]
            used = (r < zero) | (work[CLIPPED + k] == zero)
            r = r if used else zero
            # Robust loss and weight.
            ar = abs(r)
            if robust == HUBER:
                weight = one if ar <= width else width / ar
                loss = r * r if ar <= width else width * (np.float32(2.0) * ar - width)
            else:
                q = width * width / (width * width + r * r)
                loss = r * r * q
                weight = q * q
            loss *= work[TRUST + k]
            weight *= work[TRUST + k]
            half = np.float32(0.5) / root_m * math.sqrt(weight) if used else zero
            sw = math.sqrt(weight)
            work[RESIDUAL + k] = r * sw
            work[LOSS + k] = loss
            # by u: distance, incidence, half vector, lobe
            axis_l = -(work[_AX + k] * lx + work[_AY + k] * ly + work[_AZ + k] * lz)
            axis_w = -(work[_AX + k] * wx + work[_AY + k] * wy + work[_AZ + k] * wz)
            lobe = work[_LOBE + k] * (wl - axis_w / max(axis_l, np.float32(0.05))) * inv
            away = np.float32(2.0) * wl * inv + lobe
            ekd = e * kd_pi
            work[BY_U + k] = half * (
                spec * (dh * hn_u + dg1l * nl_u + away) + ekd * (nl_u + nl * away)
            )
            # by p and q: normal
            by_p = dh * ah + dg1l * al + dview * av
            by_q = dh * bh + dg1l * bl + dview * bv
            if not alike:
                by_p += dt * (-(nt * it) * ah - hn * at + ht * nt * it * at)
                by_q += dt * (-(nt * it) * bh - hn * bt + ht * nt * it * bt)
            work[BY_P + k] = half * (spec * by_p + ekd * al + work[INDIRECT_P + k])
            work[BY_Q + k] = half * (spec * by_q + ekd * bl + work[INDIRECT_Q + k])
            # by the material
            if alike:
                both = dln_slope * (one - hn2) * iay2 + one
                work[BY_AX + k] = -np.float32(2.0) * half * spec * both
            else:
                sx = -np.float32(2.0) * ht * ht * iax2
                sy = -np.float32(2.0) * (one - hn2 - ht * ht) * iay2
                work[BY_AX + k] = half * spec * (dln_slope * sx - one)
                work[BY_AY + k] = half * spec * (dln_slope * sy - one)
            work[BY_KS + k] = half * spec
            work[BY_G + k] = half * bare * f5
            work[BY_KD + k] = half * e * nl * np.float32(1 / math.pi)
            work[BY_OFFSET + k] = half

    return pixel_rows


def _any(derivatives: bool) -> Callable[..., None]:
    """The loop for any material."""
    ggx, ggx_alike, beckmann, beckmann_alike = (
        _pixel_rows(derivatives, model, alike)
        for model in (GGX, BECKMANN)
        for alike in (False, True)
    )

    @njit(**PER_PIXEL)
    def pixel_rows(geometry, tangent, n, epsilon, material, model, robust, width, work):
        alike = material[0] == material[1]
        if model == GGX and alike:
            ggx_alike(geometry, tangent, n, epsilon, material, robust, width, work)
        elif model == GGX:
            ggx(geometry, tangent, n, epsilon, material, robust, width, work)
        elif alike:
            beckmann_alike(geometry, tangent, n, epsilon, material, robust, width, work)
        else:
            beckmann(geometry, tangent, n, epsilon, material, robust, width, work)

    return pixel_rows


pixel_rows, radiance_rows = _any(True), _any(False)
