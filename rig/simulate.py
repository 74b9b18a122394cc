"""The virtual rig: cameras, domes of LEDs, and scenes with a known truth.

A scene answers `capture.world.Scene`: photo-electrons per µs that one LED makes in each pixel.
Everything it shows is computed by `reconstruct.optics`, the model that reconstruction inverts.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.errors import ReconstructError
from reconstruct.optics.interreflection import indirect, upsampled
from reconstruct.optics.lights import disc_intensity
from reconstruct.optics.material import Material
from reconstruct.optics.render import render
from reconstruct.shapes.base import Shape
from reconstruct.shapes.catalogue import SHAPES, shape
from reconstruct.shapes.sampling import Sampled, sample
from reconstruct.shapes.staged import STAGED
from rig.workspace import EMPTY_STAGE

Map = NDArray[np.float32]

FIELD_MM = 110.0
DISTANCE_MM = 420.0
LED_RADIUS_MM = 2.0
LED_RADIANCE = 6250.0
ELECTRONS_PER_US = 0.4  # of radiance 1: a chromium highlight fills 12,000 e- in about 10 ms
LENS_BLUR_PX = 0.6
CACHE_BYTES = 768e6
TOGETHER = 6  # pictures that are drawn at once


@dataclass(frozen=True, eq=False)
class VirtualRig:
    """Camera and lights as they are, and what one would know of them before calibrating.

    Attributes
    ----------
    camera, lights : the truth
    nominal_mm : (N, 3) LED positions of the drawing that the dome was built from
    led_radius_mm : radius of the emitting discs
    """

    camera: Camera
    lights: Lights
    nominal_mm: NDArray[np.float64]
    led_radius_mm: float = LED_RADIUS_MM


def virtual_camera(
    shape_px: tuple[int, int] = (512, 512),
    field_mm: float = FIELD_MM,
    distance_mm: float = DISTANCE_MM,
    tilt_deg: float = 0.5,
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0),
    seed: int = 0,
) -> Camera:
    """A camera that looks down at the stage.

    Parameters
    ----------
    shape_px : (H, W)
    field_mm : width of the stage seen across the image; distance_mm : from the stage
    tilt_deg : the optical axis misses the vertical by about this much, in a random direction
    distortion : k1 k2 p1 p2 k3
    """
    rng = np.random.default_rng(seed)
    height, width = shape_px
    focal = distance_mm * width / field_mm
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    vector = np.append(rng.standard_normal(2), 0.0)
    vector *= np.radians(tilt_deg) / np.linalg.norm(vector)
    R = cv2.Rodrigues(vector)[0] @ np.diag([1.0, -1.0, -1.0])
    t = np.array([*rng.normal(0, 0.5, 2), distance_mm])
    return Camera(width, height, K, np.asarray(distortion, dtype=float), R, t)


def dome(
    count: int = 96, radius_mm: float = 280.0, seed: int = 0, built_mm: float = 3.0
) -> tuple[Lights, NDArray[np.float64]]:
    """An irregular dome of LEDs and the drawing it was built from.

    LEDs lie 15° to 68° off the vertical, spread by the golden angle; each sits `built_mm` (one
    sigma per axis) from where the drawing has it, points at the stage within 2°, and differs in
    power by up to 15 %.

    Returns
    -------
    lights : the dome as built; nominal_mm : (count, 3) the drawing
    """
    rng = np.random.default_rng([seed, count])
    low, high = np.cos(np.radians(68.0)), np.cos(np.radians(15.0))
    z = high - (high - low) * (np.arange(count) + 0.5) / count
    azimuth = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    ring = np.sqrt(1 - z**2)
    nominal = radius_mm * np.column_stack([ring * np.cos(azimuth), ring * np.sin(azimuth), z])
    position = nominal + rng.normal(0, built_mm, nominal.shape)
    aim = rng.normal(0, np.radians(2.0) * radius_mm, nominal.shape)
    axis = aim - position
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    lights = Lights(
        ids=np.arange(1, count + 1),
        position_mm=position,
        power=rng.uniform(0.85, 1.15, count),
        axis=axis,
        lobe=np.ones(count),
        intensity=disc_intensity(LED_RADIANCE, LED_RADIUS_MM),
        provenance={"virtual": True, "seed": seed},
    )
    return lights, nominal


def virtual_rig(
    led_count: int = 96, shape_px: tuple[int, int] = (512, 512), seed: int = 0
) -> VirtualRig:
    """The preset rig: 96 LEDs about 280 mm from the stage, camera at 420 mm, field of 110 mm."""
    lights, nominal = dome(led_count, seed=seed)
    return VirtualRig(virtual_camera(shape_px, seed=seed), lights, nominal)


class RenderedScene:
    """A part under the virtual rig; pictures are rendered when asked for and kept for a while.

    Parameters
    ----------
    rig : camera and lights
    points_mm, normals : (H, W, 3) surface of each pixel
    material : what it is made of
    bounce : add inter-reflection
    disc_points : points that stand for an LED's disc; 1 for a point light
    blur_px : sigma of the lens
    ambient_e : room light on a white plate, photo-electrons per µs
    electrons_per_us : per unit of radiance
    """

    def __init__(
        self,
        rig: VirtualRig,
        points_mm: NDArray[Any],
        normals: NDArray[Any],
        material: Material,
        *,
        bounce: bool = True,
        disc_points: int = 1,
        blur_px: float = LENS_BLUR_PX,
        ambient_e: float = 1e-4,
        electrons_per_us: float = ELECTRONS_PER_US,
    ) -> None:
        self.rig = rig
        self.points_mm = np.asarray(points_mm, dtype=np.float32)
        self.normals = np.asarray(normals, dtype=np.float32)
        self.material = material
        self.shape = rig.camera.shape
        self.led_count = len(rig.lights)
        self.electrons_per_us = electrons_per_us
        self._bounce = bounce
        self._disc_points = disc_points
        self._blur_px = blur_px
        self._ambient_e = ambient_e
        self._pictures: OrderedDict[int, Map] = OrderedDict()

    def radiance(self, led: int) -> Map:
        """(H, W) radiance by LED `led` (from 1), before the lens."""
        return np.asarray(self._radiances([led])[0])

    def _radiances(self, leds: Sequence[int]) -> Map:
        """(n, H, W) radiance by LEDs, before the lens."""
        index = np.array(leds) - 1
        radius = self.rig.led_radius_mm if self._disc_points > 1 else 0.0
        images = render(
            self.points_mm,
            self.normals,
            self.rig.camera,
            self.rig.lights.select(index),
            self.material,
            disc_radius_mm=radius,
            disc_count=self._disc_points,
        )
        return self._with_bounces(images, index)

    def _with_bounces(self, images: Map, index: NDArray[np.int64]) -> Map:
        if self._bounce:
            images += upsampled(self._indirect[index], self.shape)
        return images

    @cached_property
    def _indirect(self) -> Map:
        return indirect(
            self.points_mm, self.normals, self.rig.camera, self.rig.lights, self.material
        )

    def draw(self, leds: Sequence[int]) -> None:
        """Draw pictures that will be asked for, as far as they can be kept.

        Several together cost less than one by one.
        """
        missing = [led for led in leds if led not in self._pictures]
        for k in range(0, len(missing), TOGETHER):
            group = missing[k : k + TOGETHER]
            if (len(self._pictures) + len(group)) * 4 * np.prod(self.shape) > CACHE_BYTES:
                return  # what is not kept would be drawn again
            for led, image in zip(group, self._radiances(group), strict=True):
                self._keep(led, image)

    def irradiance(self, led: int) -> Map:
        """(H, W) photo-electrons per µs that LED `led` (from 1) at level 1 makes."""
        if led in self._pictures:
            self._pictures.move_to_end(led)
            return self._pictures[led]
        if not 1 <= led <= self.led_count:
            return np.zeros(self.shape, np.float32)
        return self._keep(led, self.radiance(led))

    def _keep(self, led: int, radiance: Map) -> Map:
        image = self._seen(radiance * np.float32(self.electrons_per_us))
        self._pictures[led] = image
        while len(self._pictures) * image.nbytes > CACHE_BYTES:
            self._pictures.popitem(last=False)
        return image

    def _seen(self, image: Map) -> Map:
        if self._blur_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._blur_px, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(image, dtype=np.float32)

    def ambient(self) -> Map:
        """(H, W) photo-electrons per µs of even room light from above."""
        facing = np.nan_to_num(0.5 + 0.5 * self.normals[..., 2])
        return self._seen(np.asarray(facing * self._ambient_e, dtype=np.float32))

    def write_truth(self, path: Path) -> None:
        """``truth.npz`` as in the captures: position (H, W, 3) mm and normal (H, W, 3)."""
        np.savez_compressed(path, position=self.points_mm, normal=self.normals)


def dusted(material: Material, points_mm: NDArray[Any], seed: int) -> Material:
    """The material with patches of dull dirt on it."""
    x, y = points_mm[..., 0], points_mm[..., 1]
    field = shape("field", seed + 4711, correlation_mm=8.0).height(x, y)
    spread = max(float(np.nanstd(field)), 1e-9)
    share = np.clip(0.5 + (field / spread - 1.2) / 0.5, 0.0, 0.85)
    return material.mixed(Material.lambertian(0.25), share.astype(np.float32))


def part_scene(
    rig: VirtualRig,
    part: Shape,
    material: Material | None = None,
    dirt: bool = False,
    seed: int = 0,
    **options: Any,
) -> RenderedScene:
    """A part on the stage of a rig.

    Parameters
    ----------
    material : default chromium of alpha 0.15, with the part's lay if it has one
    dirt : patches of dull dirt
    options : of `RenderedScene`
    """
    pixels = rig.camera.width * rig.camera.height
    seen = sample(part, rig.camera, 1 if pixels > 1_500_000 else 2).masked()
    made = Material.metal("Cr", 0.15) if material is None else material
    if made.tangents is None and part.lay is not None:
        made = replace(made, tangents=part.lay)
    if dirt:
        made = dusted(made, np.nan_to_num(seen.points_mm), seed)
    return RenderedScene(rig, seen.points_mm, seen.normals, made, **options)


def plate_scene(rig: VirtualRig, reflectance: float = 0.8, height_mm: float = 0.0) -> RenderedScene:
    """A matt white plate."""
    flat = rig.camera.points_at_height(height_mm).astype(np.float32)
    normals = np.zeros_like(flat)
    normals[..., 2] = 1.0
    return RenderedScene(rig, flat, normals, Material.lambertian(reflectance), bounce=False)


_FINISHES: dict[str, dict[str, Any]] = {
    # part: metal and roughness as a workshop would leave it
    "field": {"metal": "Cr", "alpha": 0.15},
    "metaballs": {"metal": "Cu", "alpha": 0.22, "distribution": "beckmann"},
    "turned": {"metal": "Al", "alpha": 0.10, "alpha_across": 0.22},
    "milled": {"metal": "Al", "alpha": 0.12, "alpha_across": 0.2},
    "ground": {"metal": "Cr", "alpha": 0.08, "alpha_across": 0.25},
    "step_gauge": {"metal": "Ni", "alpha": 0.18},
    "sphere_cap": {"metal": "Cr", "alpha": 0.09},
    "stamped": {"metal": "Cu", "alpha": 0.25, "distribution": "beckmann"},
    "coin": {"metal": "Cu", "alpha": 0.2},
    "block": {"metal": "Al", "alpha": 0.2},
    "flange": {"metal": "Cr", "alpha": 0.2},
    "bracket": {"metal": "Ni", "alpha": 0.24},
    "stepgauge": {"metal": "Cr", "alpha": 0.17},
}


def named_part(name: str) -> tuple[str, int]:
    """Catalogue name and seed behind a part's name.

    ``turned``, ``turned-7``, ``coin_3`` and, on the stage, ``block-2`` name a kind and a seed; any
    other name stands for some part of its own that fills the picture, always the same.
    """
    match = re.fullmatch(r"([a-z_]+?)[-_]?(\d*)", name.lower())
    if match and (match[1] in SHAPES or match[1] in STAGED):
        return match[1], int(match[2] or 0)
    number = zlib.crc32(name.encode())
    return list(SHAPES)[number % len(SHAPES)], number // len(SHAPES) % 10_000


def scene_of(
    name: str = "field",
    *,
    rig: VirtualRig | None = None,
    led_count: int = 96,
    shape_px: tuple[int, int] = (512, 512),
    seed: int = 0,
    metal: str | None = None,
    alpha: float | None = None,
    dirt: bool | None = None,
    **options: Any,
) -> RenderedScene:
    """The virtual rig's scene for a part's name: see `named_part`.

    Parameters
    ----------
    metal, alpha : instead of the part's usual finish
    dirt : default on coins
    """
    if name == EMPTY_STAGE:
        from rig.staged_scene import StagedScene

        rig = virtual_rig(led_count, shape_px, seed) if rig is None else rig
        return StagedScene(rig, None, Material.metal("Cr"), **options)
    kind, number = named_part(name)
    finish = dict(_FINISHES[kind])
    if metal is not None:
        finish["metal"] = metal
    if alpha is not None:
        if not 0.0 < alpha <= 1.0:
            raise ReconstructError(f"alpha is {alpha}; a microfacet width lies between 0 and 1")
        ratio = finish.get("alpha_across", finish["alpha"]) / finish["alpha"]
        finish["alpha"] = alpha
        if "alpha_across" in finish:
            finish["alpha_across"] = alpha * ratio
    if rig is None:
        rig = virtual_rig(led_count, shape_px, seed)
    if kind in STAGED:
        from rig.staged_scene import StagedScene

        return StagedScene(rig, STAGED[kind](number), Material.metal(**finish), **options)
    return part_scene(
        rig,
        shape(kind, number),
        Material.metal(**finish),
        dirt=kind == "coin" if dirt is None else dirt,
        seed=number,
        **options,
    )


def truth_of(part: Shape, camera: Camera) -> Sampled:
    """Mean position and normal of a part in each pixel of a camera."""
    return sample(part, camera, 4 if camera.width * camera.height <= 300_000 else 2).masked()
