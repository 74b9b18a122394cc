"""What ``rig calibrate-lights`` does with pictures that exist, and how its result is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from calib.camera import Camera
from calib.certificate import Calibration
from calib.distant import distant_lights
from calib.errors import CalibrationError
from calib.from_pictures import about_the_spheres, ball_radius, measure_balls, places_of, renumbered
from calib.light_files import read_lights, write_lights
from calib.lights import Lights
from calib.photometric import fit_photometry
from calib.pictures import PictureSet, probe_windows, read_camera, refuse_missing
from calib.plate import PlateData, PlatePictures, measure_plate
from calib.plausible import refuse_camera, refuse_lights
from calib.solve import solve_directions, solve_lights
from calib.views import SphereView
from capture.claim import Claim, claim
from capture.journal import JOURNAL
from reconstruct.lights_of_pictures import matched
from rig.calibration_summary import Say, advise, summary
from rig.exits import GOOD, OUT_OF_TOLERANCE, UsageError
from rig.workspace import Workspace

HISTORY = "history"
REPORT = "calibration.html"


@dataclass(frozen=True)
class Order:
    """What was typed for ``rig calibrate-lights``."""

    source: Path | None
    diameter_mm: float | None
    plate: Path | None = None
    plate_reflectance: float | None = None
    plate_height_mm: float = 0.0
    nominal: Path | None = None
    nominal_sigma_mm: float = 5.0
    positions: Path | None = None
    camera: Path | None = None
    focal_px: float | None = None
    spheres: int | None = None
    out: Path | None = None
    replace: bool = False
    workspace: Path | None = None
    poses: int = 6
    simulate: bool = False
    size: str | None = None
    seed: int = 0
    leds: str | None = None
    yes: bool = False


def from_pictures(order: Order, say: Say = print) -> int:
    """Calibrate from folders of pictures; returns the exit code."""
    with claim(target(order), replacing=order.replace) as out:
        return _from_pictures(order, out, say)


def _from_pictures(order: Order, out: Claim, say: Say) -> int:
    if order.positions is not None:
        return _photometry_only(order, out, say)
    if order.source is None or order.diameter_mm is None:
        raise UsageError(
            "say where the pictures are and how big the ball is: --from FOLDER "
            "--sphere-diameter 25.4"
        )
    radius_mm = ball_radius(order.diameter_mm)
    camera = find_camera(order, order.source)
    balls = measure_balls(
        {pose: pictures_at(pose) for pose in _poses(order.source)},
        camera, radius_mm, windows=probe_windows(order.source), focal_px=order.focal_px,
        spheres=order.spheres, say=say,
    )  # fmt: skip
    views, camera, names = balls.views, balls.camera, balls.names
    ids = list(names)
    provenance = {"source": order.source.name, "sphere_diameter_mm": order.diameter_mm}
    if len(views) == 1 and order.nominal is None:
        lights, missing = solve_directions(views[0], camera, radius_mm)
        say_so = "One place of the ball fixes directions only"
        provenance["method"] = "one place of a mirror ball"
        return _keep_directions(lights, missing, camera, out, provenance, say_so, say)
    parallel = order.focal_px is None and balls.unplaced
    far = distant_lights(views, camera, radius_mm, parallel) if order.nominal is None else None
    if far is not None:
        if order.plate is not None:
            raise CalibrationError(
                "a white plate tells the powers of near lights only: leave --plate out. " + far.why
            )
        provenance["method"] = f"directions, {len(views)} places of a mirror ball"
        return _keep_directions(far.lights, far.missing, camera, out, provenance, far.why, say)
    plate = None
    if order.plate is not None:
        plate_camera = _camera_at(order.plate) or camera
        plate = measure_plate(
            pictures_at(order.plate, ids), plate_camera, height_mm=order.plate_height_mm
        )
        provenance["plate"] = order.plate.name
    nominal = read_lights(order.nominal) if order.nominal is not None else None
    if nominal is not None:
        nominal = _named_as(nominal, names, str(order.nominal), say)
    result = solve_lights(
        views,
        camera,
        radius_mm,
        ids,
        plate=plate,
        reflectance=order.plate_reflectance,
        nominal=nominal,
        nominal_sigma_mm=order.nominal_sigma_mm,
    )
    if balls.unplaced:
        result = about_the_spheres(result)
    return keep(result, out, order, provenance, views, plate, say)


# pictures -------------------------------------------------------------------------------------
def pictures_at(folder: Path, ids: Sequence[int] | None = None) -> PlatePictures:
    """The pictures of a folder, or of a recording."""
    if (folder / JOURNAL).is_file():
        from rig.recorded import RecordedPictures

        return RecordedPictures(folder)
    return renumbered(PictureSet.open(folder), ids)


def _camera_at(folder: Path) -> Camera | None:
    if (folder / JOURNAL).is_file():
        from capture.reading import Recording

        path = Recording.open(folder).camera_path
        if path is not None:
            return Camera.read(path)
    return read_camera(folder)


def find_camera(order: Order, folder: Path) -> Camera | None:
    """The camera that was named, else the pictures' own, else the workspace's."""
    if order.camera is not None:
        return Camera.read(order.camera)
    camera = _camera_at(folder)
    if camera is None and order.workspace is not None:
        path = Workspace.at(order.workspace).calibration / "camera.json"
        camera = Camera.read(path) if path.is_file() else None
    return camera


def _poses(folder: Path) -> list[Path]:
    refuse_missing(folder)
    recorded = sorted(p for p in folder.iterdir() if (p / JOURNAL).is_file())
    if recorded:
        return recorded
    if (folder / JOURNAL).is_file():
        return [folder]
    return places_of(folder)


def _named_as(
    lights: Lights, pictures: PlatePictures | dict[int, str], source: str, say: Say
) -> Lights:
    """Lights of a list that names pictures, numbered as those pictures are."""
    listed = lights.provenance.pop("names", None)
    if listed is None:
        return lights
    names = pictures if isinstance(pictures, dict) else pictures.names
    lights, said = matched(lights, listed, names, source, len(lights) == len(names))
    if said is not None:
        say(f"note: {said}")
    return lights


# results --------------------------------------------------------------------------------------
def target(order: Order) -> Path:
    """Where the result goes; refuses to overwrite before any work is done."""
    if order.out is not None:
        out = order.out
    elif order.workspace is not None or order.source is None:
        out = Workspace.at(order.workspace).calibration / "lights.json"
    else:
        out = Path("lights.json")
    if out.exists() and not order.replace:
        raise UsageError(
            f"{out} exists: name another --out, or --replace it (the old one is kept in {HISTORY}/)"
        )
    return out


def put_aside(path: Path) -> None:
    """Keep a file that is about to be replaced in ``history/``, under its time of writing."""
    history = path.parent / HISTORY
    history.mkdir(exist_ok=True)
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in count():
        kept = history / f"{path.stem}-{stamp}{f'-{number}' if number else ''}{path.suffix}"
        if kept.exists():
            continue
        try:
            os.link(path, kept)  # so that the file is there all the time
        except OSError:  # a file system without links
            shutil.copy2(path, kept)
        return


def stamped(lights: Lights, provenance: dict[str, Any]) -> Lights:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(lights, provenance={**lights.provenance, "date": now, **provenance})


def _keep_directions(
    lights: Lights,
    missing: Mapping[int, str],
    camera: Camera,
    out: Claim,
    provenance: dict[str, Any],
    why: str,
    say: Say,
) -> int:
    write_lights(stamped(lights, provenance), out.file, camera)
    out.publish_files(put_aside)
    say(f"{why}: {len(lights)} lights in {out.target}")
    for led, reason in missing.items():
        say(f"LED {led}: {reason}")
    return OUT_OF_TOLERANCE if missing else GOOD


def keep(
    result: Calibration,
    out: Claim,
    order: Order,
    provenance: dict[str, Any],
    views: Sequence[SphereView],
    plate: PlateData | None,
    say: Say,
) -> int:
    """Write lights and report, and say what came out; returns the exit code."""
    from rig.report.calibration import write_calibration_report

    _refuse_implausible(result)
    provenance = {
        **provenance,
        "method": "mirror ball" + (" and white plate" if plate is not None else ""),
        "poses": list(result.views),
        "sigma_px": result.sigma_px,
        "held_out_px": result.held_out_px,
        "left_out": list(result.left_out),
        "missing": {str(k): v for k, v in result.missing.items()},
        "weak": {str(k): v for k, v in result.weak.items()},
        "vignetting": None if result.vignetting is None else result.vignetting.tolist(),
    }
    result = replace(result, lights=stamped(result.lights, provenance))
    write_lights(result.lights, out.file, result.camera)
    write_calibration_report(result, out.work / REPORT, views=views)
    out.publish_files(put_aside)
    say(summary(result))
    advise(result, say)
    say(f"Lights in {out.target}, report in {out.target.with_name(REPORT)}")
    return OUT_OF_TOLERANCE if result.missing else GOOD


def _refuse_implausible(result: Calibration) -> None:
    """Refuse lights that cannot be, where the camera is one above a stage."""
    if result.camera is None:
        return
    try:
        refuse_camera(result.camera, "the camera")
    except CalibrationError:
        return
    try:
        refuse_lights(result.lights, result.camera, "the calibration")
    except CalibrationError as error:
        raise CalibrationError(
            f"{error}; nothing was written: is the diameter the ball's, the camera that of these "
            "pictures, and was the ball moved far enough between its places? Lamps that are this "
            "far away are calibrated by their directions: give one place of the ball"
        ) from error


def _photometry_only(order: Order, out: Claim, say: Say) -> int:
    if order.plate is None:
        raise UsageError("with --positions only powers are solved: give the white --plate FOLDER")
    assert order.positions is not None
    positions = read_lights(order.positions)
    # The powers beside the positions are what is to be measured, not to be believed.
    positions = replace(positions, power=np.ones(len(positions)), intensity=None)
    camera = (
        Camera.read(order.camera) if order.camera is not None else _camera_at(order.plate)
    ) or find_camera(order, order.plate)
    if camera is None:
        raise UsageError(f"{order.plate} has no camera.json: name one with --camera")
    pictures = pictures_at(order.plate, [int(k) for k in positions.ids])
    positions = _named_as(positions, pictures, str(order.positions), say)
    plate = measure_plate(pictures, camera, height_mm=order.plate_height_mm)
    found = fit_photometry(plate, positions, camera, reflectance=order.plate_reflectance)
    lights = stamped(
        found.lights,
        {
            "method": "white plate, positions given",
            "positions": order.positions.name,
            "plate": order.plate.name,
            "vignetting": found.vignetting.tolist(),
        },
    )
    write_lights(lights, out.file, camera)
    out.publish_files(put_aside)
    say(
        f"{len(lights)} powers to {100 * np.median(found.power_sigma):.2f} % (one sigma, median), "
        f"lobe exponent {lights.lobe[0]:.2f}; the plate fits to "
        f"{100 * np.median(found.residual):.2f} %"
    )
    for led in found.dark_ids:
        say(f"LED {led} does not light the plate")
    say(f"Lights in {out.target}")
    return OUT_OF_TOLERANCE if found.dark_ids else GOOD
