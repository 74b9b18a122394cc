"""Readers of folders: captures, recordings and results, whose files must fit each other."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np

from calib.foreign import format_luces
from calib.light_files import format_lights
from calib.pictures import PictureSet
from capture.journal import PART
from capture.plan import Plan
from capture.reading import Recording
from capture.recording import RecordingWriter
from capture.verify import open_unharmed, verify
from reconstruct.export.results import read_results, write_results
from reconstruct.metrology.grid import grid_of
from rig.imports import import_capture
from tests.fuzz.readers import (
    RNG,
    SIZE,
    Reader,
    camera,
    lights,
    mat,
    picture,
    pixels,
    surface,
    truth,
)  # fmt: skip


def folders(folder: Path) -> list[Reader]:
    """Captures, recordings and results: many files that must fit each other."""
    exchange = {f"led_{k:03d}.png": picture(".png", pixels()) for k in range(1, 6)}
    exchange |= {
        "dark.png": picture(".png", (pixels() // 100).astype(np.uint16)),
        "mask.png": picture(".png", np.full((SIZE, SIZE), 255, np.uint8)),
        "lights.lp": format_lights(lights(), ".lp").encode(),
        "power.csv": b"1\n1\n0.9\n1\n1.1\n",
        "camera.json": json.dumps(camera().to_json()).encode(),
        "exposure.json": b'{"exposure": [1.0, 1.0, 2.0, 1.0, 1.0], "full_scale": 65535}',
        "truth.npz": truth(),
    }
    luces = {f"{k:02d}.png": picture(".png", pixels()) for k in range(1, 6)}
    depth = io.BytesIO()
    np.savez_compressed(depth, zgt=np.full((SIZE, SIZE), 390.0))
    luces |= {
        "led_params.txt": format_luces(lights(), camera()).encode(),
        "mask.png": exchange["mask.png"],
        "normals.png": picture(".png", np.dstack([pixels()] * 3)),
        "zgt.npz": depth.getvalue(),
    }
    dpps = {f"ob_1_1_1_no{k}.png": picture(".png", pixels(np.uint8)) for k in range(1, 6)}
    dpps["depth_obj1j1k1.mat"] = mat(folder, {"position_map": RNG.random((6, 6))})
    dpps["normal_obj1j1k1.mat"] = mat(folder, {"normal_map": np.ones((6, 6, 3))})
    readers = [
        Reader(f"{name} import", _imported, files, tuple(files))
        for name, files in (("exchange", exchange), ("luces", luces), ("dpps", dpps))
    ]
    plate = exchange | {"exposure.json": b'{"exposure": 2.0}'}
    readers.append(Reader("calibration pictures", _calibration_pictures, plate, tuple(plate)))
    run = _recorded(folder)
    names = ("run.jsonl", "run.jsonl", "run.jsonl", "SHA256SUMS", "frames/0001_led001.tif")
    readers.append(Reader("recording", _recording_used, run, names))
    readers.append(Reader("journal alone", _journal_used, run, ("run.jsonl",)))
    readers.append(Reader("frames", _frames_used, run, ("frames/0000_dark.tif", names[-1])))
    write_results(surface(), folder / "result")
    result = _contents(folder / "result")
    result.pop("surface.ply")
    readers.append(
        Reader("result", lambda place: grid_of(read_results(place)), result, tuple(result))
    )
    return readers


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _recorded(folder: Path) -> dict[str, bytes]:
    plan = Plan((1, 2, 3), dark_frames=False, repeat_first=False)
    start = {"plan": plan.to_json(), "devices": {"board": {"name": "x"}}, "bits": 12,
             "noise": {"floor": 1e-6, "gain": 1e-4}, "black_level": 10.0}  # fmt: skip
    with RecordingWriter.create(folder / "run", start, {"calibration/camera.json": {}}) as writer:
        writer.append(pixels() // 20, {"index": 0, "kind": "dark", "led": 0, "exposure_us": 8e3})
        for index, led in enumerate((1, 2, 3), 1):
            entry = {"index": index, "kind": "light", "led": led, "exposure_us": 8e3, "gain_db": 0}
            writer.append(pixels() // 20, entry)
        writer.judge(1, "good", {"reason": ""})
        writer.finish()
    return _contents(folder / "run")


def _imported(folder: Path) -> None:
    run = folder.parent / "imported"
    try:
        _, recording, _ = import_capture(folder, run)
        recording.linear(recording.leds[0])
        open_unharmed(recording.folder)
    finally:
        for place in (run, run.with_name(run.name + PART)):
            shutil.rmtree(place, ignore_errors=True)


def _calibration_pictures(folder: Path) -> None:
    found = PictureSet.open(folder)
    assert found.exposure is None or found.exposure > 0
    found.read(0)


def _recording_used(folder: Path) -> None:
    verify(folder)
    recording = Recording.open(folder)
    recording.linear(recording.leds[0])
    open_unharmed(recording.folder)


def _journal_used(folder: Path) -> None:
    recording = Recording.open(folder, unfinished=True)
    recording.radiance()
    recording.radiance_noise()


def _frames_used(folder: Path) -> None:
    recording = Recording.open(folder)
    recording.radiance()
