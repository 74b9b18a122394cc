"""Where to put the ball next, by what would tell most about the lights known worst."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.certificate import Calibration
from calib.reflection import highlights

Array = NDArray[np.float64]

GRID = 7


def poorly_fixed(calibration: Calibration, limit_mm: float) -> list[tuple[int, float]]:
    """LEDs whose position is less certain than `limit_mm` (one sigma), the worst first."""
    sigma = calibration.position_sigma_mm
    order = np.argsort(sigma)[::-1]
    return [(int(calibration.lights.ids[k]), float(sigma[k])) for k in order if sigma[k] > limit_mm]


def ball_places(camera: Camera, radius_mm: float) -> Array:
    """(k, 3) centres of a ball lying on the stage, all over the picture."""
    corners = np.array(
        [
            [0, 0],
            [camera.width - 1, 0],
            [0, camera.height - 1],
            [camera.width - 1, camera.height - 1],
        ],
        dtype=np.float64,
    )
    ground = camera.points_at_height(radius_mm, corners)
    low = ground[:, :2].min(axis=0) + 1.3 * radius_mm
    high = ground[:, :2].max(axis=0) - 1.3 * radius_mm
    x, y = np.meshgrid(np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, radius_mm)], axis=1)


def next_place(calibration: Calibration) -> tuple[Array, float]:
    """Where a further pose would help most.

    Maximises the summed log determinant of the lights' information (D-optimal design).

    Returns
    -------
    (3,) centre of the ball, mm; and the median one-sigma position error then expected, mm
    """
    camera, radius = calibration.camera, calibration.radius_mm
    covariance = calibration.lights.position_covariance()
    if camera is None or covariance is None:
        raise ValueError("the calibration keeps neither camera nor covariance")
    position = calibration.lights.position_mm
    best, best_gain = np.zeros(3), -np.inf
    best_sigma = float(np.median(calibration.position_sigma_mm))
    for place in ball_places(camera, radius):
        _, by_light, _ = highlights(camera, position, np.tile(place, (len(position), 1)), radius)
        noise = np.eye(2) * calibration.sigma_px**2
        spread = by_light @ covariance @ by_light.transpose(0, 2, 1) + noise
        gain = float(np.sum(np.log(np.linalg.det(spread))))
        if gain > best_gain:
            gainful = covariance @ by_light.transpose(0, 2, 1) @ np.linalg.inv(spread)
            after = covariance - gainful @ by_light @ covariance
            best, best_gain = place, gain
            best_sigma = float(np.median(np.sqrt(np.trace(after, axis1=1, axis2=2))))
    return best, best_sigma
