"""Control charts: individuals and moving range, means and ranges, Western Electric rules."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig.exits import UsageError

# Factors of subgroups of n (ASTM MNL 7; ISO 7870-2): A2, D3, D4, d2.
FACTORS = {
    2: (1.880, 0.0, 3.267, 1.128), 3: (1.023, 0.0, 2.574, 1.693), 4: (0.729, 0.0, 2.282, 2.059),
    5: (0.577, 0.0, 2.114, 2.326), 6: (0.483, 0.0, 2.004, 2.534), 7: (0.419, 0.076, 1.924, 2.704),
    8: (0.373, 0.136, 1.864, 2.847), 9: (0.337, 0.184, 1.816, 2.970),
    10: (0.308, 0.223, 1.777, 3.078),
}  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """A point that breaks a rule; `rule` counts as in Western Electric's handbook (1 to 4)."""

    index: int
    rule: int


@dataclass(frozen=True)
class Chart:
    """One control chart: points, centre line, limits, and what breaks the rules."""

    values: tuple[float, ...]
    centre: float
    lower: float
    upper: float
    signals: tuple[Signal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def individuals(values: NDArray[Any]) -> tuple[Chart, Chart]:
    """Charts of individual values and of their moving range.

    σ is the mean moving range over d2(2) = 1.128; limits are 3 σ from the mean, and D4(2) = 3.267
    times the mean range.

    Raises
    ------
    UsageError
        with fewer than 3 values
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 3:
        raise UsageError(f"a control chart needs at least 3 values, not {len(x)}")
    moving = np.abs(np.diff(x))
    mean, spread = float(x.mean()), float(moving.mean())
    sigma = spread / FACTORS[2][3]
    return (
        _chart(x, mean, mean - 3 * sigma, mean + 3 * sigma, sigma),
        _chart(moving, spread, 0.0, FACTORS[2][2] * spread, None),
    )


def means_and_ranges(values: NDArray[Any], size: int) -> tuple[Chart, Chart]:
    """Charts of the means and ranges of subgroups of `size` values in a row (2 to 10).

    Raises
    ------
    UsageError
        if there is no such size, or fewer than 2 whole subgroups
    """
    if size not in FACTORS:
        raise UsageError(f"subgroups of {size} are not charted: 2 to 10")
    x = np.asarray(values, dtype=np.float64)
    count = len(x) // size
    if count < 2:
        raise UsageError(f"{len(x)} values make no two subgroups of {size}")
    groups = x[: count * size].reshape(count, size)
    means, ranges = groups.mean(axis=1), np.ptp(groups, axis=1)
    a2, d3, d4, _ = FACTORS[size]
    centre, spread = float(means.mean()), float(ranges.mean())
    reach = a2 * spread
    return (
        _chart(means, centre, centre - reach, centre + reach, reach / 3),
        _chart(ranges, spread, d3 * spread, d4 * spread, None),
    )


def _chart(
    values: NDArray[np.float64], centre: float, low: float, high: float, sigma: float | None
) -> Chart:
    if sigma is not None:
        signals = western_electric(values, centre, sigma)
    else:
        signals = [Signal(k, 1) for k, value in enumerate(values) if value > high or value < low]
    return Chart(tuple(map(float, values)), centre, low, high, tuple(signals))


def western_electric(values: NDArray[Any], centre: float, sigma: float) -> list[Signal]:
    """Signals by the four zone rules (Western Electric 1956).

    1: one point beyond 3 σ. 2: two of three beyond 2 σ on one side. 3: four of five beyond 1 σ on
    one side. 4: eight in a row on one side. A signal is told at the point that completes it.
    """
    if not sigma > 0:
        return []
    z = (np.asarray(values, dtype=np.float64) - centre) / sigma
    found = []
    for k in range(len(z)):
        if abs(z[k]) > 3:
            found.append(Signal(k, 1))
            continue
        for rule, window, needed, limit in ((2, 3, 2, 2.0), (3, 5, 4, 1.0), (4, 8, 8, 0.0)):
            last = z[max(0, k - window + 1) : k + 1]
            if len(last) < window and rule == 4:
                continue
            side = np.sign(z[k])
            if side * z[k] > limit and np.count_nonzero(side * last > limit) >= needed:
                found.append(Signal(k, rule))
                break
    return found
