"""What ``rig calibrate-lights`` does with pictures that exist, and how its result is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from calib.camera import Camera
from calib.certificate import Calibration
from calib.errors import CalibrationError, NoSphereError
from calib.light_files import read_lights, write_lights
from calib.lights import Lights
from calib.photometric import fit_photometry
from calib.pictures import PictureSet, pose_folders, probe_windows, read_camera
from calib.plate import PlateData, PlatePictures, measure_plate
from calib.plausible import refuse_camera, refuse_lights
from calib.solve import solve_directions, solve_lights
from calib.sphere import assumed_camera
from calib.views import SphereView, measure_views
from capture.claim import Claim, claim
from capture.journal import JOURNAL
from intake.names import numbered_lights
from rig.calibration_summary import Say, advise, summary
from rig.exits import GOOD, OUT_OF_TOLERANCE, UsageError
from rig.lights_of_pictures import matched
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
    views, camera, names = views_of(order.source, camera, radius_mm, order, say)
    ids = list(names)
    provenance = {"source": order.source.name, "sphere_diameter_mm": order.diameter_mm}
    if len(views) == 1 and order.nominal is None:
        return _directions(views[0], camera, radius_mm, out, order, provenance, say)
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
    if np.linalg.norm(camera.centre_mm) == 0:
        result = _about_the_spheres(result)
    return keep(result, out, order, provenance, views, plate, say)


def ball_radius(diameter_mm: float) -> float:
    if not 0 < diameter_mm < 1e4:
        raise UsageError(f"a ball cannot have a diameter of {diameter_mm} mm")
    return diameter_mm / 2


# pictures -------------------------------------------------------------------------------------
def pictures_at(folder: Path, ids: Sequence[int] | None = None) -> PlatePictures:
    """The pictures of a folder, or of a recording."""
    if (folder / JOURNAL).is_file():
        from rig.recorded import RecordedPictures

        return RecordedPictures(folder)
    pictures = PictureSet.open(folder)
    if ids is not None and len(ids) == len(pictures) and set(pictures.ids) != set(ids):
        # Counted from 1 elsewhere, and in the order of the names here too.
        pictures = replace(pictures, ids=tuple(ids))
    return pictures


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
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    recorded = sorted(p for p in folder.iterdir() if (p / JOURNAL).is_file())
    if recorded:
        return recorded
    if (folder / JOURNAL).is_file():
        return [folder]
    windows = probe_windows(folder)
    poses = [pose for pose in pose_folders(folder) if not windows or pose.name in windows]
    if not poses:
        raise UsageError(
            f"{folder} holds no pictures of a ball: expected one subfolder per place of the ball "
            "with led_001.png … and ambient.png"
        )
    return poses


def views_of(
    folder: Path, camera: Camera | None, radius_mm: float, order: Order, say: Say
) -> tuple[list[SphereView], Camera, dict[int, str]]:
    """All spheres of all poses, the camera whose pixels they are in, the LEDs' pictures' names."""
    views: list[SphereView] = []
    failures: list[NoSphereError] = []
    windows = probe_windows(folder)
    if windows and camera is None:
        camera = _uncut_camera(windows, order.focal_px)
        if order.focal_px is None:
            say("no camera.json and no --focal: the view is taken to be parallel")
    whole = camera
    names: dict[int, str] = {}
    poses = _counted_alike({pose: pictures_at(pose) for pose in _poses(folder)})
    for pose, pictures in poses.items():
        own = Camera.read(pose / "camera.json") if (pose / "camera.json").is_file() else camera
        if pose.name in windows and own is not None:
            own = own.cropped(*windows[pose.name])
        if own is None:
            own = assumed_camera(_shape(pictures), order.focal_px)
            if order.focal_px is None:
                say(f"{pose.name}: no camera.json; the view is taken to be parallel")
        try:
            found = measure_views(pictures, own, radius_mm, name=pose.name, spheres=order.spheres)
        except NoSphereError as error:
            failures.append(error)
            continue
        if whole is None:
            whole = own
        if own is not whole:
            # A window of the whole picture: the same camera, its pixels counted from elsewhere.
            same = np.allclose(own.K[:2, :2], whole.K[:2, :2]) and np.allclose(own.R, whole.R)
            if not same or not np.allclose(own.t, whole.t):
                raise UsageError(f"{pose.name} was taken with another camera than the rest")
            shift = whole.K[:2, 2] - own.K[:2, 2]
            found = [view.shifted(float(shift[0]), float(shift[1])) for view in found]
        for view in found:
            eye = view.sphere.centre_mm.round(2).tolist()
            say(
                f"{view.name}: ball at {eye} mm, {100 * view.sphere.coverage:.0f} % of its "
                f"outline, {sum(bool(b) for b in view.blobs.values())} of {len(view.blobs)} lights"
            )
        views += found
        names |= pictures.names
    if failures and len(views) < 2:
        raise failures[0]
    for failure in failures:
        say(f"{failure} This place is left out.")
    assert whole is not None
    return views, whole, dict(sorted(names.items()))


def _counted_alike(poses: dict[Path, PlatePictures]) -> dict[Path, PlatePictures]:
    """Lights counted from 1 in all places of the ball alike, as an import counts them.

    Raises
    ------
    UsageError
        where the names only order the pictures, and places differ in their number
    """
    folders = {p: s for p, s in poses.items() if isinstance(s, PictureSet)}
    counts = {len(pictures): pose for pose, pictures in folders.items()}
    told = all(numbered_lights([p.name for p in s.paths]) is not None for s in folders.values())
    if len(counts) > 1 and not told:
        (few, one), *_, (many, other) = sorted(counts.items())
        raise UsageError(
            f"{one} holds {few} pictures and {other} {many}, and their names do not say which "
            "light is which: give each place one picture per light, or names such as led_007.png"
        )
    every = sorted({led for pictures in folders.values() for led in pictures.ids})
    place = {led: number for number, led in enumerate(every, start=1)}
    return poses | {
        pose: replace(pictures, ids=tuple(place[led] for led in pictures.ids))
        for pose, pictures in folders.items()
    }


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


def _uncut_camera(windows: dict[str, tuple[int, int, int, int]], focal_px: float | None) -> Camera:
    """A camera for photographs of which only windows are left: seen through their middle."""
    height = max(y + height for _, y, _, height in windows.values())
    width = max(x + width for x, _, width, _ in windows.values())
    return assumed_camera((height, width), focal_px)


def _shape(pictures: PlatePictures) -> tuple[int, int]:
    height, width = pictures.read(0)[0].shape
    return height, width


def _about_the_spheres(result: Calibration) -> Calibration:
    """With an assumed camera: the world's origin put between the spheres."""
    middle = result.spheres_mm.mean(axis=0)
    lights = replace(result.lights, position_mm=result.lights.position_mm - middle)
    camera = result.camera
    if camera is not None:
        camera = replace(camera, t=camera.t + camera.R @ middle)
    return replace(result, lights=lights, spheres_mm=result.spheres_mm - middle, camera=camera)


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


def _directions(
    view: SphereView,
    camera: Camera,
    radius_mm: float,
    out: Claim,
    order: Order,
    provenance: dict[str, Any],
    say: Say,
) -> int:
    lights, missing = solve_directions(view, camera, radius_mm)
    lights = stamped(lights, {**provenance, "method": "one place of a mirror ball"})
    write_lights(lights, out.file, camera)
    out.publish_files(put_aside)
    say(f"One place of the ball fixes directions only: {len(lights)} lights in {out.target}")
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
            "pictures, and was the ball moved far enough between its places?"
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
