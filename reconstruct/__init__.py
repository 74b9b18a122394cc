"""A recording, a camera and lights in, a surface out.

>>> import reconstruct as rc
>>> surface = rc.reconstruct("captures/blob")  # doctest: +SKIP

Names are loaded when they are asked for: importing this costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from reconstruct.outdated import forget_outdated

if TYPE_CHECKING:
    from calib.camera import Camera
    from calib.lights import Lights
    from reconstruct import metrology
    from reconstruct.errors import ReconstructError, RequestError, Stopped
    from reconstruct.export.formats import export_surface
    from reconstruct.export.results import read_results, write_results
    from reconstruct.interface import Details, read_pictures, reconstruct
    from reconstruct.methods import Options, available
    from reconstruct.refine.config import RefineConfig
    from reconstruct.stack import Stack
    from reconstruct.surface import Flag, Residual, Surface

__all__ = [
    "Camera",
    "Details",
    "Flag",
    "Lights",
    "Options",
    "ReconstructError",
    "RefineConfig",
    "RequestError",
    "Residual",
    "Stack",
    "Stopped",
    "Surface",
    "available",
    "export_surface",
    "metrology",
    "read_pictures",
    "read_results",
    "reconstruct",
    "write_results",
]

_HOME = {
    "Camera": "calib.camera",
    "Details": "reconstruct.interface",
    "Flag": "reconstruct.surface",
    "Lights": "calib.lights",
    "Options": "reconstruct.methods",
    "ReconstructError": "reconstruct.errors",
    "RefineConfig": "reconstruct.refine.config",
    "RequestError": "reconstruct.errors",
    "Residual": "reconstruct.surface",
    "Stack": "reconstruct.stack",
    "Stopped": "reconstruct.errors",
    "Surface": "reconstruct.surface",
    "available": "reconstruct.methods",
    "export_surface": "reconstruct.export.formats",
    "read_pictures": "reconstruct.interface",
    "read_results": "reconstruct.export.results",
    "reconstruct": "reconstruct.interface",
    "write_results": "reconstruct.export.results",
}


def __getattr__(name: str) -> Any:
    if name == "metrology":
        return importlib.import_module("reconstruct.metrology")
    if name not in _HOME:
        raise AttributeError(f"module 'reconstruct' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


forget_outdated()
