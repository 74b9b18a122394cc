"""Reflectance of metal in torch; `reconstruct.optics.microfacet` has it in numba."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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


def smith_g1(beckmann: Tensor, cosine: Tensor, spread2: Tensor) -> Tensor:
    """Smith masking of one direction; see `microfacet.smith_g1`. `beckmann` is 0 or 1."""
    c = cosine.clamp_min(1e-6)
    a = (c * torch.rsqrt(spread2 + 1e-20)).clamp_max(1.6)
    walter = (3.535 * a + 2.181 * a * a) / (1 + 2.276 * a + 2.577 * a * a)
    walter = torch.where(a < 1.6, walter, 1.0)
    return torch.where(beckmann > 0, walter, 2 * c / (c + torch.sqrt(c * c + spread2)))


def slope_density(beckmann: Tensor, exponent2: Tensor, cosine2: Tensor) -> Tensor:
    """alpha_x alpha_y D(h); see `microfacet.slope_density`. `beckmann` is 0 or 1."""
    shape = torch.where(beckmann > 0, torch.exp(-exponent2), (1 + exponent2) ** -2)
    return shape / (math.pi * (cosine2 * cosine2 + _EPS))
