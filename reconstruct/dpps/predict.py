"""From pictures to a surface with the any-rig network: the method `dpps`."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.dpps import fusion
from reconstruct.dpps.encoding import UNIT_PX
from reconstruct.dpps.view import View, brightest, view_of
from reconstruct.errors import ReconstructError
from reconstruct.nearest import filled_in
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Surface

if TYPE_CHECKING:
    from reconstruct.methods import Options

Array = NDArray[np.float64]
F32 = NDArray[np.float32]
# Channels (42, H, W) to normal, height and log errors (6, H, W); H and W multiples of 16.
Network = Callable[[F32], F32]
TILE, OVERLAP = 1024, 64
# Longer side of the first pass, the size that the network was trained at, and the weight λ of the
# height head in the fusion there; it falls with the square of the size.
COARSE_PX, SCREEN = 64, 0.003
# Of the mirror images and turns the first pass averages all, the fine one as many as fit into so
# many pixels, but two at least.
FINE_PIXELS = 1 << 17
# columns mirrored, rows mirrored, exchanged; the first two make a half turn
SYMMETRIES = (
    (False, False, False), (True, True, False), (True, False, False), (False, True, False),
    (False, False, True), (True, True, True), (True, False, True), (False, True, True),
)  # fmt: skip


@dataclass
class Estimate:
    """What the network says over one view: (H, W[, 3]) arrays, camera-aligned frame."""

    normals: Array
    log_depth: Array
    normal_error: Array
    depth_error: Array


def infer(model: Network, view: View, base: Array, symmetries: int = len(SYMMETRIES)) -> Estimate:
    """Run the network over a base surface (log depth); tiles with overlap where it is large.

    `symmetries` of the eight mirror images and turns of the problem are averaged.
    """
    height, width = view.mask.shape
    reference = view.level(base)
    out = np.zeros((6, height, width), dtype=np.float32)
    total = np.zeros((height, width), dtype=np.float32)
    across = _tiles(width)
    for rows in _tiles(height):
        band = view.window((rows, slice(None))).channels(base[rows], reference)
        for columns in across:
            part = band[:, :, columns]
            h, w = part.shape[1:]
            if h % 16 or w % 16:
                part = np.pad(part, ((0, 0), (0, -h % 16), (0, -w % 16)))
            values = _averaged(model, part, symmetries)[:, :h, :w]
            taper = np.minimum.outer(_taper(rows, height), _taper(columns, width))
            out[:, rows, columns] += values * taper
            total[rows, columns] += taper
    out /= total
    normals = np.moveaxis(out[:3], 0, -1).astype(np.float64)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    scale = UNIT_PX * view.pixel_angle
    return Estimate(normals, base + scale * out[3], np.exp(out[4]), scale * np.exp(out[5]))


def mirrored(x: F32, flip_x: bool, flip_y: bool, swap: bool) -> F32:
    """(C, H, W) channels of the mirrored rig and part: columns, rows, then both exchanged."""
    means, mixed = np.arange(0, 30, 5), np.arange(3, 30, 5)
    order, sign = np.arange(len(x)), np.ones((len(x), 1, 1), np.float32)
    if flip_x:
        sign[[*means, *mixed, 35, 37]] *= -1
    if flip_y:
        sign[[*(means + 1), *mixed, 36, 38]] *= -1
    if swap:  # rows run down and y up, so x and y change sign as well as places
        order[means], order[means + 1] = means + 1, means
        order[means + 2], order[means + 4] = means + 4, means + 2
        order[[35, 36, 37, 38]] = [36, 35, 38, 37]
        sign = sign[order]
        sign[[*means, *(means + 1), 35, 36]] *= -1
    turned = _turned(x, flip_x, flip_y, swap)
    return (turned[order] if swap else turned) * sign


def _turned(x: F32, flip_x: bool, flip_y: bool, swap: bool) -> F32:
    """(C, H, W) with columns mirrored, rows mirrored, then both exchanged."""
    x = x[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return x.swapaxes(1, 2) if swap else x


def _averaged(model: Network, x: F32, symmetries: int) -> F32:
    """(6, H, W) normal, height and log errors, averaged over mirror images of the problem."""

    def seen(symmetry: tuple[bool, bool, bool]) -> F32:
        flip_x, flip_y, swap = symmetry
        one = model(mirrored(x, flip_x, flip_y, swap))
        if swap:
            one = one.swapaxes(1, 2)[[1, 0, 2, 3, 4, 5]]
            one[:2] *= -1
        one = _turned(one, flip_x, flip_y, False)
        one[0] *= -1 if flip_x else 1
        one[1] *= -1 if flip_y else 1
        return one

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # which starts no more than there is to do
        return np.asarray(sum(pool.map(seen, SYMMETRIES[:symmetries])) / np.float32(symmetries))


def _tiles(length: int) -> list[slice]:
    """Pieces of a side, alike and no longer than `TILE`, that overlap by `OVERLAP` or more."""
    if length <= TILE:
        return [slice(0, length)]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    size = 16 * -(-(length + (count - 1) * OVERLAP) // (16 * count))
    starts = np.linspace(0, length - size, count).round().astype(int).tolist()
    return [slice(start, start + size) for start in starts]


def _taper(tile: slice, length: int) -> Array:
    """1 inside, falling towards tile edges that are not image edges."""
    place = np.arange(tile.stop - tile.start) + 1.0
    rise = np.ones(len(place)) if tile.start == 0 else np.minimum(1, place / OVERLAP)
    fall = np.ones(len(place)) if tile.stop == length else np.minimum(1, place[::-1] / OVERLAP)
    return np.minimum(rise, fall)


def joined(view: View, guess: Estimate, screen: float, tolerance: float = 1e-5) -> Array:
    """(H, W) log depth from an estimate's normals and height; NaN off the part."""
    slope = fusion.slopes_of(guess.normals, view.rays)
    per_pixel = np.stack([slope[..., 0], -slope[..., 1]], -1) * view.pixel_angle
    middle = float(np.median(guess.normal_error[view.mask]))
    weight = np.clip((middle / guess.normal_error) ** 2, 0.05, 4.0)
    return fusion.fuse(per_pixel, guess.log_depth, view.mask, screen, weight, tolerance)


