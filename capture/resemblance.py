"""Does a picture look as its LED should? Compared with an earlier recording or a calibration.

Pictures are compared as thumbnails, and in two ways. Of the same scene, picture j must resemble
reference j more than any other. Of another scene, the linearity of light helps: where the
reference says ``picture j = Σ w_k · picture k`` over the other LEDs, the same weights hold for any
other scene, up to how diffuse it is; picture j must then be the one that its prediction resembles
most. (Of metals, the fourth root of the light obeys this far better than the light itself.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.evidence import GRID, Check, Evidence, Reference, darkest
from capture.stray_light import stray_light

CLIPPED_ABOVE = 0.9  # of full scale, mean of a cell
SAME_SCENE = 0.08  # median relative residual below which two recordings show the same scene
SAME_PICTURE = 0.15  # largest relative residual of the same picture
SAME_POWER = 1.35  # largest ratio of one LED's brightness to that of the others, by the reference
# Of another scene, by benchmarks/pairing.py: told right, a pair of LEDs misfits by at most 0.86 of
# the same pair swapped (27 parts of nine kinds; ground plates that show nearly no light apart);
# swapped neighbours misfit by at least 1.99.
PAIR_MARGIN = 0.95  # misfit of a pair as told over that of the same pair swapped
PREDICTED_MARGIN = 0.7  # how much nearer than any other the prediction of an odd picture must be
PREDICTED_PICTURE = 0.05  # residual of the fourth root up to which a prediction is exact
PREDICTED_POWER = 1.6  # largest ratio of brightness to the prediction
CELL_NOISE = 2e-4  # of full scale: what noise and dark frames may do to a cell


def light_of(thumbnails: NDArray[np.floating], base: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, M) light of each picture, dark removed, clipped cells NaN."""
    count = len(thumbnails)
    light = np.asarray(thumbnails - base, dtype=np.float64).reshape(count, -1)
    light[np.asarray(thumbnails).reshape(count, -1) > CLIPPED_ABOVE] = np.nan
    return light


