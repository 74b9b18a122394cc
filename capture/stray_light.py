"""How much of another LED's light does a picture hold? Unmixing of thumbnails, with its doubt.

Light is additive: a picture that LED j shone into as well is ``a · own + b · picture_j``. Each
LED's share b is the least-squares solution beside what may rightly differ between two pictures of
one scene (brightness, an even offset, a small shift), and it counts only where it exceeds what
noise can feign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import stdtrit

from capture.evidence import GRID

Pictures = NDArray[np.float64]

SHARE = 0.005  # of another LED's light: less does no harm to a measurement
FALSE_ALARM = 1e-3  # chance that a sound pass of pictures has one that is called mixed
MARGIN = 1.5  # on the threshold: noise of clipped highlights is not normal
SAME_TO = 0.008  # relative difference, noise apart, from which the part has moved
LIKE_ITSELF = 1e-4  # share of a picture's energy that the LED's own picture must leave
DROWNED = 0.005  # energy of the noise over the picture's from which nothing is claimed
CLEAR = 10.0  # energy of a cell, in variances of its noise, from which a picture is clear
NOISE_FLOOR = 2e-5  # of full scale: the noise of a cell does not fall below this
CLIPPING_FROM = 0.5  # of full scale, mean of a cell: single pixels may be clipped in it


@dataclass(frozen=True)
class Stray:
    """The likeliest other LED in a picture.

    Attributes
    ----------
    candidate : its row among the candidates; -1 if nothing could be told
    share : of that LED's light in the picture
    certain : more than `SHARE`, more than noise feigns in one of 1/`FALSE_ALARM` passes, and the
        scene is otherwise the same
    bound : the share of an LED, in the median of LEDs, that would have been noticed
    """

    candidate: int
    share: float
    certain: bool
    bound: float


NOTHING = Stray(-1, 0.0, False, np.inf)


@dataclass(frozen=True)
class Difference:
    """Variance of the difference of two pictures of a cell: c0 + c1·light + c2·light².

    c0 is read noise, c1 shot noise; c2 is what noise does not explain: the scene differs.
    """

    c0: float
    c1: float
    c2: float

    @property
    def relative(self) -> float:
        return float(np.sqrt(self.c2))

    def variance(self, light: NDArray[np.float64]) -> NDArray[np.float64]:
        level = np.maximum(light, 0.0)
        return self.c0 + self.c1 * level + self.c2 * level**2 + NOISE_FLOOR**2

    @staticmethod
    def fit(light: NDArray[np.float64], residual: NDArray[np.float64]) -> Difference:
        """From light and residual of many cells, by the medians of ten classes of light."""
        use = np.isfinite(light) & np.isfinite(residual) & (light < CLIPPING_FROM)
        if use.sum() < 40:
            return Difference(0.0, 0.0, np.inf)
        order = np.argsort(light[use])
        levels = np.maximum(light[use][order], 0.0)
        squares = residual[use][order] ** 2
        classes = np.array_split(np.arange(order.size), 10)
        level = np.array([levels[c].mean() for c in classes])
        # The median of the square of a normal variate is 0.455 of its variance.
        variance = np.array([np.median(squares[c]) for c in classes]) / 0.455 + NOISE_FLOOR**2
        terms = np.stack([np.ones_like(level), level, level**2], axis=1) / variance[:, None]
        solution, _ = nnls(terms, np.ones(10))
        return Difference(*(float(value) for value in solution))


def stray_light(
    pictures: Pictures, own: Pictures | None, candidates: Pictures, known: Sequence[int]
) -> list[Stray]:
    """The likeliest other LED in each picture of a pass.

    Parameters
    ----------
    pictures : (n, GRID²) light, dark removed, clipped cells NaN
    own : (n, GRID²) how each of them should look; None: dark
    candidates : (N, GRID²) the light of each LED
    known : (n,) the candidate that is each picture's own LED; -1: none

    Returns
    -------
    one `Stray` a picture. The threshold is that of Student's t for all pictures and LEDs at once
    (Bonferroni) times `MARGIN`, widened where the t values of the other LEDs spread more than
    noise makes them.
    """
    expected = np.zeros_like(pictures) if own is None else own
    if not np.isfinite(pictures).any():
        return [NOTHING] * len(pictures)
    first = Difference(0.01 * float(np.nanmean(np.abs(pictures))), 1.0, 0.0)
    found = [
        _unmixed(p, None if own is None else e, candidates, k, first)
        for p, e, k in zip(pictures, expected, known, strict=True)
    ]
    left = np.stack([each.residual for each in found])
    difference = Difference.fit(expected.ravel(), left.ravel())
    found = [
        _unmixed(p, None if own is None else e, candidates, k, difference)
        for p, e, k in zip(pictures, expected, known, strict=True)
    ]
    rest = np.concatenate([each.rest for each in found])
    told = np.isfinite(rest)
    tests = int(told.sum())
    if not tests or not np.isfinite(difference.c2):
        return [NOTHING] * len(pictures)
    wider = max(1.0, float(np.sqrt(np.median(rest[told] ** 2) / 0.455)))
    limit = MARGIN * wider * float(stdtrit(pictures.shape[1] // 4, 1 - FALSE_ALARM / tests))
    same = difference.relative < SAME_TO
    return [_judged(each, limit, same) for each in found]


@dataclass(frozen=True, eq=False)
class _Unmixed:
    """(N,) share, t value, standard error and harmless share of each candidate; NaN: untold.

    `rest` holds the t values once the best candidate is taken out, `residual` what is left then.
    """

    share: NDArray[np.float64]
    score: NDArray[np.float64]
    doubt: NDArray[np.float64]
    allowed: NDArray[np.float64]
    rest: NDArray[np.float64]
    residual: NDArray[np.float64]


def _judged(each: _Unmixed, limit: float, same: bool) -> Stray:
    seen = np.isfinite(each.score)
    if not seen.any():
        return NOTHING
    best = int(np.nanargmax(each.score))
    certain = same and each.score[best] > limit and each.share[best] > each.allowed[best]
    bound = max(SHARE, float(np.median(limit * each.doubt[seen]))) if same else np.inf
    return Stray(best, float(each.share[best]), bool(certain), bound)


def _unmixed(
    picture: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    candidates: Pictures,
    known: int,
    difference: Difference,
) -> _Unmixed:
    untold = np.full(len(candidates), np.nan)
    residual = np.full(picture.size, np.nan)
    nothing = _Unmixed(untold, untold, untold, untold, untold, residual)
    if not np.isfinite(picture).any() or (own is not None and not np.isfinite(own).any()):
        return nothing
    nuisance = [np.ones_like(picture)]
    if own is not None:
        square = np.where(np.isfinite(own), own, np.nanmean(own)).reshape(GRID, GRID)
        nuisance += [own, *(slope.ravel() for slope in np.gradient(square))]
    columns = np.stack(nuisance, axis=1)
    seen = _unclipped(picture) & np.isfinite(columns).all(axis=1)
    if own is not None:
        seen &= _unclipped(own)
    variance = difference.variance(picture if own is None else own)
    seen &= np.isfinite(variance)  # no bound where the pictures do not tell it
    if seen.sum() < 0.25 * picture.size:
        return nothing
    weight = 1.0 / np.sqrt(variance[seen])
    basis, _ = np.linalg.qr(columns[seen] * weight[:, None])
    left = picture[seen] * weight
    left = left - basis @ (basis.T @ left)
    shows = np.stack([_unclipped(other) for other in candidates])[:, seen]
    others = np.where(shows, candidates[:, seen], 0.0) * weight
    # An LED's picture must stand out of its own noise, or it explains that noise.
    noise = CLEAR * max(float(left @ left), 1.0)
    least = np.maximum(LIKE_ITSELF * np.sum(others**2, axis=1), noise)
    others = (others - (others @ basis) @ basis.T) * shows
    strength = np.maximum(np.linalg.norm(others, axis=1), 1e-9)
    freedom = columns.shape[1] + 1
    share, score, doubt = _regressed(left, others, shows, least, freedom)
    if known >= 0:
        score[known] = np.nan
    rest = untold
    if np.isfinite(score).any():
        best = int(np.nanargmax(score))
        direction = others[best] / strength[best]
        left = np.where(shows[best], left - direction * (direction @ left), np.nan)
        residual[seen] = left / weight
        left = np.nan_to_num(left)
        others = others - np.outer(others @ direction, direction)
        _, rest, _ = _regressed(left, others, shows, least, freedom + 1)
        rest[best] = np.nan
    else:
        residual[seen] = left / weight
    allowed = np.full(len(candidates), SHARE)
    if own is not None:
        # Noise of `own` makes its fitted brightness too small by noise over signal; what is then
        # left of it resembles other LEDs.
        length = max(float(np.linalg.norm(own[seen] * weight)), 1e-9)
        lost = float(left @ left) / length
        if lost > DROWNED * length:
            score = untold
        allowed += 3 * lost / strength
    return _Unmixed(share, score, doubt, allowed, rest, residual)


def _regressed(
    left: NDArray[np.float64],
    others: Pictures,
    shows: NDArray[np.bool_],
    least: NDArray[np.float64],
    freedom: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Share, t value and standard error of each of the others alone, over the cells it shows."""
    energy = np.sum(others**2, axis=1)
    energy = np.where(energy > least, energy, np.nan)
    share = others @ left / energy
    cells = np.maximum(shows.sum(axis=1) - freedom, 1)
    spread = np.maximum(shows @ left**2 - share**2 * energy, 1e-300) / cells
    doubt = np.sqrt(spread / energy)
    return share, share / doubt, doubt


def _unclipped(light: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cells that hold no clipped pixel, as far as their mean can tell: highlights stand out."""
    finite = np.isfinite(light)
    if not finite.any():
        return np.asarray(finite)
    limit = max(CLIPPING_FROM, 3 * float(np.median(light[finite])))
    return np.asarray(finite & (light < limit))
