"""A quick set of pictures against the calibration: what has changed at the rig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plate import PlateData, log_pattern
from calib.reflection import highlights
from calib.views import SphereView

Array = NDArray[np.float64]

Kind = Literal["dead", "dim", "bright", "swapped", "moved", "camera", "stage", "linearity"]

DIM = 0.05
PATTERN_LIMIT = 0.004
"""RMS by which the plate's pattern may differ from the calibrated one."""
SHIFT_LIMIT_PX = 0.35
MOVED_LIMIT_PX = 0.25
HEIGHT_LIMIT_MM = 1.0
CENTROID_PX = 0.1
LINEARITY_LIMIT = 0.01


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was calibrated; `leds` are ids, empty for the whole rig."""

    kind: Kind
    leds: tuple[int, ...]
    text: str


def check_plate(plate: PlateData, lights: Lights) -> list[Finding]:
    """Dead, dim, swapped and moved LEDs by their light on the white plate.

    Brightness is compared with the calibrated powers (their median change, the LEDs' age or
    another exposure, is taken out), the pattern with the one that the calibration predicts.
    """
    where = {int(k): i for i, k in enumerate(lights.ids)}
    rows = [i for i, k in enumerate(plate.ids) if int(k) in where]
    ids = [int(plate.ids[i]) for i in rows]
    known = lights.select(np.array([where[k] for k in ids]))
    measured, sigma = plate.log_radiance[rows], plate.sigma[rows]
    lit = np.isfinite(sigma)
    value, _, _, _ = log_pattern(plate.points_mm, known.position_mm, known.axis, known.lobe)
    q = plate.radius2
    vignetting = np.asarray(lights.provenance.get("vignetting") or (0.0, 0.0), dtype=np.float64)
    value = value + vignetting[0] * q + vignetting[1] * q * q
    findings: list[Finding] = []
    dead = ~(lit.mean(axis=1) > 0.2)
    level = np.array(
        [np.mean(m[ok]) if ok.any() else -np.inf for m, ok in zip(measured, lit, strict=True)]
    )
    if np.isfinite(level).any():
        dead |= level < np.median(level[np.isfinite(level)]) - np.log(20)
    for k in np.flatnonzero(dead):
        findings.append(Finding("dead", (ids[k],), f"LED {ids[k]} does not light the plate"))
    alive = np.flatnonzero(~dead)
    if not len(alive):
        return findings
    # The plate's texture is the same in every picture.
    own = np.where(lit, measured - value, np.nan)[alive]
    own = own - np.nanmean(own, axis=1, keepdims=True)
    if len(alive) >= 5:
        shared = lit[alive].any(axis=0)
        measured = measured.copy()
        measured[:, shared] -= np.nanmedian(own[:, shared], axis=0)
    # rms[i, j]: how badly picture i fits the pattern of LED j, brightness apart.
    weight = lit.astype(np.float64)
    rms = np.full((len(ids), len(ids)), np.inf)
    for i in alive:
        off = np.where(lit[i], measured[i] - value, 0.0)
        count = weight[i].sum()
        mean = off.sum(axis=1) / count
        rms[i] = np.sqrt(np.maximum((off**2).sum(axis=1) / count - mean**2, 0))
    # Noise is in every picture's misfit; more than that is not usual.
    median = float(np.median(np.diag(rms)[alive]))
    usual = min(median, PATTERN_LIMIT)
    wrong = [i for i in alive if rms[i, i] > max(3 * usual, usual + PATTERN_LIMIT)]
    misplaced = set()
    for i in wrong:
        j = int(np.argmin(rms[i]))
        if j != i and rms[i, j] < max(1.5 * usual, 0.35 * rms[i, i]):
            misplaced.add(int(i))
            back = int(np.argmin(rms[j])) if j in alive else -1
            if back == i and i < j:
                text = f"LEDs {ids[i]} and {ids[j]} are swapped"
                findings.append(Finding("swapped", (ids[i], ids[j]), text))
            elif back != i:
                text = f"the picture of LED {ids[i]} shows the light of LED {ids[j]}"
                findings.append(Finding("swapped", (ids[i], ids[j]), text))
        else:
            misplaced.add(int(i))
            text = (
                f"LED {ids[i]} lights the plate another way than calibrated "
                f"({100 * rms[i, i]:.1f} % RMS, others {100 * usual:.1f} %): it moved or turned"
            )
            findings.append(Finding("moved", (ids[i],), text))
    log_ratio = np.full(len(ids), np.nan)
    for i in alive:
        if i not in misplaced:
            ok = lit[i]
            expected = value[i, ok] + np.log(max(known.power[i], 1e-9))
            log_ratio[i] = np.mean(measured[i, ok] - expected)
    ratio = np.exp(log_ratio - np.nanmedian(log_ratio)) if np.isfinite(log_ratio).any() else None
    for i in alive:
        if ratio is None or not np.isfinite(ratio[i]):
            continue
        if ratio[i] < 1 - DIM:
            text = f"LED {ids[i]} is dim: {100 * ratio[i]:.0f} % of its calibrated power"
            findings.append(Finding("dim", (ids[i],), text))
        elif ratio[i] > 1 + DIM:
            text = f"LED {ids[i]} is bright: {100 * ratio[i]:.0f} % of its calibrated power"
            findings.append(Finding("bright", (ids[i],), text))
    if median > 3 * PATTERN_LIMIT:
        text = (
            f"most LEDs light the plate another way than calibrated ({100 * median:.1f} % RMS): "
            "the plate, the stage, the camera or the dome is not where it was"
        )
        findings.append(Finding("stage", (), text))
    return findings


def check_ball(view: SphereView, lights: Lights, camera: Camera, radius_mm: float) -> list[Finding]:
    """Dead, swapped and moved LEDs and a shifted camera or stage by one place of a mirror ball."""
    findings: list[Finding] = []
    sphere = view.sphere
    height = float(sphere.centre_mm[2]) - radius_mm
    limit = max(HEIGHT_LIMIT_MM, 4 * float(np.sqrt(sphere.covariance[2, 2])))
    if abs(height) > limit:
        way = "nearer to" if height > 0 else "farther from"
        text = (
            f"the ball lies {abs(height):.1f} mm {way} the camera than the stage: the camera or "
            "the stage has moved in height, or the ball does not lie on the stage"
        )
        findings.append(Finding("stage", (), text))
    centre = np.tile(sphere.centre_mm, (len(lights), 1))
    predicted, by_light, _ = highlights(camera, lights.position_mm, centre, radius_mm)
    ids = [int(k) for k in lights.ids]
    flux = np.array([view.blobs[k][0].flux if view.blobs.get(k) else 0.0 for k in ids])
    shown = flux > 0
    typical = float(np.median(flux[shown])) if shown.any() else 0.0
    shown &= flux > 0.04 * typical
    for k in np.flatnonzero(~shown):
        if ids[k] in view.blobs:
            findings.append(Finding("dead", (ids[k],), f"LED {ids[k]} does not show in the ball"))
    index = np.flatnonzero(shown)
    if len(index) < 3:
        return findings
    measured = np.array([(view.blobs[ids[k]][0].x, view.blobs[ids[k]][0].y) for k in index])
    off = measured - predicted[index]
    common = np.median(off, axis=0)
    noise = _expected_px(lights, by_light)
    length = float(np.linalg.norm(common))
    if length > SHIFT_LIMIT_PX:
        millimetres = length * camera.pixel_mm(radius_mm)
        text = (
            f"all highlights are off by {common[0]:+.2f}, {common[1]:+.2f} px "
            f"({millimetres:.2f} mm): the camera or the stage has shifted or tilted"
        )
        findings.append(Finding("camera", (), text))
    rest = np.linalg.norm(off - common, axis=1)
    median = float(np.median(rest)) / 1.1774
    expected = float(np.hypot(np.median(noise), _centroid_px(lights)))
    if median > 3 * expected:
        text = (
            f"the highlights of most LEDs are off by some {median:.1f} px, {expected:.1f} px were "
            "expected: the dome is not as it was, or the ball has another diameter"
        )
        findings.append(Finding("stage", (), text))
    usual = min(median, 2 * expected)
    done: set[int] = set()
    for place, k in enumerate(index):
        gate = max(MOVED_LIMIT_PX, 5 * float(np.hypot(noise[k], usual)))
        if rest[place] <= gate or ids[k] in done:
            continue
        distance = np.linalg.norm(measured[place] - common - predicted, axis=1)
        other = int(np.argmin(distance))
        if other != k and distance[other] < min(gate, 0.3 * rest[place]):
            done |= {ids[k]}
            twin = np.flatnonzero(index == other)
            mutual = len(twin) and (
                np.linalg.norm(measured[twin[0]] - common - predicted[k]) < gate
            )
            if mutual:
                done |= {ids[other]}
                text = f"LEDs {ids[k]} and {ids[other]} are swapped"
            else:
                text = f"the picture of LED {ids[k]} shows the light of LED {ids[other]}"
            findings.append(Finding("swapped", (ids[k], ids[other]), text))
            continue
        gain = float(np.linalg.norm(by_light[k], ord=2))
        text = (
            f"LED {ids[k]} has moved by some {rest[place] / gain:.1f} mm: its highlight is off by "
            f"{rest[place]:.1f} px"
        )
        findings.append(Finding("moved", (ids[k],), text))
    return findings


def _centroid_px(lights: Lights) -> float:
    """Standard error of a highlight's place as the calibration found it, at least 0.05 px."""
    known = lights.provenance.get("sigma_px")
    return max(0.05, float(known)) if isinstance(known, int | float) else CENTROID_PX


