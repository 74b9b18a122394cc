"""A part's shadow on the stage: what it falls on, what edge casts it, and how high that lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.levels import (
    SECTORS,
    Receiver,
    Rise,
    ShadowFit,
    measure_rise,
    sectors,
    signed_distance,
)
from reconstruct.outline import Outline
from reconstruct.stack import Stack
from reconstruct.wall_edges import top_field

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

LEAST_MM, MOST_MM = 0.15, 40.0  # rises that are tried
STAGE_GAP_PX = 4.0  # light from a wall spoils what lies closer to it
SHADE_MISFIT = 0.08  # of the radiance expected without shadow, relative
# Of a rise over the stage, what its scatter over lights does not show: mm, and share of the rise;
# least where the edge that casts the shadow was measured (simulated parts, decision 0131).
STAGE_FLOOR, SEEN_FLOOR = (0.035, 0.003), (0.003, 0.0015)
CHAMFER_MM = 2.0  # before the part's top, at most
MIRRORS_NOTHING = 1.0  # lights' worth of knowing that the part's edge does not mirror the stage
DISAGREE = 3.0  # sigmas, of sides that cannot be of the same height
LOOKS_APART = 1.5  # sigmas, of two looks at one shadow; where edges are plain, 1.1 at most
UNLIKE = 0.1  # of a height, by which sides of one height do not differ
LEAST_SIDES = 4  # that tell a height alone
SHADOW_MARGIN_MM = 1.2  # about another piece's shadow
LEAST_PAST = 1e-4  # of the stage's pixel-lights, that shadows past an edge's own must take
LATERAL_PX = 0.8  # how far (one sigma) an edge may lie beside the border of its region


@dataclass(frozen=True, eq=False)
class OnStage:
    """A part found on the stage, in pictures binned to at most `MOST_PIXELS`.

    Attributes
    ----------
    stack, camera, lights : binned pictures, their camera, lights in their order
    outline : of the part in them
    mask : (H, W) bool, the part in the pictures as they were taken
    """

    stack: Stack
    camera: Camera
    lights: Lights
    outline: Outline
    mask: Mask

    @cached_property
    def top(self) -> Map | None:
        """(H, W) px into the part from where its top ends; None where nothing tells that."""
        seen = self.stack, self.camera, self.lights
        mask, beside = self.outline.mask, about(self.outline)
        return top_field(
            *seen, signed_distance(mask), mask, beside, 0.0, MIRRORS_NOTHING, CHAMFER_MM
        )


def softness_mm(camera: Camera) -> float:
    """Width (one sigma) of a shadow's edge: lens and pixel, and the disc of a usual LED."""
    return float(np.hypot(0.68 * camera.pixel_mm(0.0), 0.08))


def rises_to_try(camera: Camera, most_mm: float) -> Array:
    least = max(LEAST_MM, 0.35 * camera.pixel_mm(0.0))
    most = max(most_mm, 2.0 * least)
    return np.geomspace(least, most, max(4, int(np.ceil(np.log(most / least) / 0.14))))


def about(outline: Outline) -> Mask:
    """What lies about the part, without what is seen through its holes."""
    _, labels = cv2.connectedComponents((~outline.mask).astype(np.uint8), connectivity=4)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, rim[rim > 0])


def open_stage(outline: Outline) -> Mask:
    """The stage about the part.

    Down a hole the walls mirror light into the shadow: it tells less (`HOLE_FLOOR`).
    """
    return np.asarray(outline.stage & about(outline))


