"""Lights from views of a mirror sphere, with a white plate or a nominal layout where given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from calib.adjustment import (
    Adjustment,
    Highlights,
    Prior,
    Unknowns,
    led_covariance,
    with_phase,
    with_texture,
)
from calib.camera import Camera
from calib.certificate import OUTLIER, Calibration, certificate, whitened
from calib.errors import CalibrationError
from calib.foreign import at_infinity
from calib.least_squares import Solution
from calib.lights import Lights
from calib.photometric import rough_log_power
from calib.plate import PlateData
from calib.triangulate import Track, strangest_view, track_light
from calib.views import SphereView, directions_from

Array = NDArray[np.float64]

NOMINAL_SIGMA_MM = 5.0
WELL_PX = 0.2
"""Possible widening of an outline up to which it tells more of the distance than a plate does."""
# A ball that lies on the stage: how far its outlines may put it from there, and how far it may be.
ON_STAGE_MM, STAGE_SIGMA_MM = 0.4, 0.07


def _gather(tracks: Sequence[Track], index: dict[int, int]) -> Highlights:
    light, sphere, pixels, sigma = [], [], [], []
    for track in tracks:
        if track.led not in index:
            continue
        for place, blob in track.blobs.items():
            light.append(index[track.led])
            sphere.append(place)
            pixels.append((blob.x, blob.y))
            sigma.append(blob.sigma)
    return Highlights(
        np.array(light, dtype=np.int64),
        np.array(sphere, dtype=np.int64),
        np.array(pixels, dtype=np.float64).reshape(-1, 2),
        np.array(sigma, dtype=np.float64),
    )


def _scale(adjustment: Adjustment, state: Unknowns) -> float:
    """How much larger the highlight residuals are than their sigmas, robustly.

    Two per highlight, less three unknowns per light and two per sphere, whose share is taken out
    by the degrees of freedom.
    """
    error, _, _ = adjustment.highlight_residuals(state)
    seen = adjustment.highlights
    count = np.bincount(seen.light, minlength=len(state.position_mm))
    shared = len(state.centres_mm) / max(len(seen), 1)
    free = np.maximum(1 - 1.5 / np.maximum(count[seen.light], 1) - shared, 0.05)
    enough = count[seen.light] >= 3
    if np.count_nonzero(enough) < 12:
        enough = count[seen.light] >= 2
    if np.count_nonzero(enough) < 6:
        return 1.0
    squared = np.sum(error[enough] ** 2, axis=1) / free[enough]
    keep = squared < OUTLIER**2 * np.median(squared)
    # Mean over the core of two squared normal coordinates is 2.
    return float(np.sqrt(max(np.mean(squared[keep]) / 2, 1e-4)))


def solve_lights(
    views: Sequence[SphereView],
    camera: Camera,
    radius_mm: float,
    ids: Sequence[int] | None = None,
    *,
    plate: PlateData | None = None,
    reflectance: float | None = None,
    nominal: Lights | None = None,
    nominal_sigma_mm: float = NOMINAL_SIGMA_MM,
    held_out: bool = True,
) -> Calibration:
    """Solve all light positions and sphere centres together.

    Parameters
    ----------
    views : measured spheres, two or more
    ids : LEDs that ought to be there; by default those of the pictures
    plate : white plate of the same LEDs, solved in the same problem
    reflectance : of the plate, for absolute intensity
    nominal : drawing of the dome, known to about `nominal_sigma_mm`; it also lets LEDs be solved
        that show in one view only
    held_out : also predict each pose from the others

    Raises
    ------
    CalibrationError : if no light can be solved
    """
    if len(views) < (1 if nominal is not None else 2):
        raise CalibrationError(
            f"one place of the ball fixes directions, not positions: give two or more, better "
            f"six (got {len(views)})"
        )
    wanted = list(ids) if ids is not None else sorted({k for view in views for k in view.blobs})
    views, tracks, left_out = _tracked(views, camera, radius_mm, wanted)
    layout = (
        {}
        if nominal is None
        else {int(k): nominal.position_mm[i] for i, k in enumerate(nominal.ids)}
    )
    missing: dict[int, str] = {}
    start: dict[int, Array] = {}
    for led, track in tracks.items():
        if track.position_mm is not None:
            start[led] = track.position_mm
        elif led in layout and track.seen >= 1:
            start[led] = layout[led]
        elif track.seen == 0:
            missing[led] = "no highlight in any pose"
        elif track.seen == 1:
            missing[led] = "a highlight in one pose only"
        else:
            missing[led] = f"highlights in {track.seen} poses that do not meet in a point"
    if not start:
        raise CalibrationError(
            "no light is seen in two places of the ball: are these pictures of a mirror ball, one "
            "light each, and is the diameter right?"
        )
    while True:
        solved = list(start)
        index = {led: i for i, led in enumerate(solved)}
        seen = _gather([tracks[led] for led in solved], index)
        adjustment = _pose_problem(
            views, camera, radius_mm, solved, start, seen, plate, layout, nominal_sigma_mm
        )
        solution, adjustment = _solve(adjustment, _start(adjustment, start, solved, views))
        state = solution.state
        bad = _inconsistent(adjustment, state, solved, layout) or _undetermined(
            adjustment, solution, solved, len(views)
        )
        if not bad:
            break
        for led, reason in bad.items():
            missing[led] = reason
            del start[led]
        if not start:
            raise CalibrationError("no light is seen in the same place from two poses")
    result = certificate(
        solution, adjustment, solved, views, missing, reflectance, held_out, radius_mm
    )
    return replace(result, left_out=left_out)


def _undetermined(
    adjustment: Adjustment, solution: Solution[Unknowns], solved: Sequence[int], places: int
) -> dict[int, str]:
    """Lights that may lie anywhere, as far as the pictures tell.

    Raises
    ------
    CalibrationError
        if those are most of them
    """
    state = solution.state
    covariance, *_ = led_covariance(adjustment, solution)
    sigma = np.sqrt(np.trace(covariance[:, :3, :3], axis1=1, axis2=2))
    away = np.linalg.norm(state.position_mm - state.centres_mm.mean(axis=0), axis=1)
    anywhere = np.flatnonzero(sigma > away)
    if len(anywhere) > len(solved) / 2:
        raise CalibrationError(
            f"the pictures do not tell where the lights are: {len(anywhere)} of {len(solved)} "
            "positions are uncertain by more than their distance from the ball (median "
            f"{np.median(sigma):.2g} mm at {np.median(away):.2g} mm) with {places} places of the "
            "ball; move the ball further between the places, better six, and give the camera "
            "(camera.json or --focal)"
        )
    return {
        solved[int(i)]: f"its position is not determined: {away[i]:.2g} ± {sigma[i]:.2g} mm away"
        for i in anywhere
    }


def _tracked(
    views: Sequence[SphereView], camera: Camera, radius_mm: float, wanted: Sequence[int]
) -> tuple[list[SphereView], dict[int, Track], tuple[str, ...]]:
    """Lights through the views that fit each other, and the names of the views that do not."""
    kept = list(views)
    left_out: list[str] = []
    while True:
        tracks = {led: track_light(led, kept, camera, radius_mm) for led in wanted}
        strange = strangest_view(list(tracks.values()), kept)
        if strange is None:
            return kept, tracks, tuple(left_out)
        left_out.append(kept.pop(strange).name)


def _pose_problem(
    views: Sequence[SphereView],
    camera: Camera,
    radius_mm: float,
    solved: Sequence[int],
    start: dict[int, Array],
    seen: Highlights,
    plate: PlateData | None,
    layout: dict[int, Array],
    nominal_sigma_mm: float,
) -> Adjustment:
    position = np.array([start[led] for led in solved])
    prior = None
    if layout:
        known = np.array([led in layout for led in solved])
        information = np.where(known[:, None, None], np.eye(3) / nominal_sigma_mm**2, 0.0)
        prior = Prior(np.array([layout.get(led, start[led]) for led in solved]), information)
    if plate is not None:
        plate = _of_leds(plate, solved)
    outlines = block_diag(*(view.sphere.covariance for view in views))
    widening = np.array([view.sphere.widening_mm for view in views])
    if plate is not None:
        # A plate tells how far the balls are, through differences of a few hundredths of a pixel
        # between highlights, which have other causes, too: outlines that look well are believed,
        # and highlights without a plate never are.
        widest = np.array([view.sphere.widening_px for view in views])
        doubt = np.sqrt(np.clip(1 - (WELL_PX / np.maximum(widest, WELL_PX)) ** 2, 0, 1))
        doubtful = (widening * doubt[:, None]).ravel()
        outlines = outlines + np.outer(doubtful, doubtful)
    centres, information = on_the_stage(
        np.array([view.sphere.centre_mm for view in views]), np.linalg.inv(outlines), radius_mm
    )
    axis = -position / np.linalg.norm(position, axis=1, keepdims=True)
    rough = np.zeros(len(solved)) if plate is None else rough_log_power(plate, position)
    return Adjustment(
        camera=camera,
        radius_mm=radius_mm,
        highlights=seen,
        centres_mm=centres,
        centre_information=information,
        widening_mm=widening if plate is None else None,
        axis=axis,
        log_power=rough,
        plate=plate,
        nominal=prior,
    )


def on_the_stage(centres_mm: Array, information: Array, radius_mm: float) -> tuple[Array, Array]:
    """Sphere centres (S, 3) and their information (3 S, 3 S), told that the ball lies on the stage.

    An outline tells the distance to the camera by its size: a hundredth of a pixel is 0.07 mm. All
    lights then lie too far out, or too near, by one scale. The stage is known better. A ball that
    none of its outlines puts farther than `ON_STAGE_MM` from it lies on it; another one stands on
    something.
    """
    off = radius_mm - centres_mm[:, 2]
    if np.abs(off).max(initial=0.0) > ON_STAGE_MM:
        return centres_mm, information
    count = len(off)
    # Half of the variance is of each place, half of all: paper under the ball, the stage's plane.
    lies = np.linalg.inv(STAGE_SIGMA_MM**2 / 2 * (np.eye(count) + np.ones((count, count))))
    height = np.arange(2, 3 * count, 3)
    told, pull = information.copy(), np.zeros(3 * count)
    told[np.ix_(height, height)] += lies
    pull[height] = lies @ off
    return centres_mm + np.linalg.solve(told, pull).reshape(-1, 3), told


def _of_leds(plate: PlateData, solved: Sequence[int]) -> PlateData:
    """The plate's pictures of these LEDs, empty ones for those it does not have."""
    where = {int(k): i for i, k in enumerate(plate.ids)}
    logs = np.zeros((len(solved), plate.log_radiance.shape[1]))
    sigma = np.full_like(logs, np.inf)
    for row, led in enumerate(solved):
        if led in where:
            logs[row] = plate.log_radiance[where[led]]
            sigma[row] = plate.sigma[where[led]]
    return replace(plate, ids=np.array(solved), log_radiance=logs, sigma=sigma)


