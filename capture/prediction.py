"""Does a picture look as its LED should on a scene that nobody has recorded before?

Light is linear: where the reference says that LED j lies between certain other LEDs, its picture of
any scene lies between theirs. Each picture is predicted from the others by Gaussian-process
regression over the LEDs; a calibration gives the covariance by the LEDs' directions, an earlier
recording by its own pictures.

The prediction of a metal part errs by several per cent, and errs alike for neighbouring LEDs. So
the question is not how far a picture is from its prediction, but which LED explains it: two
pictures differ as their two predictions differ, or the other way round where they are exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.evidence import CELL_NOISE, CLIPPED_ABOVE, Check, Evidence, Reference

FEWEST = 6  # LEDs that predict anything
# On parts of seeds 11 and 12, pictures of sound passes reach a likeness of 0.7 at least (ground
# plates apart, whose darkest pictures are noise), a copy of another picture 0 ± 0.1, an exchanged
# one -0.7 at most. benchmarks/pairing.py reports on other seeds.
LIKENESS = 0.4  # of two pictures' difference to that of their predictions
BRIGHTNESS = (1.35, 1.6)  # largest ratio to the prediction: where it is certain, of any
ANY_BRIGHTNESS = 1.0  # spread of the fourth root from which brightness tells nothing
DEAD = 4.0  # ratio to the prediction that no LED of any age reaches
SPREAD = 5.0  # standard deviations that an LED's brightness may be off
MIXED = 0.95  # share of a misfit that another LED's light explains
MISFIT = 2.0  # misfit from which its cause is asked for, relative to the median
NONSENSE = 0.15  # relative misfit, in the median, from which the reference does not fit the rig
RIDGE = 3e-3  # of a recording's covariance, relative to the mean energy of its pictures
ALIKE = 0.01  # of an LED's light: what the proof of pairing undertakes to see, and no less
CELL_SIGMA = 1e-4  # of full scale: noise of one cell
Pictures = NDArray[np.float64]


def direction_pictures(position_mm: NDArray[np.float64], power: NDArray[np.float64]) -> Pictures:
    """(N, N) rows whose products are the covariance of the LEDs by their directions.

    The Matérn covariance of order 3/2 of the chord between two directions (Rasmussen and Williams
    2006, eq. 4.17), scaled by the fourth root of the light that each LED sends to the stage.
    """
    direction = position_mm / np.linalg.norm(position_mm, axis=1, keepdims=True)
    chord = np.sqrt(3.0) * np.linalg.norm(direction[:, None] - direction[None], axis=-1)
    covariance = (1.0 + chord) * np.exp(-chord) + 1e-3 * np.eye(len(chord))
    strength = power / np.sum(position_mm**2, axis=1)
    scale = (strength / strength.mean()) ** 0.25
    return np.asarray(np.linalg.cholesky(covariance) * scale[:, None])


def compressed(light: Pictures) -> Pictures:
    """Fourth root of the light, clipped cells filled: highlights of metal no longer rule.

    On rendered chromium, aluminium and copper this raised the share of LEDs that are nearest to
    their own prediction from 0.1 to 0.6 up to 0.85 to 1.
    """
    return np.asarray((_filled(light) + CELL_NOISE) ** 0.25)


def _filled(light: Pictures) -> Pictures:
    return np.maximum(np.where(np.isfinite(light), light, CLIPPED_ABOVE), 0.0)


def covariance_of(reference: Reference, places: Sequence[int]) -> NDArray[np.float64]:
    """(n, n) covariance of the pictures of some LEDs of a reference, up to a factor."""
    known = reference.pictures[list(places)]
    if not reference.recorded:
        return np.asarray(known @ known.T)
    shown = compressed(known)
    gram = shown @ shown.T
    return np.asarray(gram + RIDGE * float(np.mean(np.diag(gram))) * np.eye(len(gram)))


@dataclass(frozen=True, eq=False)
class Prediction:
    """Each of (n, M) pictures predicted from the others (Rasmussen and Williams 2006, eq. 5.12).

    `precision` is the inverse of the covariance, `weighted` its product with the pictures.
    """

    shown: Pictures
    precision: NDArray[np.float64]
    weighted: Pictures

    @staticmethod
    def of(covariance: NDArray[np.float64], shown: Pictures) -> Prediction:
        precision = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
        return Prediction(shown, precision, precision @ shown)

    def alone(self) -> Pictures:
        """(n, M) each picture from all others."""
        return np.asarray(self.shown - self.weighted / np.diag(self.precision)[:, None])

    def pair(self, row: int) -> tuple[Pictures, Pictures]:
        """Picture `row` and each other one, both from all but the two; (n, M) each."""
        a, z = self.precision, self.weighted
        own, other, cross = a[row, row], np.diag(a)[:, None], a[row][:, None]
        determinant = own * other - cross**2
        determinant[row] = 1.0
        first = self.shown[row] - (other * z[row] - cross * z) / determinant
        second = self.shown - (own * z - cross * z[row]) / determinant
        return first, second


def light_of_prediction(predicted: Pictures) -> Pictures:
    """The light whose fourth root was predicted; the inverse of `compressed`."""
    return np.asarray(np.maximum(predicted, CELL_NOISE**0.25) ** 4 - CELL_NOISE)


def likeness(
    first: Pictures, second: Pictures, seen: Pictures, variance: Pictures, gain: float
) -> NDArray[np.float64]:
    """(n,) how a picture and each other one differ, against how their predictions differ.

    The cosine between both differences over the cells, each weighted by its variance: 1 where
    they agree, -1 where the two pictures are exchanged, 0 where one is a copy of the other. What
    errs alike in both predictions cancels.

    Parameters
    ----------
    first, second : of `Prediction.pair`; seen : the difference of the two pictures; variance : of
        that difference; (n, M) each
    gain : standard deviation of an LED's brightness, of the fourth root; a difference of
        brightness counts for as little
    """
    told, both = first - second, 0.5 * (first + second)
    free = 1.0 / (2 * gain**2 + 1e-12) + np.sum(both**2 / variance, axis=1)

    def product(a: Pictures, b: Pictures) -> NDArray[np.float64]:  # Woodbury: one free direction
        along = np.sum(a * both / variance, axis=1) * np.sum(b * both / variance, axis=1)
        return np.asarray(np.sum(a * b / variance, axis=1) - along / free)

    length = np.sqrt(np.maximum(product(seen, seen) * product(told, told), 0.0))
    return np.divide(product(seen, told), length, out=np.zeros(len(seen)), where=length > 0)


def equal(first: Pictures, second: Pictures, rms: float) -> NDArray[np.bool_]:
    """(n,) the two LEDs light the scene alike: their exchange does no harm to a measurement."""
    apart = light_of_prediction(first) - light_of_prediction(second)
    return np.asarray(np.sqrt(np.mean(apart**2, axis=1)) < ALIKE * rms)


def mixed_by(light: Pictures, own: Pictures, others: Pictures, weight: Pictures) -> float:
    """Share of a picture's misfit that some other LED's light, added to its own, explains.

    `light`, `own`, `weight` are (M,), `others` (n, M).
    """
    energy = np.sum(weight * own**2)
    overlap = (others @ (weight * own)) / energy
    left = light - own * np.sum(weight * light * own) / energy
    rest = others - overlap[:, None] * own
    size = np.maximum(np.sum(weight * rest**2, axis=1), 1e-30)
    gain = np.maximum(rest @ (weight * left), 0.0) ** 2 / size
    return float(np.max(gain, initial=0.0) / max(float(np.sum(weight * left**2)), 1e-30))


def check_prediction(
    lit: Sequence[Evidence],
    places: NDArray[np.int64],
    light: Pictures,
    reference: Reference,
    aside: bool = False,
) -> dict[int, Check]:
    """Each picture shows its LED rather than any other, by what the reference predicts.

    A picture of the wrong brightness spoils the predictions of its neighbours, on a matt part of
    nearly all: the worst one is put aside, and the others are checked without it.

    Parameters
    ----------
    lit : pictures of one pass, without the dark ones; light : (len(lit), M) their light
    places : the row of the reference that is each picture's LED
    aside : one was put aside because many were in doubt, and if many still are, it was not that
    """
    first: dict[int, int] = {}
    for n, place in enumerate(places):
        first.setdefault(int(place), n)
    if len(first) < FEWEST:
        why = f"too few LEDs to compare another scene with {reference.source}"
        return {frame.index: Check("unknown", why) for frame in lit}
    rows = {place: row for row, place in enumerate(first)}
    taken = list(first.values())
    shown = compressed(light)
    prediction = Prediction.of(covariance_of(reference, list(first)), shown[taken])
    predicted = prediction.alone()
    doubt = 1.0 / np.diag(prediction.precision)[:, None]
    error = (shown[taken] - predicted) ** 2 / doubt
    noise = (0.25 * shown**-3.0 * CELL_SIGMA) ** 2
    variance = noise[taken] + float(np.median(error)) / 0.455 * doubt  # of a normal variate
    leds = [reference.leds[place] for place in first]
    own = np.array([rows[int(place)] for place in places])
    fit = [_Fit.of(shown[n], predicted, variance[row], row) for n, row in enumerate(own)]
    limit = _brightness_limit(reference, [each.brightness for each in fit])
    typical = float(np.median([each.misfit for each in fit]))
    nonsense = float(np.median([each.relative for each in fit])) > NONSENSE
    rms = float(np.sqrt(np.mean(_filled(light[taken]) ** 2)))
    found: dict[int, Check] = {}
    for n, frame in enumerate(lit):
        row, each = int(own[n]), fit[n]
        pair = prediction.pair(row)
        seen = shown[n] - prediction.shown
        like = likeness(*pair, seen, variance[row] + variance, reference.gain / 4)
        like[row] = 1.0
        worst = int(np.argmin(np.where(equal(*pair, rms), 1.0, like)))
        what = f"by {reference.source} like LED {frame.led}"
        told = like[each.nearest] < LIKENESS and each.misfit > 2 * typical
        if told and each.nearest_misfit < 0.5 * each.misfit:
            why = f"it looks like LED {leds[each.nearest]} rather than LED {frame.led} "
            check = Check("fail", f"{why}by {reference.source}", predicted=True)
        elif not 1 / DEAD < each.brightness < DEAD:
            why = f"it is {each.brightness:.2f} times as bright as LED {frame.led} should be"
            check = Check("fail", f"{why} by {reference.source}", predicted=True)
        elif nonsense:
            check = Check("unknown", f"no picture is predicted well by {reference.source}")
        elif like[worst] < LIKENESS and not (
            each.brightness < 1 / limit and _apart(pair, seen, variance, row, rms)
        ):
            why = f"LEDs {frame.led} and {leds[worst]} look too much alike to tell"
            check = Check("unknown", f"{why} them apart by {reference.source}")
        elif not 1 / limit < each.brightness < limit:
            why = f"{what}, but {each.brightness:.2f} times as bright as its neighbours tell"
            check = Check("unknown", f"{why}: a dim LED" if each.brightness < 1 else why)
        elif each.misfit > MISFIT * typical and _mixed(light, predicted, n, taken, row, variance):
            check = Check("unknown", f"{what}, but another LED seems to shine in it as well")
        else:
            margin = f"{what} more than any other (likeness {like[worst]:.2f}"
            check = Check("pass", f"{margin} of at least {LIKENESS})")
        found[frame.index] = check
    off = np.abs(np.log([each.brightness for each in fit]))
    odd = int(np.argmax(off))
    many = _doubted(found) > len(lit) / 4
    row, seen = int(own[odd]), shown[odd] - prediction.shown
    pair = prediction.pair(row)
    if off[odd] < np.log(limit):
        return found
    # Of pictures that are all late by one, too, one is of another brightness than it should be.
    if many and (aside or not _apart(pair, seen, variance, row, rms)):
        return found
    rest = [n for n in range(len(lit)) if n != odd]
    others = check_prediction([lit[n] for n in rest], places[rest], light[rest], reference, many)
    if many and _doubted(others) > len(lit) / 4:
        return found
    # It may be odd because it was exchanged, which the other of the two does not tell alone.
    apart = likeness(*pair, seen, variance[row] + variance, ANY_BRIGHTNESS)
    cleared = {lit[n].index for n in rest if own[n] != row and apart[own[n]] > LIKENESS}
    return found | {index: check for index, check in others.items() if index in cleared}


def _doubted(found: Mapping[int, Check]) -> int:
    return sum(check.state != "pass" for check in found.values())


def _apart(
    pair: tuple[Pictures, Pictures], seen: Pictures, variance: Pictures, row: int, rms: float
) -> bool:
    """Whether a picture is its LED's rather than any other's, whatever its brightness."""
    like = likeness(*pair, seen, variance[row] + variance, ANY_BRIGHTNESS)
    like[row] = 1.0
    return bool(np.all((like > LIKENESS) | equal(*pair, rms)))


def _brightness_limit(reference: Reference, ratios: Sequence[float]) -> float:
    """Largest ratio of brightness to the prediction that an LED may have.

    It widens with the scatter of the LEDs' powers, and with the doubt of a calibration's
    prediction: of 24 LEDs the highlight of a flat plate lies between two, and all pictures are off
    by tens of per cent. The median knows nothing of the few LEDs that may be wrong. A recording of
    another part earns no such trust: beside it, two LEDs at once would pass more often.
    """
    doubt = 0.0 if reference.recorded else 1.4826 * float(np.median(np.abs(np.log(ratios))))
    return float(np.clip(np.exp(SPREAD * np.hypot(reference.gain, doubt)), *BRIGHTNESS))


def _mixed(
    light: Pictures,
    predicted: Pictures,
    n: int,
    taken: Sequence[int],
    row: int,
    variance: Pictures,
) -> bool:
    own = light_of_prediction(predicted[row])
    slope = 4 * np.maximum(predicted[row], CELL_NOISE**0.25) ** 3  # of light over its fourth root
    others = np.delete(_filled(light[list(taken)]), row, axis=0)
    return mixed_by(_filled(light[n]), own, others, 1.0 / (slope**2 * variance[row])) > MIXED


@dataclass(frozen=True)
class _Fit:
    """A picture against all predictions: their misfits do not depend on its brightness.

    `misfit` is in standard deviations, `relative` to the picture, `brightness` to the prediction.
    """

    misfit: float
    relative: float
    brightness: float
    nearest: int
    nearest_misfit: float

    @staticmethod
    def of(picture: Pictures, predicted: Pictures, variance: Pictures, row: int) -> _Fit:
        weight = 1.0 / variance
        square = float(np.sum(weight * picture**2))
        cross = predicted @ (weight * picture)
        energy = np.maximum(predicted**2 @ weight, 1e-30)
        misfit = np.sqrt(np.maximum(square - cross**2 / energy, 0.0) / picture.size)
        nearest = int(np.argmin(misfit))
        scale = max(float(cross[row] / energy[row]), 1e-6)
        relative = float(misfit[row] * np.sqrt(picture.size / square))
        return _Fit(float(misfit[row]), relative, scale**4, nearest, float(misfit[nearest]))
