"""From a recording to a results folder: gathers camera, lights, plate, mask and datum."""

from __future__ import annotations

import contextlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plausible import refuse_camera
from calib.validity import check_validity
from capture.claim import Claim, claim, claim_first, is_there
from capture.reading import Recording
from capture.verify import open_unharmed
from intake import pictures
from intake.errors import InputError, MissingError
from reconstruct.errors import Stopped
from reconstruct.flat_field import PLATE_REFLECTANCE, with_plate
from reconstruct.lights_of_pictures import read_lights_of
from reconstruct.methods import AUTO, MIN_LIGHTS, Options, available, device_named
from reconstruct.part import ASSUMED, Measurement, reconstruct_part
from reconstruct.stack import RecordedStack
from reconstruct.surface import Surface
from rig.config import NAME, Config, read_config
from rig.datum import DATUMS, apply_datum
from rig.exits import UsageError
from rig.simple_camera import simple_camera
from rig.workspace import EMPTY_STAGE, RESULTS, Workspace

Computing = Callable[[str, float], None]
STARTS = ("auto", "halfvector", "flat", "dpps")


def unseen(stage: str, fraction: float) -> None:
    """Show no progress."""


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked for on the command line; None where the workspace decides."""

    name: str
    method: str = AUTO
    lights: Path | None = None
    plate: Path | None = None
    plate_reflectance: float | None = None
    mask: Path | None = None
    height_mm: float | None = None
    height_sigma_mm: float | None = None
    datum: str = "none"
    memory_gb: float = 4.0
    device: str = "cpu"
    start: str = "auto"
    weights: Path | None = None
    self_calibrate: bool | None = None
    use_leds: str | None = None
    field_mm: float | None = None
    focal_px: float | None = None
    out: Path | None = None
    workspace: Path | None = None
    binned: int = 1  # means of so many times so many pixels: a quick look at large pictures


def refuse_nonsense(request: Request) -> None:
    """Refuse what could be done with no recording.

    Raises
    ------
    UsageError
        a method, start, datum or number that there is not
    MissingError
        weights that are not there
    ReconstructError
        a device that this machine lacks
    """
    if request.method not in (AUTO, *available()):
        names = ", ".join((AUTO, *available()))
        raise UsageError(f"there is no method '{request.method}': choose {names}")
    if request.start not in STARTS:
        raise UsageError(f"there is no start '{request.start}': choose {', '.join(STARTS)}")
    if request.weights is not None and not request.weights.is_file():
        raise MissingError(f"there are no weights at {request.weights}: 'rig train' makes some")
    if request.datum not in DATUMS:
        raise UsageError(f"there is no datum '{request.datum}': choose {', '.join(DATUMS)}")
    for option, value in (
        ("--height-sigma", request.height_sigma_mm),
        ("--memory", request.memory_gb),
    ):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{option} is {value:g}: expected a number above 0")
    if request.height_mm is not None and not math.isfinite(request.height_mm):
        raise UsageError(f"--height is {request.height_mm:g}: expected millimetres")
    device_named(request.device)


def result_names(run: Path) -> Iterator[Path]:
    """Where results of a run may go: ``results/01``, ``02``, …"""
    for number in range(1, 10_000):
        yield run / RESULTS / f"{number:02d}"


def _in_force(came_with: Path | None, name: str, request: Request) -> Path | None:
    """The calibration file that came with a recording, or else the workspace's."""
    if came_with is not None:
        return came_with
    path = Workspace.at(request.workspace).calibration / name
    return path if path.is_file() else None


