"""Writing an exchange folder from a recording."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.claim import claim
from capture.errors import DataError
from capture.exchange.source import read_powers
from capture.journal import Entry, write_atomically
from capture.reading import Recording, alike
from intake.errors import told_as
from intake.lp import LightList, format_lp, read_lp
from intake.names import lines_of_pictures

_COPIED = ("camera.json", "truth.npz", "mask.png", "led_params.txt")


def export_recording(
    recording: Recording,
    folder: Path,
    exposure: float | None = None,
    lights: list[tuple[float, float, float]] | None = None,
    powers: list[float] | None = None,
    copies: Sequence[Path] = (),
) -> Path:
    """Write an exchange folder: pictures, ``lights.lp``, ``camera.json`` and what else there is.

    With one exposure the counts themselves are written, moved to the top of 16 bits where the
    sensor has fewer (8-bit pictures stay 8 bit). A bracket is merged and written on 16 bits.

    Parameters
    ----------
    folder : to write; must not exist
    exposure : of a bracket, take this one and do not merge
    lights : positions, mm, one per LED of the recording; None: those the recording came with
    powers : relative, likewise
    copies : further files to put into it, under their own names

    Raises
    ------
    DataError
        if the folder exists, an LED lacks that exposure or a file cannot be read
    """
    if folder.exists():
        raise DataError(f"{folder} exists already and is kept: name another --out")
    exposures = recording.exposures
    if exposure is not None and not any(alike(e, exposure) for e in exposures):
        known = ", ".join(f"{e:g}" for e in exposures)
        raise DataError(f"{recording.folder} has no exposure {exposure:g} (it has {known})")
    with claim(folder) as claimed:
        names = {led: f"led_{led:03d}.png" for led in recording.leds}
        if len(exposures) > 1 and exposure is None and not _one_each(recording):
            meaning = _write_merged(recording, claimed.work, names)
        else:
            meaning = _write_counts(recording, claimed.work, names, exposure)
        if recording.radiometric:
            _write_json(claimed.work / "exposure.json", meaning)
        for name in _COPIED:
            if (path := recording.file(name)) is not None:
                shutil.copyfile(path, claimed.work / name)
        for path in copies:
            shutil.copyfile(path, claimed.work / path.name)
        _write_lights(recording, claimed.work, list(names.values()), lights, powers)
        return claimed.publish()


def _one_each(recording: Recording) -> bool:
    """Whether every LED has one exposure, though not the same one."""
    lit = [entry.led for entry in recording.entries if entry.kind == "light"]
    return len(lit) == len(set(lit))


def _write_counts(
    recording: Recording, folder: Path, names: dict[int, str], exposure: float | None
) -> dict[str, Any]:
    chosen: dict[int, Entry] = {}
    for entry in recording.entries:
        if entry.kind == "light" and (exposure is None or alike(entry.exposure, exposure)):
            chosen[entry.led] = entry
    missing = [led for led in names if led not in chosen]
    if missing:
        raise DataError(f"LED {missing[0]} was not captured with exposure {exposure}")
    eight = recording.full_scale <= 255
    # Of a 16-bit file the codes are kept; a 12-bit sensor's counts go to the top of 16 bits.
    bits = int(recording.full_scale).bit_length()
    shift = 0 if eight else 16 - bits
    for led, name in names.items():
        codes = recording.counts(chosen[led]) << np.uint16(shift)
        write_png(folder / name, codes.astype(np.uint8) if eight else codes)
    taken = [chosen[led].exposure for led in names]
    darks = [
        e
        for e in recording.entries
        if e.kind == "dark" and any(alike(e.exposure, t) for t in taken)
    ]
    if darks:
        mean = np.mean([recording.counts(e) for e in darks], axis=0) * 2**shift
        codes = np.rint(mean).astype(np.uint16)
        write_png(folder / "dark.png", codes.astype(np.uint8) if eight else codes)
    same = len(set(taken)) == 1
    return {
        "exposure": taken[0] if same else taken,
        "full_scale": recording.full_scale << shift,
        "meaning": "pixel / full_scale = radiance x exposure + black level (dark.png)",
    }


def _write_merged(recording: Recording, folder: Path, names: dict[int, str]) -> dict[str, Any]:
    # Room below black for noise, so that its mean survives.
    black = 512
    brightest = 1.0 / min(recording.exposures)
    scale = (65535 - black) / brightest
    for led, name in names.items():
        image = recording.linear(led)
        codes = np.rint(image.radiance * np.float32(scale) + black)
        codes = np.where(image.clipped, 65535, np.clip(codes, 0, 65534))
        write_png(folder / name, codes.astype(np.uint16))
    write_png(folder / "dark.png", np.full(recording.shape, black, np.uint16))
    return {
        "exposure": scale / 65535,
        "full_scale": 65535,
        "meaning": "merged bracket; pixel / full_scale = radiance x exposure + black level",
        "bracket": list(recording.exposures),
    }


def _write_lights(
    recording: Recording,
    folder: Path,
    names: list[str],
    lights: list[tuple[float, float, float]] | None,
    powers: list[float] | None,
) -> None:
    came = recording.file("lights.lp")
    if lights is None and came is not None:
        with told_as(DataError):
            listed = read_lp(came)
            line_of, _ = lines_of_pictures(
                listed.names, recording.picture_names, str(came), whole=recording.imported
            )
        chosen = listed.xyz[[line_of[led] for led in recording.leds]]
        lights = [(float(x), float(y), float(z)) for x, y, z in chosen]
        if powers is None and (path := recording.power_path) is not None:
            every = read_powers(path, len(listed.names))
            powers = [every[line_of[led]] for led in recording.leds]
    if lights is None:
        return
    if len(lights) != len(names):
        raise DataError(f"there are {len(lights)} lights for {len(names)} pictures")
    text = format_lp(LightList(tuple(names), np.array(lights)))
    (folder / "lights.lp").write_text(text, encoding="utf-8")
    if powers is not None:
        text = "".join(f"{power!r}\n" for power in powers)
        (folder / "power.csv").write_text(text, encoding="utf-8")


def write_png(path: Path, codes: NDArray[Any]) -> None:
    """A grey PNG; raises `DataError` if it cannot be written."""
    good, data = cv2.imencode(".png", codes, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not good:
        raise DataError(f"{path} cannot be written")
    write_atomically(path, data.tobytes())


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
