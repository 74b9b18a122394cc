"""What the parts of many scenes reflect onto themselves, in torch: `bounces` for a GPU."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from reconstruct.dpps.batched_scene import (
    Metal,
    Vector,
    columns,
    dot,
    fused,
    minus,
    reflected,
    scaled,
    to_camera,
    towards,
    unit,
)
from reconstruct.dpps.bounces import WIDER
from reconstruct.dpps.samples import LONGEST_PATH
from reconstruct.optics.brdf import conductor_fresnel, smith_g1

STRIDES = 4  # of a ray's march in one kernel
_WIDER = float(WIDER)


class Ground(NamedTuple):
    """Points, normals and mask of the parts: maps (B, W, W), or the same flat."""

    points: Vector
    normals: Vector
    lit: Tensor


def taken(a: Vector, places: Tensor) -> Vector:
    """Components at flat places."""
    return a[0].flatten()[places], a[1].flatten()[places], a[2].flatten()[places]


def _frame(n: Vector) -> tuple[Vector, Vector]:
    """Tangent (towards x) and bitangent of normals."""
    t = (1 - n[0] * n[0], -n[0] * n[1], -n[0] * n[2])
    length2 = dot(t, t)
    edge = length2 < 1e-10
    t = (torch.where(edge, 0, t[0]), torch.where(edge, n[2], t[1]), torch.where(edge, -n[1], t[2]))
    t = scaled(t, torch.rsqrt(dot(t, t) + 1e-20))
    b = (n[1] * t[2] - n[2] * t[1], n[2] * t[0] - n[0] * t[2], n[0] * t[1] - n[1] * t[0])
    return t, b


@fused
def _mirrored(
    u1: Tensor, u2: Tensor, n: Vector, out: Vector, alpha: Tensor, index: tuple[Tensor, Tensor],
    beckmann: Tensor,
) -> tuple[Vector, Tensor]:  # fmt: skip
    """Direction that a ray leaves along, drawn from the microfacets, and its weight.

    GGX: visible normals (Heitz 2018, listing 1); Beckmann: all normals (Walter 2007, eqs. 28, 29),
    as `interreflection.drawn_direction`.
    """
    t, b = _frame(n)
    v = (dot(t, out), dot(b, out), dot(n, out))
    # GGX
    h = (alpha * v[0], alpha * v[1], v[2])
    h = unit(h)
    across2 = h[0] * h[0] + h[1] * h[1]
    level = across2 <= 1e-12
    inv = torch.rsqrt(across2.clamp_min(1e-12))
    ex, ey = torch.where(level, 1, -h[1] * inv), torch.where(level, 0, h[0] * inv)
    f = (-h[2] * ey, h[2] * ex, h[0] * ey - h[1] * ex)
    r = torch.sqrt(u1)
    p1, p2 = r * torch.cos(2 * math.pi * u2), r * torch.sin(2 * math.pi * u2)
    s = 0.5 * (1 + h[2])
    p2 = (1 - s) * torch.sqrt((1 - p1 * p1).clamp_min(0)) + s * p2
    p3 = torch.sqrt((1 - p1 * p1 - p2 * p2).clamp_min(0))
    ggx = (
        alpha * (p1 * ex + p2 * f[0] + p3 * h[0]),
        alpha * (p1 * ey + p2 * f[1] + p3 * h[1]),
        (p2 * f[2] + p3 * h[2]).clamp_min(1e-6),
    )
    # Beckmann
    slope = torch.sqrt(-torch.log((1 - u1).clamp_min(1e-9)))
    mx = -alpha * slope * torch.cos(2 * math.pi * u2)
    my = -alpha * slope * torch.sin(2 * math.pi * u2)
    rough = beckmann > 0
    m = (torch.where(rough, mx, ggx[0]), torch.where(rough, my, ggx[1]),
         torch.where(rough, 1, ggx[2]))  # fmt: skip
    m = unit(m)
    v_m = dot(v, m)
    a2 = alpha * alpha
    g_v = smith_g1(beckmann, v[2], a2 * (v[0] * v[0] + v[1] * v[1]))
    weight = torch.where(rough, g_v * v_m.clamp_min(0) / (v[2].clamp_min(1e-4) * m[2]), 1.0)
    d = minus(scaled(m, 2 * v_m), v)
    weight = weight * conductor_fresnel(v_m, *index)
    weight = weight * smith_g1(beckmann, d[2], a2 * (d[0] * d[0] + d[1] * d[1]))
    weight = torch.where((v_m > 0) & (d[2] > 0) & (v[2] > 0.02), weight, 0.0)
    world = tuple(t[i] * d[0] + b[i] * d[1] + n[i] * d[2] for i in range(3))
    return (world[0], world[1], world[2]), weight


@fused
def _stepped(
    met: Tensor, going: Tensor, step: Tensor, ahead: Vector, turned: Vector,
    places: tuple[Tensor, Tensor, Tensor], levels: tuple[Tensor, Tensor], ground: Ground,
    side: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Some strides of the rays: what they have met so far, and whether they go on."""
    scene, row, column = places
    (_, _, z), normals, lit = ground
    right, down, climb = turned
    for _ in range(STRIDES):
        c = torch.floor(column + right * step + 0.5).to(torch.int64)
        r = torch.floor(row + down * step + 0.5).to(torch.int64)
        inside = (c >= 0) & (r >= 0) & (c < side) & (r < side)
        there = (scene * side + r.clamp(0, side - 1)) * side + c.clamp(0, side - 1)
        level, top = levels[0] + climb * step, levels[1]
        under = going & inside & (level < z[there])
        n = (normals[0][there], normals[1][there], normals[2][there])
        hit = under & lit[there] & (dot(ahead, n) < -0.02)
        going = going & inside & ~hit & (~under | lit[there]) & ~((climb > 0) & (level > top))
        met = torch.where(hit, there, met)
        step = step * 1.05 + 0.3
    return met, going