def predict_view(model: Network, view: View, base: Array) -> tuple[Array, Estimate]:
    """Fused log depth and the raw estimate of a view; see `estimate`."""
    guess, screen = estimate(model, view, base)
    return joined(view, guess, screen), guess


def estimate(model: Network, view: View, base: Array) -> tuple[Estimate, float]:
    """The raw estimate and the weight of its heights: a coarse pass on the base, then a fine one.

    The base is log depth (H, W). The fine pass sees the moments at the coarse pass's surface, so
    that half vectors are right where the part leaves the base plane. A view no larger than the
    coarse one gets both passes at its own size.
    """
    coarse = view.shrunk(COARSE_PX)
    side = max(view.mask.shape)
    if coarse is view:
        first = joined(view, infer(model, view, base), SCREEN)
        return infer(model, view, filled_in(first, np.isfinite(first))), SCREEN
    size = (coarse.mask.shape[1], coarse.mask.shape[0])
    small = np.asarray(cv2.resize(base, size, interpolation=cv2.INTER_AREA), dtype=np.float64)
    wide = infer(model, coarse, small)
    first = joined(coarse, wide, SCREEN)
    if not np.isfinite(first).any():
        raise ReconstructError("the mask is too small for the network; use another method")
    whole = view.mask.shape[::-1]
    rough = cv2.resize(filled_in(first, np.isfinite(first)), whole, interpolation=cv2.INTER_CUBIC)
    symmetries = int(np.clip(FINE_PIXELS // view.mask.size, 2, len(SYMMETRIES)))
    guess = infer(model, view, np.asarray(rough, np.float64), symmetries)
    # the fine pass cannot know how wrong the coarse shape under it is: errors add
    unsure = cv2.resize(wide.depth_error, whole, interpolation=cv2.INTER_LINEAR)
    guess.depth_error = np.hypot(guess.depth_error, unsure)
    return guess, SCREEN * (COARSE_PX / side) ** 2


def dpps(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """The method `dpps` of `reconstruct.methods`: the surface by the network alone.

    Raises
    ------
    ReconstructError : the mask holds no pixel, or there are no weights
    """
    from reconstruct.dpps.weights import SHIPPED

    start = time.perf_counter()
    path = options.weights or SHIPPED
    model, facts = _network(path, path.stat().st_mtime_ns if path.exists() else 0, options.device)
    loaded = time.perf_counter()
    surface = predict_with(model, facts, stack, camera, lights, options)
    surface.summary["seconds"] = {
        "load": loaded - start, "predict": time.perf_counter() - loaded
    }  # fmt: skip
    return surface


@functools.lru_cache(maxsize=1)
def _network(path: Path, written_ns: int, device: str) -> tuple[Network, dict[str, Any]]:
    """The network of a file, ready to predict; kept, since part after part asks for the same."""
    from reconstruct.dpps import forward
    from reconstruct.dpps.weights import read_weights

    weights = read_weights(path)
    if device == "cpu":
        return forward.Network(weights), weights.facts
    from reconstruct.dpps.network import OnDevice, network_of

    return OnDevice(network_of(weights), device), weights.facts


def predict_with(
    model: Network,
    facts: dict[str, Any],
    stack: Stack,
    camera: Camera,
    lights: Lights,
    options: Options,
) -> Surface:
    """As `dpps`, by a network in memory with the facts that came with its weights."""
    mean_height_mm = options.height_mm
    view, turn = view_of(stack, camera, lights, options.mask, options.flat)
    if not view.mask.any():
        raise ReconstructError("the mask holds no pixel of the part")
    # work in the window of the part: the coarse pass then has the trained field of view
    rows, columns = np.any(view.mask, 1).nonzero()[0], np.any(view.mask, 0).nonzero()[0]
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inner = view.window(window)
    towards = camera.points_at_height(mean_height_mm)[window] - camera.centre_mm
    base = np.log(np.maximum(-(towards @ turn[2]), 1e-3))
    del towards
    guess, screen = estimate(model, inner, base)
    flags = np.zeros(camera.shape, dtype=np.uint8)
    flags[~view.mask] = Flag.OUTSIDE
    top, clipped = brightest(stack, options.flat)
    flags[view.mask & (clipped > 0.5)] |= np.uint8(Flag.CLIPPED)
    flags[view.mask & (top <= 3 * view.floor)] |= np.uint8(Flag.UNLIT)
    log_depth = joined(inner, guess, screen)

    # the mean height is an input: photometry does not fix it
    full = np.full(camera.shape, np.nan)
    full[window] = log_depth
    depth = np.exp(full)
    in_frame = np.concatenate([view.rays, -np.ones((*camera.shape, 1))], -1) * depth[..., None]
    height = (in_frame @ turn)[..., 2] + camera.centre_mm[2]
    for _ in range(3):  # scaling depth moves heights: meet the prior by a few secant steps
        gap = mean_height_mm - float(np.nanmean(height))
        reach = float(np.nanmean(camera.centre_mm[2] - height))
        height = camera.centre_mm[2] - (camera.centre_mm[2] - height) * (1 - gap / reach)
    normals = np.full((*camera.shape, 3), np.nan)
    normals[window][inner.mask] = inner.normals(log_depth)[inner.mask] @ turn
    scale = (float(facts.get("height_sigma", 1.0)), float(facts.get("normal_sigma", 1.0)))
    sigma = np.full(camera.shape, np.nan, dtype=np.float32)
    sigma[window][inner.mask] = (scale[0] * np.exp(base) * guess.depth_error)[inner.mask]
    tilt = np.full(camera.shape, np.nan, dtype=np.float32)
    tilt[window][inner.mask] = np.degrees(scale[1] * guess.normal_error)[inner.mask]
    return Surface(
        camera=camera,
        height_mm=height.astype(np.float32),
        normals=normals.astype(np.float32),
        sigma_mm=sigma,
        normal_sigma_deg=tilt,
        flags=flags,
        summary={
            "method": "dpps",
            "network": "any-rig",
            "weights": dict(facts),
            "mean_height_mm": mean_height_mm,
            "lights": len(lights),
        },
    )
