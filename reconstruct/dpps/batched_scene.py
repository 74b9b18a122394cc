"""The pictures of many scenes at once, in torch on any device: `scene` for a GPU.

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

from reconstruct.dpps.scene import AZIMUTHS
from reconstruct.optics.brdf import conductor_fresnel, slope_density, smith_g1

Vector = tuple[Tensor, Tensor, Tensor]


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
    complex_index: tuple[Tensor, Tensor]
    kd: Tensor


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


def reflected(
    n: Vector, t: Vector, light: Vector, view: Vector, nv: Tensor, ax2: Tensor, ay2: Tensor,
    beckmann: Tensor, index: tuple[Tensor, Tensor], kd: Tensor,
) -> Tensor:  # fmt: skip
    """f_r · max(0, n·l), as `scene.reflected`; `beckmann` is 0 or 1."""
    nl, lt, vt = dot(n, light), dot(t, light), dot(t, view)
    h = (light[0] + view[0], light[1] + view[1], light[2] + view[2])
    h2, nh2, ht2 = dot(h, h).clamp_min(1e-12), ((nl + nv) ** 2).clamp_min(1e-12), (lt + vt) ** 2
    across = (h2 - nh2 - ht2).clamp_min(0)
    density = slope_density(beckmann, (ht2 / ax2 + across / ay2) / nh2, nh2 / h2)
    to_light = ax2 * lt * lt + ay2 * (1 - nl * nl - lt * lt).clamp_min(0)
    to_view = ax2 * vt * vt + ay2 * (1 - nv * nv - vt * vt).clamp_min(0)
    masking = smith_g1(beckmann, nl, to_light) * smith_g1(beckmann, nv, to_view)
    fresnel = conductor_fresnel(0.5 * torch.sqrt(h2), *index)
    specular = fresnel * density * masking / (4 * nv * torch.sqrt(ax2 * ay2))
    return torch.where(nl > 0, specular + kd * nl * (1 / math.pi), 0.0)


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
    alpha, ratio, grain, beckmann, index, kd = metal
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
        beckmann, index, kd,
    )  # fmt: skip
    return torch.where(nv > 1e-3, strength * value, 0.0)


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
