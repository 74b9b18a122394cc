"""From counts to radiance: noise of a sensor, dark frames, and the merge of a bracket.

All values here are fractions of full scale: counts divided by the largest count of the sensor.
A sensor's noise is ``variance = floor + gain · signal`` (read and quantisation noise, plus photon
noise; Janesick, Photon Transfer, 2007, ch. 3); `gain` is one over the full well in electrons.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Fraction = NDArray[np.float32]

# A sensor nobody measured: 12,000 electrons full well, 3 electrons read noise.
TYPICAL_GAIN = 1 / 12_000
TYPICAL_FLOOR = (3 / 12_000) ** 2
_MAD_TO_SIGMA = 1.482602
_LEVELS = np.geomspace(0.02, 0.9, 17)


@dataclass(frozen=True)
class NoiseModel:
    """``variance = floor + gain · signal``, in fractions of full scale.

    `source` says where it comes from: ``given``, ``frames`` (dark frames and a repeated light),
    ``images`` (spatial noise of the pictures) or ``assumed``.
    """

    floor: float
    gain: float
    source: str = "assumed"

    def variance(self, signal: NDArray[np.floating]) -> Fraction:
        """Variance of a signal (fractions of full scale, black level removed)."""
        lit = np.maximum(signal, 0).astype(np.float32)
        return np.asarray(np.float32(self.floor) + np.float32(self.gain) * lit)


@dataclass(frozen=True, eq=False)
class LinearImage:
    """One light's picture as linear radiance, or a band of its rows.

    Attributes
    ----------
    radiance : (H, W) float32, black level and ambient removed, exposure divided out
    clipped : (H, W) bool; the true radiance is at least the one given
    sigma : (H, W) float32, one standard deviation of the radiance
    """

    radiance: NDArray[np.float32]
    clipped: NDArray[np.bool_]
    sigma: NDArray[np.float32]


def merge_bracket(
    signals: Sequence[Fraction],
    clipped: Sequence[NDArray[np.bool_]],
    exposures: Sequence[float],
    noise: NoiseModel,
) -> LinearImage:
    """Merge pictures of one light taken with several exposures, by inverse variance.

    The weights come from a first estimate over all unclipped exposures and not from each sample,
    else samples that are low by chance would weigh more and pull the mean down (Granados et al.
    2010, sec. 4). Where every exposure is clipped, the shortest one gives the lower bound.

    Parameters
    ----------
    signals : (H, W) fractions of full scale, dark frame subtracted, one per exposure
    clipped : (H, W) bool, one per exposure
    exposures : what divides the signals, one per exposure
    """
    if len(signals) == 1:
        exposure = np.float32(exposures[0])
        sigma = np.sqrt(noise.variance(signals[0])) / exposure
        return LinearImage(_single(signals[0] / exposure), np.array(clipped[0]), _single(sigma))
    times = [np.float32(exposure) for exposure in exposures]
    total, time = np.zeros_like(signals[0]), np.zeros_like(signals[0])
    for signal, clip, exposure in zip(signals, clipped, times, strict=True):
        total += np.where(clip, np.float32(0), signal)
        time += np.where(clip, np.float32(0), exposure)
    shortest = int(np.argmin(times))
    all_clipped = time == 0
    bound = signals[shortest] / times[shortest]
    estimate = _single(np.where(all_clipped, bound, total / np.maximum(time, 1e-30)))
    weighted, weights = np.zeros_like(estimate), np.zeros_like(estimate)
    for index, (signal, clip, exposure) in enumerate(zip(signals, clipped, times, strict=True)):
        use = ~clip | all_clipped if index == shortest else ~clip
        weight = np.where(use, exposure**2 / noise.variance(estimate * exposure), np.float32(0))
        weighted += weight * signal / exposure
        weights += weight
    return LinearImage(_single(weighted / weights), all_clipped, _single(np.sqrt(1 / weights)))


def _single(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def merged_noise(noise: NoiseModel, exposures: Sequence[float]) -> tuple[float, float]:
    """The noise of merged radiance as ``floor + gain · radiance`` (radiance units squared).

    Exact for one exposure. For a bracket the floor is exact and the gain is the geometric mean
    over the range of radiances, the longer exposures clipping one after another.
    """
    times = np.sort(np.asarray(exposures, dtype=np.float64))
    floor = noise.floor / float(np.sum(times**2))
    if len(times) == 1:
        return floor, noise.gain / float(times[0])
    radiance = np.geomspace(0.01 / times[-1], 0.95 / times[0], 64)[:, None]
    usable = radiance * times < 1.0
    weights = np.where(usable, times**2 / (noise.floor + noise.gain * radiance * times), 0.0)
    excess = 1.0 / weights.sum(axis=1) - floor
    return floor, float(np.exp(np.mean(np.log(np.maximum(excess, 1e-30) / radiance[:, 0]))))


# dark frames -----------------------------------------------------------------------------------


def combine_darks(darks: Sequence[Fraction]) -> Fraction:
    """The expected dark frame (H, W) from one or more taken alike.

    The mean is split into its smooth part and the rest; of the rest only the share that is fixed
    pattern rather than noise is kept (empirical Bayes), since subtracting noise adds noise. One
    frame alone cannot tell them apart: then only pixels that stand out by five sigma keep it.
    """
    mean = np.mean(np.stack(list(darks)), axis=0, dtype=np.float32)
    # Median before mean: a hot pixel must not lift its neighbourhood.
    smooth = cv2.blur(cv2.medianBlur(mean, 5), (31, 31), borderType=cv2.BORDER_REFLECT)
    rest = mean - smooth
    spread = clipped_sigma(rest)
    share = 0.0
    if len(darks) > 1:
        noise = np.var(np.stack(list(darks)), axis=0, ddof=1)
        temporal = float(np.mean(noise[noise <= np.quantile(noise, 0.999)]))
        measured = float(np.mean(np.square(rest[np.abs(rest) <= 5 * max(spread, 1e-12)])))
        share = max(0.0, 1.0 - temporal / len(darks) / measured) if measured > 0 else 0.0
    kept = np.where(np.abs(rest) > 5 * max(spread, 1e-12), rest, np.float32(share) * rest)
    return np.asarray(smooth + kept, dtype=np.float32)


# noise -----------------------------------------------------------------------------------------


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Standard deviation of the bulk of some values, from the median absolute deviation."""
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


