"""Reading calibration pictures from folders, as linear fractions of full scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.lp import read_lp
from intake.errors import told_as
from intake.files import read_text
from intake.names import Role, is_picture, match_names, natural, numbered_lights, roles
from intake.pictures import MAX_SIDE, read_picture
from intake.trees import finite, read_object, whole

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_CLIPPED = 0.9995


@told_as(CalibrationError)
def read_raw(path: Path) -> NDArray[Any]:
    """A picture as stored, one channel (the mean of a colour picture's); `CalibrationError`."""
    pixels = read_picture(path).pixels
    if pixels.ndim == 3:
        pixels = np.rint(pixels.mean(axis=2)).astype(pixels.dtype)
    return pixels


def srgb_to_linear(value: Image) -> Image:
    """Undo the sRGB curve (IEC 61966-2-1) of a photograph, fractions in and out."""
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def _by_role(folder: Path) -> dict[Role, list[Path]]:
    """The pictures of a folder by what their names say they are for, in natural order."""
    paths = sorted((path for path in folder.iterdir() if is_picture(path)), key=natural)
    found: dict[Role, list[Path]] = {role: [] for role in Role}
    for path, role in zip(paths, roles([path.name for path in paths]), strict=True):
        found[role].append(path)
    return found


def find_pictures(folder: Path) -> list[Path]:
    """The pictures lit by one light each, in the natural order of their names.

    An ``.lp`` in the folder may say which they are; else every picture is one that is not dark, in
    room light, a mask or the like by its name. Raises `CalibrationError` where an ``.lp`` names
    some of the pictures and some that are not there.
    """
    found = _by_role(folder)
    everything = [path for role in Role for path in found[role]]
    for listing in sorted(p for p in folder.iterdir() if p.suffix.lower() == ".lp"):
        names = read_lp(listing).names
        places = match_names(names, [path.name for path in everything])
        if places is None:
            continue
        if None in places:
            name = names[places.index(None)]
            raise CalibrationError(f"{listing} names '{name}', which is not in {folder}")
        chosen = [everything[place] for place in places if place is not None]
        for path in chosen:
            if path not in found[Role.LIT]:
                raise CalibrationError(
                    f"{listing} gives a light to '{path.name}', by its name a picture for another "
                    "purpose: take the line out, or rename the picture"
                )
        return sorted(chosen, key=natural)
    return found[Role.LIT]


@dataclass(frozen=True)
class PictureSet:
    """One picture per light in a folder, with the dark and ambient pictures beside them.

    Attributes
    ----------
    folder, paths : where they lie, in the order of the lights
    ids : light of each picture, from 1
    """

    folder: Path
    paths: tuple[Path, ...]
    ids: tuple[int, ...]

    @staticmethod
    def open(folder: Path, ids: tuple[int, ...] | None = None) -> PictureSet:
        """Pictures of a folder.

        Names such as ``led_007.png`` tell the light; others, a camera's running file numbers
        among them, only the order, and lights are counted from 1.
        """
        folder = Path(folder)
        refuse_missing(folder)
        paths = find_pictures(folder)
        if not paths:
            raise CalibrationError(f"{folder} holds no pictures lit by single lights")
        if ids is None:
            told = numbered_lights([path.name for path in paths])
            ids = told or tuple(range(1, len(paths) + 1))
        return PictureSet(folder, tuple(paths), ids)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.paths[index])

    @property
    def names(self) -> dict[int, str]:
        """Name of each light's picture."""
        return {led: path.name for led, path in zip(self.ids, self.paths, strict=True)}

    @cached_property
    def photographs(self) -> bool:
        """Whether these are 8-bit JPEG photographs, to be taken as sRGB."""
        return self.paths[0].suffix.lower() in (".jpg", ".jpeg")

    @cached_property
    def full_scale(self) -> float:
        """Counts of a saturated pixel; right-aligned 10 to 14 bits in 16 are recognised."""
        sample = [read_raw(path) for path in self.paths[:: max(1, len(self.paths) // 8)]]
        if sample[0].dtype == np.uint8:
            return 255.0
        if sample[0].dtype != np.uint16:
            raise CalibrationError(f"{self.paths[0]} has pixels of type {sample[0].dtype}")
        top = max(int(picture.max()) for picture in sample)
        return next((float(2**bits - 1) for bits in (10, 12, 14) if top == 2**bits - 1), 65535.0)

    @cached_property
    def exposure(self) -> float | None:
        """Relative exposure of ``exposure.json``; None if these are not comparable with others."""
        path = self.folder / "exposure.json"
        if not path.is_file():
            return None
        with told_as(CalibrationError):
            return finite(read_object(path).get("exposure"), f"{path}: exposure", 1e-12, 1e12)

    def _of_role(self, role: Role) -> Path | None:
        """The picture of a role, the one of the plainest name."""
        return min(_by_role(self.folder)[role], key=lambda path: len(path.stem), default=None)

    @cached_property
    def dark(self) -> Image | float:
        """Black level as a fraction of full scale; 0 without a dark picture."""
        path = self._of_role(Role.DARK)
        return 0.0 if path is None else (read_raw(path) / self.full_scale).astype(np.float32)

    @cached_property
    def ambient(self) -> Image | None:
        """The picture in room light (LEDs off) or else the mask: where a ball's outline shows."""
        path = self._of_role(Role.AMBIENT) or self._of_role(Role.MASK)
        return None if path is None else (read_raw(path) / self.full_scale).astype(np.float32)

    def read(self, index: int) -> tuple[Image, Mask]:
        """Fraction of full scale without black level, linear, and where it is clipped."""
        fraction = (read_raw(self.paths[index]) / np.float32(self.full_scale)).astype(np.float32)
        clipped = fraction >= (0.98 if self.photographs else _CLIPPED)
        if self.photographs:
            return srgb_to_linear(fraction), clipped
        return fraction - self.dark, clipped


def read_camera(folder: Path) -> Camera | None:
    """The ``camera.json`` of a folder or of the one above it; None where there is none."""
    for place in (folder, folder.parent):
        if (place / "camera.json").is_file():
            return Camera.read(place / "camera.json")
    return None


def refuse_missing(folder: Path) -> None:
    """Raise `CalibrationError` where there is no such folder."""
    if not folder.is_dir():
        raise CalibrationError(f"there is no folder {folder}: see that it is there and spelled so")


def pose_folders(folder: Path) -> list[Path]:
    """The poses of a mirror-sphere set: subfolders with pictures, in the order of their names."""
    refuse_missing(folder)

    def key(path: Path) -> tuple[list[int], str]:
        return [int(number) for number in re.findall(r"\d+", path.name)], path.name

    poses = [path for path in folder.iterdir() if path.is_dir() and find_pictures(path)]
    return sorted(poses, key=key) or ([folder] if find_pictures(folder) else [])


def probe_windows(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """Windows of one large picture that a set in the layout of the PSBox toolbox is made of.

    Its folders ``LightProbe-1`` … hold what was cut out around each mirror sphere, and
    ``ManualData/probes_bbox.txt`` from where: x0 x1 y0 y1 of each, counted from 1.

    Returns
    -------
    first column, first row, width and height by the folder's name; nothing for other layouts
    """
    path = folder / "ManualData" / "probes_bbox.txt"
    if not path.is_file():
        return {}
    with told_as(CalibrationError):
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
        try:
            rows = [[whole(float(word), str(path), 1, MAX_SIDE) for word in line] for line in lines]
            x0, x1, y0, y1 = np.array(rows, dtype=np.int64).reshape(-1, 4).T
        except ValueError as error:
            raise CalibrationError(f"{path}: expected x0 x1 y0 y1 on each line") from error
    windows = zip(x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1, strict=True)
    return {
        f"LightProbe-{number}": (int(x), int(y), int(width), int(height))
        for number, (x, y, width, height) in enumerate(windows, start=1)
    }