def _flat(a: Vector) -> Vector:
    return a[0].flatten(), a[1].flatten(), a[2].flatten()


def _meeting(start: Tensor, ahead: Vector, ground: Ground) -> Tensor:
    """Flat place where each ray from a flat place meets the surface, or -1; strides grow."""
    points = ground.points
    side = points[0].shape[-1]
    middle = side // 2
    pixel = points[0][:, middle, middle + 1] - points[0][:, middle, middle]
    scene, within = start // (side * side), start % (side * side)
    run = torch.sqrt(ahead[0] * ahead[0] + ahead[1] * ahead[1])
    inv = 1 / run.clamp_min(1e-6)
    turned = (ahead[0] * inv, -ahead[1] * inv, ahead[2] * inv * pixel[scene])
    flat = Ground(_flat(points), _flat(ground.normals), ground.lit.flatten())
    z = flat.points[2]
    going = (run >= 0.2) | (ahead[2] <= 0)
    met = torch.full_like(start, -1)
    levels = (z[start], points[2].amax((1, 2))[scene])
    places = (scene, within // side, within % side)
    step = 1.5
    while step < 2 * side:
        met, going = _stepped(
            met, going, torch.tensor(step, device=z.device), ahead, turned, places, levels,
            flat, side,
        )  # fmt: skip
        for _ in range(STRIDES):
            step = step * 1.05 + 0.3
    return met


@fused
def _landed(
    points: Vector, n: Vector, back: Vector, position: Vector, seen: Tensor, alpha: Tensor,
    beckmann: Tensor, index: tuple[Tensor, Tensor], kd: Tensor,
) -> Tensor:  # fmt: skip
    """(K, N) light that places (K, 1) send along `back`, of `seen` (K, N) strength."""
    t, _ = _frame(n)
    light, _ = towards(position, points)
    a2 = alpha * alpha + _WIDER
    return seen * reflected(n, t, light, back, dot(n, back), a2, a2, beckmann, index, kd)


def bounced(
    ground: Ground, camera: Tensor, position: Vector, strength: Tensor, metal: Metal,
    jitter: tuple[Tensor, Tensor], rays: Tensor, margin: int,
) -> Tensor:  # fmt: skip
    """(B, H, W, N) radiance that comes by one place of the part or more, as `bounces.bounced`.

    Maps are (B, W, W), numbers of a scene (B,), lights (B, N), `strength` (B, P, N).
    """
    points, normals, lit = ground
    alpha, _, _, beckmann, index, diffuse = metal
    batch, side, _ = lit.shape
    small, count = side - 2 * margin, strength.shape[-1]
    out = torch.zeros((batch * small * small, count), device=lit.device)
    most = int(rays.max())
    inner = lit[:, margin : side - margin, margin : side - margin]
    scene, row, column = inner.nonzero(as_tuple=True)
    number = torch.arange(most, device=lit.device).repeat(len(scene))
    scene, row, column = (each.repeat_interleave(most) for each in (scene, row, column))
    wanted = number < rays[scene]
    scene, row, column, number = (each[wanted] for each in (scene, row, column, number))
    origin = (scene * small + row) * small + column
    at = (scene * side + row + margin) * side + column + margin
    share = 1 / rays[scene].to(strength.dtype)
    u1 = (number + jitter[0].flatten()[at]) * share
    u2 = torch.frac(number * 0.754877666 + jitter[1].flatten()[at])
    outward = to_camera(taken(points, at), camera[scene])
    gain, flat = share, strength.reshape(-1, count)
    for _ in range(LONGEST_PATH):
        ahead, weight = _mirrored(
            u1, u2, taken(normals, at), outward, alpha.flatten()[at],
            (index[0][scene], index[1][scene]), beckmann[scene],
        )  # fmt: skip
        gain = gain * weight
        met = torch.where(gain >= 0.02 * share, _meeting(at, ahead, ground), -1)
        kept = (met >= 0).nonzero()[:, 0]
        at, scene, origin, gain, share, u1, u2 = (
            each[kept] for each in (met, scene, origin, gain, share, u1, u2)
        )
        outward = (-ahead[0][kept], -ahead[1][kept], -ahead[2][kept])
        light = _landed(
            columns(taken(points, at)), columns(taken(normals, at)), columns(outward),
            (position[0][scene], position[1][scene], position[2][scene]), flat[at],
            alpha.flatten()[at][:, None], beckmann[scene][:, None],
            (index[0][scene][:, None], index[1][scene][:, None]),
            diffuse.flatten()[at][:, None],
        )  # fmt: skip
        out.index_add_(0, origin, gain[:, None] * light)
        u1 = torch.frac(u1 * 37 + jitter[0].flatten()[at])
        u2 = torch.frac(u2 * 41 + jitter[1].flatten()[at])
    return out.reshape(batch, small, small, count)
