"""Which pixels of a fitted surface are claimed, and what those that are not leave unsure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from reconstruct.refine.halves import HALVES, signed_gradients
from reconstruct.refine.pixel import CLIPPED_BIT, SHADOW_BIT
from reconstruct.refine.problem import Band, Loss, Problem, System
from reconstruct.refine.solve import State
from reconstruct.surface import Flag

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# Slopes less sure than this, from a pixel's nearest neighbourhood and own light alone, are a guess.
UNLIT_SLOPE_SIGMA = 0.1
# So many times less sure than typical, slopes carry a level on, and go along with a level beside
# them; typical is this at least.
JOINING, GOING_ALONG, TYPICAL_SLOPE_SIGMA = 5.0, 12.0, 0.00075
# Fewer lights than this, or than this share of them, leave a pixel in the shadow.
FEW_LIGHTS, FEW_SHARE = 8, 0.25
# By how much guessed slopes are off, all of a place in the same direction.
GUESSED_SLOPE_SIGMA = 0.5
# No highlight: no picture of a place shows this share of what the typical place's brightest does.
DARK = 0.01
# Nothing at all: the brightest picture stands out of the others by less than so many sigmas
# (of a hundred pictures of nothing, one does so at one place in 300).
STANDS_OUT = 4.0
SMOOTH_PX = 4.0  # a level of misfit is smoothed over so many pixels
SHADOWED, CLIPPED, UNLIT = int(Flag.SHADOWED), int(Flag.CLIPPED), int(Flag.UNLIT)


@dataclass(frozen=True)
class MeanHeight:
    """Mean height of the part and its sigma, mm; and that of the height of told places alone."""

    mm: float
    sigma_mm: float
    told_sigma_mm: float = np.inf


def matrices(system: System) -> Array:
    """(H, W, 3, 3) Gauss-Newton matrix of (log-depth, two slopes) of each pixel."""
    s = system.sums
    full = np.stack([s[3], s[4], s[5], s[4], s[6], s[7], s[5], s[7], s[8]], axis=-1)
    return full.reshape(*s.shape[1:], 3, 3).astype(np.float64)


def smooth(image: Array, weight: Array, sigma_px: float) -> Array:
    """Gaussian mean over the mask."""
    total = cv2.GaussianBlur(image * weight, (0, 0), sigma_px)
    return total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma_px), 1e-6)


def scatter(system: System, weight: Array) -> Array:
    """(H, W) variance of a unit-information residual: gᵀ M⁻¹ g over its degrees of freedom.

    Three numbers a pixel are seen and about one is fitted, so two remain.
    """
    value = np.empty(weight.shape)
    _misfit(system.sums, value)
    # Outliers are what the robust loss lets through; a patch's level is what matters.
    top = np.quantile(value[weight > 0], 0.98) if (weight > 0).any() else 0.0
    return smooth(np.minimum(value, top), weight, SMOOTH_PX)


@njit(cache=True, nogil=True, error_model="numpy")
def _misfit(sums, value):
    """gᵀ M⁻¹ g / 2 of each pixel's gradient g and matrix M, for `scatter`."""
    for r in range(value.shape[0]):
        for c in range(value.shape[1]):
            s = sums[:, r, c].astype(np.float64)
            more = 1e-9 + 1e-6 * (s[3] + s[6] + s[8])
            uu, up, uq = s[3] + more, s[4], s[5]
            pp, pq, qq = s[6] + more, s[7], s[8] + more
            # Elimination by hand of u, then of p.
            by_p, by_q = up / uu, uq / uu
            pp, pq, qq = pp - by_p * up, pq - by_p * uq, qq - by_q * uq
            p, q = s[1] - by_p * s[0], s[2] - by_q * s[0]
            q -= pq / pp * p
            value[r, c] = 0.5 * (s[0] * s[0] / uu + p * p / pp + q * q / (qq - pq / pp * pq))


def _worse_slope_sigma(sums: NDArray[np.float32], level: Array, weight: Array) -> Array:
    """(H, W) sigma of the worse of the two slopes, by a pixel and its nearest neighbours."""
    pp, pq, qq = (smooth(entry, weight, 1.0) for entry in sums[6:9])
    least = 0.5 * (pp + qq) - np.sqrt(0.25 * np.square(pp - qq) + np.square(pq))
    return np.asarray(np.sqrt(level / np.maximum(least, 1e-12)))