def reference_pictures(frames: Sequence[Evidence]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """LEDs and their (N, M) pictures of one pass, for a `Reference`."""
    lit = [frame for frame in frames if frame.kind == "light"]
    base = darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    pictures = light_of(np.stack([frame.thumbnail for frame in lit]), base)
    return tuple(frame.led for frame in lit), pictures


def direction_pictures(
    position_mm: NDArray[np.float64], power: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, N) rows whose products are the exponential kernel of the LEDs' directions.

    Scaled by the fourth root of the light that each LED sends to the stage. Used as pictures,
    they predict each LED's light by Gaussian-process regression over the directions in which the
    other LEDs lie (Rasmussen and Williams 2006, eq. 2.25).
    """
    direction = position_mm / np.linalg.norm(position_mm, axis=1, keepdims=True)
    chord = np.linalg.norm(direction[:, None] - direction[None], axis=-1)
    kernel = np.exp(-chord) + 1e-9 * np.eye(len(chord))
    strength = power / np.sum(position_mm**2, axis=1)
    return np.asarray(np.linalg.cholesky(kernel) * (strength / strength.mean())[:, None] ** 0.25)


def resemblance(
    pictures: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative residual and best scale of each of (N, M) pictures to each of (K, M) others.

    ``others[k] ≈ scale[n, k] · pictures[n]``; the residual is 0 for the same picture and 1 for an
    unrelated one; NaN cells are left out, and NaN comes back where nearly nothing is left.
    """
    seen_p, seen_o = np.isfinite(pictures), np.isfinite(others)
    p, o = np.where(seen_p, pictures, 0.0), np.where(seen_o, others, 0.0)
    cross = p @ o.T
    square_p, square_o = (p**2) @ seen_o.T.astype(float), seen_p.astype(float) @ (o**2).T
    shared = seen_p.astype(float) @ seen_o.T.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = cross / square_p
        residual = np.sqrt(np.maximum(0.0, 1.0 - cross * scale / square_o))
    residual[shared < 0.25 * pictures.shape[1]] = np.nan
    return residual, scale


def check_references(
    frames: Sequence[Evidence], references: Sequence[Reference]
) -> dict[int, Check]:
    """Each picture looks as its LED should, by an earlier recording or a calibration.

    One reference that fits is enough. One that shows the same scene may contradict alone; of
    predictions for another scene all must: on machined metals a single one is now and then wrong.
    (Over 306 pairs of virtual parts this left 3 sound recordings refused instead of 68; of
    swapped and repeated pictures none passed with either rule.)
    """
    why = "no earlier recording or calibration of this rig to compare with"
    found = {frame.index: Check("unknown", why) for frame in frames if frame.kind != "dark"}
    each = [check_reference(frames, reference) for reference in references]
    for index in found:
        checks = [checked[index] for checked in each if index in checked]
        failed = [check for check in checks if check.state == "fail"]
        alone = [check for check in failed if not check.predicted]
        passed = [check for check in checks if check.state == "pass"]
        if alone or (failed and len(failed) == len(checks)):
            found[index] = (alone or failed)[0]
        elif failed:
            found[index] = Check("unknown", failed[0].why)
        elif checks:
            found[index] = (passed or checks)[0]
    return found


def check_reference(frames: Sequence[Evidence], reference: Reference) -> dict[int, Check]:
    """Each picture looks as its LED should, by one reference."""
    lit = [frame for frame in frames if frame.kind != "dark"]
    base = darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    known = {led: place for place, led in enumerate(reference.leds)}
    found = {
        frame.index: Check("unknown", f"LED {frame.led} is not in {reference.source}")
        for frame in lit
        if frame.led not in known
    }
    lit = [frame for frame in lit if frame.led in known]
    if not lit:
        return found
    pictures = light_of(np.stack([frame.thumbnail for frame in lit]), base)
    places = np.array([known[frame.led] for frame in lit])
    if reference.recorded and reference.pictures.shape[1] == pictures.shape[1]:
        residual, scale = resemblance(reference.pictures, pictures)
        own = residual[places, np.arange(len(lit))]
        seen = own[np.isfinite(own)]
        if seen.size and np.median(seen) < SAME_SCENE:
            return found | _same_scene(lit, places, pictures, residual, scale, reference)
    return found | _other_scene(lit, places, pictures, reference)


def _same_scene(
    lit: Sequence[Evidence],
    places: NDArray[np.int64],
    pictures: NDArray[np.float64],
    residual: NDArray[np.float64],
    scale: NDArray[np.float64],
    reference: Reference,
) -> dict[int, Check]:
    found = {}
    columns = np.arange(len(lit))
    power = scale[places, columns]
    power = power / np.nanmedian(power)
    # What noise alone adds to the square of a residual, of either picture.
    energy = np.maximum(np.nansum(pictures**2, axis=1), 1e-12)
    noise = 2 * pictures.shape[1] * CELL_NOISE**2 / energy
    square = residual**2
    own = np.sqrt(np.maximum(square[places, columns] - noise, 0.0))
    strays = stray_light(
        pictures, reference.pictures[places], reference.pictures, [int(place) for place in places]
    )
    for n, frame in enumerate(lit):
        if not np.isfinite(own[n]):
            found[frame.index] = Check("unknown", "too much of it is clipped to compare it")
            continue
        best, stray = int(np.nanargmin(residual[:, n])), strays[n]
        if best != places[n] and residual[best, n] < 0.5 * own[n]:
            why = f"it is the picture of LED {reference.leds[best]} in {reference.source}"
            found[frame.index] = Check("fail", why)
        elif own[n] > SAME_PICTURE:
            why = f"it differs by {100 * own[n]:.0f} % from LED {frame.led} in {reference.source}"
            found[frame.index] = Check("fail", f"{why}: another LED shone as well")
        elif stray.certain:
            why = f"it holds {100 * stray.share:.1f} % of another LED's light, by its looks LED"
            which = f"{reference.leds[stray.candidate]} of {reference.source}"
            found[frame.index] = Check("fail", f"{why} {which}")
        elif not 1 / SAME_POWER < power[n] < SAME_POWER:
            why = f"it is {power[n]:.2f} times as bright as in {reference.source}"
            found[frame.index] = Check("fail", f"{why}: a dim LED, or two at once")
        elif best != places[n] and square[places[n], n] - square[best, n] > noise[n]:
            why = f"LEDs {frame.led} and {reference.leds[best]} look too much alike to tell"
            found[frame.index] = Check("unknown", why)
        else:
            what = f"like LED {frame.led} in {reference.source} to {100 * own[n]:.1f} %"
            if np.isfinite(stray.bound):
                what += f", less than {100 * stray.bound:.1f} % of another LED"
            found[frame.index] = Check("pass", what)
    return found


def compressed(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourth root of the light, clipped cells filled: highlights of metal no longer rule.

    On rendered chromium, aluminium and copper this raised the share of LEDs that are nearest to
    their own prediction from 0.1 to 0.6 up to 0.85 to 1.
    """
    filled = np.where(np.isfinite(pictures), pictures, CLIPPED_ABOVE)
    return np.asarray(np.maximum(filled, 1e-4) ** 0.25)


def transfer_weights(pictures: NDArray[np.float64], ridge: float = 3e-3) -> NDArray[np.float64]:
    """(N, N) weights, zero diagonal, that make each picture out of the others.

    Ridge regression; `ridge` is relative to the mean energy of a picture.
    """
    gram = pictures @ pictures.T
    gram += ridge * float(np.mean(np.diag(gram))) * np.eye(len(gram))
    # Leave-one-out by the inverse of the whole: w_jk = -G⁻¹_jk / G⁻¹_jj (Sundararajan 2001).
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)[:, None]
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _other_scene(
    lit: Sequence[Evidence],
    places: NDArray[np.int64],
    pictures: NDArray[np.float64],
    reference: Reference,
) -> dict[int, Check]:
    """Predict each picture from the others of its own scene; it must fit its own prediction."""
    first: dict[int, int] = {}
    for n, place in enumerate(places):
        first.setdefault(int(place), n)
    rows = list(first.values())
    if len(rows) < 6:
        why = f"too few LEDs to compare another scene with {reference.source}"
        return {frame.index: Check("unknown", why) for frame in lit}
    shown = compressed(pictures)
    known = reference.pictures[list(first)]
    weights = transfer_weights(compressed(known) if reference.recorded else known)
    predicted = weights @ shown[rows]
    residual, scale = resemblance(predicted, shown)
    found = {}
    row_of = {place: row for row, place in enumerate(first)}
    own = np.array([residual[row_of[int(place)], n] for n, place in enumerate(places)])
    typical = float(np.median(own))
    pair = _pair_misfit(residual, own, [row_of[int(place)] for place in places])
    for n, frame in enumerate(lit):
        row = row_of[int(places[n])]
        best = int(np.argmin(residual[:, n]))
        others = np.delete(residual[:, n], row)
        what = f"{100 * own[n]:.0f} % from what {reference.source} predicts for LED {frame.led}"
        bright = scale[row, n] ** 4
        if best != row and residual[best, n] < 0.5 * own[n] and own[n] > 2 * typical:
            led = reference.leds[list(first)[best]]
            found[frame.index] = Check("fail", f"{what}, closer to LED {led}", predicted=True)
        elif pair[n] > PAIR_MARGIN:
            found[frame.index] = Check("unknown", f"{what}: its neighbours look too much alike")
        elif typical > 0.15 or (
            own[n] > max(2.5 * typical, PREDICTED_PICTURE)
            and own[n] > PREDICTED_MARGIN * float(np.min(others))
        ):
            found[frame.index] = Check("unknown", f"{what}: not enough to tell")
        elif not 1 / PREDICTED_POWER < bright < PREDICTED_POWER:
            found[frame.index] = Check("unknown", f"{what}, but {bright:.2f} times as bright")
        else:
            found[frame.index] = Check("pass", what)
    return found


def _pair_misfit(
    residual: NDArray[np.float64], own: NDArray[np.float64], rows: Sequence[int]
) -> NDArray[np.float64]:
    """(n,) misfit of each picture and any other as told, over that of the two swapped; the worst.

    Two pictures carry twice the evidence of one: what makes one prediction err makes its
    neighbour's err alike, and cancels.
    """
    told = own[:, None] ** 2 + own[None] ** 2
    cross = residual[rows] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(told / (cross + cross.T))
    same = np.equal.outer(np.asarray(rows), np.asarray(rows))
    return np.asarray(np.where(same, 0.0, ratio).max(axis=1))
