"""The pieces of a part: regions that are smooth inside, with depth discontinuities between them.

Normals cannot carry height across a wall narrower than a pixel. Such a wall shows itself all the
same. Its pixels mix wall and floor, so that the normals fitted there stand apart from those beside
them; and under every light that it faces away from a shadow begins at it, so that the pictures of
many lights change there at once. Pixels with either sign are edges; what remains falls into
connected pieces. Whether two pieces are also apart in height is for the shadows to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
# What no smooth surface explains, mean over a pixel's neighbourhood: so many times what noise and
# the piece's typical pixel leave. It cuts where either side is so large.
MISFIT, LEAST_CUT_PX = 2.0, 60
# What is misfit so far across may be ground in a shadow, and no wall: it cuts only where either
# side is so large a share of the piece.
WIDE_PX, WIDE_SHARE = 11, 0.05
MIXED = 3.0  # times the piece's typical misfit, of pixels of its rim that mix two grounds
# Pixels and those to the right of them, pixels and those below.
NEIGHBOURS = ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]))
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

    def cut(self, piece: int, split: Labels, nearest: Labels) -> Pieces:
        """The pieces with one of them split: its first part keeps its number.

        Parameters
        ----------
        split : (H, W) int32 parts of it from 1, 0 where it becomes none
        nearest : (H, W) int32 the part nearest to each pixel
        """
        parts = int(split.max())
        numbers = np.array([0, piece, *range(self.count + 1, self.count + parts)], np.int32)
        return Pieces(
            np.where(self.region(piece), numbers[split], self.labels),
            np.where(self.nearest == piece, numbers[nearest], self.nearest),
            self.count + parts - 1,
        )

    def without(self, unwanted: Sequence[int]) -> Pieces:
        """The other pieces, numbered anew; what was nearest to these is nearest to one of them."""
        kept = np.setdiff1d(np.arange(1, self.count + 1), unwanted)
        numbers = np.zeros(self.count + 1, np.int32)
        numbers[kept] = np.arange(1, len(kept) + 1)
        labels = numbers[self.labels]
        if not len(kept):
            return Pieces(labels, labels, 0)
        nearest = np.where(self.nearest > 0, nearest_label(labels), 0)
        return Pieces(labels, nearest, len(kept))

    def touching(self, other: Mask, within_px: float = NEIGHBOUR_PX) -> list[int]:
        """Pieces with a pixel so near to a region."""
        if not other.any():
            return []
        distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, 5)
        found, counts = np.unique(self.labels[distance <= within_px], return_counts=True)
        return [int(p) for p, n in zip(found, counts, strict=True) if p > 0 and n >= 4]


def turning(normals: Map) -> Map:
    """(H, W) greatest angle in degrees between a pixel's normal and those of its neighbours."""
    n = np.nan_to_num(normals)
    out = np.zeros(n.shape[:2], np.float32)
    for before, after in NEIGHBOURS:
        cosine = np.sum(n[after] * n[before], axis=-1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).astype(np.float32)
        angle = np.where(cosine == 0.0, np.float32(0.0), angle)  # a neighbour that is not known
        for place in (before, after):
            out[place] = np.maximum(out[place], angle)
    return out


def change(stack: Stack) -> Map:
    """(H, W) relative change of radiance to the neighbouring pixels, mean over lights; 0 to 2."""
    out = np.zeros(stack.shape, np.float32)
    for image in stack.radiance:
        value = np.maximum(image, 0.0)
        base = value + 4.0 * np.sqrt(stack.noise_floor + stack.noise_gain * value)
        most = np.zeros_like(out)
        for before, after in NEIGHBOURS:
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
    labels, sizes = parted(smooth, LEAST_CORE_PX)
    nearest = np.where(mask, nearest_label(labels), 0) if sizes else np.zeros_like(labels)
    return Pieces(labels, nearest, len(sizes))