def clipped_sigma(values: NDArray[np.floating]) -> float:
    """Standard deviation without what lies beyond four sigma.

    For noise of about one count, where the median absolute deviation is as coarse as the counts.
    """
    centred = np.abs(values - np.mean(values)).ravel()
    sigma = float(np.sqrt(np.mean(np.square(centred))))
    for _ in range(4):
        kept = centred[centred <= 4 * sigma]
        sigma = float(np.sqrt(np.mean(np.square(kept)))) if kept.size else 0.0
    return sigma


def temporal_floor(darks: Sequence[Fraction]) -> float:
    """Noise variance of a dark pixel from at least two dark frames taken alike."""
    pairs = [clipped_sigma(b - a) ** 2 / 2 for a, b in itertools.pairwise(darks)]
    return float(np.median(pairs))


def temporal_gain(first: Fraction, again: Fraction, floor: float) -> float | None:
    """Photon noise from a light taken twice (photon transfer); None if it is too dark to tell.

    Parameters
    ----------
    first, again : (H, W) fractions of full scale, dark subtracted, clipped pixels NaN
    floor : variance without light
    """
    ratio = float(
        np.nansum(again) / max(float(np.nansum(np.where(np.isfinite(again), first, 0))), 1e-12)
    )
    difference = again - np.float32(ratio) * first
    gains = _binned(_single((first + again) / 2), difference, 1.0 + ratio**2, floor)
    return float(np.median(gains)) if len(gains) >= 2 else None


def spatial_gain(pictures: Sequence[Fraction], floor: float) -> float | None:
    """Photon noise from the grain of pictures, for captures without repeats.

    The residual of the mask of Immerkær (1996), which annuls planes, is measured by level; the
    surface's own texture adds to it, so of all pictures the smoothest quarter is believed.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6
    gains: list[float] = []
    for picture in pictures:
        grain = cv2.filter2D(picture, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT)
        level = cv2.blur(picture, (3, 3), borderType=cv2.BORDER_REFLECT)
        gains.extend(_binned(level, grain, 1.0, floor))
    return float(np.quantile(gains, 0.25)) if len(gains) >= 4 else None


def _binned(
    level: Fraction, difference: Fraction, factor: float, floor: float, least: int = 200
) -> list[float]:
    good = np.isfinite(difference) & np.isfinite(level)
    level, difference = level[good], difference[good]
    gains: list[float] = []
    for low, high in itertools.pairwise(_LEVELS):
        inside = (level >= low) & (level < high)
        if np.count_nonzero(inside) < least:
            continue
        variance = robust_sigma(difference[inside]) ** 2 / factor
        gain = (variance - floor) / float(np.mean(level[inside]))
        if gain > 0:
            gains.append(gain)
    return gains
