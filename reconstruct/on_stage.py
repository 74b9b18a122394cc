"""A part on the stage: found in the pictures, fitted alone, cut into pieces, levels by shadows.

    outline → height by the part's shadow → fit of the part alone → pieces → levels by shadows

The fit itself is any method of `reconstruct.methods`; it sees a window of the pictures with the
part as its mask. Its normals hold; its heights hold within a piece only. Each piece is then moved
as a whole to the level that the shadows tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.levels import Rise, signed_distance
from reconstruct.low_steps import cut_along_low_steps
from reconstruct.methods import Options, reconstruct
from reconstruct.outline import find_outline, shows_no_stage
from reconstruct.piece_levels import find_levels
from reconstruct.pieces import (
    Pieces,
    change,
    cut_along_misfits,
    edges_by_change,
    find_pieces,
    rejoined,
    without_mixed,
)
from reconstruct.stack import Stack
from reconstruct.stage_shadows import OnStage, height_sigma_mm, part_height
from reconstruct.steps import Level
from reconstruct.surface import Flag, Surface

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

MOST_PIXELS = 450_000  # of the pictures in which outline and shadows are looked for
BAND_ROWS = 32  # of binned pictures read at a time
MARGIN_PX = 4  # about the part in the window that is fitted
WINDOW_STEP_PX = 8
ALIKE = 2.0  # sigmas by which levels of two parts of a cut piece may differ


def binned(stack: Stack, factor: int) -> Stack:
    """Means of factor × factor pixels; rows and columns that do not fill one are dropped."""
    height, width = (size // factor for size in stack.shape)
    radiance = np.empty((len(stack), height, width), np.float32)
    clipped = np.empty((len(stack), height, width), bool)
    for row in range(0, height, BAND_ROWS):
        rows = min(BAND_ROWS, height - row)
        values, over = stack.band(slice(row * factor, (row + rows) * factor))
        shape = (len(stack), rows, factor, width, factor)
        place = slice(row, row + rows)
        radiance[:, place] = values[..., : width * factor].reshape(shape).mean(axis=(2, 4))
        clipped[:, place] = over[..., : width * factor].reshape(shape).any(axis=(2, 4))
    n = factor * factor
    return Stack(stack.ids, radiance, clipped, stack.noise_floor / n, stack.noise_gain / n)


def find_on_stage(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    mask: Mask | None = None,
    empty: Stack | None = None,
) -> OnStage | None:
    """Find the part on the stage; None where no stage is seen.

    Parameters
    ----------
    mask : (H, W) bool, the part where the user drew it; the stage is still looked for
    empty : pictures of the stage alone under the same lights, in the same units of radiance
    """
    place = {int(led): k for k, led in enumerate(lights.ids)}
    if camera.shape != stack.shape or any(int(led) not in place for led in stack.ids):
        return None  # refused by `reconstruct`, in its words
    lights = lights.select(np.array([place[int(led)] for led in stack.ids]))
    if empty is None and shows_no_stage(stack, camera, lights):
        return None
    pixels = stack.shape[0] * stack.shape[1]
    factor = int(np.ceil(np.sqrt(pixels / MOST_PIXELS)))
    if factor > 1:
        seen, view = binned(stack, factor), camera.binned(factor)
    else:
        seen, view = stack, camera
    alone = None
    if empty is not None:
        bare = binned(empty, factor) if factor > 1 else empty
        alone = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in bare.radiance])
    outline = find_outline(seen, view, lights, alone)
    if outline is None:
        return None
    height, width = stack.shape
    if mask is not None:
        drawn = mask
        if factor > 1:
            small = cv2.resize(mask.astype(np.float32), view.shape[::-1],
                               interpolation=cv2.INTER_AREA)  # fmt: skip
            drawn = small > 0.5
        outline = replace(outline, mask=drawn, stage=outline.stage & ~drawn)
        return OnStage(seen, view, lights, outline, mask)
    whole = outline.mask
    if factor > 1:
        large = cv2.resize(signed_distance(outline.mask), None, fx=factor, fy=factor)
        whole = np.zeros(stack.shape, bool)
        rows, columns = min(height, large.shape[0]), min(width, large.shape[1])
        whole[:rows, :columns] = large[:rows, :columns] > 0
    return OnStage(seen, view, lights, outline, whole)


# the window that is fitted -----------------------------------------------------------------------
def window_about(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns about a mask, a multiple of `WINDOW_STEP_PX` long where there is room."""
    out = []
    for axis, size in ((1, mask.shape[0]), (0, mask.shape[1])):
        used = np.flatnonzero(mask.any(axis=axis))
        first, last = max(0, used[0] - MARGIN_PX), min(size, used[-1] + 1 + MARGIN_PX)
        length = min(size, -(-(last - first) // WINDOW_STEP_PX) * WINDOW_STEP_PX)
        first = min(first, size - length)
        out.append(slice(int(first), int(first + length)))
    return out[0], out[1]


def _windowed_flat(flat: Map | None, shape: tuple[int, int], rows: slice, columns: slice) -> Any:
    if flat is None or flat.shape[0] == 1:
        return flat
    cells = flat.shape[:2]
    r = np.linspace(rows.start, rows.stop, cells[0], endpoint=False)
    c = np.linspace(columns.start, columns.stop, cells[1], endpoint=False)
    half = (
        0.5 * (rows.stop - rows.start) / cells[0],
        0.5 * (columns.stop - columns.start) / cells[1],
    )
    y = (r + half[0]) / shape[0] * cells[0] - 0.5
    x = (c + half[1]) / shape[1] * cells[1] - 0.5
    grid_x, grid_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    planes = [
        cv2.remap(np.ascontiguousarray(flat[..., k]), grid_x, grid_y, cv2.INTER_LINEAR,
                  borderMode=cv2.BORDER_REPLICATE)
        for k in range(flat.shape[2])
    ]  # fmt: skip
    return np.ascontiguousarray(np.stack(planes, axis=-1))


def windowed(stack: Stack, rows: slice, columns: slice) -> Stack:
    """The pictures' window."""
    radiance, clipped = stack.band(rows)
    return Stack(
        stack.ids,
        np.ascontiguousarray(radiance[..., columns]),
        np.ascontiguousarray(clipped[..., columns]),
        stack.noise_floor,
        stack.noise_gain,
    )


def fit_window(
    method: str,
    part: Stack,
    camera: Camera,
    lights: Lights,
    options: Options,
    mask: Mask,
    window: tuple[slice, slice],
) -> Surface:
    """The method's surface of a window of the pictures (`part`), on the whole picture."""
    rows, columns = window
    width, height = columns.stop - columns.start, rows.stop - rows.start
    seen = camera.cropped(columns.start, rows.start, width, height)
    flat = _windowed_flat(options.flat, camera.shape, rows, columns)
    found = reconstruct(
        method, part, seen, lights, replace(options, mask=mask[rows, columns], flat=flat)
    )

    def whole(values: NDArray[Any], empty: Any) -> NDArray[Any]:
        out = np.full((*camera.shape, *values.shape[2:]), empty, values.dtype)
        out[rows, columns] = values
        return out

    return replace(
        found,
        camera=camera,
        height_mm=whole(found.height_mm, np.nan),
        normals=whole(found.normals, np.nan),
        sigma_mm=whole(found.sigma_mm, np.nan),
        normal_sigma_deg=whole(found.normal_sigma_deg, np.nan),
        flags=whole(found.flags, int(Flag.OUTSIDE)),
        misfit=None if found.misfit is None else whole(found.misfit, np.nan),
        repeats=found.repeats and found.repeats.shifted(rows.start, columns.start),
    )


def _moved(surface: Surface, pieces: Pieces, levels: dict[int, Level], mask: Mask) -> Surface:
    """Each piece at its level; edges between pieces are holes."""
    height = np.full(surface.height_mm.shape, np.nan, np.float32)
    sigma = height.copy()
    flags = surface.flags.copy()
    for piece, level in levels.items():
        own = pieces.region(piece) & np.isfinite(surface.height_mm)
        values = surface.height_mm[own]
        within = surface.sigma_mm[own]
        if not values.size:
            continue
        # By the median: slopes that went astray in one corner do not move the rest.
        height[own] = values - np.median(values) + level.mm
        sigma[own] = np.hypot(np.where(np.isfinite(within), within, 0.0), level.sigma_mm)
    flags[mask] &= np.uint8(~int(Flag.OUTSIDE) & 0xFF)
    flags[mask & ~np.isfinite(height)] |= np.uint8(Flag.EDGE)
    flags[~mask] = np.uint8(Flag.OUTSIDE)
    gone = ~np.isfinite(height)
    normals, degrees = surface.normals.copy(), surface.normal_sigma_deg.copy()
    normals[gone], degrees[gone] = np.nan, np.nan
    return replace(
        surface, height_mm=height, sigma_mm=sigma, flags=flags, normals=normals,
        normal_sigma_deg=degrees,
        # What noise does to a level is not known, only how unsure the level is.
        repeats=surface.repeats if len(levels) < 2 else None,
    )  # fmt: skip


def _listed(surface: Surface, pieces: Pieces, levels: dict[int, Level]) -> list[dict[str, Any]]:
    points = surface.points_mm()
    out = []
    for piece, level in levels.items():
        own = pieces.region(piece) & surface.mask
        if not own.any():
            continue
        rows, columns = np.nonzero(own)
        x, y, _ = points[own].mean(axis=0)
        out.append({
            "piece": piece,
            "level_mm": level.mm,
            "sigma_mm": level.sigma_mm,
            "told_by": level.told_by,
            "lights": level.lights,
            "centre_mm": [float(x), float(y)],
            "pixels": int(own.sum()),
            "area_mm2": float(own.sum() * surface.camera.pixel_mm(level.mm) ** 2),
            "box_px": [int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())],
        })  # fmt: skip
    return out


def _without_edges(mask: Mask, changed: Map) -> Mask:
    """What of the part is fitted: pixels that mix wall, stage and floor explain nothing."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    kept = inner & ~edges_by_change(changed, mask)
    return np.asarray(kept if kept.sum() > 0.5 * mask.sum() else mask)


def reconstruct_on_stage(
    method: str, stack: Stack, camera: Camera, lights: Lights, options: Options, found: OnStage,
    height_given: bool = False,
) -> Surface:  # fmt: skip
    """Reconstruct a part that was found on the stage.

    Parameters
    ----------
    method, stack, camera, lights, options : as in `reconstruct.methods.reconstruct`
    found : from `find_on_stage`
    height_given : `options.height_mm` and its sigma are known of the part; they count then too

    Returns
    -------
    Surface with absolute heights: sigma holds the level of each piece. ``summary["pieces"]`` and
    ``summary["steps"]`` list levels and what told them.
    """
    started = time.perf_counter()
    prior = (options.height_mm, options.height_sigma_mm) if height_given else None
    first = part_height(found)
    if first is not None:
        options = replace(options, height_mm=first.mm, height_sigma_mm=max(first.sigma_mm, 0.05))
    height_seconds = time.perf_counter() - started
    window = window_about(found.mask)
    part = windowed(stack, *window)
    changed = np.zeros(stack.shape, np.float32)
    changed[window] = change(part)
    fitted = _without_edges(found.mask, changed)
    surface = fit_window(method, part, camera, lights, options, fitted, window)
    begun = time.perf_counter()
    pieces = find_pieces(surface.normals, found.mask, changed)
    pieces = _without_chamfer(pieces, found.top)
    if pieces.count == 0:
        return surface
    ground = first.mm if first is not None else options.height_mm
    pieces = cut_along_low_steps(
        pieces, changed, found.mask, lambda p: _as_seen(surface, p, found)[1], found, ground
    )

    def told(pieces: Pieces) -> tuple[dict[int, Level], list[dict[str, Any]], Rise | None]:
        coarse, seen = _as_seen(surface, pieces, found)
        return find_levels(found, coarse, seen, first, options.height_mm, prior)

    whole = pieces
    if surface.misfit is not None:
        pieces = cut_along_misfits(whole, surface.misfit)
    levels, steps, height = told(pieces)
    if pieces.count > whole.count:
        joined = rejoined(pieces, whole, _alike(surface.height_mm, pieces, levels))
        if joined.count < pieces.count:
            pieces = joined
            levels, steps, height = told(pieces)
    if surface.misfit is not None:
        pieces = without_mixed(pieces, surface.misfit)
    surface = _moved(surface, pieces, levels, found.mask)
    seconds = {
        **surface.summary.get("seconds", {}),
        "height": height_seconds,
        "levels": time.perf_counter() - begun,
    }
    summary = {
        **surface.summary,
        "seconds": seconds,
        "pieces": _listed(surface, pieces, levels),
        "steps": steps,
        "outline": {"pixels": int(found.mask.sum()), "share": float(found.mask.mean())},
    }
    if height is not None:
        summary["height_told"] = {
            "mm": height.mm, "sigma_mm": height_sigma_mm(height), "chamfer_mm": height.chamfer_mm,
            "lights": height.lights,
        }  # fmt: skip
    return replace(surface, summary=summary)


def _without_chamfer(pieces: Pieces, top: Map | None) -> Pieces:
    """The pieces but those beyond the measured edge of the part's top.

    In large pictures the faces of a chamfer are wide enough to be pieces. They stand on the stage
    beside the top, and the shadow there would be neither's.
    """
    if top is None:
        return pieces
    factor = pieces.labels.shape[0] // top.shape[0]
    places = (np.minimum(np.arange(n) // factor, m - 1)
              for n, m in zip(pieces.labels.shape, top.shape, strict=True))  # fmt: skip
    pixels, within = (
        np.bincount(labels.ravel(), minlength=pieces.count + 1)
        for labels in (pieces.labels, np.where(top[np.ix_(*places)] > 0, pieces.labels, 0))
    )
    return pieces.without(np.flatnonzero(2 * within < pixels).tolist())


def _alike(
    height_mm: Map, pieces: Pieces, levels: dict[int, Level]
) -> Callable[[int, int], bool]:  # fmt: skip
    """Whether shadows tell that two pieces lie to each other as the fit has them."""
    moved_mm = {
        p: x.mm - float(np.nanmedian(height_mm[pieces.region(p)])) for p, x in levels.items()
    }

    def alike(a: int, b: int) -> bool:
        sigma_mm = math.hypot(levels[a].sigma_mm, levels[b].sigma_mm)
        both = levels[a].told_by == levels[b].told_by == "shadow"
        return both and abs(moved_mm[a] - moved_mm[b]) <= ALIKE * sigma_mm

    return alike


def _as_seen(surface: Surface, pieces: Pieces, found: OnStage) -> tuple[Surface, Pieces]:
    """Surface and pieces at the pixels of the binned pictures."""
    factor = surface.camera.height // found.camera.height
    if factor == 1:
        return surface, pieces
    height, width = found.camera.shape
    half = factor // 2
    places = (
        slice(half, half + factor * (height - 1) + 1, factor),
        slice(half, half + factor * (width - 1) + 1, factor),
    )
    small = replace(
        surface, camera=found.camera, height_mm=surface.height_mm[places],
        normals=surface.normals[places], sigma_mm=surface.sigma_mm[places],
        normal_sigma_deg=surface.normal_sigma_deg[places], flags=surface.flags[places],
    )  # fmt: skip
    return small, Pieces(pieces.labels[places], pieces.nearest[places], pieces.count)
