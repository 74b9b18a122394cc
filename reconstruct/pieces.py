"""The pieces of a part: regions that are smooth inside, with depth discontinuities between them.

Normals cannot carry height across a wall narrower than a pixel. Such a wall shows itself all the
same. Its pixels mix wall and floor, so that the normals fitted there stand apart from those beside
them; and under every light that it faces away from a shadow begins at it, so that the pictures of
many lights change there at once. Pixels with either sign are edges; what remains falls into
connected pieces. Whether two pieces are also apart in height is for the shadows to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.nearest import nearest_known
from reconstruct.stack import Stack

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

TURN_DEG = 9.0  # between neighbouring pixels
# Relative change from pixel to pixel, mean over lights: of an edge, and over what is about it.
CHANGE, CHANGE_OVER = 0.25, 1.8
ABOUT_PX, ABOUT_MOST = 15, 0.2
LEAST_CORE_PX = 9  # pixels of a piece that lie away from its edges
NEIGHBOUR_PX = 9.0  # pieces no farther apart have a wall in common


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of a part.

    Attributes
    ----------
    labels : (H, W) int32, 0 on edges and off the part, pieces from 1
    nearest : (H, W) int32, the piece nearest to each pixel of the part; 0 off the part
    count : number of pieces
    """

    labels: Labels
    nearest: Labels
    count: int

    def region(self, piece: int) -> Mask:
        return np.asarray(self.labels == piece)

    def touching(self, other: Mask) -> list[int]:
        """Pieces with a pixel within `NEIGHBOUR_PX` of a region."""
        if not other.any():
            return []
        distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, 5)
        found, counts = np.unique(self.labels[distance <= NEIGHBOUR_PX], return_counts=True)
        return [int(p) for p, n in zip(found, counts, strict=True) if p > 0 and n >= 4]


def turning(normals: Map) -> Map:
    """(H, W) greatest angle in degrees between a pixel's normal and those of its neighbours."""
    n = np.nan_to_num(normals)
    out = np.zeros(n.shape[:2], np.float32)
    for axis in (0, 1):
        cosine = np.sum(np.take(n, range(1, n.shape[axis]), axis) *
                        np.take(n, range(n.shape[axis] - 1), axis), axis=-1)  # fmt: skip
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).astype(np.float32)
        angle = np.where(cosine == 0.0, np.float32(0.0), angle)  # a neighbour that is not known
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        for place in (tuple(before), tuple(after)):
            out[place] = np.maximum(out[place], angle)
    return out


def change(stack: Stack) -> Map:
    """(H, W) relative change of radiance to the neighbouring pixels, mean over lights; 0 to 2."""
    out = np.zeros(stack.shape, np.float32)
    for image in stack.radiance:
        value = np.maximum(image, 0.0)
        base = value + 4.0 * np.sqrt(stack.noise_floor + stack.noise_gain * value)
        most = np.zeros_like(out)
        for before, after in (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
            ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ):
            step = 2.0 * np.abs(value[after] - value[before]) / (base[after] + base[before])
            most[before] = np.maximum(most[before], step)
            most[after] = np.maximum(most[after], step)
        out += most
    return np.asarray(out / max(len(stack), 1), dtype=np.float32)


def edges_by_change(changed: Map, mask: Mask, much: float = CHANGE) -> Mask:
    """Where the pictures of many lights change at once: more than about there, and much."""
    scaled = np.where(mask, np.clip(changed * 100.0, 0, 255), 0).astype(np.uint8)
    typical = float(np.median(scaled[mask])) if mask.any() else 0.0
    # Of weak edges, strong ones are not what is about: they would hide the end that meets them.
    strong = changed > CHANGE if much < CHANGE else np.zeros_like(mask)
    about_them = cv2.dilate(strong.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    filled = np.where(mask & ~about_them, scaled, np.uint8(typical)).astype(np.uint8)
    # Between edges that lie close, what is about is edges too: the whole part's median bounds it.
    most = max(2.0 * typical, 100.0 * ABOUT_MOST)
    about = np.minimum(cv2.medianBlur(filled, ABOUT_PX).astype(np.float32), most) / 100.0
    return np.asarray(mask & (changed > np.maximum(much, CHANGE_OVER * about)))


def find_pieces(normals: Map, mask: Mask, changed: Map | None = None) -> Pieces:
    """Cut a part along its edges.

    Parameters
    ----------
    normals : (H, W, 3) unit normals, NaN where unknown; mask : (H, W) bool, the part
    changed : (H, W) from `change`
    """
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    smooth = inside & np.isfinite(normals).all(axis=-1) & (turning(normals) < TURN_DEG)
    if changed is not None:
        smooth &= ~edges_by_change(changed, mask)
    core = cv2.erode(smooth.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    _, cores, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
    labels = np.zeros(mask.shape, np.int32)
    number = 0
    for label in np.argsort(-stats[1:, cv2.CC_STAT_AREA]) + 1:
        if stats[label, cv2.CC_STAT_AREA] >= LEAST_CORE_PX:
            number += 1
            labels[cores == label] = number
    # Back to what the erosion took, without going through gaps that it closed.
    labels = grown_back(labels, smooth)
    nearest = np.where(mask, nearest_label(labels), 0) if number else np.zeros_like(labels)
    return Pieces(labels, nearest, number)


def grown_back(labels: Labels, where: Mask) -> Labels:
    """Labels (H, W) grown by two pixels into what has none, within `where`."""
    for _ in range(2):
        grown = cv2.dilate(labels.astype(np.float32), np.ones((3, 3))).astype(np.int32)
        labels = np.where((labels == 0) & where, grown, labels)
    return labels


def nearest_label(labels: Labels) -> Labels:
    """(H, W) label of the nearest pixel that has one."""
    return np.asarray(labels.ravel()[nearest_known(labels > 0)])
