"""Levels of a part's pieces: those that agree with all the shadows, from the stage up.

Each pair of pieces with a wall in common, and each piece that stands on the stage, gives a rise;
the levels follow by least squares.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.levels import Rise
from reconstruct.piece_shadows import HOLE, PieceShadows
from reconstruct.pieces import Pieces
from reconstruct.short_shadows import SURE
from reconstruct.stage_shadows import OnStage, part_height, reach_past, stage_floor
from reconstruct.steps import Level, Step, consistent, most_apart_mm, resting
from reconstruct.surface import Surface

Array = NDArray[np.float64]

AGAIN_MM = 0.3  # by which a piece must have moved for its walls to be looked at again
RAISED_MM = 0.3  # over a piece on the stage, for a shadow that may reach past that piece's
THREADS = 2  # that look at pairs of pieces, each with the pixel-lights of one
ROUNDS = 2  # of what is told anew from where the pieces were found
# Of every rise, what the scatter over lights does not show: mm, and share of the rise; least where
# the edge that casts the shadow was measured (simulated parts, decision 0131).
PART_FLOOR, SEEN_ON_PART, HOLE_FLOOR = (0.02, 0.01), (0.004, 0.003), (0.15, 0.03)
SLOT_WIDTH, SLOT_SHARE = 4.0, 0.01  # floors narrower than so many rises: share of the rise unsure
UNTOLD_MM, AT_SEA_MM = 3.0, 10.0  # sigma of a level, and of a whole part, that nothing tells


def find_levels(
    found: OnStage, surface: Surface, pieces: Pieces, first: Rise | None, height_mm: float,
    prior: tuple[float, float] | None,
) -> tuple[dict[int, Level], list[dict[str, Any]], Rise | None]:  # fmt: skip
    """The level of each piece, the steps between pieces that told it, and the part's height.

    Shadows of pieces that lie higher than the part's edge may reach past the edge's own. Once such
    pieces are found, the edge's height is told anew without them.

    Parameters
    ----------
    first : the part's height by its shadow; height_mm : the mean height it was fitted at
    prior : mean height of the part and its sigma where they are known
    """
    shadows = PieceShadows(found, surface, pieces)
    pairs = shadows.neighbours()
    touching: dict[int, set[int]] = {p: set() for p in range(pieces.count + 1)}
    for a, b in pairs:
        touching[b].add(a)
        touching[a].add(b)
    ground = first.mm if first is not None else height_mm

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

    standing, known = sorted(touching[0]), dict[int, Rise]()

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
    in_holes = shadows.rises_in_holes(standing, 2.0 * ground)
    values = np.zeros(0)
    raised: dict[int, float] = {}
    found_at: dict[tuple[int, int], tuple[Array, Step | None]] = {}
    for _ in range(ROUNDS):
        if raised:
            first = part_height(found, shadows.regions(raised)) or first
        stand = shadows.standing_rises(standing, first, raised) if first is not None else {}
        on_stage = [step(rise, piece, 0) for piece, rise in stand.items()]
        on_stage += [step(rise, piece, HOLE) for piece, rise in in_holes.items()]
        known = stand | in_holes
        if not raised:
            values = np.array([0.0, *(known[p].mm if p in known else weak[p] for p in numbers)])
        # Where a floor lies says how steeply it sees the lights: again from where it was found.
        for _ in range(ROUNDS):
            with ThreadPoolExecutor(THREADS) as pool:
                told_now = {
                    pair: pool.submit(across, *pair, values)
                    for pair in pairs
                    if pair[1] > 0
                    and np.abs(values[list(pair)] - found_at.get(pair, (np.inf,))[0]).max()
                    > AGAIN_MM
                }
            found_at |= {p: (values[list(p)], seen.result()) for p, seen in told_now.items()}
            steps = on_stage + [s for _, s in found_at.values() if s is not None]
            values, sigmas, kept = consistent(pieces.count, steps, weak, untold, mean)
        lowest = float(min((values[p] for p in stand), default=np.inf))
        raised = {
            p: float(values[p] + sigmas[p])
            for p in numbers
            if p not in stand and sigmas[p] < 0.5 * UNTOLD_MM and values[p] > lowest + RAISED_MM
        }
        if not raised or not reach_past(found, shadows.regions(raised), lowest):
            break
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
    return levels, [s.to_json() for s in kept], first
