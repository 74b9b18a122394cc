"""The virtual rig with a machined part on its stage: sub-pixel edges, shadows on the stage.

Pixels are divided, so that an edge crosses them as it does in reality; part and stage keep their
own materials; shadows fall on both. The sides of the part that the camera sees are steep cells
between its top and the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics.lights import spread_disc
from reconstruct.optics.material import Lobe, Material
from reconstruct.optics.render import render
from reconstruct.shapes.base import Shape
from reconstruct.shapes.features import cast_shadows
from reconstruct.shapes.sampling import (
    corner_rays,
    normals_from_corners,
)
from rig.simulate import RenderedScene, VirtualRig

Map = NDArray[np.float32]
STAGE_ALBEDO = 0.06
STEEPEST = 1.5  # slope of ground; a chamfer's is 1
ABOVE_MM = 1e-3  # so that a ray to the light does not begin within the wall it leaves


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells of divided pixels.

    Attributes
    ----------
    points_mm, normals : where the ray through each cell meets the part or the stage
    lit_mm : the same, a little above: what light falls on
    part : whether they are of the part
    """

    points_mm: Map
    normals: Map
    lit_mm: NDArray[np.float64]
    part: NDArray[np.bool_]


def _met(shape: Shape, origin: NDArray[Any], rays: NDArray[Any], top_mm: float) -> NDArray[Any]:
    """(H, W, 3) where rays from above first meet a part with vertical walls.

    Most rays meet level ground, and the height under them says where. Rays within reach of an
    edge are marched down in small steps, then bisected.
    """
    top = top_mm + 0.1
    foot = shape.height(*_at(origin, rays, np.zeros(rays.shape[:-1])))
    # Between the planes z = 0 and z = top a ray crosses so many cells sideways.
    cell = float(np.linalg.norm((rays[0, 1] - rays[0, 0]) * origin[2]))
    lean = float(np.abs(rays[..., :2]).max())
    reach = 2 * int(np.ceil(lean * top / cell)) + 5
    kernel = np.ones((reach, reach), np.uint8)
    low, high = cv2.erode(foot, kernel), cv2.dilate(foot, kernel)
    z = foot.copy()
    edge = high - low > 1e-9
    if edge.any():
        z[edge] = _marched(shape, origin, rays[edge], top)
    return np.asarray(origin + (origin[2] - z)[..., None] * rays)


def _through_cells(camera: Camera, divide: int) -> NDArray[Any]:
    """(H, W, 3) rays through one place in each cell, z component -1.

    Through their middles an edge that runs along the rows would move by whole cells. The places of
    a pixel have no row and no column in common, so that it moves by cells over `divide`.
    """
    rows, columns = np.indices(camera.shape)
    right = (rows % divide + 0.5) / divide - 0.5
    down = 0.5 - (columns % divide + 0.5) / divide
    rays = camera.rays(np.stack([columns + right, rows + down], axis=-1))
    return np.asarray(rays / -rays[..., 2:])


def _at(
    origin: NDArray[Any], rays: NDArray[Any], z: NDArray[Any] | float
) -> tuple[NDArray[Any], NDArray[Any]]:
    depth = origin[2] - z
    return origin[0] + depth * rays[..., 0], origin[1] + depth * rays[..., 1]


def _marched(shape: Shape, origin: NDArray[Any], rays: NDArray[Any], top: float) -> NDArray[Any]:
    """(n,) heights at which rays (n, 3) first meet the part."""
    # A ray that leans by 10 % crosses 0.1 mm sideways in 1 mm: steps of 0.25 mm miss nothing.
    steps = np.linspace(top, 0.0, int(np.ceil(top / 0.25)) + 2)
    below, above = np.zeros(len(rays)), np.full(len(rays), top)
    going = np.arange(len(rays))
    for level in steps[1:]:
        hit = shape.height(*_at(origin, rays[going], level)) >= level
        below[going[hit]] = level
        going = going[~hit]
        above[going] = level
    for _ in range(14):
        middle = 0.5 * (above + below)
        hit = shape.height(*_at(origin, rays, middle)) >= middle
        below = np.where(hit, middle, below)
        above = np.where(hit, above, middle)
    return below


