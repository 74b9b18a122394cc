"""The pictures of many scenes at once, in torch on any device: `scene` and `bounces` for a GPU.

Layout: scenes × places × lights, or rays × lights where rays have landed. Vectors are tuples of
their components, so that everything broadcasts and a compiler can fuse it. On CUDA the loops over
lights are compiled by torch into one kernel each; elsewhere they run as they stand.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reconstruct.dpps.bounces import WIDER
from reconstruct.dpps.samples import LONGEST_PATH
from reconstruct.dpps.scene import AZIMUTHS
from reconstruct.optics.brdf import conductor_fresnel

Vector = tuple[Tensor, Tensor, Tensor]
STRIDES = 4  # of a ray's march in one kernel
_WIDER = float(WIDER)


class Lamps(NamedTuple):
    """Lights, and the powers and lobes that go with them, in the layout of what they light."""

    position: Vector
    axis: Vector
    lobe: Tensor
    power: Tensor


class Metal(NamedTuple):
    """What reflects, as `scene.Finish`; `beckmann` is 0 or 1."""

    alpha: Tensor
    ratio: Tensor
    grain: Tensor
    beckmann: Tensor
    f0: Tensor
    kd: Tensor


class Ground(NamedTuple):
    """Points, normals and mask of the parts: maps (B, W, W), or the same flat."""

    points: Vector
    normals: Vector
    lit: Tensor


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors where its first, or the first's x, lies on a GPU."""

    @functools.wraps(function)
    def call(first: Tensor | Vector, *others: Any) -> Any:
        on_gpu = (first if isinstance(first, Tensor) else first[0]).is_cuda
        return (_compiled(function) if on_gpu else function)(first, *others)

    return call


def dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def scaled(a: Vector, factor: Tensor) -> Vector:
    return a[0] * factor, a[1] * factor, a[2] * factor


def minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def columns(a: Vector) -> Vector:
    """Components (B, …) with an axis put in after the first."""
    return a[0][:, None], a[1][:, None], a[2][:, None]


def unit(a: Vector) -> Vector:
    return scaled(a, torch.rsqrt(dot(a, a)))


def towards(position: Vector, p: Vector) -> tuple[Vector, Tensor]:
    """Unit vectors from points to lights, and one over the distance."""
    away = minus(position, p)
    near = torch.rsqrt(dot(away, away))
    return scaled(away, near), near


def to_camera(p: Vector, camera: Tensor) -> Vector:
    """Unit vectors from points to the optical centre at (0, 0, `camera`)."""
    return unit((-p[0], -p[1], camera - p[2]))


def taken(a: Vector, places: Tensor) -> Vector:
    """Components at flat places."""
    return a[0].flatten()[places], a[1].flatten()[places], a[2].flatten()[places]


def reflected(
    n: Vector, t: Vector, light: Vector, view: Vector, nv: Tensor, ax2: Tensor, ay2: Tensor,
    beckmann: Tensor, f0: Tensor, kd: Tensor,
) -> Tensor:  # fmt: skip
    """f_r · max(0, n·l), as `scene.brdf`; `beckmann` is 0 or 1."""
    nl = dot(n, light).clamp_min(0)
    h = (light[0] + view[0], light[1] + view[1], light[2] + view[2])
    h = scaled(h, torch.rsqrt(dot(h, h) + 1e-12))
    nh, vh, th = dot(n, h).clamp_min(1e-3), dot(view, h).clamp_min(0), dot(t, h)
    nh2 = nh * nh
    bh2 = (1 - nh2 - th * th).clamp_min(0)
    alpha2 = torch.sqrt(ax2 * ay2)
    q = th * th / ax2 + bh2 / ay2
    s = q + nh2
    d = torch.where(
        beckmann > 0,
        torch.exp(-(q / nh2).clamp_max(32)) / (alpha2 * nh2 * nh2),
        1 / (alpha2 * s * s),
    )
    gl = nl / (nl + torch.sqrt(alpha2 + (1 - alpha2) * nl * nl))
    gv = 1 / (nv + torch.sqrt(alpha2 + (1 - alpha2) * nv * nv))
    m = 1 - vh
    fresnel = f0 + (1 - f0) * (m * m) * (m * m) * m
    return (fresnel * d * gl * gv + kd * nl) * (1 / math.pi)


