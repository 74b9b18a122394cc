"""What a camera, lights and a stage can be: refused, with the figure and the likely reason, if not.

Calibration files come from people, other programs and other frames of reference. A wrong unit, a
transposed matrix or a mirrored axis gives heights that look like a surface. All that is asked
here is what every rig with a camera above a stage fulfils.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.foreign import FAR_MM
from calib.lights import Lights

Array = NDArray[np.float64]

NEAREST, FARTHEST = 0.3, 30.0
"""Of lights from the middle of the field, in widths of the field."""
POWER_RATIO = 30.0
"""Between a light and the median that no two LEDs of one dome differ by."""
UNITS = (("metres", 1000.0), ("inches", 25.4), ("centimetres", 10.0))


def near(lights: Lights) -> NDArray[np.bool_]:
    """(N,) lights whose place is known, and not only their direction."""
    return np.asarray(np.linalg.norm(lights.position_mm, axis=1) < 0.5 * FAR_MM)


def field_of(camera: Camera, height_mm: float = 0.0) -> tuple[Array, float]:
    """Middle (3,) and width, mm, of what the camera sees at a height."""
    edges = np.array(
        [
            [(camera.width - 1) / 2, (camera.height - 1) / 2],
            [0.0, (camera.height - 1) / 2],
            [camera.width - 1.0, (camera.height - 1) / 2],
            [(camera.width - 1) / 2, 0.0],
            [(camera.width - 1) / 2, camera.height - 1.0],
        ]
    )
    points = camera.points_at_height(height_mm, edges)
    width = max(np.linalg.norm(points[2] - points[1]), np.linalg.norm(points[4] - points[3]))
    return points[0], float(width)


def refuse_camera(camera: Camera, source: str) -> None:
    """Refuse a camera that does not look down on a stage; raises `CalibrationError`."""
    eye = camera.centre_mm
    axis = camera.R[2]
    if eye[2] <= 0 or axis[2] >= 0:
        where = f"lies {-eye[2]:.4g} mm below the stage" if eye[2] <= 0 else "looks upwards"
        raise CalibrationError(
            f"{source} describes a camera that {where}: the world's z points from the stage to "
            "the camera; are R and t those of world to camera, and not the other way round?"
        )
    middle, width = field_of(camera)
    if not np.all(np.isfinite(middle)) or not 0 < width < 1e7:
        raise CalibrationError(f"{source} describes a camera that does not see the stage (z = 0)")
    if eye[2] < 3.0:
        raise CalibrationError(
            f"{source} puts the camera {eye[2]:.3g} mm above the stage, over a field {width:.3g} "
            "mm wide: t is in millimetres; if it is in metres, the camera is "
            f"{1000 * eye[2]:.0f} mm above"
        )
    off = float(np.linalg.norm(middle[:2]))
    if off > 5 * width:
        raise CalibrationError(
            f"{source} lets the camera see a field {width:.0f} mm wide, {off:.0f} mm away from the "
            "origin of the world: R, or t (in mm), is not that of this stage"
        )


def refuse_lights(lights: Lights, camera: Camera, source: str, height_mm: float = 0.0) -> None:
    """Refuse lights that cannot light the stage that the camera sees.

    Raises
    ------
    CalibrationError
        if lights are below the stage, far too near or far, or without or of absurd power
    """
    _refuse_powers(lights, source)
    at = near(lights)
    z = lights.position_mm[:, 2]
    middle, width = field_of(camera, height_mm)
    below = np.flatnonzero(z <= np.where(at, height_mm, 0.0))
    if len(below):
        led = int(lights.ids[below[0]])
        some = "all" if len(below) == len(lights) else f"{len(below)} of {len(lights)}"
        raise CalibrationError(
            f"{source} puts {some} lights below the surface (LED {led} at z = {z[below[0]]:.4g} "
            f"mm, the surface at {height_mm:g}): z points from the stage up to the camera; are "
            "these positions in the camera's frame, or is z counted downwards?"
        )
    if not at.any():
        return
    ratio = np.linalg.norm(lights.position_mm[at] - middle, axis=1) / width
    odd = np.flatnonzero((ratio < NEAREST) | (ratio > FARTHEST))
    if not len(odd):
        return
    far = np.flatnonzero(at)[odd]
    distance = float(np.linalg.norm(lights.position_mm[far[0]] - middle))
    some = "all" if len(odd) == len(lights) else f"{len(odd)} of {len(lights)}"
    text = (
        f"{source} puts {some} lights where none can be: LED {int(lights.ids[far[0]])} lies "
        f"{distance:.4g} mm from the middle of a field {width:.4g} mm wide, "
        f"{ratio[odd[0]]:.2g} times its width"
    )
    if len(odd) > len(lights) / 2:
        text += _unit_guess(float(np.median(ratio)) * width, float(camera.centre_mm[2]))
    else:
        text += ": is a decimal point or a minus lost in these lines?"
    raise CalibrationError(text)


def _unit_guess(distance_mm: float, eye_mm: float) -> str:
    """Which unit puts lights at about two thirds of the camera's height, as domes have them."""
    fits = {name: distance_mm * factor / (0.67 * eye_mm) for name, factor in UNITS}
    likely = sorted(fits, key=lambda name: abs(np.log(fits[name])))
    good = [name for name in likely if 1 / 6 < fits[name] < 6]
    if not good:
        return (
            f" (expected {NEAREST:g} to {FARTHEST:g} times): positions and the camera's t are in "
            "millimetres, in one frame"
        )
    factor = dict(UNITS)[good[0]]
    return (
        f": positions are in millimetres; these look like {' or '.join(good)}, LEDs would be "
        f"{distance_mm * factor:.0f} mm away"
    )


def _refuse_powers(lights: Lights, source: str) -> None:
    power = lights.power
    none = np.flatnonzero(~(power > 0))
    if len(none):
        raise CalibrationError(
            f"{source} gives LED {int(lights.ids[none[0]])} the power {power[none[0]]:g}: powers "
            "are above 0; leave an LED that is out with --leds"
        )
    if lights.intensity is not None and not 0 < lights.intensity < np.inf:
        raise CalibrationError(
            f"{source} has an intensity of {lights.intensity:g}: it is above 0, or absent"
        )
    ratio = power / np.median(power)
    worst = int(np.argmax(np.abs(np.log(ratio))))
    if not 1 / POWER_RATIO < ratio[worst] < POWER_RATIO:
        raise CalibrationError(
            f"{source} gives LED {int(lights.ids[worst])} {ratio[worst]:.3g} times the power of "
            "the median LED: is a decimal point lost? Correct it, or leave the LED out with --leds"
        )


def near_lights_as_directions(lights: Lights, camera: Camera, others: str = "") -> str | None:
    """A note on directions in place of positions: what near lights then do to the heights.

    Lights a few widths of the field away shine on its rim from another direction than on its
    middle. Taken as parallel they bend a flat part by a sag of about width² / (8 × distance).
    """
    if near(lights).any():
        return None
    _, width = field_of(camera)
    sag = [width**2 / (8 * times * width) for times in (3, 10)]
    return (
        "only directions of the lights are known: if they are near, a flat part comes out as a "
        f"bowl, some {sag[0]:.1f} mm deep for lights at 3 times the field's width "
        f"({3 * width:.0f} mm), {sag[1]:.1f} mm at 10 times; give positions in mm for heights"
    )
