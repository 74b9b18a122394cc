"""Reading the public data sets as they are published; none is shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.foreign import at_infinity
from calib.lights import Lights
from capture.errors import DataError
from intake.errors import told_as
from intake.light_tables import read_table
from intake.matlab import read_mat
from intake.names import natural
from intake.pictures import read_mask, read_picture
from reconstruct.stack import RecordedStack, Stack, stack_of_radiance

# DiLiGenT's pictures are taken as seen from far away, and say nothing of millimetres.
FAR_FOCAL_WIDTHS = 200.0
FIELD_MM = 100.0


@dataclass(frozen=True, eq=False)
class Sample:
    """One object of a data set.

    Attributes
    ----------
    normals : (H, W, 3) the true ones, world frame, NaN where there are none
    depth_mm : (H, W) true heights, or None where the set has none
    """

    name: str
    stack: Stack
    camera: Camera
    lights: Lights
    mask: NDArray[np.bool_]
    normals: NDArray[np.float64]
    depth_mm: NDArray[np.float64] | None = None


def diligent(folder: Path) -> Iterator[Sample]:
    """DiLiGenT and DiLiGenT-Π: a folder an object, with pictures that ``filenames.txt`` lists.

    ``light_directions.txt`` (N, 3) and ``light_intensities.txt`` (N, 3, red green blue) have a line
    for each; ``mask.png`` is bright on the object; ``Normal_gt.mat`` holds ``Normal_gt``. x points
    right, y up, z to the camera.
    """
    for home in _objects(folder, "light_directions.txt"):
        yield _diligent_object(home)


def luces(folder: Path) -> Iterator[Sample]:
    """LUCES: a folder an object with ``led_params.txt``, ``RAW/01.png`` …, normals and depths."""
    for home in _objects(folder, "led_params.txt"):
        yield _imported(home.parent if home.name == "RAW" else home)


def dpps(folder: Path, field_mm: float = FIELD_MM) -> Iterator[Sample]:
    """The published DPPS layout: ``ob_I_J_K_no1.png`` …, with depth and normals as MAT files."""
    homes = sorted({p.parent for p in folder.rglob("ob_*_no1.png")}, key=natural)
    if not homes:
        raise DataError(f"{folder} holds no DPPS sample: expected pictures ob_1_1_1_no1.png …")
    for home in homes:
        yield _imported(home, field_mm)


READERS: dict[str, Callable[[Path], Iterator[Sample]]] = {
    "luces": luces,
    "diligent": diligent,
    "diligent-pi": diligent,
    "dpps": dpps,
}


def _objects(folder: Path, sign: str) -> list[Path]:
    """Folders below that hold the file which tells an object of the set."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found = sorted(
        {path.parent for path in folder.rglob(sign)}, key=lambda p: natural(p.as_posix())
    )
    if not found:
        raise DataError(f"{folder} holds no object of this set: no folder in it has a {sign}")
    return found


@told_as(DataError)
def _diligent_object(home: Path) -> Sample:
    names = home / "filenames.txt"
    if names.is_file():
        pictures = [home / name.strip() for name in names.read_text("utf-8").split()]
    else:
        pictures = sorted((p for p in home.glob("*.png") if p.stem.isdecimal()), key=natural)
    directions = read_table(home / "light_directions.txt")
    intensity = read_table(home / "light_intensities.txt")
    if not len(pictures) == len(directions) == len(intensity):
        raise DataError(
            f"{home} has {len(pictures)} pictures, {len(directions)} directions and "
            f"{len(intensity)} intensities: each picture needs one of each"
        )
    mask = read_mask(home / "mask.png")
    radiance = np.empty((len(pictures), *mask.shape), np.float32)
    clipped = np.empty(radiance.shape, bool)
    for k, path in enumerate(pictures):
        pixels = read_picture(path).pixels
        if pixels.shape[:2] != mask.shape or pixels.ndim != 3:
            raise DataError(f"{path} is {pixels.shape}, expected colour of {mask.shape}")
        top = np.iinfo(pixels.dtype).max
        each = pixels.astype(np.float64) / top / intensity[k, ::-1]  # blue, green, red
        radiance[k], clipped[k] = each.mean(axis=-1), (pixels == top).any(axis=-1)
    truth = home / "Normal_gt.mat"
    normals = read_mat(truth, "Normal_gt")
    if normals.shape != (*mask.shape, 3):
        raise DataError(f"{truth} is {normals.shape}, the pictures are {mask.shape}")
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.where((length > 0.5) & mask[..., None], normals / np.maximum(length, 1e-9), np.nan)
    camera = Camera.straight_down(mask.shape, FIELD_MM, FAR_FOCAL_WIDTHS * mask.shape[1])
    name = home.name.removesuffix("PNG")
    return Sample(
        name, stack_of_radiance(radiance, clipped), camera, at_infinity(directions), mask, normals
    )


def _imported(home: Path, field_mm: float = FIELD_MM) -> Sample:
    """What ``rig import`` makes of an object."""
    from calib.light_files import read_lights
    from reconstruct.metrology.accuracy import Truth
    from rig.imports import import_capture

    with tempfile.TemporaryDirectory() as place:
        _, recording, _ = import_capture(home, Path(place) / "run", "green", field_mm)
        truth_path, lights_path = recording.truth_path, recording.lights_path
        if truth_path is None or lights_path is None or recording.camera_path is None:
            raise DataError(f"{home} comes without its truth, lights or camera: nothing to compare")
        truth = Truth.read(truth_path)
        mask = np.isfinite(truth.position).all(axis=-1)
        if recording.mask_path is not None:
            mask &= read_mask(recording.mask_path)
        stack = RecordedStack(recording)
        whole = Stack(stack.ids, stack.radiance, stack.clipped, stack.noise_floor, stack.noise_gain)
        normals = truth.normal
        if normals is None:
            raise DataError(f"{home} comes without true normals: nothing to compare")
        return Sample(
            home.name,
            whole,
            Camera.read(recording.camera_path),
            read_lights(lights_path),
            np.asarray(mask),
            np.asarray(normals, np.float64),
            truth.position[..., 2],
        )
