"""Steps between pieces of a part, and the levels that agree with them all by least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.levels import Rise

Array = NDArray[np.float64]
OUTLIER = 3.5  # sigmas by which a step may miss the levels
LEAST_APART_MM = 0.3  # of two heights, for a step that is looked for between them


@dataclass(frozen=True)
class Level:
    """Where a piece lies.

    Attributes
    ----------
    mm, sigma_mm : median height of the piece above the stage
    told_by : "shadow", "prior" (the height given) or "nothing"
    lights : that told it, of the step that most of them told
    """

    mm: float
    sigma_mm: float
    told_by: str
    lights: int


@dataclass(frozen=True)
class Step:
    """The rise of one piece over another (0: the stage), between their median heights."""

    upper: int
    lower: int
    mm: float
    sigma_mm: float
    rise: Rise

    def to_json(self) -> dict[str, Any]:
        return {
            "upper": self.upper, "lower": self.lower, "mm": self.mm, "sigma_mm": self.sigma_mm,
            "told_by": "shadow", "chamfer_mm": self.rise.chamfer_mm, "lights": self.rise.lights,
        }  # fmt: skip


def most_apart_mm(upper: Rise, lower: Rise) -> float:
    """How far one height may lie above another, mm: what tells them may itself be unsure."""
    sigma_mm = math.hypot(upper.sigma_mm, lower.sigma_mm)
    return max(upper.mm - lower.mm, LEAST_APART_MM) + 3.0 * sigma_mm


def _solved(
    count: int,
    steps: list[Step],
    weak: dict[int, float],
    untold_mm: float,
    mean: tuple[Array, float, float] | None = None,
) -> tuple[Array, Array]:
    """Levels of the stage (0, held at 0) and pieces, and their sigmas.

    Parameters
    ----------
    weak : a guess of each piece, good to `untold_mm`
    mean : shares of the pieces, the mean height they give, and its sigma
    """
    normal = np.zeros((count + 1, count + 1))
    right = np.zeros(count + 1)
    normal[0, 0] = 1e12
    for step in steps:
        sign = np.zeros(count + 1)
        sign[step.upper], sign[step.lower] = 1.0, -1.0
        normal += np.outer(sign, sign) / step.sigma_mm**2
        right += sign * step.mm / step.sigma_mm**2
    for piece, mm in weak.items():
        normal[piece, piece] += 1.0 / untold_mm**2
        right[piece] += mm / untold_mm**2
    if mean is not None:
        share, mm, sigma = mean
        normal += np.outer(share, share) / sigma**2
        right += share * mm / sigma**2
    covariance = np.linalg.inv(normal)
    return covariance @ right, np.sqrt(np.diag(covariance))


def consistent(
    count: int, steps: list[Step], weak: dict[int, float], untold_mm: float, mean: Any
) -> tuple[Array, Array, list[Step]]:
    """Levels by the steps that agree; of those that do not, the one told by fewest lights goes."""
    kept = list(steps)
    while True:
        values, sigmas = _solved(count, kept, weak, untold_mm, mean)
        misses = [abs(values[s.upper] - values[s.lower] - s.mm) / s.sigma_mm for s in kept]
        if not misses or max(misses) < OUTLIER:
            break
        doubtful = [i for i, miss in enumerate(misses) if miss > 0.3 * max(misses)]
        gone = min(doubtful, key=lambda i: kept[i].rise.lights / (1.0 + misses[i]))
        del kept[gone]
    spread = np.sqrt(np.mean(np.square(misses))) if misses else 0.0
    return values, sigmas * max(1.0, float(spread)), kept


def resting(
    values: Array, steps: list[Step], weak: dict[int, float], pixels: dict[int, int]
) -> Array:
    """Levels with pieces that steps tie to each other alone, as a whole, where guesses have them.

    Least squares has all guesses equally wrong: a step to a speck would move a large piece as far
    as the speck. Places are guessed alike, so that pieces count by their pixels.
    """
    group = np.arange(len(values))
    for step in steps:
        group[group == group[step.upper]] = group[step.lower]
    out = values.copy()
    for number in set(group) - {group[0]}:
        tied = [piece for piece in weak if group[piece] == number]
        off = [weak[piece] - values[piece] for piece in tied]
        out[tied] += np.average(off, weights=[pixels[piece] for piece in tied])
    return out