def _expected_px(lights: Lights, by_light: Array) -> Array:
    """(N,) how far highlights may be off for the calibration's own uncertainty, px."""
    if lights.covariance is None:
        return np.full(len(lights), 0.2)
    own = lights.covariance[:, :3, :3]
    spread = by_light @ own @ by_light.transpose(0, 2, 1)
    return np.asarray(np.sqrt(np.trace(spread, axis1=1, axis2=2) / 2))


def check_linearity(
    exposures: Sequence[float], signals: Sequence[float], errors: Sequence[float]
) -> tuple[list[Finding], float]:
    """Whether a camera's signal (black level removed) is proportional to the exposure.

    Returns
    -------
    findings, and the largest relative deviation from proportionality
    """
    t = np.asarray(exposures, dtype=np.float64)
    y = np.asarray(signals, dtype=np.float64)
    relative = np.maximum(np.asarray(errors, dtype=np.float64) / np.maximum(y, 1e-12), 1e-4)
    rate = np.log(np.maximum(y, 1e-12) / t)
    weight = 1 / relative**2
    middle = float(np.sum(weight * rate) / np.sum(weight))
    deviation = np.exp(rate - middle) - 1
    worst = int(np.argmax(np.abs(deviation)))
    beyond = abs(deviation[worst]) > max(LINEARITY_LIMIT, 4 * float(relative[worst]))
    found = []
    if beyond:
        text = (
            f"the camera is not linear: at exposure {t[worst]:g} its signal is off by "
            f"{100 * deviation[worst]:+.1f} % (is gamma off, and the picture not clipped?)"
        )
        found.append(Finding("linearity", (), text))
    return found, float(np.abs(deviation).max())
