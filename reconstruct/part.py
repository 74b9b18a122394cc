"""One part from its pictures: found on its stage if there is one, its method chosen, its surface.

`reconstruct.methods` explains pictures; here stands what every caller wants around that, so that
the command line and the Python interface get the same surface of the same inputs.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.choosing import method_for
from reconstruct.errors import RequestError
from reconstruct.methods import Options, reconstruct
from reconstruct.stack import Stack
from reconstruct.surface import Surface

ASSUMED = "assumed"
FAR = 10  # so many times the distance of the lights lies no part: a slip in typing
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was captured of a part and what is known of the rig.

    Attributes
    ----------
    stack : the pictures
    camera, lights : that saw and lit them
    lights_source : what the lights are called in messages
    empty_stage : pictures of the stage alone under the same lights; None where there are none
    """

    stack: Stack
    camera: Camera
    lights: Lights
    lights_source: str = "the lights"
    empty_stage: Stack | None = None


def reconstruct_part(
    method: str,
    measured: Measurement,
    options: Options,
    height_from: str = ASSUMED,
    *,
    height_given: bool = False,
) -> Surface:
    """The surface of a part.

    Parameters
    ----------
    method : a name of `reconstruct.methods`, or ``auto``: the one that suits the part
    options : `Options.height_mm` is the height of the part, unless its shadow tells it
    height_from : where that height comes from, for messages and the summary
    height_given : the height was measured on this very part: it counts beside its shadow

    Returns
    -------
    Surface whose summary also holds ``height`` (mm, sigma_mm, from), ``plausibility`` (what the
    pictures look like and why the method was taken) and ``seconds``

    Raises
    ------
    CalibrationError, ReconstructError
        pictures without light, lights of other pictures, a height above the camera
    Stopped
        `Options.progress` raised it before there was any surface
    """
    # One thread of BLAS, whoever calls: sums over several differ in their last bits.
    with threadpool_limits(1, user_api="blas"):
        return _reconstruct_part(method, measured, options, height_from, height_given)


def _reconstruct_part(
    method: str, measured: Measurement, options: Options, height_from: str, height_given: bool
) -> Surface:
    started = time.perf_counter()
    options = _logged(options)
    stack, camera, lights = measured.stack, measured.camera, measured.lights
    if not options.height_mm < camera.centre_mm[2]:
        raise RequestError(
            f"a mean height of {options.height_mm:g} mm ({height_from}) lies above the camera, "
            f"which is at {camera.centre_mm[2]:.0f} mm"
        )
    reach_mm = np.linalg.norm(lights.position_mm - camera.centre_mm, axis=1).max()
    if camera.centre_mm[2] - options.height_mm > FAR * reach_mm:
        raise RequestError(
            f"a mean height of {options.height_mm:g} mm ({height_from}) lies more than {FAR} times "
            f"as far from the camera as the lights, which are at most {reach_mm:.0f} mm from it"
        )
    from reconstruct.on_stage import find_on_stage, reconstruct_on_stage

    found = find_on_stage(stack, camera, lights, options.mask, measured.empty_stage)
    if height_from == ASSUMED and found is None:
        options.say(
            "note: no height was given: the mean of the surface is taken to lie on the stage"
        )
    chosen, judged = method_for(
        method,
        stack,
        camera,
        lights,
        measured.lights_source,
        options.height_mm,
        options.mask if found is None else found.mask,
        options.say,
        options.mask,
    )
    looked = time.perf_counter()
    if found is None:
        surface = reconstruct(chosen, stack, camera, lights, options)
    else:
        surface = reconstruct_on_stage(
            chosen, stack, camera, lights, options, found, height_given=height_given
        )
    if surface.summary.get("stopped"):
        options.say("note: stopped before the fit had ended: this is the best surface until then")
    height: dict[str, Any] = {
        "mm": options.height_mm, "sigma_mm": options.height_sigma_mm, "from": height_from,
    }  # fmt: skip
    if found is not None and (shadow := surface.summary.get("height_told")) is not None:
        height = {"mm": shadow["mm"], "sigma_mm": shadow["sigma_mm"], "from": "shadow"}
    elif (near := surface.summary.get("nearness")) is not None:
        height = {"mm": near["mm"], "sigma_mm": near["told_sigma_mm"], "from": "nearness"}
    seconds = {
        **surface.summary.get("seconds", {}),
        "look": looked - started,
        "reconstruct": time.perf_counter() - looked,
    }
    summary = {
        **surface.summary, "height": height, "plausibility": judged, "seconds": seconds,
    }  # fmt: skip
    return replace(surface, summary=summary)


def _logged(options: Options) -> Options:
    """What is said and how far it is goes into the log too."""

    def say(line: str) -> None:
        _LOG.info("%s", line)
        options.say(line)

    def progress(stage: str, fraction: float) -> None:
        _LOG.debug("%s, %.0f %%", stage, 100 * fraction)
        options.progress(stage, fraction)

    return replace(options, say=say, progress=progress)
