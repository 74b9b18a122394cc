"""Scatter from a rough metal by wave optics: the generalised Harvey-Shack surface scatter theory.

Krywonos, Harvey and Choi (2011, J. Opt. Soc. Am. A 28, 1121): a surface of RMS roughness σ and
autocovariance σ² ρ(r) gives light arriving and leaving at direction cosines γ_i, γ_s to the normal
a phase variance ``g = (2π σ (γ_i + γ_s) / λ)²``. A share exp(-g) stays specular; the rest scatters
with ``f = Q / λ² · FT{exp(-g) (exp(g ρ) - 1)}(Δβ / λ)``, Δβ being the distance in direction-cosine
space from the specular direction and Q the Fresnel reflectance at the difference angle. With a
Gaussian ρ = exp(-r² / ℓ²) the transform is the series
``π ℓ² exp(-g) Σ_m g^m / (m! m) exp(-(π ℓ Δβ / λ)² / m)``; for large g it tends to a Beckmann lobe
of width α = 2σ / ℓ. For Gaussian heights Ra = √(2/π) σ.

Limits: single scattering, no shadowing or masking between facets (so grazing angles and α beyond
about 0.5 come out too bright), correlation lengths from about one wavelength, isotropic
Gaussian statistics, unpolarised light of one wavelength; the published theory's renormalisation
at grazing angles, which would break reciprocity, is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]
RA_OF_SIGMA = float(np.sqrt(2 / np.pi))
WAVELENGTH_UM = 0.53
_SERIES_UP_TO = 200.0


def alpha_of(ra_um: Any, correlation_um: Any) -> Any:
    """Microfacet width α = √2 · RMS slope = 2σ / ℓ of a Gaussian surface."""
    return 2 * np.asarray(ra_um) / RA_OF_SIGMA / np.asarray(correlation_um)


def correlation_of(ra_um: Any, alpha: Any) -> Any:
    """Correlation length (µm) that gives a Gaussian surface of this Ra the width α."""
    return 2 * np.asarray(ra_um) / RA_OF_SIGMA / np.asarray(alpha)


def cosines(theta_h: Array, theta_d: Array, phi_d: Array) -> tuple[Array, Array]:
    """γ_i and γ_s from half and difference angles (radians; Rusinkiewicz 1998)."""
    along = np.cos(theta_h) * np.cos(theta_d)
    across = np.sin(theta_h) * np.sin(theta_d) * np.cos(phi_d)
    return along - across, along + across


def phase_variance(ra_um: Any, gamma_sum: Any) -> Array:
    """g of the theory, from Ra in µm and γ_i + γ_s."""
    sigma = np.asarray(ra_um) / RA_OF_SIGMA
    return np.asarray((2 * np.pi * sigma * np.asarray(gamma_sum) / WAVELENGTH_UM) ** 2)


def _scatter(g: Array, x: Array) -> Array:
    """exp(-g) Σ_m g^m / (m! m) exp(-x / m), elementwise."""
    out = np.empty_like(g)
    rough = g > _SERIES_UP_TO
    # the Beckmann limit: within 1/g, half a per cent here
    out[rough] = np.exp(-x[rough] / g[rough]) / g[rough]
    few, arguments = g[~rough], x[~rough]
    total = np.zeros_like(few)
    if few.size:
        top = int(few.max() + 8 * np.sqrt(few.max()) + 12)
        log_g = np.log(np.maximum(few, 1e-300))
        for m in range(1, top + 1):
            total += np.exp(m * log_g - few - gammaln(m + 1) - np.log(m) - arguments / m)
    out[~rough] = total
    return out


def reflectance(
    ra_um: Any,
    correlation_um: Any,
    theta_h: Any,
    theta_d: Any,
    phi_d: Any,
    n: float,
    k: float,
) -> Array:
    """BRDF (1/sr) of the scattered part; broadcasts; 0 where a direction is below the surface.

    Parameters
    ----------
    ra_um, correlation_um : roughness Ra and correlation length ℓ, µm
    theta_h, theta_d, phi_d : half and difference angles, radians
    n, k : complex index of the metal
    """
    import torch

    from reconstruct.optics.brdf import conductor_fresnel

    ra, length, th, td, pd = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (ra_um, correlation_um, theta_h, theta_d, phi_d))
    )
    gamma_i, gamma_s = cosines(th, td, pd)
    gamma = np.maximum(gamma_i + gamma_s, 1e-6)
    shift = 2 * np.cos(td) * np.sin(th)  # |Δβ| = |l + v| sin θ_h
    g = phase_variance(ra, gamma)
    x = (np.pi * length * shift / WAVELENGTH_UM) ** 2
    fresnel = conductor_fresnel(torch.as_tensor(np.cos(td)), n, k).numpy()
    value = (
        fresnel
        * np.pi
        * length**2
        / WAVELENGTH_UM**2
        * _scatter(g.ravel(), x.ravel()).reshape(g.shape)
    )
    return np.asarray(np.where((gamma_i > 0) & (gamma_s > 0), value, 0.0))
