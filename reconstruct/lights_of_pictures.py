"""Which light belongs to which picture of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from calib.errors import CalibrationError
from calib.light_files import read_lights, read_powers
from calib.lights import Lights
from calib.lp import read_lp
from capture.reading import Recording
from intake.errors import told_as
from intake.names import lines_of_pictures

NUMBERED = (".json", ".yaml", ".yml")  # files whose lights say which LED they are


def read_lights_of(recording: Recording, path: Path) -> tuple[Lights, tuple[str, ...]]:
    """The lights of a recording's pictures out of a light file, and what the user should know.

    A list that names pictures is matched by their names. The powers that came with a recording
    hold for a list that brings none.

    Raises
    ------
    CalibrationError
        if the file cannot be read, or pictures and lights are not of one number
    """
    lights = read_lights(path)
    remarks = list(lights.provenance.pop("remarks", []))
    if path.suffix.lower() in NUMBERED:
        if recording.imported and len(lights) > len(recording.leds):
            raise CalibrationError(
                f"{path} has {len(lights)} lights for the {len(recording.leds)} pictures of "
                f"{recording.folder}, whose LEDs are counted from 1 in the order of their names: "
                "name the light file of these pictures"
            )
        return lights, tuple(remarks)
    names = list(lights.provenance.get("names") or [""] * len(lights))
    lights, said = matched(lights, names, recording.picture_names, str(path), recording.imported)
    remarks += [said] if said is not None else []
    beside = recording.power_path
    if path.suffix.lower() == ".lp" and not path.with_name("power.csv").is_file() and beside:
        lights = replace(lights, power=_powers(recording, beside))
    return lights, tuple(remarks)


def matched(
    lights: Lights, names: list[str], pictures: Mapping[int, str], source: str, whole: bool
) -> tuple[Lights, str | None]:
    """Lights of a list that names pictures, numbered as those pictures are."""
    with told_as(CalibrationError):
        line_of, said = lines_of_pictures(names, pictures, source, whole=whole)
    chosen = lights.select(np.array([line_of[led] for led in pictures]))
    return replace(chosen, ids=np.array(list(pictures), dtype=np.int64)), said


def _powers(recording: Recording, table: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Powers that came with a recording, which follow the lines of its own ``lights.lp``."""
    own = recording.file("lights.lp")
    if own is None:
        return read_powers(table, len(recording.leds))
    names = read_lp(own).names
    with told_as(CalibrationError):
        line_of, _ = lines_of_pictures(
            names, recording.picture_names, str(own), whole=recording.imported
        )
    every = read_powers(table, len(names))
    return every[[line_of[led] for led in recording.leds]]
