"""Microfacet reflectance as scalar float32 functions for numba kernels.

Every function takes and returns float32 scalars and is free of branches that would keep LLVM from
vectorising a loop over pixels.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,import-untyped"

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = np.float32
GGX, BECKMANN = 0, 1
DISTRIBUTIONS = {"ggx": GGX, "beckmann": BECKMANN}
FAST = {"contract", "arcp", "nsz", "reassoc", "afn"}  # NaN and infinity keep their meaning

_ZERO, _HALF, _ONE, _TWO, _FOUR = F(0), F(0.5), F(1), F(2), F(4)
_TINY = F(1e-12)
_INV_PI = F(1 / np.pi)


@intrinsic
def _float_of_bits(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _bits_of_float(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@njit(cache=True, fastmath=FAST, forceinline=True)
def exp2(x):
    """2^x for float32, relative error below 3e-7; 0 below -126, bounded above 126.

    A Taylor polynomial on [-1/2, 1/2] and the exponent put in by its bits: unlike `math.exp` it
    vectorises without a vector maths library.
    """
    x = min(max(x, F(-126)), F(126))
    whole = np.floor(x + _HALF)
    f = x - whole
    p = F(1.540353e-4)
    p = p * f + F(1.3333558e-3)
    p = p * f + F(9.6181291e-3)
    p = p * f + F(5.5504109e-2)
    p = p * f + F(2.4022651e-1)
    p = p * f + F(6.9314718e-1)
    p = p * f + _ONE
    return p * _float_of_bits((np.int32(whole) + np.int32(127)) << np.int32(23))


@njit(cache=True, fastmath=FAST, forceinline=True)
def log2(x):
    """log2 of a positive float32, absolute error below 1e-6 (odd series in (x-1)/(x+1))."""
    bits = _bits_of_float(x)
    exponent = ((bits - np.int32(0x3F3504F3)) >> np.int32(23)) << np.int32(23)
    mantissa = _float_of_bits(bits - exponent)
    s = (mantissa - _ONE) / (mantissa + _ONE)
    s2 = s * s
    series = F(0.41219858) + s2 * F(0.32059890)
    series = F(0.57707802) + s2 * series
    series = F(0.96179669) + s2 * series
    series = F(2.8853901) + s2 * series
    return s * series + F(exponent >> np.int32(23))


@njit(cache=True, fastmath=FAST, forceinline=True)
def lobe_falloff(cosine, exponent):
    """cos^m of an LED, zero behind it; exponent 0 is isotropic in all directions."""
    return exp2(exponent * log2(max(cosine, F(1e-20))))


@njit(cache=True, fastmath=FAST, forceinline=True)
def conductor_fresnel(cosine, n, k):
    """Unpolarised reflectance of a metal in air, complex index n + ik (exact Fresnel equations).

    Born and Wolf, Principles of Optics, section 14.2, in the real form of Lazanyi and
    Szirmay-Kalos 2005.
    """
    c2 = cosine * cosine
    s2 = _ONE - c2
    inner = n * n - k * k - s2
    a2b2 = np.sqrt(inner * inner + _FOUR * n * n * k * k)
    a = np.sqrt(max(_HALF * (a2b2 + inner), _ZERO))
    sum_s = a2b2 + c2
    cross_s = _TWO * cosine * a
    sum_p = a2b2 * c2 + s2 * s2
    cross_p = cross_s * s2
    r_s = (sum_s - cross_s) / (sum_s + cross_s)
    return _HALF * r_s * (_ONE + (sum_p - cross_p) / (sum_p + cross_p))


@njit(cache=True, fastmath=FAST, forceinline=True)
def smith_g1(distribution, cosine, spread2):
    """Smith masking of one direction.

    Parameters
    ----------
    cosine : n·w
    spread2 : alpha² |w - (n·w) n|², that is (alpha tan θ cos θ)²; anisotropic: its generalisation

    Exact for GGX (Walter 2007, eq. 34), Walter's rational fit for Beckmann (eq. 27).
    """
    c = max(cosine, F(1e-6))
    if distribution == GGX:
        return _TWO * c / (c + np.sqrt(c * c + spread2))
    a = min(c / np.sqrt(spread2 + F(1e-20)), F(1.6))
    g = (F(3.535) * a + F(2.181) * a * a) / (_ONE + F(2.276) * a + F(2.577) * a * a)
    return g if a < F(1.6) else _ONE


@njit(cache=True, fastmath=FAST, forceinline=True)
def slope_density(distribution, exponent2, cosine2):
    """alpha_x alpha_y D(h): Walter 2007, eqs. 25 and 33.

    Parameters
    ----------
    exponent2 : tan²θ_h / alpha² (anisotropic: the sum over both axes)
    cosine2 : cos²θ_h
    """
    c4 = cosine2 * cosine2 + _TINY
    if distribution == GGX:
        q = _ONE + exponent2
        return _INV_PI / (c4 * q * q)
    return _INV_PI * exp2(exponent2 * F(-1.4426950)) / c4