def _start(
    adjustment: Adjustment,
    start: dict[int, Array],
    solved: Sequence[int],
    views: Sequence[SphereView],
) -> Unknowns:
    return Unknowns(
        np.array([start[led] for led in solved]),
        adjustment.axis,
        adjustment.log_power,
        adjustment.lobe,
        np.zeros(2),
        np.array([view.sphere.centre_mm for view in views]),
    )


def _solve(adjustment: Adjustment, state: Unknowns) -> tuple[Solution[Unknowns], Adjustment]:
    """Highlights first, with wide gates; then everything, with sigmas out of the residuals."""
    plate = adjustment.plate
    seen = adjustment.highlights
    wide = replace(seen, sigma=np.hypot(seen.sigma, 0.3))
    state = replace(adjustment, plate=None, highlights=wide).solve(state).state
    for _ in range(10):
        before = adjustment.phase
        adjustment = with_phase(adjustment, state)
        factor = _scale(adjustment, state)
        adjustment = replace(
            adjustment,
            highlights=replace(
                adjustment.highlights, sigma=np.maximum(adjustment.highlights.sigma * factor, 2e-3)
            ),
        )
        state = replace(adjustment, plate=None).solve(state).state
        if abs(factor - 1) < 0.03 and np.abs(adjustment.phase - before).max() < 1e-3:
            break
    if plate is not None:
        state = replace(state, log_power=rough_log_power(plate, state.position_mm))
        adjustment = with_texture(adjustment, adjustment.solve(state).state)
    return adjustment.solve(state), adjustment