@fused
def _raised(
    best: Tensor, x: Tensor, y: Tensor, z: Tensor, there: Tensor, inside: Tensor
) -> Tensor:  # fmt: skip
    """Horizon tangents (B, A, P) raised by the places (A, P) one step away."""
    ex, ey = x[:, there] - x[:, None], y[:, there] - y[:, None]
    tangent = (z[:, there] - z[:, None]) * torch.rsqrt(ex * ex + ey * ey + 1e-12)
    return torch.where(inside, torch.maximum(best, tangent), best)


@functools.cache
def _steps_away(side: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """(A, P) flat places that lie farther and farther off along each azimuth, and where in the map.

    The same for all pictures of a size: made once, since making them takes longer than their use.
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    turn = 4.0 * np.arange(AZIMUTHS) / AZIMUTHS
    dx = np.where(turn <= 2, 1 - turn, turn - 3)
    dy = np.where(turn <= 1, turn, np.where(turn <= 3, 2 - turn, turn - 4))
    long = np.hypot(dx, dy)
    steps, step = [], 1.0
    while step < side:
        right = np.floor(dx / long * step + 0.5).astype(int)[:, None] + columns
        down = np.floor(-dy / long * step + 0.5).astype(int)[:, None] + rows
        inside = (right >= 0) & (right < side) & (down >= 0) & (down < side)
        there = np.where(inside, down * side + right, 0)
        steps.append((torch.from_numpy(there).to(device), torch.from_numpy(inside).to(device)))
        step = step * 1.25 + 0.4
    return steps


def horizon(points: Vector) -> Tensor:
    """(B, P, 32) as `scene.horizon`, of (B, W, W) points."""
    x, y, z = (each.flatten(1) for each in points)
    best = torch.full((len(x), AZIMUTHS, x.shape[1]), -10.0, device=x.device)
    for there, inside in _steps_away(points[0].shape[-1], x.device):
        best = _raised(best, x, y, z, there, inside)
    return best.transpose(1, 2).contiguous()


@fused
def strengths(
    points: Vector, lamps: Lamps, shade: Tensor, radius: Tensor
) -> Tensor:  # fmt: skip
    """(B, P, N) power times lobe and visibility over the square of the distance.

    Points are (B, P, 1), lights (B, 1, N), `shade` (B, P, 32), the LEDs' `radius` (B, 1, 1).
    """
    (x, y, z), near = towards(lamps.position, points)
    fall = (-dot((x, y, z), lamps.axis)).clamp_min(0)
    turn = y / (x.abs() + y.abs() + 1e-9)
    turn = torch.where(x < 0, 2 - turn, turn)
    turn = torch.where(turn < 0, turn + 4, turn) * (AZIMUTHS / 4)
    whole = turn.to(torch.int64)
    t = turn - whole
    tangent = shade.gather(2, whole % AZIMUTHS) * (1 - t)
    tangent = tangent + shade.gather(2, (whole + 1) % AZIMUTHS) * t
    gap = (z - tangent * torch.sqrt(x * x + y * y)) * torch.rsqrt(1 + tangent * tangent)
    seen = (gap / (radius * near * 2 + 0.01) + 0.5).clamp(0, 1)
    return lamps.power * near * near * fall**lamps.lobe * seen


@fused
def direct(
    points: Vector, n: Vector, position: Vector, strength: Tensor, camera: Tensor, radius: Tensor,
    metal: Metal,
) -> Tensor:  # fmt: skip
    """(B, P, N) radiance from the LEDs themselves; see `strengths` for the layout."""
    alpha, ratio, grain, beckmann, f0, kd = metal
    light, near = towards(position, points)
    view = to_camera(points, camera)
    nv = dot(n, view)
    gx, gy = torch.cos(grain), torch.sin(grain)
    along = gx * n[0] + gy * n[1]
    t = (gx - along * n[0], gy - along * n[1], -along * n[2])
    t = scaled(t, torch.rsqrt(dot(t, t) + 1e-9))
    spread = 0.25 * radius * near
    ax, ay = alpha * torch.sqrt(ratio), alpha * torch.rsqrt(ratio)
    value = reflected(
        n, t, light, view, nv, ax * ax + spread * spread, ay * ay + spread * spread,
        beckmann, f0, kd,
    )  # fmt: skip
    return torch.where(nv > 1e-3, strength * value, 0.0)


def _frame(n: Vector) -> tuple[Vector, Vector]:
    """Tangent (towards x) and bitangent of normals."""
    t = (1 - n[0] * n[0], -n[0] * n[1], -n[0] * n[2])
    length2 = dot(t, t)
    edge = length2 < 1e-10
    t = (torch.where(edge, 0, t[0]), torch.where(edge, n[2], t[1]), torch.where(edge, -n[1], t[2]))
    t = scaled(t, torch.rsqrt(dot(t, t) + 1e-20))
    b = (n[1] * t[2] - n[2] * t[1], n[2] * t[0] - n[0] * t[2], n[0] * t[1] - n[1] * t[0])
    return t, b


def _masking(beckmann: Tensor, cosine: Tensor, spread2: Tensor) -> Tensor:
    """Smith's G1, as `microfacet.smith_g1`."""
    c = cosine.clamp_min(1e-6)
    a = (c * torch.rsqrt(spread2 + 1e-20)).clamp_max(1.6)
    walter = (3.535 * a + 2.181 * a * a) / (1 + 2.276 * a + 2.577 * a * a)
    walter = torch.where(a < 1.6, walter, 1.0)
    return torch.where(beckmann > 0, walter, 2 * c / (c + torch.sqrt(c * c + spread2)))


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
    g_v = _masking(beckmann, v[2], a2 * (v[0] * v[0] + v[1] * v[1]))
    weight = torch.where(rough, g_v * v_m.clamp_min(0) / (v[2].clamp_min(1e-4) * m[2]), 1.0)
    d = minus(scaled(m, 2 * v_m), v)
    weight = weight * conductor_fresnel(v_m, *index)
    weight = weight * _masking(beckmann, d[2], a2 * (d[0] * d[0] + d[1] * d[1]))
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
    beckmann: Tensor, f0: Tensor, kd: Tensor,
) -> Tensor:  # fmt: skip
    """(K, N) light that places (K, 1) send along `back`, of `seen` (K, N) strength."""
    t, _ = _frame(n)
    light, _ = towards(position, points)
    a2 = alpha * alpha + _WIDER
    return seen * reflected(n, t, light, back, dot(n, back), a2, a2, beckmann, f0, kd)


