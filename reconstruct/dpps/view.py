"""Pictures with the geometry of their rays: what the network's channels are made from."""

from __future__ import annotations

import math
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
BAND_ROWS = 64


@dataclass(frozen=True)
class View:
    """Pictures with the geometry of their rays, in the camera-aligned frame.

    Attributes
    ----------
    radiance : (H, W, N) float32; clipped : (H, W, N) uint8; mask : (H, W)
    rays : (H, W, 2) X, Y of the ray (X, Y, -1)
    pixel_angle : derivative of X per column
    position, axis, lobe, power : lights, relative to the optical centre
    floor : radiance below this is noise
    """

    radiance: NDArray[np.float32]
    clipped: NDArray[np.uint8]
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
        """Median level of the lit pixels over a base surface; of a grid of pixels if many."""
        step = max(1, math.ceil(math.sqrt(self.mask.size / most_pixels)))
        some = self.window(np.s_[::step, ::step])
        return median_level(some._seen_at(log_depth[::step, ::step])[1], some.mask)

    def _seen_at(self, log_depth: Array) -> tuple[Array, NDArray[np.float32]]:
        """(H, W, 3) points of a base surface, and what their lights say."""
        depth = np.exp(log_depth)
        points = np.concatenate([self.rays, -np.ones((*depth.shape, 1))], -1) * depth[..., None]
        lamps = Lamps(self.position, self.axis, self.lobe, self.power)
        raw = moments(
            self.radiance, self.clipped, self.mask, points, np.zeros(3), lamps, self.floor
        )
        return points, raw

    def window(self, window: tuple[slice, slice]) -> View:
        """The view of some of the rows and columns."""
        return replace(
            self, radiance=self.radiance[window], clipped=self.clipped[window],
            mask=self.mask[window], rays=self.rays[window],
        )  # fmt: skip

    def without_pictures(self) -> View:
        """The geometry alone."""
        return replace(
            self,
            radiance=np.empty((*self.mask.shape, 0), np.float32),
            clipped=np.empty((*self.mask.shape, 0), np.uint8),
        )

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

        def area(image: NDArray[Any], within: NDArray[Any] | None = None) -> NDArray[np.float32]:
            """Mean over each new pixel, 0 counted where not `within`; a copy of all is large."""
            out = np.empty((size[1], size[0], image.shape[2]), dtype=np.float32)
            for row, share in enumerate(down):
                used = np.flatnonzero(share)
                some = np.asarray(image[used[0] : used[-1] + 1], dtype=np.float32)
                if within is not None:
                    some = some * within[used[0] : used[-1] + 1, :, None]
                out[row] = across @ np.tensordot(share[used], some, 1)
            return out

        share = area(self.mask[..., None].astype(np.float32))[..., 0]
        mask = share > 0.5
        within = None if self.mask.all() else self.mask
        sums = area(self.radiance, within)
        radiance = np.asarray(sums / np.maximum(share, 0.5)[..., None], dtype=np.float32)
        any_clip = self.clipped.any()
        return replace(
            self,
            radiance=radiance,
            clipped=(area(self.clipped) > 0.25).astype(np.uint8)
            if any_clip
            else np.zeros(radiance.shape, np.uint8),
            mask=mask,
            rays=area(self.rays).astype(np.float64),
            pixel_angle=self.pixel_angle * width / size[0],
            floor=self.floor * min(1.0, size[0] / width),
        )


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
        radiance=sample.radiance,
        clipped=lights["clipped"],
        mask=sample.mask,
        rays=sample.rays.astype(np.float64),
        pixel_angle=sample.pixel_angle,
        position=lights["position"] - np.array([0.0, 0.0, sample.centre_mm]),
        axis=lights["axis"],
        lobe=lights["lobe"],
        power=lights["power"],
        floor=lights["floor"],
    )


def _beside(images: NDArray[Any], out: NDArray[Any]) -> None:
    """Put (N, h, W) images beside each other, (h, W, N): in blocks, four times as quickly."""
    count = len(images)
    cv2.transpose(np.ascontiguousarray(images.reshape(count, -1)), dst=out.reshape(-1, count))


def view_of(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    mask: NDArray[np.bool_] | None = None,
    flat: NDArray[np.float32] | None = None,
) -> tuple[View, Array]:
    """The view of a capture, and the (3, 3) rotation from the world to its frame.

    The pictures are read in bands of rows; `flat` ((gh, gw, N), see `flat_band`) is divided out,
    so that light and picture agree.
    """
    turn = np.diag([1.0, -1.0, -1.0]) @ camera.R
    directions = camera.rays() @ turn.T
    rays = directions[..., :2] / -directions[..., 2:]
    position = (lights.position_mm - camera.centre_mm) @ turn.T
    radiance = np.empty((*stack.shape, len(stack)), np.float32)
    # Zeros take no memory until something is written.
    clipped = np.zeros(radiance.shape, np.uint8)
    for top in range(0, stack.shape[0], BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        some, clips = stack.band(rows)
        if flat is not None:
            some = np.divide(some, np.maximum(flat_band(flat, stack.shape, rows), 1e-3))
        _beside(some, radiance[rows])
        if clips.any():
            _beside(clips.view(np.uint8), clipped[rows])
    view = View(
        radiance=radiance,
        clipped=clipped,
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
