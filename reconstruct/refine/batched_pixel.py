"""The formulas of `reconstruct.refine.pixel` in batched torch: P pixels under N lights at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reconstruct.refine.pixel import GGX, HUBER, LINEAR, N_MATERIAL

# Columns of the Jacobian.
U, P, Q, ALPHA_X, ALPHA_Y, KS, G, KD, OFFSET = range(3 + N_MATERIAL)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Points and normals of P pixels and their derivatives, (P, 3) each, world frame.

    `slopes` is (P, 2): p and q.
    """

    point: Tensor
    normal: Tensor
    d_p: Tensor
    d_q: Tensor
    w: Tensor
    v: Tensor
    slopes: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.point, self.normal, self.d_p, self.d_q, self.w, self.v, self.slopes


@dataclass(frozen=True, eq=False)
class Rows:
    """Weighted residual and loss (P, N), weighted Jacobian (9, P, N)."""

    residual: Tensor
    loss: Tensor
    columns: Tensor


def geometry_of(
    u: Tensor, xy: Tensor, jacobians: Tensor, rotation: Tensor, centre: Tensor
) -> Geometry:
    """Points, normals and derivatives from log-depth at the corners of some rows (float64)."""
    u00, u01, u10, u11 = u[:-1, :-1], u[:-1, 1:], u[1:, :-1], u[1:, 1:]
    mean = 0.25 * (u00 + u01 + u10 + u11)
    uc = 0.5 * ((u01 - u00) + (u11 - u10))
    ur = 0.5 * ((u10 - u00) + (u11 - u01))
    x, y = xy
    p = uc * jacobians[0] + ur * jacobians[1]
    q = uc * jacobians[2] + ur * jacobians[3]
    mz = -(1.0 + x * p + y * q)
    length = torch.sqrt(p * p + q * q + mz * mz)[..., None]
    one = torch.ones_like(x)
    normal = torch.stack([p, q, mz], -1) / length @ rotation.T
    ray = torch.stack([x, y, one], -1) @ rotation.T
    w = torch.exp(mean)[..., None] * ray
    # ∂m/∂p = (1, 0, −x), ∂m/∂q = (0, 1, −y), projected off the normal
    by_p = torch.stack([one, 0 * one, -x], -1) @ rotation.T
    by_q = torch.stack([0 * one, one, -y], -1) @ rotation.T
    d_p = (by_p - normal * (normal * by_p).sum(-1, keepdim=True)) / length
    d_q = (by_q - normal * (normal * by_q).sum(-1, keepdim=True)) / length
    v = -ray / torch.linalg.vector_norm(ray, dim=-1, keepdim=True)
    parts = (centre + w, normal, d_p, d_q, w, v, torch.stack([p, q], -1))
    return Geometry(*(part.flatten(0, 1).float() for part in parts))


def tangents(brush: Sequence[float], points: Tensor) -> Tensor:
    """(P, 3) direction of the marks: straight at an angle, or circles about (cx, cy) mm."""
    kind, angle, cx, cy = brush
    if kind == 1:
        x, y = points[:, 0] - cx, points[:, 1] - cy
        length = torch.sqrt(x * x + y * y) + 1e-6
        return torch.stack([-y / length, x / length, 0 * x], -1)
    straight = torch.tensor([math.cos(angle), math.sin(angle), 0.0], device=points.device)
    return straight.expand_as(points)


def sampled(grid: Tensor, rows: Tensor, width: int, step: float) -> Tensor:
    """(P, N) bilinear samples of a coarse (gh, gw, N) map of the image at all pixels of rows."""
    gh, gw, _ = grid.shape
    columns = torch.arange(width, device=grid.device)
    y = ((rows + 0.5) / step - 0.5).clamp(0.0, gh - 1.0)
    x = ((columns + 0.5) / step - 0.5).clamp(0.0, gw - 1.0)
    r0 = y.long().clamp(max=max(gh - 2, 0))
    c0 = x.long().clamp(max=max(gw - 2, 0))
    r1, c1 = (r0 + 1).clamp(max=gh - 1), (c0 + 1).clamp(max=gw - 1)
    fy = (y - r0)[:, None, None].float()
    fx = (x - c0)[None, :, None].float()
    top = grid[r0][:, c0] * (1 - fx) + grid[r0][:, c1] * fx
    low = grid[r1][:, c0] * (1 - fx) + grid[r1][:, c1] * fx
    return (top * (1 - fy) + low * fy).reshape(-1, grid.shape[2])


