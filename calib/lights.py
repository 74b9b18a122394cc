"""The lights: where each LED is, where it points, how strong it is, and how sure we are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


FARTHEST_MM = 1e12


def are_places(xyz: Array) -> NDArray[np.bool_]:
    """(N,) whether coordinates (N, 3) are those of a place; NaN and absurd ones are not."""
    return np.asarray(np.all(np.abs(xyz) <= FARTHEST_MM, axis=1))


@dataclass(frozen=True, eq=False)
class Lights:
    """Near point lights. Irradiance at distance d mm with angle ψ off the axis, on a surface
    turned by θ: ``E = intensity · power · cos(ψ)^lobe · cos(θ) / d²``.

    Attributes
    ----------
    ids : (N,) LED numbers from 1
    position_mm : (N, 3) world frame
    power : (N,) relative power, mean about 1
    axis : (N, 3) unit vectors where the LEDs point; towards the origin where unknown
    lobe : (N,) exponent m of cos^m; 0 is isotropic
    intensity : radiance units × mm² at power 1 on the axis; None if only relative powers are known
    covariance : (N, 6, 6) of position (mm) and axis, or None: of each light alone
    common_steps : (K, N, 3) mm, or None: ways in which all positions are wrong together, each by
        one sigma (a shift, a scale). With them the marginal is `position_covariance`.
    power_sigma : (N,) relative standard errors of the powers, or None if they are not known
    provenance : where this came from: date, device identities, method
    """

    ids: NDArray[np.int64]
    position_mm: Array
    power: Array
    axis: Array
    lobe: Array
    intensity: float | None = None
    covariance: Array | None = None
    common_steps: Array | None = None
    power_sigma: Array | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def at(
        position_mm: NDArray[Any],
        power: NDArray[Any] | None = None,
        lobe: float = 0.0,
        ids: NDArray[Any] | None = None,
    ) -> Lights:
        """Lights at (N, 3) positions, pointing at the origin."""
        position = np.asarray(position_mm, dtype=np.float64).reshape(-1, 3)
        count = len(position)
        return Lights(
            ids=np.arange(1, count + 1) if ids is None else np.asarray(ids, dtype=np.int64),
            position_mm=position,
            power=np.ones(count) if power is None else np.asarray(power, dtype=np.float64),
            axis=-position / np.linalg.norm(position, axis=1, keepdims=True),
            lobe=np.full(count, lobe),
        )

    def position_covariance(self) -> Array | None:
        """(N, 3, 3) full covariance of each position, mm²: its own plus what all share."""
        if self.covariance is None:
            return None
        own = self.covariance[:, :3, :3]
        if self.common_steps is None:
            return own
        common = np.einsum("kni,knj->nij", self.common_steps, self.common_steps)
        return np.asarray(own + common)

    def select(self, index: NDArray[Any]) -> Lights:
        """The lights at these places (0-based indices or a boolean mask), in that order."""
        index = np.asarray(index)
        return replace(
            self,
            ids=self.ids[index],
            position_mm=self.position_mm[index],
            power=self.power[index],
            axis=self.axis[index],
            lobe=self.lobe[index],
            covariance=None if self.covariance is None else self.covariance[index],
            common_steps=None if self.common_steps is None else self.common_steps[:, index],
            power_sigma=None if self.power_sigma is None else self.power_sigma[index],
        )
