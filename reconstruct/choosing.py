"""What a reconstruction rests on, held against itself; and the method that suits the part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plausible import near_lights_as_directions, refuse_lights
from reconstruct.methods import AUTO, MIN_LIGHTS
from reconstruct.plausible import MIN_PICTURES, Judgement, judge
from reconstruct.stack import Stack


def method_for(
    asked: str,
    stack: Stack,
    camera: Camera,
    lights: Lights,
    source: str,
    height_mm: float,
    mask: NDArray[np.bool_] | None,
    say: Callable[[str], None],
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
    why = _why(judgement) if judgement.kind else f"{_untold(stack)} to tell metal from matt"
    say(f"Method {method}: {why}")
    return method, {**summary, "method": method, "why": why}


def _untold(stack: Stack) -> str:
    if len(stack) < MIN_PICTURES:
        return f"{len(stack)} pictures are too few ({MIN_PICTURES} or more are needed)"
    return "the pictures show too little of a part"


def _why(judgement: Judgement) -> str:
    looks = "matt" if judgement.kind == "matt" else "like metal"
    return (
        f"the part looks {looks} (over the lights a place's brightness scatters by "
        f"{judgement.contrast:.2f} of its mean; matt parts stay below 0.9)"
    )
