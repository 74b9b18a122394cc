"""From Python: pictures, a camera and lights in, a surface out.

`reconstruct` here and ``rig reconstruct`` take the same path (`reconstruct.part`): the same
pictures give the same surface to the bit. What the program has to tell goes to the logger
``reconstruct``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plausible import refuse_camera
from capture.exchange.images import Way
from capture.exchange.layouts import find
from capture.picture_list import PictureList
from capture.reading import Recording
from capture.verify import open_unharmed
from intake.errors import told_as
from intake.pictures import read_mask
from reconstruct.errors import RequestError
from reconstruct.flat_field import PLATE_REFLECTANCE, with_plate
from reconstruct.lights_of_pictures import read_lights_of
from reconstruct.methods import AUTO, Options
from reconstruct.part import ASSUMED, Measurement, reconstruct_part
from reconstruct.refine.config import RefineConfig
from reconstruct.stack import RecordedStack, Stack, stack_of_radiance
from reconstruct.surface import Surface

Name = str | Path
Images = Recording | Stack | NDArray[Any] | Sequence[NDArray[Any]] | Sequence[Name] | Name
_LOG = logging.getLogger("reconstruct")


class Details(TypedDict, total=False):
    """What `reconstruct` may be told besides, each by its name.

    Attributes
    ----------
    field_mm : width of what a picture shows on the stage, mm
    distance_mm : of the camera from the stage, mm
    power : (N,) relative power of each light, where lights are positions
    plate, plate_reflectance : folder with pictures of a white plate at z = 0, and its reflectance
    leds : use the pictures of these LEDs only
    empty_stage : pictures of the stage alone, under the same lights
    start : first surface of `refine`: auto, halfvector, flat or dpps
    self_calibrate : solve the lights along; by default if they have a covariance
    uncertainty : estimate it; True
    weights : of the network, another file than the shipped one
    device : of the network: cpu, cuda, auto
    memory_gb, threads : working memory there is, and CPU threads (0: all)
    refine : stages of `refine`
    """

    field_mm: float
    distance_mm: float
    power: NDArray[Any] | Sequence[float]
    plate: Name
    plate_reflectance: float
    leds: Sequence[int]
    empty_stage: Recording | Name
    start: str
    self_calibrate: bool
    uncertainty: bool
    weights: Name
    device: str
    memory_gb: float
    threads: int
    refine: RefineConfig


_OPTIONS = ("start", "uncertainty", "device", "memory_gb", "threads", "refine")


def reconstruct(
    images: Images,
    camera: Camera | NDArray[Any] | Name | None = None,
    lights: Lights | NDArray[Any] | Name | None = None,
    *,
    method: str = AUTO,
    height_mm: float | None = None,
    height_sigma_mm: float = 1.0,
    mask: NDArray[np.bool_] | Name | None = None,
    progress: Callable[[str, float], None] | None = None,
    **details: Unpack[Details],
) -> Surface:
    """Reconstruct a surface: normals, and heights in mm, with their uncertainty.

    Parameters
    ----------
    images : a `capture.Recording`; a folder of one; a folder of pictures (read by
        `read_pictures`); files, one per light; (N, H, W) counts of uint8 or uint16; or (N, H, W)
        linear radiance of floats. Where the noise is not known it is estimated from the pictures.
    camera : a `calib.Camera`; a camera.json; (3, 3) K in pixels, for a camera that looks straight
        down; or None: the one that came with the images, or with ``field_mm`` a pinhole over a
        field of that width
    lights : `calib.Lights`; a file (lights.json, .lp, .dome, …); (N, 3) positions in mm, or unit
        vectors for lights far away, in the order of the images; or None: those that came with the
        images
    method : auto (lambert for matt parts, refine for metal), refine, dpps, lambert, halfvector, or
        one that a plug-in brings
    height_mm, height_sigma_mm : mean height of the visible surface above the stage and its
        one-sigma uncertainty, an input unless the part's shadow on the stage tells it; 0 if None
    mask : (H, W) bool, True on the part, or a picture that is bright there
    progress : is told each stage and the share of the work done, 0 to 1; where it raises `Stopped`
        the best surface so far comes back, ``stopped`` in its summary
    **details : see `Details`

    Returns
    -------
    `Surface`: maps in pixels of the images, heights in the world frame (mm, z up)

    Raises
    ------
    ReconstructError, CalibrationError, DataError
        saying in a sentence what does not fit together

    Examples
    --------
    >>> import reconstruct as rc                                         # doctest: +SKIP
    >>> surface = rc.reconstruct("captures/blob")                        # doctest: +SKIP
    """
    if unknown := set(details) - set(Details.__annotations__):
        raise TypeError(f"reconstruct() got an unexpected keyword argument '{min(unknown)}'")
    pictures = images if isinstance(images, Recording | Stack) else read_pictures(images)
    recording = pictures if isinstance(pictures, Recording) else None
    stack = pictures if isinstance(pictures, Stack) else RecordedStack(pictures)
    seen_by = _camera(camera, recording, stack.shape, details)
    lit_by, source = _lights(lights, recording, stack, details)
    flat = None
    if (plate := details.get("plate")) is not None:
        reflectance = details.get("plate_reflectance", PLATE_REFLECTANCE)
        lit_by, flat, _ = with_plate(lit_by, seen_by, Path(plate), reflectance)
    if recording is not None and not recording.radiometric:
        lit_by = replace(lit_by, intensity=None)
    if (leds := details.get("leds")) is not None:
        stack = stack.select(np.flatnonzero(np.isin(stack.ids, list(leds))))
    settings: dict[str, Any] = {key: details[key] for key in _OPTIONS if key in details}  # type: ignore[literal-required]
    if (weights := details.get("weights")) is not None:
        settings["weights"] = Path(weights)
    if progress is not None:
        settings["progress"] = progress
    options = Options(
        height_mm=0.0 if height_mm is None else height_mm,
        height_sigma_mm=height_sigma_mm,
        mask=_mask(mask, recording, stack.shape),
        flat=flat,
        self_calibrate=details.get("self_calibrate", lit_by.covariance is not None),
        say=_warn,
        **settings,
    )
    bare = _empty_stage(details.get("empty_stage"), stack)
    surface = reconstruct_part(
        method,
        Measurement(stack, seen_by, lit_by, source, bare),
        options,
        ASSUMED if height_mm is None else "height_mm",
        height_given=height_mm is not None,
    )
    summary = {**surface.summary, "leds": [int(led) for led in stack.ids]}
    if recording is not None and (unfit := recording.unfit):
        _LOG.warning("%s", unfit)
        summary["unfit_for_metrology"] = unfit
    return replace(surface, summary=summary)


def read_pictures(
    images: NDArray[Any] | Sequence[NDArray[Any]] | Sequence[Name] | Name,
    *,
    dark: NDArray[Any] | Name | None = None,
    exposure: float | Sequence[float] | None = None,
    full_scale: int | None = None,
    channel: Way = None,
    clipped: NDArray[np.bool_] | None = None,
) -> Recording | Stack:
    """Pictures of one part under one light each, ready for `reconstruct`.

    Parameters
    ----------
    images : a folder (of a recording, or of pictures, with the dark picture, the exposure, the
        lights and the camera that lie there); files in the order of the lights; (N, H, W) counts of
        uint8 or uint16; (N, H, W) linear radiance of floats
    dark : picture of the black level: a file, or (H, W) counts
    exposure : one relative exposure, or one per picture; None if it is not known
    full_scale : the count that means 1; found from the counts where None
    channel : of colour pictures: red, green or blue; or a `capture.Decoding`
    clipped : (N, H, W) where radiance is only a lower bound

    Raises
    ------
    DataError
        if they are no pictures, or not alike
    """
    if isinstance(images, str | Path):
        folder = Path(images)
        if (folder / "run.jsonl").is_file():
            return open_unharmed(folder)
        return PictureList.of_source(find(folder, channel))
    if len(images) and all(isinstance(image, str | Path) for image in images):
        if isinstance(dark, np.ndarray):
            raise RequestError("of pictures in files the dark picture is a file too")
        return PictureList.of_files(
            [Path(str(image)) for image in images],
            dark=dark,
            exposure=exposure,
            full_scale=full_scale,
            channel=channel,
        )
    arrays = np.asarray(images)
    if np.issubdtype(arrays.dtype, np.floating):
        return stack_of_radiance(arrays, clipped)
    if isinstance(dark, str | Path):
        raise RequestError("of pictures in arrays the dark picture is an array too")
    return PictureList.of_arrays(arrays, dark=dark, exposure=exposure, full_scale=full_scale)


def _warn(line: str) -> None:
    """What the user should read; the rest is logged where it is said (`reconstruct.part`)."""
    note, _, rest = line.partition("note: ")
    if not note and rest:
        _LOG.warning("%s", rest)


def _camera(
    given: Camera | NDArray[Any] | Name | None,
    recording: Recording | None,
    shape: tuple[int, int],
    details: Details,
) -> Camera:
    field, distance = details.get("field_mm"), details.get("distance_mm")
    if given is None and field is None and recording is not None:
        given = recording.camera_path
    if isinstance(given, str | Path):
        camera = Camera.read(Path(given))
        refuse_camera(camera, str(given))
        return camera
    if isinstance(given, Camera):
        refuse_camera(given, "the camera")
        return given
    if given is None:
        if field is None:
            raise RequestError(
                "no camera is known: give a Camera, a camera.json, K, or the width of the field "
                "(field_mm=110)"
            )
        focal = None if distance is None else distance * shape[1] / field
        return Camera.straight_down(shape, field, focal)
    K = np.asarray(given, dtype=np.float64)
    if K.shape != (3, 3) or not K[0, 0] > 0:
        raise RequestError(f"K is {K.shape}: expected (3, 3) with the focal length in pixels")
    if (field is None) == (distance is None):
        raise RequestError(
            "K says nothing of millimetres: give the width of the field (field_mm=110) or the "
            "distance of the camera from the stage (distance_mm=450)"
        )
    away = distance if distance is not None else field * K[0, 0] / shape[1]  # type: ignore[operator]
    return Camera(shape[1], shape[0], K, t=np.array([0.0, 0.0, float(away)]))


def _lights(
    given: Lights | NDArray[Any] | Name | None,
    recording: Recording | None,
    stack: Stack,
    details: Details,
) -> tuple[Lights, str]:
    """The lights, and what they are called in messages."""
    if given is None and recording is not None:
        given = recording.lights_path
    if given is None:
        raise RequestError(
            "no lights are known: give Lights, a light file, or (N, 3) positions in mm"
        )
    if isinstance(given, Lights):
        return given, "the lights"
    if isinstance(given, str | Path):
        path = Path(given)
        if recording is None:
            from calib.light_files import read_lights

            return read_lights(path), path.name
        lights, remarks = read_lights_of(recording, path)
        for remark in remarks:
            _warn(f"note: {remark}")
        return lights, path.name
    xyz = np.asarray(given, dtype=np.float64)
    if xyz.shape != (len(stack), 3):
        raise RequestError(
            f"lights are {xyz.shape} for {len(stack)} pictures: expected ({len(stack)}, 3), one "
            "position in mm per picture"
        )
    from calib.foreign import at_infinity

    power = details.get("power")
    unit = np.allclose(np.linalg.norm(xyz, axis=1), 1.0, atol=1e-3)
    power = None if power is None else np.asarray(power, dtype=np.float64)
    lights = at_infinity(xyz, power) if unit else Lights.at(xyz, power)
    return replace(lights, ids=stack.ids.copy()), "the lights"


def _empty_stage(given: Recording | Name | None, stack: Stack) -> Stack | None:
    if given is None:
        return None
    empty = given if isinstance(given, Recording) else read_pictures(given)
    if isinstance(empty, Stack):
        return empty
    return RecordedStack(empty, [int(led) for led in stack.ids])


def _mask(
    given: NDArray[np.bool_] | Name | None, recording: Recording | None, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    if given is None and recording is not None:
        given = recording.mask_path
    if given is None or isinstance(given, np.ndarray):
        return None if given is None else given.astype(bool)
    with told_as(RequestError):
        mask = read_mask(Path(given))
    if mask.shape != shape:
        raise RequestError(
            f"the mask {given} is {mask.shape[1]}×{mask.shape[0]} px, the pictures are "
            f"{shape[1]}×{shape[0]}"
        )
    return mask
