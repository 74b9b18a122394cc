"""A camera for pictures whose camera nobody calibrated, of what was typed."""

from __future__ import annotations

from collections.abc import Callable

from calib.camera import Camera
from rig.exits import UsageError


def simple_camera(
    shape: tuple[int, int],
    field_mm: float | None,
    focal_px: float | None,
    say: Callable[[str], None],
) -> Camera:
    """A pinhole that looks straight down (see `calib.camera.Camera.straight_down`).

    Raises
    ------
    UsageError
        for a width or a focal length that is no number above 0
    """
    for option, value in (("--field-mm", field_mm), ("--focal", focal_px)):
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"{option} is {value:g}: expected a number above 0")
    camera = Camera.straight_down(shape, field_mm, focal_px)
    distance = camera.centre_mm[2]
    field = distance * camera.width / camera.K[0, 0]
    known = f"a field {field:g} mm wide" + ("" if field_mm else " (assumed: --field-mm)")
    far = f"{distance:.0f} mm above it" + ("" if focal_px else " (assumed: --focal in px)")
    say(f"note: no camera.json: taken as a pinhole over {known}, {far}, straight down")
    return camera
