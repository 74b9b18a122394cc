"""Measurement system analysis (AIAG MSA, 4th edition): pure functions of tables of values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rig.exits import UsageError

Array = NDArray[np.float64]
LEAST_F_PROBABILITY = 0.05  # an interaction less likely than this to be chance is kept


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds it with the confidence asked for."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Source:
    """A row of the analysis of variance; F and p are None for the last source."""

    name: str
    degrees: int
    squares: float
    mean_square: float
    f: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class GaugeRR:
    """A crossed gauge R&R study by analysis of variance.

    Attributes
    ----------
    table : parts, operators, interaction, equipment, total
    pooled : the interaction was no more than chance and went into the equipment's variation
    ev, av, interaction, grr, pv, tv : standard deviations: equipment (repeatability), appraiser
        (reproducibility without interaction), interaction, gauge, parts, total
    percent : of the total standard deviation (or of a sixth of the tolerance), by name
    ndc : number of distinct categories, 1.41 PV/GRR, before it is cut to a whole number
    intervals : of ev and grr
    """

    table: tuple[Source, ...]
    pooled: bool
    ev: float
    av: float
    interaction: float
    grr: float
    pv: float
    tv: float
    percent: dict[str, float]
    percent_of_tolerance: dict[str, float]
    ndc: float
    intervals: dict[str, Interval]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        return {"format": "rig-gauge-rr/1", **asdict(self)}


def refuse_small_gauge_rr(parts: int, operators: int, trials: int) -> None:
    """Raise `UsageError` where a study is too small to tell its parts from its operators."""
    if min(parts, operators, trials) < 2:
        raise UsageError(
            "a gauge R&R study needs 2 parts, 2 operators and 2 trials or more, not "
            f"{parts}, {operators} and {trials}"
        )


def gauge_rr(
    values: NDArray[Any], tolerance: float | None = None, confidence: float = 0.95
) -> GaugeRR:
    """Crossed gauge R&R by two-way random-effects analysis of variance with interaction.

    Parameters
    ----------
    values : (parts, operators, trials)
    tolerance : width of the tolerance; percentages of it are given beside those of the variation
    confidence : of the intervals. That of EV is exact (χ²), that of GRR by Satterthwaite's degrees
        of freedom.

    Raises
    ------
    UsageError
        if a value is missing, or there are fewer than 2 parts, 2 operators or 2 trials
    """
    y = np.asarray(values, dtype=np.float64)
    refuse_small_gauge_rr(*(y.shape if y.ndim == 3 else (0, 0, 0)))
    if not np.isfinite(y).all():
        raise UsageError("a gauge R&R study needs every part by every operator in every trial")
    p, o, r = y.shape
    mean = y.mean()
    part, operator, cell = y.mean((1, 2)), y.mean((0, 2)), y.mean(2)
    ss_part = o * r * float(np.sum((part - mean) ** 2))
    ss_operator = p * r * float(np.sum((operator - mean) ** 2))
    between = cell - part[:, None] - operator[None] + mean
    ss_both = r * float(np.sum(between**2))
    ss_error = float(np.sum((y - cell[..., None]) ** 2))
    d_part, d_operator, d_both, d_error = p - 1, o - 1, (p - 1) * (o - 1), p * o * (r - 1)
    ms_both, ms_error = ss_both / d_both, ss_error / d_error
    chance = _p(ms_both / ms_error if ms_error > 0 else np.inf, d_both, d_error)
    pooled = chance > LEAST_F_PROBABILITY
    equipment, d_equipment = ms_error, d_error
    if pooled:
        d_equipment = d_error + d_both
        equipment = (ss_error + ss_both) / d_equipment
    below = equipment if pooled else ms_both  # what parts and operators are compared with
    d_below = d_equipment if pooled else d_both
    ms_part, ms_operator = ss_part / d_part, ss_operator / d_operator
    v_operator = max((ms_operator - below) / (p * r), 0.0)
    v_both = 0.0 if pooled else max((ms_both - ms_error) / r, 0.0)
    v_part = max((ms_part - below) / (o * r), 0.0)
    v_gauge = equipment + v_operator + v_both
    v_total = v_gauge + v_part

    def source(name: str, degrees: int, squares: float) -> Source:
        f = squares / degrees / below if below > 0 else float("inf")
        return Source(name, degrees, squares, squares / degrees, f, _p(f, degrees, d_below))

    table = (
        source("parts", d_part, ss_part),
        source("operators", d_operator, ss_operator),
        Source("parts × operators", d_both, ss_both, ms_both,
               ms_both / ms_error if ms_error > 0 else float("inf"), chance),
        Source("equipment", d_error, ss_error, ms_error),
        Source("total", p * o * r - 1, ss_part + ss_operator + ss_both + ss_error,
               float(np.var(y, ddof=1))),
    )  # fmt: skip
    figures = {
        "ev": equipment, "av": v_operator, "interaction": v_both, "grr": v_gauge, "pv": v_part,
        "tv": v_total,
    }  # fmt: skip
    sd = {name: float(np.sqrt(v)) for name, v in figures.items()}
    terms = [(ms_operator / (p * r), d_operator)]
    if pooled:
        terms.append((equipment * (1 - 1 / (p * r)), d_equipment))
    else:
        terms += [(ms_both * (p - 1) / (p * r), d_both), (ms_error * (1 - 1 / r), d_error)]
    total = sum(term for term, _ in terms)
    freedom = total**2 / sum(term**2 / degrees for term, degrees in terms) if total > 0 else 1.0
    return GaugeRR(
        table=table,
        pooled=pooled,
        **sd,
        percent={name: 100 * s / sd["tv"] if sd["tv"] > 0 else 0.0 for name, s in sd.items()},
        percent_of_tolerance={}
        if tolerance is None
        else {name: 600 * s / tolerance for name, s in sd.items()},
        ndc=1.41 * sd["pv"] / sd["grr"] if sd["grr"] > 0 else float("inf"),
        intervals={
            "ev": interval_of_sd(sd["ev"], d_equipment, confidence),
            "grr": interval_of_sd(sd["grr"], freedom, confidence),
        },
        confidence=confidence,
    )


def _p(f: float, above: int, below: int) -> float:
    return float(stats.f.sf(f, above, below))


def interval_of_sd(sd: float, freedom: float, confidence: float) -> Interval:
    """Confidence interval of a standard deviation by the χ² distribution."""
    half = (1 - confidence) / 2
    low, high = stats.chi2.ppf([1 - half, half], freedom)
    return Interval(sd, float(sd * np.sqrt(freedom / low)), float(sd * np.sqrt(freedom / high)))


@dataclass(frozen=True)
class Repeatability:
    """One part measured many times (type 1 study).

    Attributes
    ----------
    sd : standard deviation, with its interval
    bias : mean minus reference, None without one; p: how likely by chance
    cg, cgk : (0.2 T)/(6 s) and (0.1 T − |bias|)/(3 s), None without a tolerance T (cgk: and a
        reference); cg_interval by χ²
    """

    count: int
    mean: float
    sd: Interval
    bias: float | None
    p: float | None
    cg: float | None
    cgk: float | None
    cg_interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        return {"format": "rig-repeatability/1", **asdict(self)}


def repeatability(
    values: NDArray[Any],
    tolerance: float | None = None,
    reference: float | None = None,
    confidence: float = 0.95,
) -> Repeatability:
    """A type 1 study.

    Raises
    ------
    UsageError
        with fewer than 5 values
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if len(x) < 5:
        raise UsageError(
            f"a repeatability study needs at least 5 values, not {len(x)}: 25 are usual"
        )
    s, mean = float(x.std(ddof=1)), float(x.mean())
    bias = None if reference is None else mean - reference
    p = None
    if bias is not None:
        t = bias / (s / np.sqrt(len(x))) if s > 0 else np.inf
        p = float(2 * stats.t.sf(abs(t), len(x) - 1))
    cg = cgk = interval = None
    sd = interval_of_sd(s, len(x) - 1, confidence)
    if tolerance is not None and s > 0:
        cg = 0.2 * tolerance / (6 * s)
        interval = Interval(cg, 0.2 * tolerance / (6 * sd.high), 0.2 * tolerance / (6 * sd.low))
        if bias is not None:
            cgk = (0.1 * tolerance - abs(bias)) / (3 * s)
    return Repeatability(len(x), mean, sd, bias, p, cg, cgk, interval)


