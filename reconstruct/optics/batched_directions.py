"""Local frames and drawn directions of many places at once, in torch.

The scalar functions of `reconstruct.optics.tracing`, one row for each ray.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reconstruct.optics.brdf import Distribution, conductor_fresnel, masking_of


def unit(vectors: Tensor) -> Tensor:
    return normalize(vectors, dim=-1, eps=1e-12)


def frames(normal: Tensor, tangent: Tensor) -> Tensor:
    """(M, 3, 3) local frames: rows are the tangent made orthogonal, the bitangent, the normal."""
    tangent = tangent - (tangent * normal).sum(-1, keepdim=True) * normal
    # A tangent that stands on the surface: any other will do.
    other = torch.stack([torch.zeros_like(normal[:, 0]), normal[:, 2], -normal[:, 1]], -1)
    stands = (tangent * tangent).sum(-1, keepdim=True) < 1e-10
    tangent = unit(torch.where(stands, other, tangent))
    return torch.stack([tangent, torch.linalg.cross(normal, tangent), normal], 1)


def visible_normals(view: Tensor, ax: Tensor, ay: Tensor, u1: Tensor, u2: Tensor) -> Tensor:
    """Half vectors from the visible normals of a GGX surface (Heitz 2018, listing 1)."""
    wide = torch.stack([ax, ay, torch.ones_like(ax)], -1)
    h = unit(view * wide)
    across2 = h[:, :2].square().sum(-1)
    inv = across2.clamp_min(1e-12).rsqrt()
    slanted, zero = across2 > 1e-12, torch.zeros_like(inv)
    first = torch.stack(
        [torch.where(slanted, -h[:, 1] * inv, 1.0), torch.where(slanted, h[:, 0] * inv, 0.0), zero],
        -1,
    )
    second = torch.linalg.cross(h, first)
    r, turn = u1.sqrt(), 2 * math.pi * u2
    p1, p2 = r * turn.cos(), r * turn.sin()
    s = 0.5 * (1 + h[:, 2])
    p2 = (1 - s) * (1 - p1 * p1).clamp_min(0).sqrt() + s * p2
    p3 = (1 - p1 * p1 - p2 * p2).clamp_min(0).sqrt()
    m = p1[:, None] * first + p2[:, None] * second + p3[:, None] * h
    return unit(torch.stack([ax * m[:, 0], ay * m[:, 1], m[:, 2].clamp_min(1e-6)], -1))


def mirrored(
    view: Tensor,
    ax: Tensor,
    ay: Tensor,
    index: list[float],
    kind: Distribution,
    u1: Tensor,
    u2: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mirrored directions in local frames and weights f cos / pdf: `tracing.drawn_direction`."""
    if kind == "ggx":
        m, weight = visible_normals(view, ax, ay, u1, u2), torch.ones_like(u1)
        v_m = (view * m).sum(-1)
    else:
        # All Beckmann normals (Walter 2007, eqs. 28 and 29, stretched by the two widths).
        slope, turn = torch.sqrt(-torch.log((1 - u1).clamp_min(1e-9))), 2 * math.pi * u2
        m = unit(
            torch.stack(
                [-ax * slope * turn.cos(), -ay * slope * turn.sin(), torch.ones_like(ax)], -1
            )
        )
        v_m = (view * m).sum(-1)
        spread2 = torch.square(ax * view[:, 0]) + torch.square(ay * view[:, 1])
        weight = masking_of(kind, view[:, 2], spread2) * v_m.clamp_min(0)
        weight = weight / (view[:, 2].clamp_min(1e-4) * m[:, 2])
    out = 2 * v_m[:, None] * m - view
    weight = weight * conductor_fresnel(v_m, *index)
    spread2 = torch.square(ax * out[:, 0]) + torch.square(ay * out[:, 1])
    weight = weight * masking_of(kind, out[:, 2], spread2)
    return out, torch.where((v_m > 0) & (out[:, 2] > 0), weight, 0.0)
