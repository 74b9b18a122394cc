"""What the shadows of a part's pieces tell: on each other, on the stage, and on it in holes.

`reconstruct.levels` measures one rise by one shadow. Here it is said which region casts the shadow
that a piece bears, and what of it may be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.levels import Receiver, Rise, signed_distance
from reconstruct.pieces import NEIGHBOUR_PX, Pieces
from reconstruct.short_shadows import LIKELY, short_rise
from reconstruct.stage_shadows import (
    CHAMFER_MM,
    OnStage,
    clear_of,
    open_stage,
    receiver_of,
    rise_over,
    stage_receiver,
)
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
FIELDS = 4  # distances to the borders of pairs of pieces that are kept: of one wall, both ways
ROUNDS = 2  # of the pieces that stand on the stage, each without the others' shadows
HOLE = -1  # the stage as it is seen through holes
LEAST_HOLE_LIGHTS = 12  # that must tell a rise there


class PieceShadows:
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
            receiver = receiver.seen_where(lit)
        if lower <= 0:
            own = signed_distance(self.occluder(upper, lower, touching))
            top = self._standing(upper, own) if lower == 0 else None
            return rise_over(self.found, (top, own), receiver, level_mm, most_mm)
        field, region = self.border_field(upper, lower, touching), self.pieces.region(upper)
        seen = self.stack, self.camera, self.lights
        top = top_field(*seen, field, region, self.pieces.nearest == lower, level_mm)
        fields = top, field + np.float32(WALL_PX)
        return rise_over(self.found, fields, receiver, level_mm, most_mm, WALL_SIGMA_PX)

    def standing_rises(
        self, standing: Sequence[int], first: Rise, raised: dict[int, float]
    ) -> dict[int, Rise]:  # fmt: skip
        """Rises of the pieces that stand on the stage, each without the others' shadows.

        Parameters
        ----------
        first : the whole part's
        raised : further pieces whose shadows are left out, and how high they lie, mm
        """
        if len(standing) == 1:
            return {} if self.behind_strip(standing[0]) else {standing[0]: first}
        receiver, touching = self.receiver(0, 0.0), set(standing)
        clear = [clear_of(self.found, *region, receiver) for region in self.regions(raised)]
        heights_mm = dict.fromkeys(standing, first.mm)
        told: dict[int, Rise] = {}
        for _ in range(ROUNDS):
            own = {p: self.occluder(p, 0, touching) for p in standing}
            free = {p: clear_of(self.found, own[p], heights_mm[p], receiver) for p in standing}
            told = {}
            for piece in standing:
                others = [*clear, *(free[p] for p in standing if p != piece)]
                seen = self.rise(piece, 0, 0.0, touching, 2.0 * first.mm, others)
                if seen is not None:
                    told[piece] = seen
            heights_mm |= {piece: rise.mm for piece, rise in told.items()}
        return told

    def rises_in_holes(self, standing: Sequence[int], most_mm: float) -> dict[int, Rise]:
        """Rises of the other pieces over the stage in the part's holes."""
        rimming = set(self.pieces.touching(self.holes))
        seen = {p: self.rise(p, HOLE, 0.0, rimming, most_mm) for p in rimming - set(standing)}
        return {p: r for p, r in sorted(seen.items()) if r and r.lights >= LEAST_HOLE_LIGHTS}

    def regions(self, heights_mm: dict[int, float]) -> list[tuple[Mask, float]]:
        """What is nearest to each of some pieces, and how high it lies."""
        return [(self.pieces.nearest == piece, mm) for piece, mm in heights_mm.items()]

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