def stage_receiver(
    stack: Stack, camera: Camera, outline: Outline, stage: Mask, reach_mm: float = 45.0,
    most: int = 8000,
) -> Receiver:  # fmt: skip
    """Some of the stage, no farther from the part than shadows reach."""
    distance = cv2.distanceTransform((~outline.mask).astype(np.uint8), cv2.DIST_L2, 5)
    reach = reach_mm / camera.pixel_mm(0.0)
    rows, columns = np.nonzero(stage & (distance > STAGE_GAP_PX) & (distance < reach))
    step = max(1, len(rows) // most)
    rows, columns = rows[::step], columns[::step]
    points = camera.points_at_height(0.0)[rows, columns]
    return receiver_of(stack, points, outline.lit[:, rows, columns], rows, columns, 1.6)


def receiver_of(
    stack: Stack, points: Array, lit: Map, rows: Any, columns: Any, clip: float
) -> Receiver:
    """Places of the pictures, seen as shares (at most `clip`) of the radiance without shadow."""
    seen = stack.radiance[:, rows, columns]
    lit = np.maximum(lit, 1e-9)
    observed = np.clip(seen / lit, -0.5, clip).astype(np.float32)
    noise = stack.noise_floor + stack.noise_gain * np.maximum(seen, 0.3 * lit)
    weight = 1.0 / (noise / lit**2 + SHADE_MISFIT**2)
    weight[stack.clipped[:, rows, columns]] = 0.0
    return Receiver(np.ascontiguousarray(points), observed, weight.astype(np.float32))


def clear_of(found: OnStage, region: Mask, mm: float, receiver: Receiver) -> Mask:
    """(N, n) places of the stage where the shadow of a region that high does not fall."""
    fit = ShadowFit(found.camera, found.lights, signed_distance(region), receiver, 0.0)
    return np.asarray(fit.reach(mm, receiver.points_mm) < -SHADOW_MARGIN_MM)


def reach_past(found: OnStage, raised: Sequence[tuple[Mask, float]], mm: float) -> bool:
    """Whether shadows of raised regions fall past that of the part's edge, which lies at `mm`.

    Parameters
    ----------
    raised : as in `part_height`
    """
    receiver = stage_receiver(found.stack, found.camera, found.outline, open_stage(found.outline))
    lit = clear_of(found, found.outline.mask, mm, receiver)
    clear = [clear_of(found, region, top_mm, receiver) for region, top_mm in raised]
    return bool((lit & ~np.logical_and.reduce(clear)).mean() > LEAST_PAST)


def part_height(found: OnStage, raised: Sequence[tuple[Mask, float]] = ()) -> Rise | None:
    """Height of the part's upper edge above the stage, told by its shadow; None if none falls.

    Parameters
    ----------
    raised : regions that rise over that edge and how high they lie, mm; where their shadows fall
        tells nothing
    """
    receiver = stage_receiver(found.stack, found.camera, found.outline, open_stage(found.outline))
    if len(receiver.points_mm) < 50:
        return None
    for region, mm in raised:
        receiver = receiver.seen_where(clear_of(found, region, mm, receiver))
    fields = found.top, signed_distance(found.outline.mask)
    told = rise_over(found, fields, receiver, 0.0, MOST_MM)
    if told is None:
        return None
    if told.edge_seen:
        bare = rise_over(found, (None, fields[1]), receiver, 0.0, MOST_MM)
        if bare is not None:
            told = _agreed(told, bare)
    # Quarters of the azimuth that overlap: an eighth of few lights tells nothing.
    away = (sectors(found.lights.position_mm) - np.arange(SECTORS)[:, None]) % SECTORS
    alone = [_of_lights(found, own, fields, receiver) for own in away < 2]
    return _as_level(told, [rise.mm for rise in alone if rise is not None])


def _agreed(by_edge: Rise, by_border: Rise) -> Rise:
    """What two looks at one shadow tell together.

    The measured edge takes a chamfer for what is a fillet, or light in one for the top. The border
    alone is vague but has other faults. Where they disagree the truth lies between.
    """
    apart = abs(by_edge.mm - by_border.mm)
    if apart <= LOOKS_APART * math.hypot(height_sigma_mm(by_edge), height_sigma_mm(by_border)):
        return by_edge
    middle = 0.5 * (by_edge.mm + by_border.mm)
    return replace(by_edge, mm=middle, sigma_mm=math.hypot(by_edge.sigma_mm, 0.5 * apart))


def _of_lights(
    found: OnStage, own: Mask, fields: tuple[Map | None, Map], receiver: Receiver
) -> Rise | None:
    """The part's height by the shadows of some of its lights alone."""
    alone = replace(found, lights=found.lights.select(own))
    seen = Receiver(receiver.points_mm, receiver.observed[own], receiver.weight[own])
    return rise_over(alone, fields, seen, 0.0, MOST_MM) if own.any() else None


def _as_level(told: Rise, sides_mm: Sequence[float]) -> Rise:
    """A part's height, unsure where the part is not as high on all sides.

    A wall along one side casts all the shadows there, and they agree with each other: leaving a
    sector of lights out does not show it, but each side alone does. One of them may be wrong.
    """
    if len(sides_mm) < LEAST_SIDES:
        return told
    lowest, highest = np.sort(sides_mm)[[1, -2]]
    apart = 0.5 * float(highest - lowest)
    if apart <= min(DISAGREE * height_sigma_mm(told), UNLIKE * told.mm):
        return told
    return replace(told, sigma_mm=math.hypot(told.sigma_mm, apart))


def stage_floor(height: Rise) -> tuple[float, float]:
    """What its scatter over lights does not show of a height above the stage: mm, and share."""
    return SEEN_FLOOR if height.edge_seen else STAGE_FLOOR


def height_sigma_mm(height: Rise) -> float:
    """One sigma of a height above the stage."""
    least, share = stage_floor(height)
    return float(np.hypot(height.sigma_mm, least + share * height.mm))


def rise_over(
    found: OnStage, fields: tuple[Map | None, Map], receiver: Receiver, level_mm: float,
    most_mm: float, lateral_px: float = LATERAL_PX,
) -> Rise | None:  # fmt: skip
    """The rise of a region over what lies at a level, from its edge if that was measured.

    Parameters
    ----------
    fields : signed distance to the edge that was measured, and to the border of the region
    lateral_px : how far (one sigma) the edge may lie beside that border
    """
    camera, lights, pixel = found.camera, found.lights, found.camera.pixel_mm(0.0)
    tried, softness = rises_to_try(camera, most_mm), softness_mm(camera)
    top, border = fields
    if top is not None:
        # A lateral offset, a chamfer and a rise look alike: of a measured edge the first is none.
        fit = ShadowFit(camera, lights, top, receiver, level_mm, upper_seen=True)
        seen = measure_rise(fit, tried, softness, 0.0)
        if seen is not None:
            return seen
    fit = ShadowFit(camera, lights, border, receiver, level_mm)
    return measure_rise(fit, tried, softness, lateral_px * pixel)
