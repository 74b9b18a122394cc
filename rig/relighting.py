"""``rig export A12 --out a12.rti``: a recording for viewers that move the light."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calib.camera import Camera
from capture.reading import Recording
from reconstruct.export.relighting import write_relighting
from reconstruct.stack import RecordedStack
from rig.exits import UsageError
from rig.reconstructing import Request, gather_lights
from rig.workspace import Workspace


def export_relighting(recording: Recording, out: Path, workspace: Path | None) -> Path:
    """Write ``.rti``, ``.ptm`` or ``.relight`` with the lights and the camera in force.

    Raises
    ------
    UsageError
        no lights are known for the recording
    """
    path = recording.camera_path
    if path is None and workspace is not None:
        beside = Workspace.at(workspace).calibration / "camera.json"
        path = beside if beside.is_file() else None
    # Only directions of lights count, and they hardly depend on the camera.
    camera = Camera.read(path) if path else Camera.straight_down(recording.shape)
    lights, _, _ = gather_lights(
        recording, Request(str(recording.folder), workspace=workspace), camera
    )
    place = {int(led): k for k, led in enumerate(lights.ids)}
    missing = [led for led in recording.leds if led not in place]
    if missing:
        raise UsageError(f"LED {missing[0]} was captured and has no calibrated light")
    chosen = lights.select(np.array([place[led] for led in recording.leds]))
    return write_relighting(out, RecordedStack(recording), camera, chosen)
