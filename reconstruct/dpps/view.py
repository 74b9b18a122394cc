"""Pictures with the geometry of their rays: what the network's channels are made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.dpps.encoding import (
    CHANNELS,
    Lamps,
    encode,
    median_level,
    moments,
    slope_of_log_depth,
)
from reconstruct.dpps.fusion import normals_of, pixel_slopes
from reconstruct.stack import Stack, flat_band

if TYPE_CHECKING:
    from reconstruct.dpps.samples import Sample

Array = NDArray[np.float64]
Window = tuple[slice, slice]  # rows and columns, both ends given
# (h, w, N) radiance of a window, and 1 where it is clipped.
Pictures = tuple[NDArray[np.float32], NDArray[np.uint8]]
BAND_ROWS = 64


@dataclass(frozen=True)
class View:
    """Pictures with the geometry of their rays, in the camera-aligned frame.

    Attributes
    ----------
    read : gives the pictures of a window: those of five megapixels would take 2.4 GB
    mask : (H, W)
    rays : (H, W, 2) X, Y of the ray (X, Y, -1)
    pixel_angle : derivative of X per column
    position, axis, lobe, power : lights, relative to the optical centre
    floor : radiance below this is noise
    """

    read: Callable[[Window], Pictures]
    mask: NDArray[np.bool_]
    rays: Array
    pixel_angle: float
    position: Array
    axis: Array
    lobe: Array
    power: Array
    floor: float

    def channels(self, log_depth: Array, reference: float | None = None) -> NDArray[np.float32]:
        """The network's channels over a base surface given as log depth (H, W).

        `reference` is the level that counts as 1 (see `level`), None for the median of this view.
        """
        slope = slope_of_log_depth(log_depth, self.pixel_angle)
        height, width = self.mask.shape
        step = height if reference is None else BAND_ROWS  # what lies between is as large again
        out = np.empty((height, width, CHANNELS), np.float32)
        for top in range(0, height, step):
            rows = slice(top, top + step)
            band = self.window((rows, slice(None)))
            points, raw = band._seen_at(log_depth[rows])
            some = encode(raw, band.mask, -points, slope[rows], len(self.power), reference)
            out[rows] = np.moveaxis(some, 0, -1)
        return np.moveaxis(out, -1, 0)

    def level(self, log_depth: Array, most_pixels: int = 1 << 18) -> float:
        """Median level of the lit pixels over a base surface; of some rows if there are many."""
        every = math.ceil(self.mask.size / most_pixels)
        if every == 1:
            return median_level(self._seen_at(log_depth)[1], self.mask)
        lines = [slice(row, row + 1) for row in range(0, len(self.mask), every)]
        seen = [self.window((line, slice(None)))._seen_at(log_depth[line])[1] for line in lines]
        return median_level(np.concatenate(seen), self.mask[::every])

    def _seen_at(self, log_depth: Array) -> tuple[Array, NDArray[np.float32]]:
        """(H, W, 3) points of a base surface, and what their lights say."""
        depth = np.exp(log_depth)
        points = np.concatenate([self.rays, -np.ones((*depth.shape, 1))], -1) * depth[..., None]
        lamps = Lamps(self.position, self.axis, self.lobe, self.power)
        radiance, clipped = self.read((slice(0, len(depth)), slice(0, depth.shape[1])))
        raw = moments(radiance, clipped, self.mask, points, np.zeros(3), lamps, self.floor)
        return points, raw

    def window(self, window: tuple[slice, slice]) -> View:
        """The view of some of the rows and columns that follow each other."""
        top, left = (w.indices(size)[0] for w, size in zip(window, self.mask.shape, strict=True))

        def read(within: Window) -> Pictures:
            rows, columns = within
            return self.read(
                (slice(top + rows.start, top + rows.stop),
                 slice(left + columns.start, left + columns.stop))
            )  # fmt: skip

        return replace(self, read=read, mask=self.mask[window], rays=self.rays[window])

    def normals(self, log_depth: Array) -> Array:
        """(H, W, 3) unit normals of a surface given as log depth (H, W)."""
        slopes = pixel_slopes(log_depth, self.mask) / self.pixel_angle
        slopes[..., 1] *= -1  # rows go down, Y goes up
        return normals_of(slopes, self.rays)

    def shrunk(self, side: int) -> View:
        """Averaged so that the longer side has at most `side` pixels."""
        height, width = self.mask.shape
        scale = side / max(height, width)
        if scale >= 1:
            return self
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        down, across = (
            _shares(length, cells) for length, cells in ((height, size[1]), (width, size[0]))
        )

        share = down @ self.mask.astype(np.float32) @ across.T
        mask = share > 0.5
        within = None if self.mask.all() else self.mask
        radiance = np.empty((*mask.shape, len(self.power)), np.float32)
        clipped = np.zeros(radiance.shape, np.uint8)
        for row, part in enumerate(down):
            used = np.flatnonzero(part)
            rows = slice(int(used[0]), int(used[-1]) + 1)
            seen, clips = self.read((rows, slice(0, width)))
            if within is not None:  # what lies beside the part counts as 0
                seen = seen * within[rows, :, None]
            mean = across @ np.tensordot(part[used], seen, 1)
            radiance[row] = mean / np.maximum(share[row], 0.5)[:, None]
            if clips.any():
                clipped[row] = across @ np.tensordot(part[used], clips.astype(np.float32), 1) > 0.25
        rays = np.tensordot(down, self.rays, 1)
        return replace(
            self,
            read=_read_from(radiance, clipped),
            mask=mask,
            rays=np.einsum("cw,rwi->rci", across, rays),
            pixel_angle=self.pixel_angle * width / size[0],
            floor=self.floor * min(1.0, size[0] / width),
        )


def _read_from(
    radiance: NDArray[np.float32], clipped: NDArray[np.uint8]
) -> Callable[[Window], Pictures]:
    """What reads pictures that are in memory, (H, W, N)."""
    return lambda window: (radiance[window], clipped[window])


def _shares(length: int, cells: int) -> NDArray[np.float32]:
    """(cells, length) share of each pixel in the mean over each cell, the cells alike in size."""
    edges = np.linspace(0, length, cells + 1)
    first = np.arange(length)
    over = np.minimum(edges[1:, None], first + 1) - np.maximum(edges[:-1, None], first)
    return np.asarray(np.maximum(over, 0) * (cells / length), dtype=np.float32)


def view_of_sample(sample: Sample) -> View:
    """The view of a synthetic sample drawn with `keep_radiance`, as calibration believes it."""
    if sample.radiance is None:
        raise ValueError("draw the sample with keep_radiance")
    lights = sample.believed
    return View(
        read=_read_from(sample.radiance, lights["clipped"]),
        mask=sample.mask,
        rays=sample.rays.astype(np.float64),
        pixel_angle=sample.pixel_angle,
        position=lights["position"] - np.array([0.0, 0.0, sample.centre_mm]),
        axis=lights["axis"],
        lobe=lights["lobe"],
        power=lights["power"],
        floor=lights["floor"],
    )


def _beside(images: NDArray[Any]) -> NDArray[Any]:
    """(N, h, W) images beside each other, (h, W, N): in blocks, four times as quickly."""
    count, height, width = images.shape
    out = cv2.transpose(np.ascontiguousarray(images.reshape(count, -1)))
    return np.asarray(out).reshape(height, width, count)


def _even_light(
    stack: Stack, flat: NDArray[np.float32] | None, rows: slice
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(N, h, W) radiance, the lights' field `flat` divided out, and where it is clipped."""
    some, clips = stack.band(rows)
    if flat is not None:
        some = np.divide(some, np.maximum(flat_band(flat, stack.shape, rows), 1e-3))
    return some, clips