@dataclass(frozen=True)
class Linearity:
    """Bias over the range: a straight line through the differences from the reference.

    Attributes
    ----------
    slope, intercept : bias = slope · reference + intercept
    t_slope, t_intercept : over their standard errors; t_limit: beyond it they are no chance
    bias : mean bias of each reference value
    """

    references: tuple[float, ...]
    bias: tuple[float, ...]
    slope: float
    intercept: float
    residual_sd: float
    r_squared: float
    t_slope: float
    t_intercept: float
    t_limit: float
    acceptable: bool

    def to_json(self) -> dict[str, Any]:
        return {"format": "rig-linearity/1", **asdict(self)}


def linearity(
    references: NDArray[Any], values: NDArray[Any], confidence: float = 0.95
) -> Linearity:
    """Linearity and bias over known artefacts.

    Parameters
    ----------
    references : (n,) accepted value of each measurement
    values : (n,) what was measured

    Raises
    ------
    UsageError
        with fewer than 3 different references or 2 measurements of each
    """
    x = np.asarray(references, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64) - x
    levels = np.unique(x)
    if len(levels) < 3 or min(np.count_nonzero(x == level) for level in levels) < 2:
        raise UsageError("a linearity study needs at least 3 known values, each measured twice")
    n = len(x)
    sxx = float(np.sum((x - x.mean()) ** 2))
    slope = float(np.sum((x - x.mean()) * (y - y.mean())) / sxx)
    intercept = float(y.mean() - slope * x.mean())
    rest = y - slope * x - intercept
    s = float(np.sqrt(np.sum(rest**2) / (n - 2)))
    total = float(np.sum((y - y.mean()) ** 2))
    limit = float(stats.t.ppf(1 - (1 - confidence) / 2, n - 2))
    t_slope = slope / (s / np.sqrt(sxx)) if s > 0 else float("inf")
    error = s * np.sqrt(1 / n + x.mean() ** 2 / sxx)
    t_intercept = intercept / error if s > 0 else float("inf")
    return Linearity(
        references=tuple(map(float, levels)),
        bias=tuple(float(y[x == level].mean()) for level in levels),
        slope=slope,
        intercept=intercept,
        residual_sd=s,
        r_squared=1 - float(np.sum(rest**2)) / total if total > 0 else 1.0,
        t_slope=float(t_slope),
        t_intercept=float(t_intercept),
        t_limit=limit,
        acceptable=abs(t_slope) <= limit and abs(t_intercept) <= limit,
    )