def _by_own_light(problem: Problem, state: State, loss: Loss) -> NDArray[np.float32] | None:
    """(9, H, W) sums of `System` while light between places stays as the slopes move.

    None where it stays anyway.
    """
    traced = problem.traced
    if traced.shape[-1] == len(problem.pictures):
        return None
    problem.traced = np.ascontiguousarray(problem.indirect)
    try:
        return problem.evaluate(state.u, state.material, loss, with_material=False).sums
    finally:
        problem.traced = traced


def _main(told: Mask, inside: Mask) -> Mask:
    """(H, W) the main connected region of told places of each connected piece of the part.

    It is the one that fills most of the piece, the piece's middle above all: places count by their
    distance from the piece's border, so that a part is kept rather than what surrounds it.
    """
    within = cv2.copyMakeBorder(inside.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth_px = cv2.distanceTransform(within, cv2.DIST_L2, 5)[1:-1, 1:-1]
    pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[1]
    count, label = cv2.connectedComponents(told.astype(np.uint8), connectivity=8)
    filled = np.bincount(label.ravel(), depth_px.ravel(), count)
    piece_of = np.zeros(count, np.int64)
    piece_of[label[told]] = pieces[told]
    main: dict[int, int] = {}
    for k in range(1, count):
        best = main.get(int(piece_of[k]))
        if best is None or filled[k] > filled[best]:
            main[int(piece_of[k])] = k
    kept: Mask = np.isin(label, list(main.values()))
    return told & kept


def _reached(told: Mask, inside: Mask) -> Mask:
    """(H, W) what is told and reached from the main region by ways of three pixels.

    How well a pixel's slopes are told is looked at with its nearest neighbours, and spreads to it
    from them: a narrower way between guessed places carries no level.
    """
    near = np.ones((3, 3), np.uint8)
    wide = told & (cv2.erode((told | ~inside).astype(np.uint8), near) > 0)
    pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[1]
    wide |= told & ~np.isin(pieces, np.unique(pieces[wide]))  # pieces that are no wider anywhere
    return told & (cv2.dilate(_main(wide, inside).astype(np.uint8), near) > 0)


def islands(told: Mask, joining: Mask, going_along: Mask, inside: Mask) -> Mask:
    """(H, W) told places whose height only poor slopes join to the main region of their piece.

    Their slopes are told, their level is not: it is summed up over slopes that are guessed or
    hardly told. What is hardly told and lies between two regions goes along with the nearer one.

    Parameters
    ----------
    told : (H, W) places whose slopes the pictures tell
    joining : those that tell them well enough to carry a level on
    going_along : those that tell them well enough to be claimed with a region beside them
    inside : the part; its connected pieces are looked at one by one
    """
    joining = joining & told
    main = _main(joining, inside)
    others = joining & ~main
    hardly = told & ~joining
    patch = cv2.connectedComponents(hardly.astype(np.uint8), connectivity=8)[1]
    beside = cv2.dilate(others.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    between = hardly & np.isin(patch, np.unique(patch[hardly & beside]))
    if between.any():
        away_px, others_px = (
            cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)
            for region in (main, others)
        )
        between &= ~going_along | (away_px >= others_px)
    return told & ~_reached(told & ~others & ~between, inside)


@njit(cache=True, nogil=True)
def _lit_rows(rows, code, few, near, flags):
    """Flags by the pictures alone of image rows [first, last): shadowed, clipped, unlit."""
    first, last = rows
    for r in range(first, last):
        for c in range(code.shape[1]):
            own = code[r, c]
            lit, top = 0, 0
            light, lost = 0.0, 0.0
            for k in range(len(own)):
                level = own[k] >> 2
                lit += (own[k] & SHADOW_BIT) == 0
                top = max(top, level)
                if own[k] & CLIPPED_BIT:
                    lost += float(level) * level
                light += float(level) * level
            alike = 0
            for k in range(len(own)):
                alike += top - (own[k] >> 2) <= near
            flag = 0
            if lit < few:
                flag |= SHADOWED
            if lost > 0.5 * light:
                flag |= CLIPPED
            # half of the pictures are as bright as the brightest, but for noise: the median is
            if alike > 0.5 * len(own):
                flag |= UNLIT
            flags[r, c] = flag


def quality(problem: Problem, slope_sigma: Array) -> NDArray[np.uint8]:
    """(H, W) flags of a fitted surface: outside, clipped, shadowed, unlit."""
    code, count = problem.pictures.code, len(problem.pictures)
    few = max(min(FEW_LIGHTS, count), FEW_SHARE * count)
    near = int(STANDS_OUT * problem.pictures.noise / problem.pictures.scale)
    flags = np.zeros(problem.shape, np.uint8)

    def rows(band: Band) -> None:
        _lit_rows(band, code, few, near, flags)

    problem.mapped(rows, problem.bands())
    flags[slope_sigma > UNLIT_SLOPE_SIGMA] |= UNLIT
    inside = problem.weight > 0
    told = inside & ((flags & UNLIT) == 0)
    flags[islands(told, told, told, inside)] |= UNLIT
    flags[problem.weight == 0] = np.uint8(Flag.OUTSIDE)
    return flags


def dark_places(problem: Problem) -> Mask:
    """(n,) of the places that count, those that show no highlight under any light.

    The typical place is the one that the light comes from: half of it comes from brighter ones.
    Counted as places, a part that is dark over more than its half would have a dark one.
    """
    pictures = problem.pictures
    level = (pictures.code[problem.weight > 0] >> 2).max(axis=-1) * float(pictures.scale)
    brightest = np.maximum(np.square(level) - pictures.epsilon, 0.0)
    ordered = np.sort(brightest)
    light = np.cumsum(ordered)
    if light.size == 0 or light[-1] <= 0:
        return np.zeros(brightest.shape, bool)
    typical = ordered[np.searchsorted(light, 0.5 * light[-1])]
    return np.asarray(brightest < DARK * typical)


def dark_share(problem: Problem) -> float:
    """Share of the part that shows no highlight under any light."""
    dark = dark_places(problem)
    return float(dark.mean()) if dark.size else 0.0


def guessed_mean_sigma_mm(problem: Problem, flags: NDArray[np.uint8]) -> float:
    """Sigma of the mean height of what is claimed, the mean of the whole part being given.

    Where no light tells the slopes, the part may lie as much off as slopes of
    `GUESSED_SLOPE_SIGMA` carry it over the way from the nearest told place; the mean height that is
    given holds all of it.
    """
    inside = problem.weight > 0
    told = inside & ((flags & UNLIT) == 0)
    if not told.any() or (told == inside).all():
        return 0.0
    away_px = cv2.distanceTransform((~told).astype(np.uint8), cv2.DIST_L2, 5)
    depth = float(np.linalg.norm(problem.camera.centre_mm))
    pixel_mm = depth / float(np.sqrt(problem.camera.K[0, 0] * problem.camera.K[1, 1]))
    away_mm = float(away_px[inside & ~told].sum(dtype=np.float64)) / inside.sum() * pixel_mm
    return GUESSED_SLOPE_SIGMA * away_mm


@dataclass(frozen=True, eq=False)
class Claims:
    """What a fitted surface shows of itself.

    Attributes
    ----------
    cost : of the state
    sums : (9, H, W) each pixel's gradient and matrix, of `System`
    halves : (R, 3, h, w) gradients with the lights' shares signed; see `signed_gradients`
    level : (H, W) variance of a residual of unit information; see `scatter`
    flags : (H, W) see `quality`; unlit, too, is what `islands` finds among hardly told slopes
    guessed_mm : see `guessed_mean_sigma_mm`
    """

    cost: float
    sums: NDArray[np.float32]
    halves: NDArray[np.float32]
    level: Array
    flags: NDArray[np.uint8]
    guessed_mm: float

    @staticmethod
    def of(problem: Problem, state: State, loss: Loss, draws: int = HALVES) -> Claims:
        """By a pixel and its nearest neighbours, with so many draws of `halves`."""
        system, halves = signed_gradients(problem, state.u, state.material, loss, draws)
        weight = problem.weight.astype(np.float64)
        level = scatter(system, weight)
        slope_sigma = least_told = _worse_slope_sigma(system.sums, level, weight)
        own = _by_own_light(problem, state, loss)
        if own is not None:
            # Slopes that only the light of other places tells err as these do, by any amount.
            least_told = np.maximum(slope_sigma, _worse_slope_sigma(own, level, weight))
        flags = quality(problem, least_told)
        # Slopes that are hardly told are no guess: the mean height that is given holds for them.
        guessed_mm = guessed_mean_sigma_mm(problem, flags)
        inside = weight > 0
        told = inside & ((flags & UNLIT) == 0)
        if told.any():
            doubt = slope_sigma / max(float(np.median(slope_sigma[told])), TYPICAL_SLOPE_SIGMA)
            off = islands(told, doubt <= JOINING, doubt <= GOING_ALONG, inside)
            flags[off] |= UNLIT
        return Claims(system.cost, system.sums, halves, level, flags, guessed_mm)