def _facing(shape: Shape, met: NDArray[Any], steep: NDArray[Any]) -> NDArray[Any]:
    """Normals (H, W, 3) where rays meet a part: of the ground, or `steep` on walls.

    A cell that an edge crosses would else be a steep dark slope as a whole, and every edge in the
    pictures would begin half a cell before the part ends.
    """
    x, y, step = met[..., 0], met[..., 1], 1e-4
    right = (shape.height(x + step, y) - shape.height(x - step, y)) / (2 * step)
    up = (shape.height(x, y + step) - shape.height(x, y - step)) / (2 * step)
    ground = np.abs(shape.height(x, y) - met[..., 2]) < 2 * ABOVE_MM
    ground &= np.maximum(np.abs(right), np.abs(up)) < STEEPEST
    normals = np.stack([-right, -up, np.ones_like(up)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.asarray(np.where(ground[..., None], normals, steep))


class StagedScene(RenderedScene):
    """A part on a matt stage.

    Parameters
    ----------
    rig : camera and lights
    part : from `reconstruct.shapes.staged`
    material : of the part; stage_albedo : of the stage
    divide : cells along a pixel's side; default 3, less where the picture is large
    roughness : function of points (..., 3) mm giving a factor on the widths of the lobes, for
        metals that are not alike everywhere
    options : of `RenderedScene`
    """

    def __init__(
        self,
        rig: VirtualRig,
        part: Shape | None,
        material: Material,
        *,
        stage_albedo: float = STAGE_ALBEDO,
        divide: int | None = None,
        roughness: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        **options: Any,
    ) -> None:
        pixels = rig.camera.width * rig.camera.height
        self._divide = divide or (3 if pixels <= 100_000 else 2 if pixels <= 1_500_000 else 1)
        self._features: list[dict[str, Any]] = []
        camera = rig.camera.subdivided(self._divide)
        origin, rays = rig.camera.centre_mm, corner_rays(camera)
        through = _through_cells(camera, self._divide)
        if part is None:
            points = lit = np.asarray(origin + origin[2] * through)
            on_part = np.zeros(camera.shape, bool)
            normals = normals_from_corners(np.asarray(origin + origin[2] * rays))
            normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        else:
            self._features = part.parameters["features"]
            top = float(max(f["level_mm"] for f in self._features))
            steep = normals_from_corners(_met(part, origin, rays, top))
            steep /= np.linalg.norm(steep, axis=-1, keepdims=True)
            points = _met(part, origin, through, top)
            lit = points - ABOVE_MM * through
            on_part = points[..., 2] > 1e-3
            normals = _facing(part, points, steep)
        self._camera = camera
        self._cells = _Cells(
            points.astype(np.float32), normals.astype(np.float32), lit, on_part,
        )  # fmt: skip
        self.mask = self._averaged(on_part.astype(np.float32)) > 0.25
        mean = self._averaged(points.astype(np.float32))
        facing = self._averaged(normals.astype(np.float32))
        facing /= np.linalg.norm(facing, axis=-1, keepdims=True)
        share = self._averaged(on_part.astype(np.float32))
        made = _on_stage(_roughened(material, roughness, mean), share, stage_albedo)
        super().__init__(rig, mean, facing, made, **options)
        fine = _roughened(material, roughness, self._cells.points_mm)
        self._fine = _on_stage(fine, on_part.astype(np.float32), stage_albedo)

    def _averaged(self, values: NDArray[Any]) -> Map:
        """Mean over the cells of each pixel."""
        n = self._divide
        if values.ndim == 2:  # the same sums as below, in a third of the time
            rows = [sum(values[i::n, j::n] for j in range(n)) for i in range(n)]
            return np.asarray(sum(rows) / np.float32(n * n), dtype=np.float32)
        height, width = values.shape[0] // n, values.shape[1] // n
        blocks = values.reshape(height, n, width, n, *values.shape[2:])
        return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)

    def _radiances(self, leds: Sequence[int]) -> Map:
        lights, index = self.rig.lights, np.array(leds) - 1
        if self._disc_points > 1:
            discs = (spread_disc(lights, k, self.rig.led_radius_mm, self._disc_points)
                     for k in index)  # fmt: skip
            images = [self._direct(disc).sum(axis=0) for disc in discs]
        else:
            images = list(self._direct(lights.select(index)))
        return self._with_bounces(np.stack([self._averaged(image) for image in images]), index)

    def _direct(self, lights: Lights) -> Map:
        """(N, H, W) radiance of the cells, without what the part mirrors."""
        cells = self._cells
        images = render(
            cells.points_mm, cells.normals, self._camera, lights, self._fine, shadows=False
        )
        if self._features:
            images *= cast_shadows(self._features, cells.lit_mm, lights.position_mm)
        return images

    def write_truth(self, path: Path) -> None:
        """``truth.npz``: position (H, W, 3) mm, normal (H, W, 3), mask (H, W) of the part."""
        np.savez_compressed(path, position=self.points_mm, normal=self.normals, mask=self.mask)


def _roughened(
    material: Material, roughness: Callable[[NDArray[Any]], NDArray[Any]] | None, points: Map
) -> Material:
    if roughness is None:
        return material
    factor = np.asarray(roughness(points), np.float32)
    lobes = tuple(
        replace(lobe, alpha=np.clip(np.asarray(lobe.alpha * factor, np.float32), 0.03, 0.7))
        for lobe in material.lobes
    )
    return replace(material, lobes=lobes)


def _on_stage(material: Material, share: Map, albedo: float) -> Material:
    """The part's material where `share` is 1, the stage's where it is 0."""
    lobes = tuple(
        replace(lobe, weight=np.asarray(lobe.weight * share, np.float32)) for lobe in material.lobes
    ) or (Lobe(weight=0.0),)
    diffuse = np.asarray(material.diffuse * share + albedo * (1.0 - share), np.float32)
    return Material(lobes, diffuse, material.tangents)
