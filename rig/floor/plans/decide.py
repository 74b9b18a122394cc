"""The decision rule of ISO 14253-1: the uncertainty counts against whoever must prove."""

from __future__ import annotations

from scipy.stats import norm

GOOD, OUT, BETWEEN, UNKNOWN = "good", "out of tolerance", "in between", "not sufficient"


def decide(
    value: float,
    sigma: float | None,
    lower: float | None,
    upper: float | None,
    probability: float = 0.95,
) -> str:
    """Whether a value is proven good, proven out of tolerance, or in between.

    With the guard band g = z σ, where z is the one-sided normal quantile of `probability` (1.645
    for 0.95, ISO 14253-1:2017): good within the limits narrowed by g, out of tolerance beyond the
    limits widened by g.

    Parameters
    ----------
    value, sigma, lower, upper : in the same unit; sigma None counts as 0, a limit None is none
    """
    guard = float(norm.ppf(probability)) * (sigma or 0.0)
    low = float("-inf") if lower is None else lower
    high = float("inf") if upper is None else upper
    if low + guard <= value <= high - guard:
        return GOOD
    if value < low - guard or value > high + guard:
        return OUT
    return BETWEEN
