"""Light files of other programs: Relight's ``.dome`` and the LUCES ``led_params.txt``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.lights import Lights, are_places
from intake.errors import told_as
from intake.files import read_text
from intake.light_tables import read_intensities, read_table
from intake.lp import UNIT_TOLERANCE
from intake.pictures import MAX_SIDE
from intake.trees import finite, parse_json, whole

FAR_MM = 1e6
"""Where lights are put of which only the direction is known: parallel light for any part."""


def at_infinity(directions: Any, power: Any | None = None, ids: Any | None = None) -> Lights:
    """Lights of which only unit directions are known, put `FAR_MM` away."""
    unit = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    lights = Lights.at(unit * FAR_MM, power, ids=ids)
    lights.provenance["at_infinity"] = True
    return lights


# Relight -------------------------------------------------------------------------------------
def _triples(data: Any, keys: str, source: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        rows = [
            [float(item[key]) for key in keys] if isinstance(item, dict) else item for item in data
        ]
        values = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(f"{source} has a light without {', '.join(keys)}") from error
    if not np.all(are_places(values)):
        raise CalibrationError(f"{source} has a light at no finite place")
    return values


def parse_dome(text: str, source: str = "the .dome file") -> Lights:
    """Read Relight's dome: JSON with ``directions``, ``positionsSphere``, ``positions3d`` in mm.

    ``lightConfiguration`` says which of them counts; ``ledAdjust`` multiplies pixel values, so
    the power of a light is its inverse (mean of the three channels).
    """
    with told_as(CalibrationError):
        data = parse_json(text, source)
    if not isinstance(data, dict):
        raise CalibrationError(f"{source} is not a Relight dome")
    kind = data.get("lightConfiguration", "directional")
    key = {"spherical": "positionsSphere", "lights3d": "positions3d"}.get(str(kind), "directions")
    if not data.get(key) and kind != "directional":
        key = "positions" if data.get("positions") else key
    values = _triples(data.get(key) or [], "xyz", source)
    if not len(values):
        raise CalibrationError(f"{source} has no '{key}' for its configuration '{kind}'")
    if np.any(np.linalg.norm(values, axis=1) == 0):
        raise CalibrationError(f"{source} has a light at the origin")
    power = None
    if data.get("ledAdjust"):
        adjust = _triples(data["ledAdjust"], "rgb", source).mean(axis=1)
        if len(adjust) != len(values) or np.any(adjust <= 0):
            raise CalibrationError(f"{source}: 'ledAdjust' is not one positive colour per light")
        power = 1 / adjust
    lights = at_infinity(values, power) if key == "directions" else Lights.at(values, power)
    lights.provenance["label"] = str(data.get("label", ""))
    return lights


def format_dome(lights: Lights) -> str:
    """The lights as a Relight dome (positions, relative powers; axis and lobe have no place)."""

    def rows(values: Any, keys: str) -> list[dict[str, float]]:
        return [dict(zip(keys, map(float, row), strict=True)) for row in values]

    unit = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    far = bool(lights.provenance.get("at_infinity"))
    radius = float(np.median(np.linalg.norm(lights.position_mm, axis=1)))
    adjust = np.repeat(1 / lights.power[:, None], 3, axis=1)
    data = {
        "label": str(lights.provenance.get("label", "")),
        "notes": "written by rig, millimetres",
        "imageWidth": 0.0,
        "domeDiameter": 0.0 if far else 2 * radius,
        "verticalOffset": 0.0,
        "lightConfiguration": "directional" if far else "lights3d",
        "directions": rows(unit, "xyz"),
        "positionsSphere": [] if far else rows(unit * radius, "xyz"),
        "positions3d": [] if far else rows(lights.position_mm, "xyz"),
        "ledAdjust": rows(adjust, "rgb"),
    }
    return json.dumps(data, indent=1) + "\n"


# tables of public sets -----------------------------------------------------------------------
def read_light_table(path: Path) -> Lights:
    """Lights of a public set's ``light_directions.txt``, ``light_positions.txt`` or ``lights.txt``.

    Unit vectors are directions towards the lights (x right, y up, z to the camera), others places
    in mm. Powers come from a ``light_intensities.txt`` beside it, the mean of its columns.
    """
    with told_as(CalibrationError):
        table = read_table(path)
        power = read_intensities(path, len(table))
    length = np.linalg.norm(table, axis=1)
    far = "direction" in path.name.lower() or bool(np.all(np.abs(length - 1) < UNIT_TOLERANCE))
    return at_infinity(table, power) if far else Lights.at(table, power)


# LUCES ---------------------------------------------------------------------------------------
def parse_luces(text: str, source: str = "led_params.txt") -> tuple[Lights, Camera]:
    """Read LUCES parameters: ``rows cols f x0 y0 mean_distance``, then one line per LED.

    An LED is ``x y z dx dy dz phi mu`` with one or three φ, in the camera's frame (OpenCV axes).
    The published files begin the camera's line with the number of pictures and end an LED's line
    with a further 0: both forms are read.
    The world put under it has its origin on the optical axis at the mean distance. Pixel
    coordinates count from 1 there, as in Matlab.
    """
    camera_row: list[float] | None = None
    rows: list[list[float]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        tokens = raw.replace(",", " ").replace(";", " ").split()
        if not tokens:
            continue
        try:
            values = [float(token) for token in tokens]
        except ValueError:
            if rows:
                raise CalibrationError(f"{source}, line {number}: '{raw.strip()}'") from None
            continue
        if camera_row is None:
            camera_row = values
        else:
            rows.append(values)
    if camera_row is not None and len(camera_row) == 7:  # as published, the count comes first
        if camera_row[0] != len(rows):
            raise CalibrationError(
                f"{source} announces {camera_row[0]:g} pictures and lists {len(rows)} LEDs"
            )
        camera_row = camera_row[1:]
    if camera_row is None or len(camera_row) != 6 or not rows:
        raise CalibrationError(
            f"{source}: expected 'rows cols f x0 y0 mean_distance' (the number of pictures may "
            "come first), then LEDs"
        )
    if {len(row) for row in rows} in ({9}, {11}):  # as published, lines end in 'mu 0'
        rows = [row[:-1] for row in rows]
    if {len(row) for row in rows} not in ({8}, {10}):
        raise CalibrationError(f"{source}: an LED needs 8 numbers, or 10 with three colours")
    table = np.array(rows, dtype=np.float64)
    if not np.all(np.abs(table[:, 3:]) < 1e12):
        raise CalibrationError(f"{source}: an LED has no power, axis or finite place")
    height, width, f, x0, y0, distance = camera_row
    with told_as(CalibrationError):
        rows_px = whole(height, f"{source}: rows", 1, MAX_SIDE)
        columns_px = whole(width, f"{source}: cols", 1, MAX_SIDE)
        finite(f, f"{source}: f", 1e-3, 1e9)
        for value, name in ((x0, "x0"), (y0, "y0"), (distance, "mean_distance")):
            finite(value, f"{source}: {name}", -1e9, 1e9)
    phi = table[:, 6:-1].mean(axis=1)
    length = np.linalg.norm(table[:, 3:6], axis=1)
    placed = np.all(np.isfinite(table)) and np.all(are_places(table[:, :3]))
    if not placed or np.any(phi <= 0) or np.any(length == 0):
        raise CalibrationError(f"{source}: an LED has no power, axis or finite place")
    flip = np.array([1.0, -1.0, -1.0])
    lights = Lights(
        ids=np.arange(1, len(table) + 1),
        position_mm=table[:, :3] * flip + np.array([0.0, 0.0, distance]),
        power=phi / phi.mean(),
        axis=table[:, 3:6] / length[:, None] * flip,
        lobe=table[:, -1],
        provenance={"phi_mean": float(phi.mean())},
    )
    camera = Camera(
        width=columns_px,
        height=rows_px,
        K=np.array([[f, 0.0, x0 - 1], [0.0, f, y0 - 1], [0.0, 0.0, 1.0]]),
        t=np.array([0.0, 0.0, distance]),
    )
    return lights, camera


def format_luces(lights: Lights, camera: Camera) -> str:
    """The lights in the camera's frame as LUCES ``led_params.txt`` (one pinhole focal length)."""
    position = lights.position_mm @ camera.R.T + camera.t
    axis = lights.axis @ camera.R.T
    phi = lights.power * float(lights.provenance.get("phi_mean", 1.0))
    K = camera.K
    lines = [
        "# rows cols f x0 y0 mean_distance / x y z dx dy dz phi_r phi_g phi_b mu",
        f"{camera.height} {camera.width} {(K[0, 0] + K[1, 1]) / 2:.9g} "
        f"{K[0, 2] + 1:.9g} {K[1, 2] + 1:.9g} {camera.t[2]:.9g}",
    ]
    for k in range(len(lights)):
        row = [*position[k], *axis[k], phi[k], phi[k], phi[k], lights.lobe[k]]
        lines.append(" ".join(f"{value:.9g}" for value in row))
    return "\n".join(lines) + "\n"


def read_luces(path: Path) -> tuple[Lights, Camera]:
    """Read ``led_params.txt`` with the camera it describes."""
    with told_as(CalibrationError):
        text = read_text(path, fallback="latin-1")
    return parse_luces(text, str(path))