def bounced(
    ground: Ground, camera: Tensor, position: Vector, strength: Tensor, metal: Metal,
    index: tuple[Tensor, Tensor], jitter: tuple[Tensor, Tensor], rays: Tensor, margin: int,
) -> Tensor:  # fmt: skip
    """(B, H, W, N) radiance that comes by one place of the part or more, as `bounces.bounced`.

    Maps are (B, W, W), numbers of a scene (B,), lights (B, N), `strength` (B, P, N).
    """
    points, normals, lit = ground
    alpha, _, _, beckmann, f0, diffuse = metal
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
            alpha.flatten()[at][:, None], beckmann[scene][:, None], f0[scene][:, None],
            diffuse.flatten()[at][:, None],
        )  # fmt: skip
        out.index_add_(0, origin, gain[:, None] * light)
        u1 = torch.frac(u1 * 37 + jitter[0].flatten()[at])
        u2 = torch.frac(u2 * 41 + jitter[1].flatten()[at])
    return out.reshape(batch, small, small, count)


@fused
def _neighbours_added(image: Tensor, before: Tensor, after: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a * image + b * (before + after)


def blur(image: Tensor, middle: Tensor, side: Tensor) -> Tensor:
    """Separable 3-tap blur of (B, H, W, N), weights (B,), edges repeated."""
    a, b = middle[:, None, None, None], side[:, None, None, None]
    for axis in (2, 1):
        size = image.shape[axis]
        ends = image.narrow(axis, 0, 1), image, image.narrow(axis, size - 1, 1)
        wide = torch.cat(ends, axis)
        image = _neighbours_added(
            image, wide.narrow(axis, 0, size), wide.narrow(axis, 2, size), a, b
        )
    return image


@fused
def exposed(
    image: Tensor, full: Tensor, entry: Tensor, table: Tensor, read: Tensor, per_electron: Tensor,
    ambient: Tensor, clips: Tensor, step: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Shares of full scale as a sensor records them, and where it clips, as `sensor.expose`.

    `image` is (B, P, N), `entry` (B, P, 1) into the `table` of normal numbers, others (B, 1, 1).
    """
    value = image / full.clamp_min(1e-20)
    light = torch.arange(image.shape[2], device=image.device)
    noise = table[(entry + light).clamp_max(table.shape[0] - 1)]  # filled-up lights lie beyond
    spread = torch.sqrt((read * read + value * per_electron).clamp_min(0))
    value = value + ambient + noise * spread
    clipped = (value >= 1) & (clips > 0)
    value = torch.where(clips > 0, value.clamp_max(1), value)
    stepped = torch.floor(value.clamp_min(0) / step.clamp_min(1e-12) + 0.5) * step
    return torch.where(step > 0, stepped, value), clipped
