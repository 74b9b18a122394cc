"""A plan and two devices in, a recording out: frames and the proof of what lit them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capture.camera.address import open_camera
    from capture.camera.base import CameraSettings
    from capture.errors import CaptureError, DataError, DeviceError, PlanError
    from capture.exchange.decoding import Decoding
    from capture.journal import Entry
    from capture.leds.board import open_board
    from capture.picture_list import PictureList
    from capture.plan import Plan
    from capture.reading import Recording
    from capture.rig import BoardAddress, OpenRig, open_rig

__all__ = [
    "BoardAddress",
    "CameraSettings",
    "CaptureError",
    "DataError",
    "Decoding",
    "DeviceError",
    "Entry",
    "OpenRig",
    "PictureList",
    "Plan",
    "PlanError",
    "Recording",
    "open_board",
    "open_camera",
    "open_rig",
]

# Loaded when asked for: importing this package costs nothing.
_HOME = {
    "BoardAddress": "capture.rig",
    "CameraSettings": "capture.camera.base",
    "CaptureError": "capture.errors",
    "DataError": "capture.errors",
    "Decoding": "capture.exchange.decoding",
    "DeviceError": "capture.errors",
    "Entry": "capture.journal",
    "OpenRig": "capture.rig",
    "PictureList": "capture.picture_list",
    "Plan": "capture.plan",
    "PlanError": "capture.errors",
    "Recording": "capture.reading",
    "open_board": "capture.leds.board",
    "open_camera": "capture.camera.address",
    "open_rig": "capture.rig",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'capture' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