def indirect_at(traced: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """(P, N) indirect light at the slopes (P, 2) and its derivatives (2, P, N).

    `traced` is that of `Problem.traced`, (P, 3 N + 2).
    """
    base = traced[:, -2:]
    change = slopes - base
    reach = float(LINEAR) * (1.0 + (base * base).sum(-1))
    farthest = change.abs().amax(-1).clamp(min=1e-9)
    change = change * (reach / farthest).clamp(max=1.0)[:, None]
    value, by_p, by_q = traced[:, :-2].reshape(len(traced), 3, -1).unbind(1)
    value = value + change[:, :1] * by_p + change[:, 1:] * by_q
    lit = value > 0
    return value * lit, torch.stack([by_p * lit, by_q * lit])


def irradiance(points: Tensor, lights: Tensor, flat: Tensor) -> Tensor:
    """(P, N) irradiance times d² on a surface facing each light."""
    away = points[:, None, :] - lights[:3].T
    cosine = (away * lights[3:6].T).sum(-1) / torch.linalg.vector_norm(away, dim=-1)
    strength, lobe = lights[6], lights[7]
    if bool((lobe == 1.0).all()):
        return strength * cosine.clamp(min=0.0) * flat
    return strength * cosine.clamp(0.05, 1.0) ** lobe * flat


def smith(c: Tensor, a2: Tensor, model: int) -> tuple[Tensor, Tensor]:
    """Smith's G1 at cosine c with squared width a2 across it, and ∂ ln G1/∂c."""
    s2 = (1.0 - c * c).clamp(min=1e-6)
    if model == GGX:
        root = torch.sqrt(c * c + a2 * s2)
        return 2.0 * c / (c + root), a2 / (c * root * (c + root))
    a = c / torch.sqrt(a2 * s2)
    num = 3.535 * a + 2.181 * a * a
    den = 1.0 + 2.276 * a + 2.577 * a * a
    dg = (3.535 + 4.362 * a) / num - (2.276 + 5.154 * a) / den
    below = a < 1.6
    return (
        torch.where(below, num / den, torch.ones_like(a)),
        torch.where(below, dg * a / (c * s2), torch.zeros_like(a)),
    )


def distribution(
    hn: Tensor, ht: Tensor, iax2: float, iay2: float, model: int
) -> tuple[Tensor, Tensor, Tensor]:
    """D up to 1/(π α_x α_y), and its logarithmic derivatives by the exponent and by n·h."""
    hn2 = hn * hn
    slope = (1.0 - hn2) * iay2 + ht * ht * (iax2 - iay2)
    if model == GGX:
        root = 1.0 / (slope + hn2)
        return root * root, -2.0 * root, -4.0 * hn * root
    ihn2 = 1.0 / hn2
    d = torch.exp((-slope * ihn2).clamp(min=-30.0)) * ihn2 * ihn2
    return d, -ihn2, (2.0 * slope * ihn2 - 4.0) / hn


def pixel_rows(
    at: Geometry, tangent: Tensor, lights: Tensor, light: Tensor, indirect: Tensor,
    by_slopes: Tensor, target: Tensor, seen: Tensor, clipped: Tensor, epsilon: float,
    material: Tensor, local: Tensor, model: int, robust: int, width: float, doubt: float,
) -> Rows:  # fmt: skip
    """Weighted residual and Jacobian of P pixels under N lights; see `kernel.pixel_rows`.

    Parameters
    ----------
    light : (P, N) irradiance times d²
    by_slopes : (2, P, N) derivatives of the indirect light, or (2,) zeros
    local : (2, P, 1) addition to ln(ks) and to kd
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(-1)

    def pixel(a: Tensor, b: Tensor) -> Tensor:
        return dot(a, b)[:, None]

    n, a, b, w, v = at.normal, at.d_p, at.d_q, at.w, at.v
    ln_ax, ln_ay, ln_ks, g, kd, offset = material.tolist()
    alpha_x, alpha_y = math.exp(ln_ax), math.exp(ln_ay)
    iax2, iay2 = alpha_x**-2, alpha_y**-2
    ks = torch.exp(local[0] + ln_ks)
    kd_pi = (local[1] + kd) / math.pi
    # Brushing direction within the tangent plane, and what of it moves with the normal.
    nt = pixel(n, tangent)
    it = 1.0 / torch.sqrt((1.0 - nt * nt).clamp(min=1e-3))
    t = (tangent - nt * n) * it
    at_t, bt = pixel(a, tangent) * it, pixel(b, tangent) * it
    # Terms of the view, the same for all lights.
    nv = pixel(n, v).clamp(min=1e-3)
    av, bv, vt = pixel(a, v), pixel(b, v), pixel(v, t)
    a2v = alpha_y**2 * (1.0 - nv * nv - vt * vt).clamp(min=0.0) + alpha_x**2 * vt * vt
    g1v, dg1v = smith(nv, a2v / (1.0 - nv * nv).clamp(min=1e-6), model)
    lead = ks * g1v / (4.0 * math.pi * nv * alpha_x * alpha_y)
    dview = dg1v - 1.0 / nv
    to_light = lights[:3].T - at.point[:, None, :]
    inv = 1.0 / torch.linalg.vector_norm(to_light, dim=-1)
    to_light = to_light * inv[..., None]

    def along(vector: Tensor) -> Tensor:
        return torch.einsum("pi,pni->pn", vector, to_light)

    lv, nl, al, bl, lt, wl = (along(vector) for vector in (v, n, a, b, t, w))
    hinv = 1.0 / torch.sqrt((2.0 + 2.0 * lv).clamp(min=1e-4))
    hn = ((nl + nv) * hinv).clamp(min=1e-2)
    ah, bh = (al + av) * hinv, (bl + bv) * hinv
    ht = (lt + vt) * hinv
    vh = (1.0 + lv) * hinv
    lit = nl > 1e-4
    nl = nl.clamp(min=1e-4)
    # Derivatives of l, h by log-depth.
    nl_u = (nl * wl - pixel(n, w)) * inv
    lv_u = (lv * wl - pixel(v, w)) * inv
    hn_u = nl_u * hinv - hn * lv_u * hinv * hinv
    d, dln_slope, dln_hn = distribution(hn, ht, iax2, iay2, model)
    dh = dln_slope * (-2.0 * hn * iay2) + dln_hn
    dt = dln_slope * 2.0 * ht * (iax2 - iay2)
    s2 = (1.0 - nl * nl).clamp(min=1e-6)
    a2l = (alpha_y**2 * (s2 - lt * lt).clamp(min=0.0) + alpha_x**2 * lt * lt) / s2
    g1l, dg1l = smith(nl, a2l, model)
    f5 = (1.0 - vh) ** 5
    e = torch.where(lit, light * inv * inv * seen, torch.zeros_like(light))
    bare = e * lead * d * g1l
    spec = bare * (1.0 + g * f5)
    m = spec + e * kd_pi * nl + (offset + epsilon) + indirect
    root_m = torch.sqrt(m.clamp(min=1e-6))
    r = root_m - target
    used = (r < 0) | (clipped == 0)
    r = torch.where(used, r, 0.0)
    # Robust loss and weight.
    if robust == HUBER:
        size = r.abs()
        far = size > width
        root_weight = torch.where(far, torch.sqrt(width / size.clamp(min=1e-30)), 1.0)
        loss = torch.where(far, width * (2.0 * size - width), r * r)
    else:
        root_weight = width * width / (width * width + r * r)
        loss = r * r * root_weight
    trust = 1.0 / (1.0 + torch.square(doubt * indirect / root_m))
    loss = loss * trust
    root_weight = root_weight * torch.sqrt(trust)
    half = torch.where(used, 0.5 / root_m * root_weight, 0.0)
    # by u: distance, incidence, half vector, lobe
    axis = lights[3:6]
    axis_l = -torch.einsum("in,pni->pn", axis, to_light)
    lobe = lights[7] * (wl + (w @ axis) / axis_l.clamp(min=0.05)) * inv
    away = 2.0 * wl * inv + lobe
    ekd = e * kd_pi
    columns = torch.empty((3 + N_MATERIAL, *r.shape), device=r.device)
    columns[U] = half * (spec * (dh * hn_u + dg1l * nl_u + away) + ekd * (nl_u + nl * away))
    # by p and q: normal
    ht_p = -(nt * it) * ah - hn * at_t + ht * nt * it * at_t
    ht_q = -(nt * it) * bh - hn * bt + ht * nt * it * bt
    columns[P] = half * (
        spec * (dh * ah + dt * ht_p + dg1l * al + dview * av) + ekd * al + by_slopes[0]
    )
    columns[Q] = half * (
        spec * (dh * bh + dt * ht_q + dg1l * bl + dview * bv) + ekd * bl + by_slopes[1]
    )
    # by the material
    columns[ALPHA_X] = half * spec * (-2.0 * dln_slope * ht * ht * iax2 - 1.0)
    columns[ALPHA_Y] = half * spec * (-2.0 * dln_slope * (1.0 - hn * hn - ht * ht) * iay2 - 1.0)
    columns[KS] = half * spec
    columns[G] = half * bare * f5
    columns[KD] = half * e * nl / math.pi
    columns[OFFSET] = half
    return Rows(r * root_weight, loss, columns)


def ring_normals(normals: Tensor, angle: float, turn: int) -> Tensor:
    """(P, 3) unit normals at an angle (rad) from others, the turn-th of eight around each."""
    zero = torch.zeros_like(normals[:, 0])
    a = torch.stack([zero, -normals[:, 2], normals[:, 1]], -1)
    a = a / torch.linalg.vector_norm(a, dim=-1, keepdim=True)
    b = torch.linalg.cross(normals, a)
    along, across = math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)
    ring = normals + math.tan(angle) * (along * a + across * b)
    return ring / torch.linalg.vector_norm(ring, dim=-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Eliminated:
    """Normal equations of columns with each pixel's two slopes projected out."""

    rows: Rows
    pp: Tensor
    pq: Tensor
    qq: Tensor
    det: Tensor

    @staticmethod
    def of(rows: Rows, factor: float, floor: float) -> Eliminated:
        """`factor` and `floor` regularise the slopes' own matrix."""
        p, q = rows.columns[P], rows.columns[Q]
        pp = (p * p).sum(-1).double() * factor + floor
        qq = (q * q).sum(-1).double() * factor + floor
        pq = (p * q).sum(-1).double()
        return Eliminated(rows, pp, pq, qq, pp * qq - pq * pq)

    def _by_slopes(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        by_p = (columns * self.rows.columns[P]).sum(-1).double()
        by_q = (columns * self.rows.columns[Q]).sum(-1).double()
        det = torch.where(self.det > 0, self.det, 1.0)
        return (
            by_p, by_q, (self.qq * by_p - self.pq * by_q) / det,
            (self.pp * by_q - self.pq * by_p) / det,
        )  # fmt: skip

    def products(self, columns: Tensor) -> Tensor:
        """(C, C, P) matrix."""
        by_p, by_q, sp, sq = self._by_slopes(columns)
        plain = torch.einsum("ipn,jpn->ijp", columns, columns).double()
        return plain - sp[:, None] * by_p[None] - sq[:, None] * by_q[None]

    def against_residual(self, columns: Tensor) -> Tensor:
        """(C, P) products with the residual."""
        _, _, sp, sq = self._by_slopes(columns)
        r = self.rows.residual
        rp = (self.rows.columns[P] * r).sum(-1).double()
        rq = (self.rows.columns[Q] * r).sum(-1).double()
        return (columns * r).sum(-1).double() - sp * rp - sq * rq
