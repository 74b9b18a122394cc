"""What the virtual rig knows of itself: its own camera and lights, and the truth of the part.

A recording of the virtual rig keeps them, so that each one can be reconstructed and evaluated. A
calibration of the workspace goes before: it is what a user made, with its errors.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np

from calib.light_files import format_lights
from calib.lights import Lights
from capture.evidence import Reference
from capture.prediction import direction_pictures
from capture.recording import Snapshot
from capture.world import Scene
from rig.simulate import RenderedScene, VirtualRig

METHOD = "the virtual rig's own, without error"


def rig_of(scene: Scene) -> VirtualRig | None:
    """The rig that a scene lies under; None where the scene knows none."""
    found = getattr(scene, "rig", None)
    return found if isinstance(found, VirtualRig) else None


def knowledge_of(scene: Scene) -> dict[str, Snapshot]:
    """Files for a recording's snapshot: camera, lights, and the part's truth where it has one."""
    rig = rig_of(scene)
    if rig is None:
        return {}
    kept: dict[str, Snapshot] = {
        "calibration/camera.json": json.dumps(rig.camera.to_json(), indent=1) + "\n",
        "calibration/lights.json": format_lights(_told(rig.lights), ".json"),
    }
    if isinstance(scene, RenderedScene):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, position=scene.points_mm, normal=scene.normals)
        kept["calibration/truth.npz"] = buffer.getvalue()
    return kept


def reference_of(scene: Scene) -> Reference | None:
    """How the LEDs should look by the rig's own lights, for the proof of pairing."""
    rig = rig_of(scene)
    if rig is None or len(rig.lights) < 6:
        return None
    pictures = direction_pictures(rig.lights.position_mm, rig.lights.power)
    leds = tuple(int(led) for led in rig.lights.ids)
    return Reference(leds, pictures, "the virtual rig's own lights", recorded=False)


def _told(lights: Lights) -> Lights:
    return replace(lights, provenance={**lights.provenance, "method": METHOD})
