"""The rig behind the published DPPS data set, as far as it is known.

Its LEDs lie on five rings, 285 to 371 mm from the middle of the field; where each one is comes from
estimates that are good to some 25 mm. The camera looks straight down from about 375 mm. Powers
and axes are not known: the LEDs are taken to be alike and to point at the middle of the field.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from importlib.resources import files

import numpy as np

from calib.camera import Camera
from calib.lights import Lights

LIGHTS = 96
POSITION_SIGMA_MM = 25.0
AXIS_SIGMA = 0.1
CAMERA_MM = 375.0  # above the middle of the field


def published_lights() -> Lights:
    """The 96 LEDs in the order of the published pictures, each known to `POSITION_SIGMA_MM`."""
    text = files("calib").joinpath("published_rig.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    place = np.array([[float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")] for row in rows])
    ids = np.array([int(row["led"]) for row in rows])
    lights = Lights.at(place, lobe=1.0, ids=ids)
    variance = np.diag([POSITION_SIGMA_MM**2] * 3 + [AXIS_SIGMA**2] * 3)
    return replace(
        lights,
        covariance=np.repeat(variance[None], len(rows), axis=0),
        provenance={"method": "published rig", "position_sigma_mm": POSITION_SIGMA_MM},
    )


def published_camera(shape: tuple[int, int], field_mm: float = 100.0) -> Camera:
    """The camera of the published pictures.

    Parameters
    ----------
    shape : (H, W) of the pictures, 128 × 128 in the data set
    field_mm : width of the field that a picture shows
    """
    height, width = shape
    focal = CAMERA_MM * width / field_mm
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return Camera(width, height, K, t=np.array([0.0, 0.0, CAMERA_MM]))
