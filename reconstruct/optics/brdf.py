"""Reflectance of metal in torch; `reconstruct.optics.microfacet` has it in numba."""

from __future__ import annotations

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