def brightest(
    stack: Stack, flat: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W) greatest radiance of each pixel, and the share of its pictures that are clipped."""
    found = np.empty((2, *stack.shape), np.float32)
    for top in range(0, stack.shape[0], BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        some, clips = _even_light(stack, flat, rows)
        found[0, rows], found[1, rows] = some.max(axis=0), clips.mean(axis=0)
    return found[0], found[1]


def view_of(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    mask: NDArray[np.bool_] | None = None,
    flat: NDArray[np.float32] | None = None,
) -> tuple[View, Array]:
    """The view of a capture, and the (3, 3) rotation from the world to its frame.

    `flat` ((gh, gw, N), see `flat_band`) is divided out, so that light and picture agree.
    """
    turn = np.diag([1.0, -1.0, -1.0]) @ camera.R
    directions = camera.rays() @ turn.T
    rays = directions[..., :2] / -directions[..., 2:]
    position = (lights.position_mm - camera.centre_mm) @ turn.T

    def read(window: Window) -> Pictures:
        rows, columns = window
        some, clips = (each[..., columns] for each in _even_light(stack, flat, rows))
        radiance = _beside(some)
        if not clips.any():
            return radiance, np.zeros(radiance.shape, np.uint8)
        return radiance, _beside(clips.view(np.uint8))

    view = View(
        read=read,
        mask=np.ones(stack.shape, dtype=bool) if mask is None else mask.astype(bool),
        rays=rays,
        pixel_angle=float(abs(np.median(np.gradient(rays[..., 0], axis=1)))),
        position=position,
        axis=lights.axis @ turn.T,
        lobe=lights.lobe,
        power=lights.power,
        floor=float(np.sqrt(max(stack.noise_floor, 0.0))),
    )
    return view, turn
