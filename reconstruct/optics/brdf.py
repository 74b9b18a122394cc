"""Reflectance of rough metal in torch: batched, differentiable, any device.

Every function broadcasts. Directions are unit vectors on the last axis that point away from the
surface. The same formulas as `reconstruct.optics.microfacet`, which the tests hold equal.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Distribution = Literal["ggx", "beckmann"]
_EPS = 1e-12


def conductor_fresnel(cosine: Tensor, n: Tensor | float, k: Tensor | float) -> Tensor:
    """Unpolarised reflectance of a metal of complex index n + ik (exact Fresnel equations)."""
    n2 = torch.as_tensor(n * n, dtype=cosine.dtype, device=cosine.device)
    k2 = torch.as_tensor(k * k, dtype=cosine.dtype, device=cosine.device)
    c2 = cosine * cosine
    s2 = 1 - c2
    inner = n2 - k2 - s2
    a2b2 = torch.sqrt(inner * inner + 4 * n2 * k2 + _EPS)
    a = torch.sqrt((0.5 * (a2b2 + inner)).clamp_min(_EPS))
    sum_s, cross_s = a2b2 + c2, 2 * cosine * a
    sum_p, cross_p = a2b2 * c2 + s2 * s2, cross_s * s2
    r_s = (sum_s - cross_s) / (sum_s + cross_s)
    return 0.5 * r_s * (1 + (sum_p - cross_p) / (sum_p + cross_p))


def _length2_along(vector: Tensor, normal: Tensor, tangent: Tensor | None) -> tuple[Tensor, Tensor]:
    """Squared parts of a vector along and across the tangent, both in the surface."""
    across_normal = torch.linalg.cross(normal.expand(vector.shape), vector)
    total = (across_normal**2).sum(-1)
    if tangent is None:
        return total, torch.zeros_like(total)
    t = tangent - (tangent * normal).sum(-1, keepdim=True) * normal
    t = torch.nn.functional.normalize(t, dim=-1, eps=1e-9)
    along = (vector * t).sum(-1) ** 2
    return along, (total - along).clamp_min(0)


def distribution(
    kind: Distribution,
    normal: Tensor,
    half: Tensor,
    alpha_x: Tensor | float,
    alpha_y: Tensor | float | None = None,
    tangent: Tensor | None = None,
) -> Tensor:
    """Density D(h) of microfacet normals, per steradian (Walter 2007, eqs. 25 and 33)."""
    alpha_y = alpha_x if alpha_y is None else alpha_y
    cosine2 = ((normal * half).sum(-1).clamp_min(1e-6)) ** 2
    along, across = _length2_along(half, normal, tangent)
    e2 = (along / (alpha_x * alpha_x) + across / (alpha_y * alpha_y)) / cosine2
    shape = 1 / (1 + e2) ** 2 if kind == "ggx" else torch.exp(-e2)
    return shape / (math.pi * alpha_x * alpha_y * (cosine2 * cosine2 + _EPS))


def masking_of(kind: Distribution, cosine: Tensor, spread2: Tensor) -> Tensor:
    """Smith masking by n·w and alpha² |w - (n·w) n|²; see `microfacet.smith_g1`."""
    cosine = cosine.clamp_min(1e-6)
    if kind == "ggx":
        return 2 * cosine / (cosine + torch.sqrt(cosine * cosine + spread2))
    a = (cosine / torch.sqrt(spread2 + 1e-20)).clamp_max(1.6)
    g = (3.535 * a + 2.181 * a * a) / (1 + 2.276 * a + 2.577 * a * a)
    return torch.where(a < 1.6, g, torch.ones_like(g))


def smith_g1(
    kind: Distribution,
    normal: Tensor,
    direction: Tensor,
    alpha_x: Tensor | float,
    alpha_y: Tensor | float | None = None,
    tangent: Tensor | None = None,
) -> Tensor:
    """Smith masking of one direction: exact for GGX, Walter's rational fit for Beckmann."""
    alpha_y = alpha_x if alpha_y is None else alpha_y
    along, across = _length2_along(direction, normal, tangent)
    spread2 = alpha_x * alpha_x * along + alpha_y * alpha_y * across
    return masking_of(kind, (normal * direction).sum(-1), spread2)


def microfacet(
    normal: Tensor,
    light: Tensor,
    view: Tensor,
    alpha_x: Tensor | float,
    alpha_y: Tensor | float | None = None,
    n: Tensor | float = 3.1345,
    k: Tensor | float = 4.4043,
    kind: Distribution = "ggx",
    tangent: Tensor | None = None,
    correlated: bool = False,
) -> Tensor:
    """f_r · max(0, n·l) of one lobe, per steradian (Cook and Torrance; Walter 2007, eq. 20).

    Parameters
    ----------
    normal, light, view : (..., 3) unit vectors
    alpha_x, alpha_y : widths along and across the tangent; alpha_y None for isotropic
    n, k : complex index
    tangent : (..., 3), need not be orthogonal to the normal
    correlated : height-correlated masking (Heitz 2014, eq. 99) instead of the product of both
        directions, which is what the path-traced captures follow
    """
    n_l, n_v = (normal * light).sum(-1), (normal * view).sum(-1)
    half = torch.nn.functional.normalize(light + view, dim=-1)
    v_h = (view * half).sum(-1).clamp(0, 1)
    density = distribution(kind, normal, half, alpha_x, alpha_y, tangent)
    g_l = smith_g1(kind, normal, light, alpha_x, alpha_y, tangent)
    g_v = smith_g1(kind, normal, view, alpha_x, alpha_y, tangent)
    masking = g_l * g_v
    if correlated:  # 1 / (1 + Λ_l + Λ_v) with Λ = 1/G1 - 1
        masking = masking / (g_l + g_v - masking)
    value = density * masking * conductor_fresnel(v_h, n, k) / (4 * n_v.clamp_min(1e-6))
    return torch.where((n_l > 0) & (n_v > 0), value, torch.zeros_like(value))


def lambertian(normal: Tensor, light: Tensor, albedo: Tensor | float) -> Tensor:
    """f_r · max(0, n·l) of a matt surface."""
    return albedo / math.pi * (normal * light).sum(-1).clamp_min(0)
