"""Path-traced captures beside the repository, with true lights and axes and powers by the plate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.light_files import read_powers
from calib.lights import Lights
from calib.photometric import calibrate_plate
from reconstruct.dpps.captured import Captured, read_captured
from reconstruct.flat_field import vignetting_field

CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"


def captured(name: str) -> tuple[Captured, Lights, NDArray[np.float32] | None]:
    """A capture, its lights, and the flat field if it is not even."""
    capture = read_captured(CAPTURES / name)
    powers = read_powers(CAPTURES / name / "power.csv", len(capture.lights))
    plate = calibrate_plate(
        CAPTURES / "white", replace(capture.lights, power=powers), capture.camera, reflectance=0.8
    )
    flat = vignetting_field(capture.camera, plate.vignetting, len(capture.lights))
    lights = plate.lights
    if not (CAPTURES / name / "exposure.json").exists():  # the plate's was another exposure
        lights = replace(lights, intensity=None)
    return capture, lights, flat
