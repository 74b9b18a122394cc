"""Pieces cut once more, along steps so low that they hardly show.

The wall of a step of a few tenths of a millimetre turns no normal and changes pictures little, but
more than the smooth ground about it. A piece is cut there only if the light that shadows take away
along the cut tells a rise; else it stays whole, so that a scratch or a stain cuts nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from reconstruct.levels import signed_distance
from reconstruct.pieces import (
    Map,
    Mask,
    Pieces,
    edges_by_change,
    nearest_label,
    parted,
)
from reconstruct.short_shadows import LIKELY, short_rise
from reconstruct.stage_shadows import OnStage

LOW_CHANGE = 0.08  # relative change from pixel to pixel, mean over lights, beside CHANGE_OVER
LEAST_PX = 60  # of either side of a cut
REACH = 7  # px, about an edge, that belong to one piece only: it is none


def cut_along_low_steps(
    pieces: Pieces, changed: Map, mask: Mask, seen: Callable[[Pieces], Pieces], found: OnStage,
    level_mm: float,
) -> Pieces:  # fmt: skip
    """The pieces, those cut that hold steps which shadows tell.

    Parameters
    ----------
    changed : (H, W) from `pieces.change`; mask : (H, W) bool, the part
    seen : gives pieces at the pixels of the pictures in `found`
    level_mm : the part's height, to a few millimetres
    """
    looked_at: set[int] = set()
    while True:
        left = [c for c in candidates(pieces, changed, mask) if c[0] not in looked_at]
        if not left:
            return pieces
        piece, cut = left[0]
        looked_at.add(piece)
        if _told(seen(cut), [piece, *range(pieces.count + 1, cut.count + 1)], found, level_mm):
            pieces = cut


def _told(cut: Pieces, parts: list[int], found: OnStage, level_mm: float) -> bool:
    """Whether each part rises over another one, or another one over it."""
    told: set[int] = set()
    seen = found.stack, found.camera, found.lights
    for upper in parts:
        field = signed_distance(cut.nearest == upper)
        for lower in parts:
            if upper != lower and short_rise(*seen, field, cut, (upper, lower), level_mm, LIKELY):
                told |= {upper, lower}
    return told == set(parts)


def candidates(pieces: Pieces, changed: Map, mask: Mask) -> list[tuple[int, Pieces]]:
    """Pieces that weak edges cut into several, and what they are cut into.

    Returns
    -------
    the number of each such piece, and all pieces with that one cut (its largest part keeps it)
    """
    weak = edges_by_change(changed, mask, LOW_CHANGE)
    found = []
    for piece in range(1, pieces.count + 1):
        own = pieces.region(piece)
        split, sizes = parted(own & ~weak, LEAST_PX)
        if len(sizes) < 2:
            continue
        nearest = nearest_label(split)
        # Weak edges within one part, and what they cut off, are that part's.
        alone = np.ones(own.shape, bool)
        for number in range(1, len(sizes) + 1):
            others = ((split > 0) & (split != number)).astype(np.uint8)
            alone &= (nearest != number) | (cv2.dilate(others, np.ones((REACH, REACH))) == 0)
        split = np.where((split == 0) & own & alone, nearest, split)
        found.append((piece, pieces.cut(piece, split, nearest)))
    return found