def cut_along_misfits(pieces: Pieces, misfit: Map) -> Pieces:
    """The pieces, those cut that a band which no smooth surface explains goes through.

    On finely grooved or small parts pictures change everywhere as they do at walls, and edges by
    change stay open or are not found. A fit of one smooth surface explains grooves, but neither
    the shadows that a wall casts nor its face. Such a band belongs to no piece; what does not
    part a piece in two (the shadow along a pocket's wall, a speck) stays with it.

    Parameters
    ----------
    misfit : (H, W) what the fit leaves of a pixel's pictures, over what noise leaves
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDE_PX, WIDE_PX))
    for share in (0.0, WIDE_SHARE):
        for piece in range(1, pieces.count + 1):
            region = pieces.region(piece)
            own = region & np.isfinite(misfit)
            if own.sum() < 2 * LEAST_CUT_PX:
                continue
            bad = _misfit_regions(own, misfit)
            if share == 0.0:
                bad &= cv2.morphologyEx(bad.astype(np.uint8), cv2.MORPH_OPEN, disc) == 0
            split, sizes = parted(own & ~bad, LEAST_CORE_PX)
            if sum(size >= max(LEAST_CUT_PX, share * own.sum()) for size in sizes) >= 2:
                pieces = pieces.cut(piece, _with_specks(split, region), nearest_label(split))
    return pieces


def without_mixed(pieces: Pieces, misfit: Map) -> Pieces:
    """The pieces without pixels of their rims that mix two grounds: no one surface explains them.

    Parameters
    ----------
    misfit : as in `cut_along_misfits`
    """
    labels = pieces.labels.copy()
    for piece in range(1, pieces.count + 1):
        own = pieces.region(piece)
        known = own & np.isfinite(misfit)
        if known.any():
            rim = own & (cv2.erode(own.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
            labels[rim & (misfit > MIXED * max(1.0, float(np.median(misfit[known]))))] = 0
    return Pieces(labels, pieces.nearest, pieces.count)


def _misfit_regions(own: Mask, misfit: Map) -> Mask:
    """(H, W) where a piece is misfit."""
    typical = max(1.0, float(np.median(misfit[own])))
    # Cut off, so that what is beside a band is none of it, whatever it leaves.
    values = np.where(own, np.minimum(misfit / typical, 2 * MISFIT), 0.0).astype(np.float32)
    total, weight = (
        cv2.GaussianBlur(image, (0, 0), 1.0) for image in (values, own.astype(np.float32))
    )
    return np.asarray(own & (total > MISFIT * weight))


def rejoined(cut: Pieces, whole: Pieces, alike: Callable[[int, int], bool]) -> Pieces:
    """Parts of a piece that are `alike`, two by two, with the first of them are one piece again.

    Parameters
    ----------
    whole : the pieces before `cut_along_misfits`
    """
    into = np.arange(cut.count + 1)
    for piece in range(1, whole.count + 1):
        kept: list[int] = []
        for part in np.unique(cut.labels[whole.region(piece)]):
            same = next((k for k in kept if alike(k, int(part))), None) if part > 0 else 0
            if same is None:
                kept.append(int(part))
            elif same > 0:
                into[part] = same
    numbers = np.unique(into, return_inverse=True)[1].astype(np.int32)
    labels = numbers[cut.labels]
    for piece in range(1, whole.count + 1):
        region = whole.region(piece)
        labels = np.where(region, _with_specks(np.where(region, labels, 0), region), labels)
    return Pieces(labels, numbers[cut.nearest], int(numbers.max()))


def _with_specks(split: Labels, region: Mask) -> Labels:
    """Parts of a region with what is left of it but meets one part alone."""
    rest = region & (split == 0)
    count, patch = cv2.connectedComponents(rest.astype(np.uint8), connectivity=8)
    lowest, highest = np.full(count, np.inf), np.zeros(count)
    known = np.where(split > 0, split, np.inf).astype(np.float32)
    np.minimum.at(lowest, patch[rest], cv2.erode(known, np.ones((3, 3)))[rest])
    np.maximum.at(highest, patch[rest], cv2.dilate(split.astype(np.float32), np.ones((3, 3)))[rest])
    alone = np.where(lowest == highest, highest, 0.0)
    return np.where(rest, alone[patch], split).astype(np.int32)


def parted(where: Mask, least_px: int) -> tuple[Labels, list[int]]:
    """Connected parts of a region, the largest first, from so many pixels on; and their sizes.

    What is narrower than three pixels parts them. The sizes are without the outermost pixels.
    """
    core = cv2.erode(where.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0)
    _, cores, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=4)
    size = stats[:, cv2.CC_STAT_AREA]
    large = [k for k in np.argsort(-size[1:]) + 1 if size[k] >= least_px]
    numbers = np.zeros(len(stats), np.int32)
    numbers[large] = np.arange(1, len(large) + 1)
    # Back to what the erosion took, without going through gaps that it closed.
    return grown_back(numbers[cores], where), [int(size[k]) for k in large]


def grown_back(labels: Labels, where: Mask) -> Labels:
    """Labels (H, W) grown by two pixels into what has none, within `where`."""
    for _ in range(2):
        grown = cv2.dilate(labels.astype(np.float32), np.ones((3, 3))).astype(np.int32)
        labels = np.where((labels == 0) & where, grown, labels)
    return labels


def nearest_label(labels: Labels) -> Labels:
    """(H, W) label of the nearest pixel that has one."""
    return np.asarray(labels.ravel()[nearest_known(labels > 0)])