def gather_lights(
    recording: Recording, request: Request, camera: Camera, say: Callable[[str], None] = print
) -> tuple[Lights, NDArray[np.float32] | None, dict[str, Any]]:
    """Lights in force, the flat field of the plate, and where both came from.

    Raises
    ------
    UsageError, CalibrationError, MissingError
        no lights are known, or the plate does not belong to them, or is not there
    """
    path = request.lights or _in_force(recording.lights_path, "lights.json", request)
    if path is None:
        raise UsageError(
            f"no lights are known for {recording.folder}: name a file with --lights, or calibrate "
            "with 'rig calibrate-lights'"
        )
    lights, remarks = read_lights_of(recording, path)
    for remark in remarks:
        say(f"note: {remark}")
    origin: dict[str, Any] = {"lights": path.name, **lights.provenance}
    origin.pop("names", None)
    flat = None
    if request.plate is not None:
        if not request.plate.is_dir():
            raise MissingError(f"there is no folder {request.plate} with pictures of a white plate")
        lights, flat, plate = with_plate(
            lights, camera, request.plate, request.plate_reflectance or PLATE_REFLECTANCE
        )
        origin |= plate
    return lights, flat, origin


def empty_stage_of(
    recording: Recording, request: Request, leds: tuple[int, ...]
) -> RecordedStack | None:
    """Pictures of the stage alone, if the workspace has them for this rig; None else.

    They count only if brightness can be compared and every LED and the size of the picture agree.
    """
    folder = Workspace.at(request.workspace).parts / EMPTY_STAGE
    if not folder.is_dir() or not recording.radiometric or recording.folder.parent == folder:
        return None
    try:
        empty = open_unharmed(Workspace.at(request.workspace).latest_run(EMPTY_STAGE))
    except UsageError:
        return None
    devices = ((r.start.get("devices") or {}).get("camera") for r in (recording, empty))
    same = len({str(device) for device in devices}) == 1
    known = set(leds) <= set(empty.leds) and empty.shape == recording.shape
    return RecordedStack(empty, leds) if same and known and empty.radiometric else None


