"""What pictures of a white plate add: the LEDs' axes and powers, and the lens's vignetting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights

FLAT_CELLS = 24
PLATE_REFLECTANCE = 0.8


def with_plate(
    lights: Lights, camera: Camera, folder: Path, reflectance: float = PLATE_REFLECTANCE
) -> tuple[Lights, NDArray[np.float32] | None, dict[str, Any]]:
    """The lights with axes and powers from pictures of a white plate at z = 0.

    Returns
    -------
    lights, flat field of the lens for `reconstruct.methods.Options.flat`, and provenance

    Raises
    ------
    CalibrationError
        the pictures are no plate's, or those of other lights
    """
    from calib.photometric import calibrate_plate  # loads the optimisers

    found = calibrate_plate(folder, lights, camera, reflectance=reflectance)
    return (
        replace(found.lights, covariance=lights.covariance),
        vignetting_field(camera, found.vignetting, len(lights)),
        {
            "plate": folder.name,
            "vignetting": found.vignetting.tolist(),
            "plate_residual": float(np.median(found.residual)),
        },
    )


def vignetting_field(
    camera: Camera, vignetting: NDArray[np.float64], count: int
) -> NDArray[np.float32] | None:
    """(g, g, N) factors ``exp(v1 q + v2 q²)`` as a small picture; None if they are 1 anyway."""
    y, x = np.mgrid[0:FLAT_CELLS, 0:FLAT_CELLS] + 0.5
    columns = x / FLAT_CELLS * camera.width - 0.5
    rows = y / FLAT_CELLS * camera.height - 0.5
    cx, cy = camera.K[0, 2], camera.K[1, 2]
    farthest = max(
        (c - cx) ** 2 + (r - cy) ** 2 for c in (0, camera.width - 1) for r in (0, camera.height - 1)
    )
    q = ((columns - cx) ** 2 + (rows - cy) ** 2) / farthest
    factor = np.exp(vignetting[0] * q + vignetting[1] * q * q)
    if np.abs(factor - 1).max() < 1e-3:
        return None
    return np.repeat(factor[..., None], count, axis=-1).astype(np.float32)
