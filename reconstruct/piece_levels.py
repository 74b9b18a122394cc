"""Levels of a part's pieces: which shadows fall on what, and the levels that agree with them all.

`reconstruct.levels` measures one rise by one shadow. Here each pair of pieces with a wall in
common, and each piece that stands on the stage, gives such a rise; the levels follow by least
squares from the stage up.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.levels import Receiver, Rise, ShadowFit, signed_distance
from reconstruct.pieces import NEIGHBOUR_PX, Pieces
from reconstruct.short_shadows import LIKELY, SURE, short_rise
from reconstruct.stage_shadows import (
    CHAMFER_MM,
    OnStage,
    open_stage,
    receiver_of,
    rise_over,
    stage_floor,
    stage_receiver,
)
from reconstruct.steps import Level, Step, consistent, most_apart_mm, resting
from reconstruct.surface import Surface
from reconstruct.wall_edges import top_field

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

PIECE_GAP_PX = 1.5  # light from a wall spoils what lies closer to it
# Between pieces the border runs through the pixels that a wall's shadow darkens, on the lower side
# of the edge. In a narrow slot a rise and a lateral offset look alike, so the offset is held.
WALL_PX, WALL_SIGMA_PX = -0.6, 0.02
STRIP_PX = 2.75  # from a piece to where it ends, at most; what lies farther is a strip of others
LEAST_EDGE = 0.25  # of a piece's border, where the part ends
AGAIN_MM = 0.3  # by which a piece must have moved for its walls to be looked at again
FIELDS = 4  # distances to the borders of pairs of pieces that are kept: of one wall, both ways
THREADS = 2  # that look at pairs of pieces, each with the pixel-lights of one
ROUNDS = 2  # of the pieces that stand on the stage, each without the others' shadows
SHADOW_MARGIN_MM = 1.2  # about another piece's shadow
# Of every rise, what the scatter over lights does not show: mm, and share of the rise; least where
# the edge that casts the shadow was measured (simulated parts, decision 0131).
PART_FLOOR, SEEN_ON_PART, HOLE_FLOOR = (0.02, 0.01), (0.004, 0.003), (0.15, 0.03)
HOLE = -1  # the stage as it is seen through holes
LEAST_HOLE_LIGHTS = 12  # that must tell a rise there
SLOT_WIDTH, SLOT_SHARE = 4.0, 0.01  # floors narrower than so many rises: share of the rise unsure
UNTOLD_MM, AT_SEA_MM = 3.0, 10.0  # sigma of a level, and of a whole part, that nothing tells


class _Shadows:
    """What the pieces' shadows on each other and on the stage tell."""

    def __init__(self, found: OnStage, surface: Surface, pieces: Pieces) -> None:
        self.found = found
        self.stack, self.camera, self.lights = found.stack, found.camera, found.lights
        self.outline, self.surface, self.pieces = found.outline, surface, pieces
        heights = (surface.height_mm[pieces.region(p)] for p in range(1, pieces.count + 1))
        self.middle = {p: float(np.nanmedian(z)) for p, z in enumerate(heights, 1)}
        self.shade = self._shading()
        self.stage = open_stage(self.outline)
        self.holes = self.outline.stage & ~self.stage
        # Where the part ends: if no edge is measured, its border with the chamfer it may have.
        self.end = signed_distance(self.outline.mask) if found.top is None else found.top
        most_mm = CHAMFER_MM if found.top is None else 0.0
        self.strip_px = max(STRIP_PX, most_mm / self.camera.pixel_mm(0.0))
        # A piece stands on the stage even if a chamfer lies between.
        self.foot_px = max(NEIGHBOUR_PX, CHAMFER_MM / self.camera.pixel_mm(0.0) + STRIP_PX)
        self.fields: dict[tuple[int, int], Map] = {}
        self.lock = Lock()
        self.receivers: dict[int, tuple[Receiver, Any, Any]] = {}

    def _half_vectors(self, rows: Any, columns: Any) -> tuple[Array, Array]:
        """Squared tangent of the angle of normal and half vector, and irradiance: (N, n) each."""
        z = self.surface.height_mm[rows, columns].astype(float)
        pixels = np.stack([columns, rows], axis=-1)
        points, rays = self.camera.points_at_height(z, pixels), self.camera.rays(pixels)
        normals = self.surface.normals[rows, columns].astype(float)
        to_light = self.lights.position_mm[:, None] - points
        distance = np.linalg.norm(to_light, axis=-1)
        light = to_light / distance[..., None]
        half = light - rays
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        cosine = np.clip(np.sum(half * normals, axis=-1), 0.05, 1.0)
        psi = np.clip(-np.einsum("kni,ki->kn", light, self.lights.axis), 0.02, 1.0)
        power = self.lights.power[:, None] * psi ** self.lights.lobe[:, None]
        return 1.0 / cosine**2 - 1.0, power / distance**2

    def _shading(self) -> tuple[Array, Array]:
        """Radiance over irradiance as a function of the half vector, pooled over the part."""
        rows, columns = np.nonzero(self.pieces.labels > 0)
        step = max(1, len(rows) // 4000)
        rows, columns = rows[::step], columns[::step]
        tangent2, irradiance = self._half_vectors(rows, columns)
        value = self.stack.radiance[:, rows, columns] / irradiance
        edges = np.quantile(tangent2, np.linspace(0, 1, 41))
        bins = np.clip(np.searchsorted(edges, tangent2) - 1, 0, 39)
        at = np.array([tangent2[bins == b].mean() for b in range(40)])
        level = np.array([np.median(value[bins == b]) for b in range(40)])
        return at, np.log(np.maximum(level, 1e-6 * level.max()))

    def receiver(self, piece: int, level_mm: float) -> Receiver:
        """A piece (or the stage, 0) as what shadows fall on."""
        if piece not in self.receivers:
            self.receivers[piece] = self._receiver(piece)
        seen, rows, columns = self.receivers[piece]
        if piece <= 0:
            return seen
        z = self.surface.height_mm[rows, columns] - self.middle[piece] + level_mm
        points = self.camera.points_at_height(z, np.stack([columns, rows], axis=-1))
        return replace(seen, points_mm=np.ascontiguousarray(points))

    def _receiver(self, piece: int, most: int = 4000) -> tuple[Receiver, Any, Any]:
        """The same without places, which a piece's level decides, but its rows and columns."""
        if piece <= 0:
            stage = self.ground(piece)
            return stage_receiver(self.stack, self.camera, self.outline, stage), None, None
        own = self.pieces.region(piece)
        distance = cv2.distanceTransform(own.astype(np.uint8), cv2.DIST_L2, 5)
        rows, columns = np.nonzero(own & (distance > PIECE_GAP_PX))
        step = max(1, len(rows) // most)
        rows, columns = rows[::step], columns[::step]
        tangent2, irradiance = self._half_vectors(rows, columns)
        lit = np.asarray(np.exp(np.interp(tangent2, *self.shade)) * irradiance, np.float32)
        nowhere = np.zeros((len(rows), 3))
        return receiver_of(self.stack, nowhere, lit, rows, columns, 3.0), rows, columns

    def ground(self, number: int) -> Mask:
        """The stage about the part (0) or in its holes (`HOLE`)."""
        return self.holes if number == HOLE else self.stage

    def neighbours(self) -> list[tuple[int, int]]:
        """Pairs of pieces with a wall in common; 0 is the stage."""
        pairs = [(p, 0) for p in self.pieces.touching(self.stage, self.foot_px)]
        for p in range(1, self.pieces.count + 1):
            pairs += [(q, p) for q in self.pieces.touching(self.pieces.region(p)) if q > p]
        return pairs

    def occluder(self, upper: int, lower: int, touching: set[int]) -> Mask:
        """The region that casts the shadow of `upper` on `lower`.

        With it go the pieces that lie behind it, seen from the lower one; pieces that touch the
        lower one themselves cast shadows of their own.
        """
        nearest = self.pieces.nearest
        own = (nearest > 0) & ~np.isin(nearest, [q for q in touching | {lower} if q != upper])
        return np.asarray(own)

    def width_mm(self, piece: int) -> float:
        """How wide a piece is where it is widest."""
        own = np.pad(self.pieces.region(piece), 1).astype(np.uint8)
        widest = float(cv2.distanceTransform(own, cv2.DIST_L2, 5).max())
        return 2.0 * widest * self.camera.pixel_mm(0.0)

    def near_wall(self, piece: int, other: int) -> tuple[float, float, float]:
        """Height of a piece near another one, less its median height, and its sigma, mm.

        And how far it falls from there to the border, mm: what is round has no edge, and each
        light finds its own height that casts the shadow.
        """
        region = self.ground(other) if other <= 0 else self.pieces.region(other)
        reach_px = self.foot_px if other == 0 else NEIGHBOUR_PX
        distance = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
        near = self.pieces.region(piece) & (distance < reach_px + 2)
        near &= np.isfinite(self.surface.height_mm)
        if not near.any():
            return 0.0, 0.0, 0.0
        height, sigma = self.surface.height_mm[near], self.surface.sigma_mm[near]
        known = float(np.nanmedian(sigma)) if np.isfinite(sigma).any() else 0.0
        away = distance[near]
        middle = float(np.median(away))
        close = away < middle
        fall = 0.0
        if close.any():  # medians, for slopes may be astray in a corner
            rise = float(np.median(height[~close]) - np.median(height[close]))
            fall = rise / float(away[~close].mean() - away[close].mean()) * middle
        return float(np.median(height)) - self.middle[piece], known, fall

    def rise(
        self, upper: int, lower: int, level_mm: float, touching: set[int], most_mm: float,
        free: Sequence[Mask] = (),
    ) -> Rise | None:  # fmt: skip
        """The rise of `upper` over `lower` at its level, if the lower one bears its shadow.

        Parameters
        ----------
        free : of shadows of further pieces, which are left out; see `free_of`
        """
        receiver = self.receiver(lower, level_mm)
        if len(receiver.points_mm) < 12 or (lower == 0 and self.behind_strip(upper)):
            return None
        for lit in free:
            receiver = Receiver(receiver.points_mm, receiver.observed, receiver.weight * lit)
        if lower <= 0:
            own = signed_distance(self.occluder(upper, lower, touching))
            top = self._standing(upper, own) if lower == 0 else None
            return rise_over(self.found, (top, own), receiver, level_mm, most_mm)
        field, region = self.border_field(upper, lower, touching), self.pieces.region(upper)
        seen = self.stack, self.camera, self.lights
        top = top_field(*seen, field, region, self.pieces.nearest == lower, level_mm)
        fields = top, field + np.float32(WALL_PX)
        return rise_over(self.found, fields, receiver, level_mm, most_mm, WALL_SIGMA_PX)

    def free_of(self, piece: int, mm: float, touching: set[int]) -> Mask:
        """(N, n) places of the stage where the shadow of a piece so high does not fall."""
        receiver = self.receiver(0, 0.0)
        field = signed_distance(self.occluder(piece, 0, touching))
        fit = ShadowFit(self.camera, self.lights, field, receiver, 0.0)
        return np.asarray(fit.reach(mm, receiver.points_mm) < -SHADOW_MARGIN_MM)

    def _standing(self, piece: int, own: Map) -> Map | None:
        """The part's measured edge as far as it is a piece's, whose border is `own`.

        None if that is little of it.
        """
        if self.found.top is None:
            return None
        nearest = self.pieces.nearest == piece
        edge = (np.abs(self.found.top) < 0.75) & nearest
        border = np.abs(signed_distance(nearest)) < 0.75
        if edge.sum() < LEAST_EDGE * border.sum():
            return None
        return np.minimum(self.found.top, own)

    def behind_strip(self, piece: int) -> bool:
        """Whether not the piece ends where the part does, but a strip of ground beside it.

        The shadow on the stage is the strip's then, and tells nothing of the piece.
        """
        edge = (np.abs(self.end) < 0.75) & (self.pieces.nearest == piece)
        if not edge.any():
            return False
        apart = cv2.distanceTransform(
            (self.pieces.labels != piece).astype(np.uint8), cv2.DIST_L2, 5
        )
        return bool((apart[edge] < self.strip_px).mean() < 0.5)

    def border_field(self, upper: int, lower: int, touching: set[int]) -> Map:
        """Signed distance (px) to the border of what casts the shadow of `upper` on `lower`."""
        pair = upper, lower
        with self.lock:
            if pair not in self.fields:
                while len(self.fields) >= FIELDS:
                    del self.fields[next(iter(self.fields))]
                self.fields[pair] = signed_distance(self.occluder(upper, lower, touching))
            return self.fields[pair]

    def low_rise(self, upper: int, lower: int, level_mm: float, touching: set[int]) -> Rise | None:
        """The rise of `upper`, at its level, over `lower`, if it is low and shadows tell it."""
        field = self.border_field(upper, lower, touching)
        pair = upper, lower
        seen = self.stack, self.camera, self.lights
        return short_rise(*seen, field, self.pieces, pair, level_mm, LIKELY)


def find_levels(
    found: OnStage, surface: Surface, pieces: Pieces, first: Rise | None, height_mm: float,
    prior: tuple[float, float] | None,
) -> tuple[dict[int, Level], list[dict[str, Any]]]:  # fmt: skip
    """The level of each piece, and the steps between pieces that told it.

    Parameters
    ----------
    first : the part's height by its shadow; height_mm : the mean height it was fitted at
    prior : mean height of the part and its sigma where they are known
    """
    shadows = _Shadows(found, surface, pieces)
    pairs = shadows.neighbours()
    touching: dict[int, set[int]] = {p: set() for p in range(pieces.count + 1)}
    for a, b in pairs:
        touching[b].add(a)
        touching[a].add(b)
    ground = first.mm if first is not None else height_mm
    steps: list[Step] = []

    def step(rise: Rise, upper: int, lower: int, low: bool = False) -> Step:
        if lower == 0:
            least, share = stage_floor(rise)
        elif lower == HOLE:
            least, share = HOLE_FLOOR
        else:
            least, share = SEEN_ON_PART if rise.edge_seen else PART_FLOOR
        if low:
            least, share = 0.0, 0.0  # its sigma holds all
        elif lower > 0 and shadows.width_mm(lower) < SLOT_WIDTH * rise.mm:
            share += SLOT_SHARE
        # What is told is the rise where the two meet.
        above, above_sigma, fall = shadows.near_wall(upper, lower)
        below, below_sigma, _ = shadows.near_wall(lower, upper) if lower > 0 else (0.0, 0.0, 0.0)
        parts = rise.sigma_mm, least + share * rise.mm, above_sigma, below_sigma, fall
        sigma = float(np.linalg.norm(parts))
        return Step(upper, max(lower, 0), rise.mm - above + below, sigma, rise)

    standing = sorted(touching[0])
    known: dict[int, Rise] = {}
    if len(standing) == 1 and first is not None:
        if not shadows.behind_strip(standing[0]):
            known[standing[0]] = first  # the whole part's shadow is this piece's
    elif first is not None:
        heights = dict.fromkeys(standing, ground)
        for _ in range(ROUNDS):
            told = {}
            free = {q: shadows.free_of(q, heights[q], touching[0]) for q in standing}
            for piece in standing:
                others = [free[q] for q in standing if q != piece]
                seen = shadows.rise(piece, 0, 0.0, touching[0], 2.0 * ground, others)
                if seen is not None:
                    told[piece] = seen
            known = told
            heights |= {piece: rise.mm for piece, rise in told.items()}
    steps = [step(rise, piece, 0) for piece, rise in known.items()]
    rimming = set(pieces.touching(shadows.holes))
    for piece in sorted(rimming - set(standing)):
        seen = shadows.rise(piece, HOLE, 0.0, rimming, 2.0 * ground)
        if seen is not None and seen.lights >= LEAST_HOLE_LIGHTS:
            known[piece] = seen
            steps.append(step(seen, piece, HOLE))

    def low_step(a: int, b: int, levels: Array) -> Step | None:
        told = [
            step(seen, upper, lower, low=True)
            for upper, lower in ((a, b), (b, a))
            if (seen := shadows.low_rise(upper, lower, float(levels[upper]), touching[lower]))
        ]
        return max(told, key=lambda found: found.rise.standard_errors, default=None)

    def high_step(a: int, b: int, levels: Array) -> Step | None:
        best: Step | None = None
        for upper, lower in ((a, b), (b, a)):
            most = known[upper].mm if upper in known else 1.5 * ground
            if lower in known and upper in known:
                most = 1.5 * most_apart_mm(known[upper], known[lower])
            seen = shadows.rise(upper, lower, float(levels[lower]), touching[lower], most)
            if seen is not None and (best is None or seen.gain > best.rise.gain):
                best = step(seen, upper, lower)
        return best

    def across(a: int, b: int, levels: Array) -> Step | None:
        """The step between two pieces with a wall in common, from where they lie."""
        low = low_step(a, b, levels)
        if low is not None and low.rise.standard_errors > SURE:
            return low
        return high_step(a, b, levels) or low

    numbers = range(1, pieces.count + 1)
    weak = {p: ground + shadows.middle[p] - height_mm for p in numbers}
    mean = None
    if prior is not None:
        share = np.array([0.0, *(pieces.region(p).sum() for p in numbers)])
        share /= share.sum()
        over = sum(
            share[p] * (np.nanmean(surface.height_mm[pieces.region(p)]) - shadows.middle[p])
            for p in numbers
        )
        mean = (share, prior[0] - float(over), prior[1])
    untold = UNTOLD_MM if first is not None or prior is not None else AT_SEA_MM
    # Where a floor lies says how steeply it sees the lights: once more from where it was found.
    values = np.array([0.0, *(known[p].mm if p in known else weak[p] for p in numbers)])
    found_at: dict[tuple[int, int], tuple[Array, Step | None]] = {}
    for _ in range(ROUNDS):
        with ThreadPoolExecutor(THREADS) as pool:
            told_now = {
                pair: pool.submit(across, *pair, values)
                for pair in pairs
                if pair[1] > 0
                and np.abs(values[list(pair)] - found_at.get(pair, (np.inf,))[0]).max() > AGAIN_MM
            }
        found_at |= {p: (values[list(p)], seen.result()) for p, seen in told_now.items()}
        told_steps = steps + [s for _, s in found_at.values() if s is not None]
        values, sigmas, kept = consistent(pieces.count, told_steps, weak, untold, mean)
    if mean is None:
        pixels = {p: int(pieces.region(p).sum()) for p in numbers}
        values = resting(values, kept, weak, pixels)
    levels = {}
    for p in numbers:
        lights = [s.rise.lights for s in kept if p in (s.upper, s.lower)]
        told_by = "shadow" if lights and sigmas[p] < 0.5 * UNTOLD_MM else "nothing"
        if told_by == "nothing" and prior is not None and sigmas[p] < 0.7 * UNTOLD_MM:
            told_by = "prior"
        levels[p] = Level(float(values[p]), float(sigmas[p]), told_by, max(lights, default=0))
    return levels, [s.to_json() for s in kept]
