"""The channels of `encoding` for many pictures at once, in torch on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruct.dpps.batched_scene import (
    Lamps,
    Vector,
    columns,
    dot,
    fused,
    to_camera,
    towards,
)
from reconstruct.dpps.encoding import CHANNELS, SCALE


@fused
def _moments(
    radiance: Tensor, floor: Tensor, points: Vector, camera: Tensor, lamps: Lamps, real: Tensor
) -> tuple[list[list[Tensor]], Tensor]:  # fmt: skip
    """Sums over the lights under six powers of the weight, and the largest weight.

    `radiance` is (B, P, N), points (B, P, 1), lights (B, 1, N), `real` 0 for lights that fill up.
    """
    view = to_camera(points, camera)
    light, near = towards(lamps.position, points)
    fall = (-dot(light, lamps.axis)).clamp_min(0.05)
    weight = (radiance - floor).clamp_min(0) / (lamps.power * near * near)
    weight = weight / fall**lamps.lobe * real
    h = (view[0] + light[0], view[1] + light[1], view[2] + light[2])
    inv = 1 / (torch.sqrt(dot(h, h)) + 1e-6)
    inv = inv / (1 + h[2] * inv).clamp_min(0.2)
    a, b = h[0] * inv, h[1] * inv
    root = torch.sqrt(weight)
    sums = [
        [(w * f).sum(-1) for f in (torch.ones_like(a), a, b, a * a, a * b, b * b)]
        for w in (real.expand(weight.shape), torch.sqrt(root), root, weight, weight * root,
                  weight * weight * weight)
    ]  # fmt: skip
    return sums, weight.amax(-1)


def _median(values: Tensor, known: Tensor) -> Tensor:
    """(B,) median over the known of (B, P); 1 where nothing is."""
    total = known.sum(1)
    ranked = torch.where(known, values, torch.inf).sort(1).values
    lower = ranked.gather(1, ((total - 1).clamp_min(0) // 2)[:, None])[:, 0]
    upper = ranked.gather(1, (total // 2).clamp_max(values.shape[1] - 1)[:, None])[:, 0]
    return torch.where(total > 0, 0.5 * (lower + upper), 1.0)


def encoded(
    radiance: Tensor, clipped: Tensor, mask: Tensor, points: Vector, camera: Tensor,
    count: Tensor, lamps: Lamps, base_slope: Tensor, floor: Tensor,
) -> Tensor:  # fmt: skip
    """(B, 42, H, W) channels, as `encoding.encode`.

    `radiance` and `clipped` are (B, H, W, N), lights (B, N) of which the first `count` (B,) are
    real, `base_slope` (B, 2, H, W), the optical centre at (0, 0, `camera`).
    """
    batch, height, width, lights = radiance.shape
    real = (torch.arange(lights, device=radiance.device) < count[:, None]).to(radiance.dtype)
    one = (slice(None), None, None)
    flat = (points[0].flatten(1)[..., None], points[1].flatten(1)[..., None],
            points[2].flatten(1)[..., None])  # fmt: skip
    sums, top = _moments(
        radiance.reshape(batch, -1, lights), floor[one], flat, camera[one],
        Lamps(
            columns(lamps.position), columns(lamps.axis), lamps.lobe[:, None], lamps.power[:, None]
        ),
        real[:, None],
    )  # fmt: skip
    tiny, n = 1e-30, count[:, None]
    out = torch.zeros((batch, CHANNELS, height * width), device=radiance.device)
    for j, (total, *rest) in enumerate(sums):
        known = total > tiny
        a, b, aa, ab, bb = (torch.where(known, each / total, 0.0) for each in rest)
        out[:, 5 * j : 5 * j + 5] = torch.stack([a, b, aa - a * a, ab - a * b, bb - b * b], 1)
    mean = sums[3][0] / n
    lit = mean > tiny
    safe = mean.clamp_min(tiny)
    root = sums[2][0] / n
    ratios = (
        torch.log((root * root / safe).clamp_min(1e-3)),
        torch.log((sums[4][0] / n).clamp_min(tiny)) - 1.5 * torch.log(safe),
        torch.log((top / safe).clamp_min(1e-3)),
    )
    for j, ratio in enumerate(ratios):
        out[:, 30 + j] = 0.5 * torch.where(lit, ratio, 0.0).clamp(-6, 8)
    part = mask.flatten(1)
    reference = _median(mean, part & (mean > 0))
    out[:, 33] = torch.log(safe / reference[:, None]).clamp(-6, 6)
    out[:, 34] = (clipped.flatten(1, 2) * real[:, None]).sum(-1) / n
    view = to_camera(flat, camera[one])
    out[:, 35], out[:, 36] = 3 * view[0][..., 0], 3 * view[1][..., 0]
    out[:, 37:39] = base_slope.flatten(2).clamp(-5, 5)
    out[:, 39] = 4 / torch.sqrt(n)
    out[:, 40] = (mean <= 0).to(out.dtype)
    out[:, 41] = 1
    out *= torch.from_numpy(SCALE).to(out.device)[:, None]
    out *= part[:, None]
    return out.reshape(batch, CHANNELS, height, width)
