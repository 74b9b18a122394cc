"""Import and export where pictures and calibration meet: `capture` knows only the pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.foreign import read_luces
from calib.light_files import read_lights, to_data
from calib.plausible import refuse_camera
from calib.published import (
    CAMERA_MM,
    LIGHTS,
    POSITION_SIGMA_MM,
    published_camera,
    published_lights,
)
from capture.errors import DataError
from capture.exchange.decoding import Decoding
from capture.exchange.encoding import gamma_remark
from capture.exchange.exporting import export_recording
from capture.exchange.images import Way, read_grey
from capture.exchange.importing import record
from capture.exchange.layouts import find
from capture.exchange.preparing import prepared, white_of
from capture.exchange.published import luces_truth
from capture.exchange.source import Source
from capture.reading import Recording
from capture.recording import Snapshot
from intake.arrays import read_npz
from intake.errors import told_as
from reconstruct.metrology.accuracy import Truth
from rig.exits import UsageError

CHANNELS = ("red", "green", "blue", "luminance")


def import_capture(
    folder: Path,
    run: Path,
    channel: str | None = None,
    field_mm: float = 100.0,
    *,
    curve: str = "",
    white: Path | None = None,
) -> tuple[Path, Recording, tuple[str, ...]]:
    """Import a capture and return the run, its recording and what the user should know.

    Raises
    ------
    UsageError
        if there is no such channel, or the field has no width
    DataError, CalibrationError
        saying what is wrong with the folder
    """
    if channel is not None and channel not in CHANNELS:
        raise UsageError(f"there is no channel '{channel}': choose {', '.join(CHANNELS)}")
    if not field_mm > 0 or not np.isfinite(field_mm):
        raise UsageError(f"--field-mm is {field_mm:g}: expected a width above 0")
    balance = white_of(white, curve) if white is not None else (1.0, 1.0, 1.0)
    way: Way = cast("Way", channel)
    if curve or white is not None or channel == "luminance":
        way = Decoding(cast("Any", channel), curve, balance)
    source = prepared(find(folder, way, field_mm))
    extra: dict[str, Snapshot] = {}
    remarks = source.remarks
    if source.layout == "luces":
        extra = _luces_calibration(source)
    elif source.layout == "dpps":
        extra, said = _published_calibration(source, field_mm)
        remarks = (*remarks, *said)
    elif (camera := source.files.get("calibration/camera.json")) is not None:
        described = Camera.read(cast("Path", camera))
        _check_camera(described, source)
        try:
            refuse_camera(described, "camera.json")
        except CalibrationError as error:
            remarks = (f"{error}; mend it before 'rig reconstruct', which refuses it", *remarks)
    if isinstance(truth := source.files.get("calibration/truth.npz"), Path):
        Truth.read(truth)  # a damaged one would stop the report of a reconstruction
    doubt = source.unfit or gamma_remark(source.pictures, source.channel)
    remarks = (*remarks, doubt) if doubt else remarks
    done = record(replace(source, remarks=remarks), run, extra)
    return done, Recording.open(done), remarks


def _published_calibration(
    source: Source, field_mm: float
) -> tuple[dict[str, Snapshot], tuple[str, ...]]:
    """The published rig, and where the part is: its background is black in every picture."""
    pictures = [read_grey(path, source.channel)[0] for path in source.pictures]
    for path, picture in zip(source.pictures, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            sizes = [f"{p.shape[1]}×{p.shape[0]}" for p in (picture, pictures[0])]
            raise DataError(f"{path} is {sizes[0]}, the first picture is {sizes[1]}")
    brightest = np.max(pictures, axis=0)
    camera = published_camera(brightest.shape, field_mm)
    extra: dict[str, Snapshot] = {"calibration/camera.json": camera.to_json()}
    said = [f"the published rig's camera comes with it, {CAMERA_MM:g} mm above the field"]
    if len(source.pictures) == LIGHTS:
        extra["calibration/lights.json"] = to_data(published_lights())
        said.append(
            f"the published rig's lights come with it, each known to {POSITION_SIGMA_MM:g} mm: "
            "better ones can be given with --lights"
        )
    else:
        said.append(
            f"{len(source.pictures)} pictures are not the published {LIGHTS}: "
            "name their lights with --lights"
        )
    part = cv2.morphologyEx((brightest > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3)))
    if 0 < part.sum() < part.size:
        _, mask = cv2.imencode(".png", 255 * part)
        extra["calibration/mask.png"] = mask.tobytes()
    return extra, tuple(said)


def _check_camera(camera: Camera, source: Source) -> None:
    height, width = read_grey(source.pictures[0], source.channel or "green")[0].shape
    if (width, height) != (camera.width, camera.height):
        raise DataError(
            f"camera.json is for {camera.width}×{camera.height} pictures, these are "
            f"{width}×{height}"
        )


def _luces_calibration(source: Source) -> dict[str, Snapshot]:
    """Camera, lights and ground truth that LUCES writes in its own way."""
    parameters = cast("Path", source.files["calibration/led_params.txt"])
    lights, camera = read_luces(parameters)
    if len(lights) != len(source.pictures):
        raise DataError(f"{parameters} has {len(lights)} LEDs for {len(source.pictures)} pictures")
    _check_camera(camera, source)
    extra: dict[str, Snapshot] = {
        "calibration/camera.json": camera.to_json(),
        "calibration/lights.json": to_data(lights),
    }
    depth_file = cast("Path | None", source.files.get("calibration/zgt.npz"))
    normals = source.files.get("calibration/normals.png")
    if depth_file is not None and normals is not None:
        with told_as(DataError):
            arrays = read_npz(depth_file)
        if "zgt" not in arrays or arrays["zgt"].ndim != 2:
            raise DataError(f"{depth_file} has no 'zgt' of depths (H, W)")
        depth = np.asarray(arrays["zgt"], dtype=np.float64)
        depth = np.where(np.abs(depth) < 1e7, depth, np.nan)
        rays = camera.rays() @ camera.R.T
        extra["calibration/truth.npz"] = luces_truth(
            depth,
            cast("Path", normals),
            cast("Path | None", source.files.get("calibration/mask.png")),
            rays / rays[..., 2:],
            float(camera.t[2]),
        )
    return extra


def export_capture(recording: Recording, out: Path, exposure: float | None = None) -> Path:
    """Write an exchange folder with the lights in force, whatever file they are in."""
    positions: list[tuple[float, float, float]] | None = None
    powers: list[float] | None = None
    path = recording.lights_path
    if path is not None and path.name != "lights.lp":
        lights = read_lights(path)
        place = {int(led): k for k, led in enumerate(lights.ids)}
        missing = [led for led in recording.leds if led not in place]
        if missing:
            raise DataError(f"{path} has no LED {missing[0]}, which was captured")
        chosen = [place[led] for led in recording.leds]
        positions = [cast("Any", tuple(map(float, lights.position_mm[k]))) for k in chosen]
        powers = [float(lights.power[k]) for k in chosen]
    copies = [path] if path is not None and path.name == "lights.json" else []
    return export_recording(recording, out, exposure, positions, powers, copies)
