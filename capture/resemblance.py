"""Does a picture look as its LED should? Compared with an earlier recording or a calibration.

Pictures are compared as thumbnails, and in two ways. Of the same scene, picture j must resemble
reference j more than any other. Of another scene, each picture is predicted from the others
(`capture.prediction`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.evidence import (
    CELL_NOISE,
    CLIPPED_ABOVE,
    GRID,
    Check,
    Evidence,
    Reference,
    darkest,
)
from capture.prediction import CELL_SIGMA, check_prediction
from capture.stray_light import stray_light

SAME_SCENE = 0.08  # median relative residual below which two recordings show the same scene
SAME_PICTURE = 0.15  # largest relative residual of the same picture
SAME_POWER = 1.35  # largest ratio of one LED's brightness to that of the others, by the reference


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
    return found | check_prediction(lit, places, pictures, reference)


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
        elif best != places[n] and not _same(reference.pictures[[places[n], best]]):
            why = f"LEDs {frame.led} and {reference.leds[best]} look too much alike to tell"
            found[frame.index] = Check("unknown", why)
        else:
            what = f"like LED {frame.led} in {reference.source} to {100 * own[n]:.1f} %"
            if np.isfinite(stray.bound):
                what += f", less than {100 * stray.bound:.1f} % of another LED"
            found[frame.index] = Check("pass", what)
    return found


def _same(two: NDArray[np.float64]) -> bool:
    """Two LEDs whose pictures differ by less than the noise of a cell."""
    return bool(np.sqrt(np.nanmean((two[0] - two[1]) ** 2)) < CELL_SIGMA)
