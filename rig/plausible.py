"""What a reconstruction rests on, held against itself before anything is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plausible import near_lights_as_directions, refuse_lights
from reconstruct.methods import MIN_LIGHTS
from reconstruct.plausible import Judgement, judge
from reconstruct.stack import Stack
from rig.calibration_summary import Say
from rig.exits import UsageError

AUTO = "auto"
SIMPLE_FOCAL, SIMPLE_FIELD_MM = 4.0, 100.0


def simple_camera(
    shape: tuple[int, int], field_mm: float | None, focal_px: float | None, say: Say
) -> Camera:
    """A pinhole that looks straight down, for pictures whose camera nobody calibrated.

    Parameters
    ----------
    field_mm : width of what the picture shows on the stage; 100 mm where only the focal length is
        known, so that heights keep their shape and not their scale
    focal_px : focal length; four widths of the picture where only the field is known
    """
    for option, value in (("--field-mm", field_mm), ("--focal", focal_px)):
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"{option} is {value:g}: expected a number above 0")
    height, width = shape
    focal = focal_px or SIMPLE_FOCAL * width
    field = field_mm or SIMPLE_FIELD_MM
    distance = field * focal / width
    known = f"a field {field:g} mm wide" + ("" if field_mm else " (assumed: --field-mm)")
    far = f"{distance:.0f} mm above it" + ("" if focal_px else " (assumed: --focal in px)")
    say(f"note: no camera.json: taken as a pinhole over {known}, {far}, straight down")
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return Camera(width, height, K, t=np.array([0.0, 0.0, distance]))


def method_for(
    asked: str,
    stack: Stack,
    camera: Camera,
    lights: Lights,
    source: str,
    height_mm: float,
    mask: NDArray[np.bool_] | None,
    say: Say,
    drawn: NDArray[np.bool_] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Refuse what cannot be right, say what may be wrong, and choose the method if asked to.

    Parameters
    ----------
    mask, drawn : where the part is, and where the user said that it is

    Returns
    -------
    the method, and for the summary what was found and why the method was taken

    Raises
    ------
    CalibrationError, ReconstructError
        lights where none can be, pictures without light, lights of other pictures
    """
    known = {int(led): index for index, led in enumerate(lights.ids)}
    places = [known.get(int(led)) for led in stack.ids]
    judgement = Judgement(None, {})
    usable = None not in places and len(stack) >= MIN_LIGHTS and camera.shape == stack.shape
    if usable and (mask is None or (mask.shape == stack.shape and mask.any())):
        used = lights.select(np.array(places))
        refuse_lights(used, camera, source)
        judgement = judge(stack, camera, used, height_mm, mask)
        if judgement.kind is None and mask is not drawn and not judgement.notes:
            # Wrong lights find a stage where the part is, and leave nothing of it.
            notes = judge(stack, camera, used, height_mm, drawn).notes
            judgement = replace(judgement, notes=notes)
        bowl = near_lights_as_directions(used, camera)
        for note in (*judgement.notes, *((bowl,) if bowl else ())):
            say(f"note: {note}")
    summary: dict[str, Any] = {
        "looks": judgement.kind,
        "contrast": judgement.contrast,
        "unexplained": judgement.unexplained,
        "notes": list(judgement.notes),
    }
    if asked != AUTO:
        if judgement.kind == "matt" and asked in ("refine", "halfvector"):
            say(f"note: {_why(judgement)}: --method lambert suits it, {asked} is for metal")
        return asked, summary
    method = "lambert" if judgement.kind == "matt" else "refine"
    why = _why(judgement) if judgement.kind else "too few pictures to tell metal from matt"
    say(f"Method {method}: {why}")
    return method, {**summary, "method": method, "why": why}


def _why(judgement: Judgement) -> str:
    looks = "matt" if judgement.kind == "matt" else "like metal"
    return (
        f"the part looks {looks} (over the lights a place's brightness scatters by "
        f"{judgement.contrast:.2f} of its mean; matt parts stay below 0.9)"
    )
