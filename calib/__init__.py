"""Pictures of known objects in, a camera and lights with covariance out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calib.camera import Camera
    from calib.certificate import Calibration
    from calib.errors import CalibrationError
    from calib.from_pictures import calibrate_lights
    from calib.light_files import read_lights, write_lights
    from calib.lights import Lights

__all__ = [
    "Calibration",
    "CalibrationError",
    "Camera",
    "Lights",
    "calibrate_lights",
    "read_lights",
    "write_lights",
]

# Loaded when asked for: importing this package costs nothing.
_HOME = {
    "Calibration": "calib.certificate",
    "CalibrationError": "calib.errors",
    "Camera": "calib.camera",
    "Lights": "calib.lights",
    "calibrate_lights": "calib.from_pictures",
    "read_lights": "calib.light_files",
    "write_lights": "calib.light_files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'calib' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
