"""Captures with known truth, in exchange folders: what validation outside our own data looks at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.light_files import read_lights, read_powers
from calib.lights import Lights
from capture.exchange.images import code_scale, read_grey
from capture.exchange.layouts import find
from reconstruct.dpps.predict import Network, predict_with
from reconstruct.flat_field import with_plate
from reconstruct.methods import Options
from reconstruct.stack import Stack
from reconstruct.surface import Surface

# A rough sensor, where an exchange folder says nothing of its noise: 12,000 electrons, 3 of noise
WELL, READ = 12000.0, 3.0


@dataclass(frozen=True, eq=False)
class Captured:
    """Pictures of a part whose surface is known.

    Attributes
    ----------
    height_mm : (H, W); normals : (H, W, 3), world frame; mask : (H, W) where both are known
    radiometric : brightness can be compared with that of other captures
    """

    name: str
    stack: Stack
    camera: Camera
    lights: Lights
    height_mm: NDArray[np.float64]
    normals: NDArray[np.float64]
    mask: NDArray[np.bool_]
    radiometric: bool = True

    @property
    def mean_height_mm(self) -> float:
        return float(self.height_mm[self.mask].mean())

    @property
    def field_mm(self) -> float:
        """Width of the picture at the part's mean height."""
        return self.camera.width * self.camera.pixel_mm(self.mean_height_mm)

    def errors(self, surface: Surface) -> tuple[float, float]:
        """Mean angle between normals in degrees, height RMSE in mm with the mean removed."""
        seen = self.mask & np.isfinite(surface.height_mm)
        cosine = np.clip((surface.normals * self.normals).sum(-1)[seen], -1, 1)
        gap = (surface.height_mm - self.height_mm)[seen]
        return float(np.degrees(np.arccos(cosine)).mean()), float(gap.std())

    def predicted(self, model: Network) -> Surface:
        """The surface by a network alone."""
        asked = Options(mask=self.mask, height_mm=self.mean_height_mm)
        return predict_with(model, {}, self.stack, self.camera, self.lights, asked)


def read_captured(folder: Path) -> Captured:
    """Read an exchange folder with ``truth.npz``; its LEDs are taken as Lambertian.

    Raises `capture.errors.DataError` or `CalibrationError` where something is missing or wrong.
    """
    source = find(folder)
    scale = code_scale(source.pictures)
    full = source.full_scale or scale.full_scale
    codes = np.stack([read_grey(path)[0] for path in source.pictures])
    black = read_grey(source.dark)[0] if source.dark is not None else np.zeros(1)
    level = float(np.mean(black))
    exposure = np.broadcast_to(np.asarray(source.exposure or 1.0), len(codes))[:, None, None]
    unit = float(np.median(exposure))
    with np.load(folder / "truth.npz") as truth:
        position, normals = truth["position"], truth["normal"]
    mask = np.isfinite(position).all(-1) & (np.abs(normals).sum(-1) > 0)
    lights = read_lights(folder / "lights.lp")
    lights = replace(lights, lobe=np.ones(len(lights)))
    return Captured(
        folder.name,
        Stack(
            lights.ids,
            ((codes - level) / full / exposure).astype(np.float32),
            codes >= min(scale.saturation, full),
            (READ / WELL / unit) ** 2,
            1 / WELL / unit,
        ),
        Camera.read(folder / "camera.json"),
        lights,
        position[..., 2].astype(np.float64),
        normals.astype(np.float64),
        mask,
        source.exposure is not None,
    )


def read_with_plate(folder: Path, plate: Path) -> tuple[Captured, NDArray[np.float32] | None]:
    """The same with true powers, axes and intensity by a white plate, and the lens's flat field.

    Intensity only where the capture's exposure is known: the plate's was another one.
    """
    capture = read_captured(folder)
    powers = read_powers(folder / "power.csv", len(capture.lights))
    lights, flat, _ = with_plate(replace(capture.lights, power=powers), capture.camera, plate)
    if not capture.radiometric:
        lights = replace(lights, intensity=None)
    return replace(capture, lights=lights), flat


def captured_in(folder: Path) -> list[Captured]:
    """Every capture with a truth directly below a folder; matt plates are left out."""
    return [
        read_captured(path.parent)
        for path in sorted(folder.glob("*/truth.npz"))
        if path.parent.name != "white"
    ]
