"""A small network for reflectance: reciprocal and non-negative whatever its weights.

Inputs are functions of half angle, cosine of the difference angle and cos² of the difference
azimuth. Swapping light and camera turns that azimuth by 180° and leaves cos² as it was, so the
result is reciprocal (and mirror-symmetric). The output is an exponential, so it is never negative.
The cosines are not divided out: masking at grazing angles is learned.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from reconstruct.errors import ReconstructError
from reconstruct.tensors import described, read_tensors

FORMAT = "rig-brdf/1"
FEATURES = 7
WIDTH = 24


def features(ra_um: Tensor, alpha: Tensor, sin2_h: Tensor, cos_d: Tensor, cos2_p: Tensor) -> Tensor:
    """(…, 7) inputs from Ra, α, sin² θ_h, cos θ_d, cos² φ_d."""
    ra_um, alpha, sin2_h, cos_d, cos2_p = torch.broadcast_tensors(
        ra_um, alpha, sin2_h, cos_d, cos2_p
    )
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
        """Log reflectance (1/sr) from features (…, 7)."""
        y = nn.functional.softsign(self.first(x))
        y = nn.functional.softsign(self.second(y))
        out: Tensor = self.last(torch.cat([y, x], -1))[..., 0]
        return out

    @torch.no_grad()
    def evaluate(
        self, ra_um: Any, alpha: Any, theta_h: Any, theta_d: Any, phi_d: Any
    ) -> NDArray[np.float32]:
        """Reflectance (1/sr) at broadcast arguments, angles in radians."""
        arguments = (ra_um, alpha, np.sin(theta_h) ** 2, np.cos(theta_d), np.cos(phi_d) ** 2)
        x = features(*(torch.as_tensor(v, dtype=torch.float32) for v in arguments))
        value: NDArray[np.float32] = self.log_value(x).exp().numpy()
        return value

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
            network.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
        except RuntimeError as error:
            raise ReconstructError(f"{path} does not fit the reflectance network") from error
        return network.eval(), described(metadata, "facts", path)
