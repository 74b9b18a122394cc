"""A small network for reflectance: reciprocal and non-negative whatever its weights.

Inputs are functions of half angle, cosine of the difference angle and cos² of the difference
azimuth. Swapping light and camera turns that azimuth by 180° and leaves cos² as it was, so the
result is reciprocal (and mirror-symmetric). The output is an exponential, so it is never negative.
The cosines are not divided out: masking at grazing angles is learned.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from reconstruct.errors import ReconstructError
from reconstruct.tensors import described, read_tensors

FORMAT = "rig-brdf/1"
FEATURES = 7
WIDTH = 24


def features(ra_um: Tensor, alpha: Tensor, sin2_h: Tensor, cos_d: Tensor, cos2_p: Tensor) -> Tensor:
    """(N, 7) inputs from Ra, α, sin² θ_h, cos θ_d, cos² φ_d."""
    tan2 = sin2_h / (1 - sin2_h).clamp(min=1e-6)
    x = tan2 / (alpha * alpha)
    wide = torch.log1p(x)
    flat = 1 - cos_d
    return torch.stack(
        [
            wide,
            x / (1 + 0.1 * x),
            torch.log(alpha) + 2,
            torch.log(ra_um) + 0.5,
            flat,
            sin2_h,
            cos2_p * sin2_h.sqrt() * (1 - cos_d * cos_d),
        ],
        -1,
    )  # fmt: skip


class BrdfNetwork(nn.Module):
    """Reflectance over (Ra, α, half and difference angles)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH + FEATURES, 1)

    def log_value(self, x: Tensor) -> Tensor:
        """Log reflectance (1/sr) from features (N, 7)."""
        y = nn.functional.softsign(self.first(x))
        y = nn.functional.softsign(self.second(y))
        out: Tensor = self.last(torch.cat([y, x], -1))[..., 0]
        return out

    @torch.no_grad()
    def evaluate(
        self, ra_um: Any, alpha: Any, theta_h: Any, theta_d: Any, phi_d: Any
    ) -> NDArray[np.float32]:
        """Reflectance (1/sr) at broadcast arguments, angles in radians; the fast path."""
        arrays = np.broadcast_arrays(
            *(np.asarray(v, dtype=np.float32) for v in (ra_um, alpha, theta_h, theta_d, phi_d))
        )
        shape = arrays[0].shape
        ra, a, th, td, pd = (np.ascontiguousarray(v).ravel() for v in arrays)
        sin2 = np.sin(th) ** 2
        out = self.kernel()(ra, a, sin2, np.cos(td), np.cos(pd) ** 2)
        return np.asarray(out).reshape(shape)

    def kernel(self) -> Any:
        """A function of float32 arrays Ra, α, sin² θ_h, cos θ_d, cos² φ_d of equal length."""
        tensors = (self.first, self.second, self.last)
        weights = tuple(
            np.ascontiguousarray(t.detach().numpy(), dtype=np.float32)
            for layer in tensors
            for t in (layer.weight, layer.bias)
        )

        def run(*arguments: NDArray[np.float32]) -> NDArray[np.float32]:
            value: NDArray[np.float32] = _evaluate(*arguments, weights)
            return value

        return run

    # files -------------------------------------------------------------------------------------
    def write(self, path: Path, facts: dict[str, Any]) -> None:
        """Write weights and facts as safetensors."""
        state = {k: v.contiguous() for k, v in self.state_dict().items()}
        save_file(state, path, metadata={"format": FORMAT, "facts": json.dumps(facts)})

    @staticmethod
    def read(path: Path) -> tuple[BrdfNetwork, dict[str, Any]]:
        """The network in a file and its facts; `ReconstructError` when it is no such file."""
        state, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise ReconstructError(
                f"{path} is in the format '{metadata.get('format', 'unknown')}', not '{FORMAT}'"
            )
        network = BrdfNetwork()
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ReconstructError(f"{path} does not fit the reflectance network") from error
        return network.eval(), described(metadata, "facts", path)


@njit(fastmath=True, error_model="numpy", parallel=True, cache=True)
def _evaluate(ra, alpha, sin2, cos_d, cos2_p, weights):
    """The network in blocks of lanes; the formulas of `features` and `BrdfNetwork.log_value`."""
    w1, b1, w2, b2, w3, b3 = weights
    count = len(ra)
    out = np.empty(count, dtype=np.float32)
    one, tenth = np.float32(1.0), np.float32(0.1)
    width, inputs = w1.shape
    for block in prange((count + 255) // 256):
        start = block * 256
        size = min(256, count - start)
        x = np.empty((inputs, 256), dtype=np.float32)
        y = np.empty((width, 256), dtype=np.float32)
        z = np.empty(256, dtype=np.float32)
        total = np.empty(256, dtype=np.float32)
        for i in range(size):
            s, a, c = sin2[start + i], alpha[start + i], cos_d[start + i]
            t = s / (max(one - s, np.float32(1e-6)) * a * a)
            x[0, i] = np.log(one + t)
            x[1, i] = t / (one + tenth * t)
            x[2, i] = np.log(a) + np.float32(2.0)
            x[3, i] = np.log(ra[start + i]) + np.float32(0.5)
            x[4, i] = one - c
            x[5, i] = s
            x[6, i] = cos2_p[start + i] * np.sqrt(s) * (one - c * c)
        for j in range(width):
            for i in range(size):
                y[j, i] = b1[j]
            for k in range(inputs):
                w = w1[j, k]
                for i in range(size):
                    y[j, i] += w * x[k, i]
            for i in range(size):
                y[j, i] = y[j, i] / (one + abs(y[j, i]))
        for i in range(size):
            total[i] = b3[0]
        for j in range(width):
            for i in range(size):
                z[i] = b2[j]
            for k in range(0, width, 4):
                wa, wb, wc, wd = w2[j, k], w2[j, k + 1], w2[j, k + 2], w2[j, k + 3]
                for i in range(size):
                    z[i] += wa * y[k, i] + wb * y[k + 1, i] + wc * y[k + 2, i] + wd * y[k + 3, i]
            w = w3[0, j]
            for i in range(size):
                total[i] += w * (z[i] / (one + abs(z[i])))
        for k in range(inputs):
            w = w3[0, width + k]
            for i in range(size):
                total[i] += w * x[k, i]
        for i in range(size):
            out[start + i] = np.exp(total[i])
    return out
