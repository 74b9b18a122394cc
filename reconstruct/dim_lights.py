"""One light of another power than it is said to have: told as that, and not as another order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.agreement import KINDS, CoarseStack, Fit, Kind, explained_power, fit

ODD = 0.7
"""Share of its power below which, or over one of it above which, a light is asked about."""
CLEARER = 2.5
"""By which factor less is unexplained with its own power. Two exchanged lights: a factor of 2."""
EXPLAINED = 0.2
"""Unexplained share up to which a surface explains the pictures."""
TURNS, CORRECTIONS = 6, 4
SAME = 0.03


@dataclass(frozen=True)
class OddLight:
    """One light of another power than it is said to have.

    Attributes
    ----------
    led : its id
    share : of the power that it is said to have
    unexplained : share of the pictures that a surface leaves so with its own power
    """

    led: int
    share: float
    unexplained: float

    @property
    def note(self) -> str:
        what = "a dim LED?" if self.share < 1 else "an LED too bright?"
        return (
            f"LED {self.led} gives {self.share:.2f} times the light that the light file says: "
            f"{what} Measure its power with a white plate (--plate), or leave it out with --leds"
        )


def odd_light(small: CoarseStack, lights: Lights, height_mm: float) -> OddLight | None:
    """The one light whose power is wrong, if that clearly explains what is wrong.

    An LED at 0.4 of its power fits a matt part's pictures so badly that some exchange of lights
    fits better.
    """
    found: list[OddLight] = []
    for kind in KINDS:
        first = fit(small, lights, kind, height_mm, TURNS)
        corrected = _corrected(small, lights, kind, height_mm, first)
        if corrected is None:
            continue
        power, row, share = corrected
        left = fit(small, replace(lights, power=power), kind, height_mm, TURNS).unexplained
        if left <= min(EXPLAINED, first.unexplained / CLEARER):
            found.append(OddLight(int(lights.ids[row]), share, left))
    return min(found, key=lambda odd: odd.unexplained, default=None)


def _corrected(
    small: CoarseStack, lights: Lights, kind: Kind, height_mm: float, first: Fit
) -> tuple[NDArray[np.float64], int, float] | None:
    """Powers with the oddest light's own, that light's row, and its share; None if none is odd."""
    share = _shares(small, first)
    row = int(np.argmax(np.abs(np.log(share))))
    total, power = 1.0, lights.power
    for _ in range(CORRECTIONS):
        total *= float(share[row])
        power = lights.power.copy()
        power[row] *= total
        if abs(np.log(share[row])) < SAME:
            break
        found = fit(small, replace(lights, power=power), kind, height_mm, TURNS)
        share = _shares(small, found)
    return None if ODD < total < 1 / ODD else (power, row, total)


def _shares(small: CoarseStack, found: Fit) -> NDArray[np.float64]:
    """(N,) power of each light by the pictures, over that of the median light."""
    power = explained_power(small, found)
    return np.asarray(np.maximum(power / np.median(power), 1e-3))
