"""Powers, axes, lobe and vignetting from a white plate, the positions being known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.adjustment import (
    Adjustment,
    Highlights,
    Prior,
    Unknowns,
    led_covariance,
    with_texture,
)
from calib.camera import Camera
from calib.errors import CalibrationError, RequestError
from calib.lights import Lights
from calib.pictures import PictureSet, read_camera
from calib.plate import PlateData, measure_plate

Array = NDArray[np.float64]

FIXED_SIGMA_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Photometry:
    """What a white plate tells.

    Attributes
    ----------
    lights : with power (mean 1), axis, lobe and, where the plate's reflectance and the exposure
        are known, intensity
    vignetting : (2,) of ``log V = v1 q + v2 q²``, q the squared distance from the principal point,
        1 at the farthest corner of the picture
    power_sigma : (N,) relative standard errors
    residual : (N,) RMS of the relative residuals of each LED
    dark_ids : LEDs that light nothing
    """

    lights: Lights
    vignetting: Array
    power_sigma: Array
    residual: Array
    dark_ids: tuple[int, ...]


def no_highlights() -> Highlights:
    none = np.zeros(0, dtype=np.int64)
    return Highlights(none, none, np.zeros((0, 2)), np.zeros(0))


def rough_log_power(plate: PlateData, position_mm: Array) -> Array:
    """(N,) log powers of lights over the plate's middle; the mean's where a picture is dark."""
    finite = np.isfinite(plate.sigma)
    distance2 = np.sum(position_mm**2, axis=1)
    height = np.maximum(position_mm[:, 2], 1.0)
    logs = np.full(len(position_mm), np.nan)
    for k in np.flatnonzero(finite.any(axis=1)):
        logs[k] = np.mean(plate.log_radiance[k, finite[k]])
    if not np.isfinite(logs).any():
        raise CalibrationError("the white plate is dark in every picture")
    logs = logs + 1.5 * np.log(distance2) - np.log(height)
    return np.asarray(np.where(np.isfinite(logs), logs, np.nanmean(logs)))


def plate_rms(adjustment: Adjustment, state: Unknowns) -> Array:
    """(N,) RMS of the relative residuals on the plate, the common texture taken out."""
    plate = adjustment.plate
    assert plate is not None
    lit = np.isfinite(plate.sigma)
    error = np.where(lit, adjustment.plate_residuals(state), 0.0)
    error = np.where(lit, error - error.sum(axis=0) / np.maximum(lit.sum(axis=0), 1), 0.0)
    return np.asarray(np.sqrt((error**2).sum(axis=1) / np.maximum(lit.sum(axis=1), 1)))


def apply_photometry(
    lights: Lights, state: Unknowns, plate: PlateData, reflectance: float | None
) -> Lights:
    """The lights with the state's power, axis, lobe and, if it can be known, intensity."""
    lit = np.isfinite(plate.sigma).any(axis=1)
    power = np.where(lit, np.exp(state.log_power), 0.0)
    mean = float(power[lit].mean())
    known = reflectance is not None and plate.exposure_known
    return replace(
        lights,
        power=power / mean,
        axis=state.axis,
        lobe=np.full(len(power), state.lobe),
        intensity=mean * np.pi / reflectance if known and reflectance else None,
    )


def fit_photometry(
    plate: PlateData,
    positions: Lights,
    camera: Camera,
    *,
    reflectance: float | None = None,
    axis_sigma: float = 0.2,
    position_sigma_mm: float = FIXED_SIGMA_MM,
) -> Photometry:
    """Fit power and axis of each LED, one lobe exponent and the vignetting to a white plate.

    Parameters
    ----------
    positions : where the LEDs are, with the ids of the plate's pictures
    reflectance : of the plate; with it and a known exposure the intensity becomes absolute
    axis_sigma : how far LEDs may point off the positions' axes, rad (prior)
    position_sigma_mm : how far positions may move; by default they are as good as fixed

    Raises
    ------
    CalibrationError : if pictures and positions do not belong together
    RequestError : if the reflectance is none
    """
    if reflectance is not None and not 0 < reflectance <= 1:
        raise RequestError(f"a plate's reflectance lies in 0..1, not {reflectance}")
    where = {int(k): place for place, k in enumerate(positions.ids)}
    missing = [int(k) for k in plate.ids if int(k) not in where]
    if missing:
        raise CalibrationError(f"there is no position for LED {missing[0]} of the white plate")
    lights = positions.select(np.array([where[int(k)] for k in plate.ids]))
    count = len(lights)
    rough = rough_log_power(plate, lights.position_mm)
    nothing = np.zeros((0, 3))
    adjustment = Adjustment(
        camera=camera,
        radius_mm=1.0,
        highlights=no_highlights(),
        centres_mm=nothing,
        centre_information=np.zeros((0, 0)),
        axis=lights.axis,
        log_power=rough,
        plate=plate,
        nominal=Prior(lights.position_mm, np.tile(np.eye(3) / position_sigma_mm**2, (count, 1, 1))),
        axis_sigma=axis_sigma,
    )
    start = Unknowns(lights.position_mm, lights.axis, rough, 1.0, np.zeros(2), nothing)
    solution = adjustment.solve(start)
    adjustment = with_texture(adjustment, solution.state)
    solution = adjustment.solve(solution.state)
    covariance, _, power_sigma = led_covariance(adjustment, solution)
    state = solution.state
    lights = replace(
        apply_photometry(lights, state, plate, reflectance),
        position_mm=state.position_mm if position_sigma_mm > FIXED_SIGMA_MM else lights.position_mm,
        covariance=covariance if positions.covariance is None else lights.covariance,
        power_sigma=power_sigma,
    )
    lit = np.isfinite(plate.sigma).any(axis=1)
    return Photometry(
        lights=lights,
        vignetting=state.vignetting,
        power_sigma=power_sigma,
        residual=plate_rms(adjustment, state),
        dark_ids=tuple(int(k) for k in plate.ids[~lit]),
    )


def calibrate_plate(
    folder: Path,
    positions: Lights,
    camera: Camera | None = None,
    *,
    reflectance: float | None = None,
    height_mm: float = 0.0,
    **options: Any,
) -> Photometry:
    """`fit_photometry` on the pictures of a folder (an exchange folder of a matt plate)."""
    pictures = PictureSet.open(folder)
    camera = camera or read_camera(folder)
    if camera is None:
        raise CalibrationError(f"{folder} has no camera.json; calibrate the camera first")
    if len(pictures) == len(positions):
        ids = tuple(int(k) for k in positions.ids)
        pictures = replace(pictures, ids=ids)
    plate = measure_plate(pictures, camera, height_mm=height_mm)
    result = fit_photometry(plate, positions, camera, reflectance=reflectance, **options)
    result.lights.provenance["photometry"] = {
        "plate": folder.name,
        "reflectance": reflectance,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "vignetting": result.vignetting.tolist(),
    }
    return result
