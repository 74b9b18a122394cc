"""The sparse step: a symmetric 9-point system on pixel corners, by conjugate gradients.

The unknowns are corner values; each pixel's matrix acts on (mean, slope, slope) of its corners.
Preconditioner: the same operator with constant coefficients, inverted by a cosine transform,
between diagonal scalings that carry the slow variation of the coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Not "fastmath": how sums are ordered would hang on where arrays lie, and no run be like another.
_JIT = {"nogil": True, "cache": True}
# Up to so many values a second thread costs a quarter of a cosine transform's processor time.
ONE_THREAD = 1 << 17


@njit(**_JIT)
def corner_gradient(sums, jacobians, out):
    """Aᵀ applied to per-pixel (u, p, q) triples (3, H, W), added into corners (H+1, W+1)."""
    _, height, width = sums.shape
    whole = jacobians.shape[1] > 1
    for r in range(height):
        for c in range(width):
            rr, cc = (r, c) if whole else (0, 0)
            mean = 0.25 * sums[0, r, c]
            p, q = sums[1, r, c], sums[2, r, c]
            by_c = 0.5 * (jacobians[0, rr, cc] * p + jacobians[2, rr, cc] * q)
            by_r = 0.5 * (jacobians[1, rr, cc] * p + jacobians[3, rr, cc] * q)
            out[r, c] += mean - by_c - by_r
            out[r, c + 1] += mean + by_c - by_r
            out[r + 1, c] += mean - by_c + by_r
            out[r + 1, c + 1] += mean + by_c + by_r


@njit(**_JIT)
def assemble(sums, jacobians, damping, smooth, twist, floor, stencil):
    """Aᵀ H A as a 9-point stencil (5, H+1, W+1): self, right, down-left, down, down-right.

    Parameters
    ----------
    sums : (9, H, W); rows 3… are uu up uq pp pq qq
    damping : Levenberg-Marquardt factor on the slopes' diagonal
    smooth : weight (per pixel slope squared) of a membrane that holds what no light fixes
    twist : weight of each pixel's twist, the chequerboard that neither mean nor slopes see
    floor : least weight of the slopes, so that dark pixels stay solvable
    """
    _, height, width = sums.shape
    whole = jacobians.shape[1] > 1
    stencil[:] = 0.0
    for r in range(height):
        for c in range(width):
            rr, cc = (r, c) if whole else (0, 0)
            j0, j1 = jacobians[0, rr, cc], jacobians[1, rr, cc]
            j2, j3 = jacobians[2, rr, cc], jacobians[3, rr, cc]
            uu = sums[3, r, c] * (1.0 + damping)
            up, uq = sums[4, r, c], sums[5, r, c]
            pp = sums[6, r, c] * (1.0 + damping) + floor
            pq = sums[7, r, c]
            qq = sums[8, r, c] * (1.0 + damping) + floor
            # to pixel slopes (by column, by row)
            uc = up * j0 + uq * j2
            ur = up * j1 + uq * j3
            k_cc = pp * j0 * j0 + 2.0 * pq * j0 * j2 + qq * j2 * j2
            k_rr = pp * j1 * j1 + 2.0 * pq * j1 * j3 + qq * j3 * j3
            k_cr = pp * j0 * j1 + pq * (j0 * j3 + j1 * j2) + qq * j2 * j3
            # corners 00, 01, 10, 11: mean 1/4; column slope −½ +½ −½ +½; row slope −½ −½ +½ +½
            m = 0.0625 * uu
            cc4, rr4, cr4 = 0.25 * k_cc, 0.25 * k_rr, 0.25 * k_cr
            c8, r8 = 0.125 * uc, 0.125 * ur
            # a membrane on the four edges of the pixel removes the chequerboard
            stencil[0, r, c] += m + cc4 + rr4 + 2 * cr4 - 2 * c8 - 2 * r8 + smooth + twist
            stencil[0, r, c + 1] += m + cc4 + rr4 - 2 * cr4 + 2 * c8 - 2 * r8 + smooth + twist
            stencil[0, r + 1, c] += m + cc4 + rr4 - 2 * cr4 - 2 * c8 + 2 * r8 + smooth + twist
            stencil[0, r + 1, c + 1] += m + cc4 + rr4 + 2 * cr4 + 2 * c8 + 2 * r8 + smooth + twist
            stencil[1, r, c] += m - cc4 + rr4 - 2 * r8 - 0.5 * smooth - twist
            stencil[1, r + 1, c] += m - cc4 + rr4 + 2 * r8 - 0.5 * smooth - twist
            stencil[3, r, c] += m + cc4 - rr4 - 2 * c8 - 0.5 * smooth - twist
            stencil[3, r, c + 1] += m + cc4 - rr4 + 2 * c8 - 0.5 * smooth - twist
            stencil[4, r, c] += m - cc4 - rr4 - 2 * cr4 + twist
            stencil[2, r, c + 1] += m - cc4 - rr4 + 2 * cr4 + twist


@njit(**_JIT)
def multiply(stencil, x, out):
    """The symmetric 9-point matrix times a field."""
    height, width = x.shape
    for r in range(height):
        here, row = x[r], out[r]
        own, right = stencil[0, r], stencil[1, r]
        for c in range(width):
            row[c] = own[c] * here[c]
        for c in range(width - 1):
            row[c] += right[c] * here[c + 1]
        for c in range(1, width):
            row[c] += right[c - 1] * here[c - 1]
        if r + 1 < height:
            low, down_left, down, down_right = x[r + 1], stencil[2, r], stencil[3, r], stencil[4, r]
            for c in range(width):
                row[c] += down[c] * low[c]
            for c in range(width - 1):
                row[c] += down_right[c] * low[c + 1]
            for c in range(1, width):
                row[c] += down_left[c] * low[c - 1]
        if r > 0:
            up, up_right, above, up_left = (
                x[r - 1],
                stencil[2, r - 1],
                stencil[3, r - 1],
                stencil[4, r - 1],
            )
            for c in range(width):
                row[c] += above[c] * up[c]
            for c in range(1, width):
                row[c] += up_left[c - 1] * up[c - 1]
            for c in range(width - 1):
                row[c] += up_right[c + 1] * up[c + 1]


@dataclass(eq=False)
class CosinePreconditioner:
    """Inverse of the operator with constant coefficients, between diagonal scalings.

    On a few more rows and columns than there are, where transforms of that size are faster: of 257
    they take four times as long as of 264.
    """

    symbol: NDArray[np.float32]
    scaling: NDArray[np.float32]
    workers: int

    @staticmethod
    def of(
        stencil: Array, slope_weights: tuple[float, float], smooth: float, twist: float,
        mean_weight: float, pin: float, workers: int,
    ) -> CosinePreconditioner:  # fmt: skip
        """Build it from the mean weights of column and row slopes (per pixel slope squared)."""
        from scipy.fft import next_fast_len  # takes 0.3 s to load

        height, width = (next_fast_len(size) for size in stencil.shape[1:])
        y = np.pi * np.arange(height)[:, None] / height
        x = np.pi * np.arange(width)[None] / width
        sin_x, sin_y = np.sin(x / 2) ** 2, np.sin(y / 2) ** 2
        symbol = 4 * slope_weights[0] * sin_x * (1 - sin_y)
        symbol = symbol + 4 * slope_weights[1] * sin_y * (1 - sin_x)
        symbol += mean_weight * (1 - sin_x) * (1 - sin_y) + 4 * smooth * (sin_x + sin_y)
        symbol += 16 * twist * sin_x * sin_y
        symbol += 1e-9 * symbol.max()
        symbol[0, 0] += pin
        # Only slow variation may scale: pixel to pixel it would mix all frequencies.
        relative = cv2.blur(stencil[0], (15, 15), borderType=cv2.BORDER_REFLECT)
        relative = np.clip(relative / max(float(relative.mean()), 1e-30), 1e-3, 1e3)
        scaling = 1.0 / np.sqrt(relative)
        return CosinePreconditioner(symbol.astype(np.float32), scaling.astype(np.float32), workers)

    def __call__(self, residual: Array) -> Array:
        from scipy import fft

        height, width = residual.shape
        scaled = np.zeros(self.symbol.shape, np.float32)
        scaled[:height, :width] = residual * self.scaling
        workers = self.workers if scaled.size > ONE_THREAD else 1
        spectrum = fft.dctn(scaled, norm="ortho", overwrite_x=True, workers=workers)
        spectrum /= self.symbol
        field = fft.idctn(spectrum, norm="ortho", overwrite_x=True, workers=workers)
        return np.asarray(field[:height, :width] * self.scaling, dtype=np.float64)


def conjugate_gradients(
    apply: Callable[[Array], Array],
    right: Array,
    precondition: Callable[[Array], Array],
    tolerance: float,
    iterations: int,
) -> Array:
    """Solve a symmetric positive definite system; stops at a relative preconditioned residual."""
    x = np.zeros_like(right)
    residual = right.copy()
    z = precondition(residual)
    direction = z.copy()
    rho = float(np.vdot(residual, z))
    start = rho
    for _ in range(iterations):
        if rho <= max(tolerance * tolerance * start, 0.0):
            break
        product = apply(direction)
        curvature = float(np.vdot(direction, product))
        if curvature <= 0:
            break
        step = rho / curvature
        x += step * direction
        residual -= step * product
        z = precondition(residual)
        rho_next = float(np.vdot(residual, z))
        direction *= rho_next / rho
        direction += z
        rho = rho_next
    return x