def _binned(
    measured: Measurement, mask: NDArray[np.bool_] | None, factor: int
) -> tuple[Measurement, NDArray[np.bool_] | None]:
    """The same seen by a camera of pixels that many times as large."""
    from reconstruct.on_stage import binned

    camera, empty = measured.camera.binned(factor), measured.empty_stage
    small = replace(
        measured,
        stack=binned(measured.stack, factor),
        camera=camera,
        empty_stage=None if empty is None else binned(empty, factor),
    )
    if mask is None:
        return small, None
    height, width = camera.shape
    blocks = mask[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return small, np.asarray(blocks.mean(axis=(1, 3)) > 0.5)


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) what a mask picture covers (see `intake.pictures.read_mask`); raises `InputError`."""
    mask = pictures.read_mask(path)
    if mask.shape != shape:
        raise InputError(
            f"the mask {path} is {mask.shape[1]}×{mask.shape[0]} px, the pictures are "
            f"{shape[1]}×{shape[0]}"
        )
    return mask


def _config(request: Request) -> Config | None:
    folder = request.workspace or Path()
    return read_config(folder / NAME) if (folder / NAME).is_file() else None


def run_reconstruction(
    request: Request, say: Callable[[str], None] = print, progress: Computing = unseen
) -> tuple[Surface, Path]:
    """Reconstruct and write the results folder; returns the surface and its folder."""
    with reconstruction(request, say, progress) as (surface, claimed):
        pass
    return surface, claimed.target


@contextlib.contextmanager
def reconstruction(
    request: Request, say: Callable[[str], None] = print, progress: Computing = unseen
) -> Iterator[tuple[Surface, Claim]]:
    """Reconstruct; the result takes its place, whole, when the context ends without an error.

    The folder is claimed before any work is done. What else belongs to the result can be written
    into `Claim.work` meanwhile. `progress` is that of `reconstruct.methods.Options`: where it
    raises `Stopped`, the best surface so far comes, marked ``stopped`` in its summary.

    Raises
    ------
    KeyboardInterrupt
        it was stopped before there was any surface
    """
    refuse_nonsense(request)
    run = Workspace.at(request.workspace).recording(request.name)
    if request.out is None:
        claiming = claim_first(result_names(run))
    elif is_there(request.out):
        raise UsageError(f"{request.out} exists already and is kept: name another --out")
    else:
        claiming = claim(request.out)
    with claiming as claimed:
        yield _reconstructed(request, run, claimed.work, say, progress), claimed
        claimed.publish()


def _reconstructed(
    request: Request, run: Path, out: Path, say: Callable[[str], None], progress: Computing
) -> Surface:
    """Reconstruct a recording and write the result and its report into a folder."""
    started = time.perf_counter()
    recording = open_unharmed(run)
    camera_path = _in_force(recording.camera_path, "camera.json", request)
    simple = request.field_mm is not None or request.focal_px is not None
    if camera_path is None and not simple:
        raise UsageError(
            f"no camera is known for {run}: calibrate with 'rig calibrate-camera', or make a "
            "simple one of the width of the field (--field-mm 110) or the focal length (--focal)"
        )
    if camera_path is not None and simple:
        raise UsageError(f"{camera_path} is known: leave --field-mm and --focal out")
    camera = (
        Camera.read(camera_path)
        if camera_path is not None
        else simple_camera(recording.shape, request.field_mm, request.focal_px, say)
    )
    refuse_camera(camera, str(camera_path))
    config = _config(request)
    lights, flat, origin = gather_lights(recording, request, camera, say)
    devices = recording.start.get("devices") or {}
    for warning in (
        check_validity(
            lights,
            board=devices.get("board"),
            camera=devices.get("camera"),
            max_age_days=config.calibration.max_age_days if config else None,
        )
        if lights.provenance.get("board")
        else []
    ):
        say(f"note: {warning}")
    if not recording.radiometric and lights.intensity is not None:
        lights = replace(lights, intensity=None)
    leds: tuple[int, ...] = recording.leds
    if request.use_leds is not None:
        from capture.plan import parse_leds

        asked = set(parse_leds(request.use_leds))
        leds = tuple(led for led in leds if led in asked)
        if len(leds) < MIN_LIGHTS:
            raise UsageError(
                f"--leds {request.use_leds} leaves {len(leds)} pictures: at least {MIN_LIGHTS}"
            )
    stack = RecordedStack(recording, leds)
    mask_path = request.mask or recording.mask_path
    mask = read_mask(mask_path, stack.shape) if mask_path is not None else None
    height = request.height_mm
    sigma = request.height_sigma_mm
    told = "--height"
    if height is None:
        height, told = (config.stage.height_mm, NAME) if config else (0.0, ASSUMED)
    if sigma is None:
        sigma = config.stage.height_sigma_mm if config else 1.0
    self_calibrate = request.self_calibrate
    if self_calibrate is None:
        self_calibrate = lights.covariance is not None
    empty = empty_stage_of(recording, request, leds)
    measured = Measurement(stack, camera, lights, str(origin["lights"]), empty)
    if request.binned > 1:
        measured, mask = _binned(measured, mask, request.binned)
    options = Options(
        height_mm=height, height_sigma_mm=sigma, mask=mask, flat=flat, start=request.start,
        self_calibrate=self_calibrate, device=request.device, memory_gb=request.memory_gb,
        weights=request.weights, say=say, progress=progress,
    )  # fmt: skip
    gathered = time.perf_counter()
    try:
        surface = reconstruct_part(
            request.method, measured, options, told, height_given=request.height_mm is not None
        )
    except Stopped:
        raise KeyboardInterrupt from None
    from reconstruct.export.results import write_results

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = {**surface.summary["seconds"], "gather": gathered - started}
    summary = {
        **surface.summary,
        "part": run.parent.name,
        "recording": run.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("dpps-rig"),
        "calibration": origin,
        "mask": mask_path.name if mask_path is not None else None,
        "empty_stage": empty.name if empty and "outline" in surface.summary else None,
        "leds": [int(led) for led in leds],
        "device": request.device,
        "seconds": seconds,
        "peak_memory_gb": peak / (1e9 if sys.platform == "darwin" else 1e6),
    }
    if recording.unfit:
        say(f"note: {recording.unfit}")
        summary["unfit_for_metrology"] = recording.unfit
    surface = replace(surface, summary=summary)
    if request.datum != "none":
        surface = apply_datum(surface, request.datum)
    write_results(surface, out)
    from rig.report.result import write_result_report

    write_result_report(
        surface, out, title=run.parent.name,
        truth=recording.truth_path if request.binned == 1 else None,
        provenance={"recording": run.name},
    )  # fmt: skip
    return surface