def _inconsistent(
    adjustment: Adjustment, state: Unknowns, solved: Sequence[int], layout: dict[int, Array]
) -> dict[int, str]:
    good = whitened(adjustment, state) < OUTLIER
    seen = adjustment.highlights
    bad: dict[int, str] = {}
    for i, led in enumerate(solved):
        mine = seen.light == i
        count = int(np.count_nonzero(good & mine))
        if count < (1 if led in layout else 2):
            total = int(np.count_nonzero(mine))
            bad[led] = f"inconsistent: {count} of its {total} highlights agree with a position"
        elif not np.all(np.isfinite(state.position_mm[i])):
            bad[led] = "inconsistent: its position runs away"
    return bad


def solve_directions(
    view: SphereView, camera: Camera, radius_mm: float
) -> tuple[Lights, dict[int, str]]:
    """Directions of the lights from one place of the ball, as lights at infinity.

    Returns
    -------
    the lights, and what is wrong with those that are missing, by id
    """
    found = directions_from(view, camera, radius_mm)
    if not found:
        raise CalibrationError(f"{view.name}: no highlight of any light on the ball")
    ids = sorted(found)
    lights = at_infinity([found[led][1] for led in ids], ids=ids)
    missing = {led: "no highlight" for led in sorted(view.blobs) if led not in found}
    return lights, missing
