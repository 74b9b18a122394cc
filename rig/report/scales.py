"""Scales of colours that end at round numbers and know what they clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig.report.tiles import round_down

SAMPLED = 200_000  # values that a scale is found from
KEPT_WHOLE = 1.6  # the whole range is shown if it is at most this much longer than the usual one


@dataclass(frozen=True)
class Scale:
    """Ends and ticks of a scale of colours, and the share of values beyond the ends, percent."""

    low: float
    high: float
    step: float
    below: float = 0.0
    above: float = 0.0

    @property
    def digits(self) -> int:
        """Behind the point, so that neighbouring ticks differ."""
        return max(0, -math.floor(math.log10(self.step) + 1e-9))

    def ticks(self) -> list[float]:
        first, last = (
            math.ceil(self.low / self.step - 1e-6),
            math.floor(self.high / self.step + 1e-6),
        )
        return [round(k * self.step, 12) for k in range(first, last + 1)]

    def label(self, value: float) -> str:
        return f"{value + 0.0:.{self.digits}f}".replace("-", "−")

    def clipped(self, unit: str) -> str:
        """What the ends of the colours stand for, in words; empty where nothing is clipped."""
        said = [
            f"{share_of(share)} {word} {self.label(end)} {unit}"
            for share, word, end in (
                (self.below, "below", self.low),
                (self.above, "above", self.high),
            )
            if share > 0
        ]
        return f"{' and '.join(said)} in the end's colour" if said else ""

    def to_json(self, unit: str) -> dict[str, Any]:
        return {
            "low": self.low,
            "high": self.high,
            "unit": unit,
            "ticks": [{"value": tick, "text": self.label(tick)} for tick in self.ticks()],
            "clipped": self.clipped(unit),
        }


def share_of(percent: float) -> str:
    """A share with as many digits as it deserves."""
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"


def scale_of(
    values: NDArray[Any],
    low_share: float = 0.002,
    high_share: float = 0.998,
    *,
    symmetric: bool = False,
    from_zero: bool = False,
) -> Scale:
    """A scale for values: nearly all of them, to round numbers outwards.

    Parameters
    ----------
    symmetric : about zero, for deviations
    from_zero : begins there, for uncertainties
    """
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size == 0:
        return Scale(0.0, 1.0, 0.5)
    few = finite[:: max(1, finite.size // SAMPLED)]
    least, most = float(finite.min()), float(finite.max())
    low, high = (float(v) for v in np.quantile(few, [low_share, high_share]))
    if (most - least) <= KEPT_WHOLE * (high - low):
        low, high = least, most
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    elif from_zero:
        low = 0.0
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - 5e-4, high + 5e-4
    step = round_down((high - low) / 4)
    end = round_down((high - low) / 12)
    low, high = math.floor(low / end + 1e-6) * end, math.ceil(high / end - 1e-6) * end
    slack = 1e-9 * (high - low)
    return Scale(
        round(low, 12),
        round(high, 12),
        step,
        100 * float(np.mean(finite < low - slack)),
        100 * float(np.mean(finite > high + slack)),
    )
