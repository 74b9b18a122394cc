"""Lights from folders of pictures of a mirror ball and of a white plate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calib.camera import Camera
from calib.certificate import Calibration
from calib.distant import distant_lights
from calib.errors import CalibrationError, NoSphereError, RequestError
from calib.lights import Lights
from calib.pictures import PictureSet, pose_folders, probe_windows, read_camera
from calib.plate import PlatePictures, measure_plate
from calib.solve import NOMINAL_SIGMA_MM, solve_lights
from calib.sphere import assumed_camera
from calib.views import SphereView, measure_views
from intake.names import numbered_lights

Say = Callable[[str], None]


def _quiet(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, eq=False)
class BallPictures:
    """A mirror ball at several places of the stage.

    Attributes
    ----------
    views : one per ball and place
    camera : in whose pixels they are
    names : of the LEDs' pictures
    """

    views: list[SphereView]
    camera: Camera
    names: dict[int, str]

    @property
    def unplaced(self) -> bool:
        """Whether nobody knows where the camera stood: the world begins in it."""
        return not self.camera.centre_mm.any()


def calibrate_lights(
    mirror: Path | str,
    sphere_diameter_mm: float,
    *,
    camera: Camera | Path | str | None = None,
    focal_px: float | None = None,
    plate: Path | str | None = None,
    plate_reflectance: float | None = None,
    plate_height_mm: float = 0.0,
    nominal: Lights | None = None,
    say: Say = _quiet,
) -> Calibration:
    """Solve where the LEDs are, and with a white plate how strong and where they point.

    Parameters
    ----------
    mirror : folder with a folder of pictures per place of the ball
    camera : that took them; by default the camera.json that lies beside them
    focal_px : of a camera that nobody calibrated
    plate : folder with pictures of a white plate at ``plate_height_mm``
    plate_reflectance : of the plate, for absolute intensity
    nominal : drawing of the dome; it lets LEDs be solved that show at one place only
    say : receives a line per place of the ball

    Returns
    -------
    `Calibration`; its ``lights`` go into `reconstruct.reconstruct` or `calib.write_lights`

    Raises
    ------
    CalibrationError
        saying what is missing; of lights far away, of which the ball tells directions only (these
        `calib.distant.distant_lights` gives, and ``rig calibrate-lights`` writes)
    """
    folder, radius_mm = Path(mirror), ball_radius(sphere_diameter_mm)
    if isinstance(camera, str | Path):
        camera = Camera.read(Path(camera))
    balls = measure_balls(
        {pose: PictureSet.open(pose) for pose in places_of(folder)},
        camera or read_camera(folder), radius_mm, windows=probe_windows(folder),
        focal_px=focal_px, say=say,
    )  # fmt: skip
    ids = list(balls.names)
    if nominal is None:
        parallel = focal_px is None and balls.unplaced
        far = distant_lights(balls.views, balls.camera, radius_mm, parallel)
        if far is not None:
            raise CalibrationError(f"{far.why}: 'rig calibrate-lights' writes a file of them")
    plate_data = None
    if plate is not None:
        pictures = renumbered(PictureSet.open(Path(plate)), ids)
        own = read_camera(Path(plate)) or balls.camera
        plate_data = measure_plate(pictures, own, height_mm=plate_height_mm)
    result = solve_lights(
        balls.views, balls.camera, radius_mm, ids, plate=plate_data,
        reflectance=plate_reflectance, nominal=nominal, nominal_sigma_mm=NOMINAL_SIGMA_MM,
    )  # fmt: skip
    if balls.unplaced:
        result = about_the_spheres(result)
    return result


def ball_radius(diameter_mm: float) -> float:
    """Half of a diameter that a ball can have; raises `RequestError`."""
    if not 0 < diameter_mm < 1e4:
        raise RequestError(f"a ball cannot have a diameter of {diameter_mm} mm")
    return diameter_mm / 2


def places_of(folder: Path) -> list[Path]:
    """The folders of the places of the ball; raises `CalibrationError` if there is none."""
    windows = probe_windows(folder)
    poses = [pose for pose in pose_folders(folder) if not windows or pose.name in windows]
    if not poses:
        raise CalibrationError(
            f"{folder} holds no pictures of a ball: expected one subfolder per place of the ball "
            "with led_001.png … and ambient.png"
        )
    return poses


def renumbered(pictures: PictureSet, ids: Sequence[int] | None) -> PictureSet:
    """Pictures counted from 1 elsewhere, and in the order of the names here too."""
    if ids is not None and len(ids) == len(pictures) and set(pictures.ids) != set(ids):
        return replace(pictures, ids=tuple(ids))
    return pictures


def measure_balls(
    poses: Mapping[Path, PlatePictures],
    camera: Camera | None,
    radius_mm: float,
    *,
    windows: Mapping[str, tuple[int, int, int, int]] | None = None,
    focal_px: float | None = None,
    spheres: int | None = None,
    say: Say = _quiet,
) -> BallPictures:
    """Find the balls of all places.

    Parameters
    ----------
    poses : pictures by the folder of their place
    camera : of all of them, where it is known
    windows : x, y, width, height of the picture that a place's pictures are cut from
    focal_px : of a camera that nobody calibrated
    spheres : in each picture

    Raises
    ------
    CalibrationError
        if there is no ball, or places were taken with different cameras
    """
    views: list[SphereView] = []
    failures: list[NoSphereError] = []
    windows = windows or {}
    if windows and camera is None:
        camera = _uncut_camera(windows, focal_px)
        if focal_px is None:
            say("no camera.json and no --focal: the view is taken to be parallel")
    whole = camera
    names: dict[int, str] = {}
    for pose, pictures in _counted_alike(poses).items():
        own = Camera.read(pose / "camera.json") if (pose / "camera.json").is_file() else camera
        if pose.name in windows and own is not None:
            own = own.cropped(*windows[pose.name])
        if own is None:
            own = assumed_camera(_shape(pictures), focal_px)
            if focal_px is None:
                say(f"{pose.name}: no camera.json; the view is taken to be parallel")
        try:
            found = measure_views(pictures, own, radius_mm, name=pose.name, spheres=spheres)
        except NoSphereError as error:
            failures.append(error)
            continue
        if whole is None:
            whole = own
        if own is not whole:
            # A window of the whole picture: the same camera, its pixels counted from elsewhere.
            same = np.allclose(own.K[:2, :2], whole.K[:2, :2]) and np.allclose(own.R, whole.R)
            if not same or not np.allclose(own.t, whole.t):
                raise RequestError(f"{pose.name} was taken with another camera than the rest")
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
    return BallPictures(views, whole, dict(sorted(names.items())))


def _counted_alike(poses: Mapping[Path, PlatePictures]) -> dict[Path, PlatePictures]:
    """Lights counted from 1 in all places of the ball alike, as an import counts them.

    Raises
    ------
    RequestError
        where the names only order the pictures, and places differ in their number
    """
    folders = {p: s for p, s in poses.items() if isinstance(s, PictureSet)}
    counts = {len(pictures): pose for pose, pictures in folders.items()}
    told = all(numbered_lights([p.name for p in s.paths]) is not None for s in folders.values())
    if len(counts) > 1 and not told:
        (few, one), *_, (many, other) = sorted(counts.items())
        raise RequestError(
            f"{one} holds {few} pictures and {other} {many}, and their names do not say which "
            "light is which: give each place one picture per light, or names such as led_007.png"
        )
    every = sorted({led for pictures in folders.values() for led in pictures.ids})
    place = {led: number for number, led in enumerate(every, start=1)}
    return dict(poses) | {
        pose: replace(pictures, ids=tuple(place[led] for led in pictures.ids))
        for pose, pictures in folders.items()
    }


def _uncut_camera(
    windows: Mapping[str, tuple[int, int, int, int]], focal_px: float | None
) -> Camera:
    """A camera for photographs of which only windows are left: seen through their middle."""
    height = max(y + height for _, y, _, height in windows.values())
    width = max(x + width for x, _, width, _ in windows.values())
    return assumed_camera((height, width), focal_px)


def _shape(pictures: PlatePictures) -> tuple[int, int]:
    height, width = pictures.read(0)[0].shape
    return height, width


def about_the_spheres(result: Calibration) -> Calibration:
    """With an assumed camera: the world's origin put between the spheres."""
    middle = result.spheres_mm.mean(axis=0)
    lights = replace(result.lights, position_mm=result.lights.position_mm - middle)
    camera = result.camera
    if camera is not None:
        camera = replace(camera, t=camera.t + camera.R @ middle)
    return replace(result, lights=lights, spheres_mm=result.spheres_mm - middle, camera=camera)
