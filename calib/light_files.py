"""Light files, ours and other people's: written and read back.

Ours (``rig-lights/1``, JSON or YAML) keeps everything that a `Lights` holds. What the others can
carry is told in ``docs/calibration.md``.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.foreign import at_infinity, format_dome, format_luces, parse_dome, read_luces
from calib.lights import Lights, are_places
from calib.lp import LightList, format_lp, read_lp

FORMAT = "rig-lights/1"
Array = NDArray[np.float64]


# ours ----------------------------------------------------------------------------------------
def to_data(lights: Lights) -> dict[str, Any]:
    """The lights as plain data, one mapping per LED so that a person can read and edit it."""
    leds = []
    for k in range(len(lights)):
        led: dict[str, Any] = {
            "id": int(lights.ids[k]),
            "position_mm": [float(v) for v in lights.position_mm[k]],
            "axis": [float(v) for v in lights.axis[k]],
            "lobe": float(lights.lobe[k]),
            "power": float(lights.power[k]),
        }
        if lights.covariance is not None:
            led["covariance"] = [[float(v) for v in row] for row in lights.covariance[k]]
        if lights.power_sigma is not None:
            led["power_sigma"] = float(lights.power_sigma[k])
        leds.append(led)
    common = lights.common_covariance
    return {
        "format": FORMAT,
        "units": "mm",
        "intensity": None if lights.intensity is None else float(lights.intensity),
        "common_covariance": None if common is None else np.asarray(common).tolist(),
        "provenance": lights.provenance,
        "leds": leds,
    }


def from_data(data: Any, source: str = "the light file") -> Lights:
    """Lights from the mapping that `to_data` makes; raises `CalibrationError` naming the LED."""
    if not isinstance(data, dict) or not str(data.get("format", "")).startswith("rig-lights/"):
        raise CalibrationError(f"{source} is no light file: it lacks 'format: {FORMAT}'")
    if data["format"] != FORMAT:
        raise CalibrationError(f"{source} has format {data['format']}; this program reads {FORMAT}")
    if data.get("units", "mm") != "mm":
        raise CalibrationError(f"{source} is in '{data['units']}', expected mm")
    leds = data.get("leds")
    if not isinstance(leds, list) or not leds:
        raise CalibrationError(f"{source} lists no LED")
    known = {"id", "position_mm", "axis", "lobe", "power", "covariance", "power_sigma"}
    rows: dict[str, list[Any]] = {key: [] for key in known}
    for place, led in enumerate(leds, start=1):
        try:
            if unknown := set(led) - known:
                raise CalibrationError(f"{source}, LED {place}: unknown key '{unknown.pop()}'")
            rows["id"].append(int(led["id"]))
            position = np.asarray(led["position_mm"], dtype=np.float64).reshape(3)
            rows["position_mm"].append(position)
            axis = np.asarray(led.get("axis", -position), dtype=np.float64).reshape(3)
            axis = axis / (np.abs(axis).max() or np.nan)  # or the square of a long one overflows
            rows["axis"].append(axis / np.linalg.norm(axis))
            rows["lobe"].append(float(led.get("lobe", 0.0)))
            rows["power"].append(float(led.get("power", 1.0)))
            if led.get("covariance") is not None:
                matrix = np.asarray(led["covariance"], dtype=np.float64).reshape(6, 6)
                rows["covariance"].append(matrix)
            if led.get("power_sigma") is not None:
                rows["power_sigma"].append(float(led["power_sigma"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"{source}, LED {place}: {error!r}") from error
    if len(set(rows["id"])) != len(leds) or min(rows["id"]) < 1:
        raise CalibrationError(f"{source}: LED ids must be different and count from 1")
    for key in ("covariance", "power_sigma"):
        if rows[key] and len(rows[key]) != len(leds):
            raise CalibrationError(f"{source}: some LEDs have a {key} and some have none")
    position = np.array(rows["position_mm"])
    power = np.array(rows["power"])
    if not np.all(are_places(position)) or not np.all(np.isfinite(power)) or power.min() < 0:
        raise CalibrationError(f"{source}: an LED has no finite position or a negative power")
    if not np.all(np.isfinite(np.array(rows["axis"]))):
        raise CalibrationError(f"{source}: an LED has an axis without direction")
    common, intensity = data.get("common_covariance"), data.get("intensity")
    try:
        common = None if common is None else np.asarray(common, dtype=np.float64).reshape(3, 3)
        intensity = None if intensity is None else float(intensity)
        provenance = dict(data.get("provenance") or {})
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{source}: {error}") from error
    return Lights(
        ids=np.array(rows["id"], dtype=np.int64),
        position_mm=position,
        power=power,
        axis=np.array(rows["axis"]),
        lobe=np.array(rows["lobe"]),
        intensity=intensity,
        covariance=np.array(rows["covariance"]) if rows["covariance"] else None,
        common_covariance=common,
        power_sigma=np.array(rows["power_sigma"]) if rows["power_sigma"] else None,
        provenance=provenance,
    )


# CSV of powers -------------------------------------------------------------------------------
def read_powers(path: Path, count: int | None = None) -> Array:
    """Relative powers, one a line (optionally after an id, optionally under a heading)."""
    powers: list[float] = []
    rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or cells[0].startswith("#"):
            continue
        try:
            value = float(cells[-1])
        except ValueError:
            if not powers:
                continue
            raise CalibrationError(f"{path}, line {number}: '{cells[-1]}' is no power") from None
        if len(cells) > 2 or not np.isfinite(value) or value < 0:
            raise CalibrationError(f"{path}, line {number}: expected one power, got {row}")
        powers.append(value)
    if not powers or (count is not None and len(powers) != count):
        raise CalibrationError(f"{path} has {len(powers)} powers, expected {count or 'some'}")
    return np.array(powers)


def format_powers(lights: Lights) -> str:
    return "".join(f"{power:.9g}\n" for power in lights.power)


# dispatch ------------------------------------------------------------------------------------
def read_lights(path: Path) -> Lights:
    """Read a light file of any known kind, told by its name.

    ``.json``/``.yaml`` (ours), ``.lp`` (with the powers of a ``power.csv`` beside it), ``.dome``,
    LUCES ``led_params.txt`` (other ``.txt`` likewise). An ``.lp`` or ``.dome`` of unit directions
    gives lights at infinity. Raises `CalibrationError`.
    """
    path = Path(path)
    if not path.is_file():
        raise CalibrationError(
            f"there is no light file {path}: see that it is there and spelled so"
        )
    suffix = path.suffix.lower()
    if suffix in (".json", ".yaml", ".yml"):
        text = path.read_text(encoding="utf-8")
        try:
            data = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
        except (json.JSONDecodeError, yaml.YAMLError) as error:
            raise CalibrationError(f"{path} cannot be read: {error}") from error
        return from_data(data, str(path))
    if suffix == ".lp":
        listed = read_lp(path)
        table = path.with_name("power.csv")
        power = read_powers(table, len(listed.names)) if table.is_file() else None
        make = at_infinity if listed.are_directions else Lights.at
        lights = make(listed.xyz, power)
        if any(listed.names):
            lights.provenance["names"] = list(listed.names)
        if listed.remarks:
            lights.provenance["remarks"] = list(listed.remarks)
    elif suffix == ".dome":
        lights = parse_dome(path.read_text(encoding="utf-8"), str(path))
    elif suffix == ".txt":
        lights = read_luces(path)[0]
    else:
        raise CalibrationError(
            f"{path} is no light file: expected .json, .yaml, .lp, .dome or led_params.txt"
        )
    lights.provenance["source"] = path.name
    return lights


def format_lights(lights: Lights, kind: str, camera: Camera | None = None) -> str:
    """The text of a light file; `kind` is the suffix (``.json``, ``.lp``, …)."""
    if kind == ".json":
        return json.dumps(to_data(lights), indent=1) + "\n"
    if kind in (".yaml", ".yml"):
        return str(yaml.safe_dump(to_data(lights), sort_keys=False))
    if kind == ".lp":
        names = lights.provenance.get("names") or [f"led_{k:03d}.png" for k in lights.ids]
        far = lights.provenance.get("at_infinity")
        length = np.linalg.norm(lights.position_mm, axis=1, keepdims=True) if far else 1.0
        return format_lp(LightList(tuple(names), lights.position_mm / length))
    if kind == ".dome":
        return format_dome(lights)
    if kind == ".csv":
        return format_powers(lights)
    if kind == ".txt":
        if camera is None:
            raise CalibrationError("led_params.txt is in the camera's frame: give the camera too")
        return format_luces(lights, camera)
    raise CalibrationError(f"cannot write lights as '{kind}'")


def write_lights(
    lights: Lights, path: Path, camera: Camera | None = None, *, overwrite: bool = False
) -> None:
    """Write a light file of the kind its name tells; an existing one only with `overwrite`."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise CalibrationError(f"{path} exists; choose another name or ask to overwrite it")
    text = format_lights(lights, path.suffix.lower(), camera)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
