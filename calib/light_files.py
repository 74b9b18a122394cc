"""Light files, ours and other people's: written and read back.

Ours (``rig-lights/1``, JSON or YAML) keeps everything that a `Lights` holds. What the others can
carry is told in ``docs/calibration.md``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.foreign import (
    at_infinity,
    format_dome,
    format_luces,
    parse_dome,
    read_light_table,
    read_luces,
)
from calib.lights import Lights, are_places
from calib.lp import LightList, format_lp, read_lp
from intake.errors import told_as
from intake.files import read_text
from intake.trees import finite, numbers, read_json, read_yaml, whole

FORMAT = "rig-lights/1"
_KEYS = ("id", "position_mm", "axis", "lobe", "power", "covariance", "power_sigma")
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
    common = lights.common_steps
    return {
        "format": FORMAT,
        "units": "mm",
        "intensity": None if lights.intensity is None else float(lights.intensity),
        "common_steps": None if common is None else np.asarray(common).tolist(),
        "provenance": lights.provenance,
        "leds": leds,
    }


@told_as(CalibrationError)
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
    rows: dict[str, list[Any]] = {key: [] for key in _KEYS}
    for place, led in enumerate(leds, start=1):
        for key, value in _led(led, f"{source}, LED {place}").items():
            rows[key].append(value)
    if len(set(rows["id"])) != len(leds):
        raise CalibrationError(f"{source}: LED ids must be different and count from 1")
    for key in ("covariance", "power_sigma"):
        if rows[key] and len(rows[key]) != len(leds):
            raise CalibrationError(f"{source}: some LEDs have a {key} and some have none")
    common, intensity = _common_steps(data, len(leds), source), data.get("intensity")
    if intensity is not None:
        intensity = finite(intensity, f"{source}: intensity", 0, 1e30)
    provenance = data.get("provenance") or {}
    if not isinstance(provenance, dict):
        raise CalibrationError(f"{source}: provenance is no mapping")
    if (vignetting := provenance.get("vignetting")) is not None:
        numbers(vignetting, (2,), f"{source}: vignetting")
    names = provenance.get("names")
    if not isinstance(names, list | None) or not all(isinstance(n, str) for n in names or []):
        raise CalibrationError(f"{source}: the names in provenance are no texts")
    return Lights(
        ids=np.array(rows["id"], dtype=np.int64),
        position_mm=np.array(rows["position_mm"]),
        power=np.array(rows["power"]),
        axis=np.array(rows["axis"]),
        lobe=np.array(rows["lobe"]),
        intensity=intensity,
        covariance=np.array(rows["covariance"]) if rows["covariance"] else None,
        common_steps=common,
        power_sigma=np.array(rows["power_sigma"]) if rows["power_sigma"] else None,
        provenance=dict(provenance),
    )


def _common_steps(data: dict[str, Any], count: int, source: str) -> Array | None:
    """(K, N, 3) steps that all LEDs make together; of older files, their common shift."""
    if (steps := data.get("common_steps")) is not None:
        if not isinstance(steps, list):
            raise CalibrationError(f"{source}: common_steps is no list")
        return numbers(steps, (len(steps), count, 3), f"{source}: common_steps")
    if (shift := data.get("common_covariance")) is None:
        return None
    shift = numbers(shift, (3, 3), f"{source}: common_covariance")
    values, vectors = np.linalg.eigh((shift + shift.T) / 2)
    steps = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return np.repeat(steps[:, None], count, axis=1)


def _led(led: Any, source: str) -> dict[str, Any]:
    """The fields of one LED; raises `CalibrationError` or `InputError`."""
    if not isinstance(led, dict):
        raise CalibrationError(f"{source} is no mapping")
    if unknown := {str(key) for key in led} - set(_KEYS):
        raise CalibrationError(f"{source}: unknown key '{min(unknown)}'")
    for key in ("id", "position_mm"):
        if key not in led:
            raise CalibrationError(f"{source} has no '{key}'")
    position = numbers(led["position_mm"], (3,), f"{source}: position_mm")
    if not are_places(position[None])[0]:
        raise CalibrationError(f"{source} has no finite position")
    axis = numbers(led["axis"], (3,), f"{source}: axis") if "axis" in led else -position
    if not axis.any():
        raise CalibrationError(f"{source} has an axis without direction")
    axis = axis / np.abs(axis).max()  # or the square of a long one overflows
    found = {
        "id": whole(led["id"], f"{source}: id", 1),
        "position_mm": position,
        "axis": axis / np.linalg.norm(axis),
        "lobe": finite(led.get("lobe", 0.0), f"{source}: lobe", -1e3, 1e6),
        "power": finite(led.get("power", 1.0), f"{source}: power", 0, 1e12),
    }
    if led.get("covariance") is not None:
        found["covariance"] = numbers(led["covariance"], (6, 6), f"{source}: covariance")
    if led.get("power_sigma") is not None:
        found["power_sigma"] = finite(led["power_sigma"], f"{source}: power_sigma", 0, 1e6)
    return found


# CSV of powers -------------------------------------------------------------------------------
@told_as(CalibrationError)
def read_powers(path: Path, count: int | None = None) -> Array:
    """Relative powers, one a line (optionally after an id, optionally under a heading)."""
    powers: list[float] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        row = re.split(r"[,;\t]", line)
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
@told_as(CalibrationError)
def read_lights(path: Path | str) -> Lights:
    """Read a light file of any known kind, told by its name.

    ``.json``/``.yaml`` (ours), ``.lp`` (with the powers of a ``power.csv`` beside it), ``.dome``,
    LUCES ``led_params.txt``, tables of public sets (other ``.txt``). An ``.lp`` or ``.dome`` of
    unit directions gives lights at infinity. Raises `CalibrationError`.
    """
    path = Path(path)
    if not path.is_file():
        raise CalibrationError(
            f"there is no light file {path}: see that it is there and spelled so"
        )
    suffix = path.suffix.lower()
    if suffix in (".json", ".yaml", ".yml"):
        data = read_json(path) if suffix == ".json" else read_yaml(path)
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
        lights = parse_dome(read_text(path), str(path))
    elif suffix == ".txt":
        luces = "led_params" in path.name.lower()
        lights = read_luces(path)[0] if luces else read_light_table(path)
    else:
        raise CalibrationError(
            f"{path} is no light file: expected .json, .yaml, .lp, .dome, led_params.txt or a "
            "table of lights (.txt)"
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
    lights: Lights, path: Path | str, camera: Camera | None = None, *, overwrite: bool = False
) -> None:
    """Write a light file of the kind its name tells; an existing one only with `overwrite`."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise CalibrationError(f"{path} exists; choose another name or ask to overwrite it")
    text = format_lights(lights, path.suffix.lower(), camera)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
