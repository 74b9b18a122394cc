"""Lights that belong to other pictures: turned, scaled, reversed, shifted, swapped or shuffled.

Each likely confusion is fitted as the list was given is. One that leaves clearly less of the
pictures unexplained is said, or refused. See decision 0110.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from calib.plausible import near
from reconstruct.agreement import KINDS, MIN_CELLS, CoarseStack, Kind, coarse, fit, picture_costs
from reconstruct.dim_lights import odd_light
from reconstruct.errors import ReconstructError
from reconstruct.stack import Stack

Array = NDArray[np.float64]

EXPLAINED = 0.2
"""Unexplained share from which a confusion of lights explains the pictures."""
LIKELY, DECISIVE = 1.5, 3.0
"""By which factor less a confusion leaves unexplained."""
MOVED = 1.5
"""The same for a list that is reversed or shifted, from somewhere on or as a whole."""
SWAPPED = (1.4, 2.0)
"""For up to four pictures given to other lights: from where it is said, and where refused."""
SHUFFLED = (2.0, 3.0)
"""For more, in no order: so many ways fit few pictures better by chance."""
AS_RANDOM = 0.5
"""Of what a random order leaves unexplained: the least of a list that is shuffled as a whole. A
ground part's long highlights fit lights that are drawn together across the lay."""
SAME_SHIFT = 0.8
WHITE = 1.02
"""Of negatives, over their brightest cell: what no light at all became."""

_TURNS = {
    "mirrored left to right (x has the wrong sign)": ((-1, 0), (0, 1)),
    "mirrored top to bottom (y has the wrong sign)": ((1, 0), (0, -1)),
    "turned by 180° (x and y have the wrong sign)": ((-1, 0), (0, -1)),
    "turned by 90°": ((0, -1), (1, 0)),
    "turned by 270°": ((0, 1), (-1, 0)),
    "with x and y exchanged": ((0, 1), (1, 0)),
    "with x and y exchanged and both of the wrong sign": ((0, -1), (-1, 0)),
}
_LAYS = [
    np.eye(2) + (stretch - 1) * np.outer(across, across)
    for stretch in (2.0, 3.0)
    for across in ((np.cos(a), np.sin(a)) for a in np.radians(np.arange(0, 180, 30)))
]
"""Under mirrored lights a saddle's highlights are as long as those of a ground surface."""
_SCALES = {
    "ten times as far (is it in cm?)": 10.0,
    "25.4 times as far (is it in inches?)": 25.4,
    "a thousand times as far (is it in metres?)": 1000.0,
    "a tenth as far (is the camera in cm?)": 0.1,
}


def _permuted(lights: Lights, order: NDArray[np.intp]) -> Lights:
    """The lights in another order, each picture keeping its number."""
    return replace(lights.select(order), ids=lights.ids)


def _turned(lights: Lights, turn: tuple[tuple[int, int], tuple[int, int]]) -> Lights:
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    return replace(lights, position_mm=lights.position_mm @ matrix.T, axis=lights.axis @ matrix.T)


def _from_camera(lights: Lights, camera: Camera) -> Lights:
    """Lights that are told in the camera's frame, in the world's."""
    position = (lights.position_mm - camera.t) @ camera.R
    return replace(lights, position_mm=position, axis=lights.axis @ camera.R)


def refuse_turned(
    few: CoarseStack,
    camera: Camera,
    lights: Lights,
    height_mm: float,
    given: dict[Kind, float],
) -> list[str]:
    """Say or refuse lights that fit the pictures better turned or mirrored, and negatives."""
    kind = min(given, key=given.__getitem__)
    own = given[kind]
    others = {name: _turned(lights, turn) for name, turn in _TURNS.items()}
    if near(lights).all():
        for name, scale in _SCALES.items():
            if scale > 1 or lights.position_mm[:, 2].min() * scale > height_mm + 1:
                others[name] = replace(lights, position_mm=lights.position_mm * scale)
        world = _from_camera(lights, camera)
        if world.position_mm[:, 2].min() > height_mm + 1:
            others["from the camera's frame (x right, y down, z away from the camera)"] = world
    wanted = min(EXPLAINED, own / LIKELY)  # to be of any account below
    found = {
        name: fit(few, other, kind, height_mm, wanted=wanted).unexplained
        for name, other in others.items()
    }
    name = min(found, key=found.__getitem__)
    best = found[name]
    _refuse_negative(few, lights, height_mm, own, best)
    if kind == "metal" and name in _TURNS and np.linalg.det(_TURNS[name]) < 0 and best <= wanted:
        own = min(own, *(fit(few, lights, kind, height_mm, lay=lay).unexplained for lay in _LAYS))
    if best > EXPLAINED or own < LIKELY * best:
        return []
    figures = f"{100 * own:.2g} % of the pictures stay unexplained, and {100 * best:.2g} % then"
    if own >= DECISIVE * best:
        raise ReconstructError(
            f"the lights do not belong to these pictures as they are: the list fits {name} "
            f"({figures}); correct the light file, or the world frame of the camera"
        )
    return [
        f"the pictures fit the lights better {name} ({figures}): see that the light file is in "
        "the camera's world frame (x right and y up in the picture)"
    ]


def _refuse_negative(
    few: CoarseStack, lights: Lights, height_mm: float, own: float, turned: float
) -> None:
    """Refuse pictures that fit the lights better with bright and dark exchanged.

    Under turned lights a negative looks much the same: the better of both counts.
    """
    top = WHITE * few.radiance[few.valid].max()
    exchanged = np.where(few.valid[..., None], top - few.radiance, 0.0)
    negative = replace(few, radiance=np.ascontiguousarray(exchanged))
    wanted = min(2 * EXPLAINED, own / DECISIVE, turned)
    left = min(fit(negative, lights, k, height_mm, wanted=wanted).unexplained for k in KINDS)
    if left <= wanted:
        raise ReconstructError(
            "the pictures seem to be negatives: once bright and dark are exchanged, a surface "
            f"leaves {own / left:.2g} times less of them unexplained; give them as they were taken"
        )


def refuse_other_order(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    height_mm: float,
    mask: NDArray[np.bool_] | None,
    kind: Kind,
) -> list[str]:
    """Say or refuse a list of lights that is reversed, shifted, swapped or shuffled.

    A single light of another power than it is said to have explains the pictures better than any
    exchange does, and is said.
    """
    small = coarse(stack, camera, mask, 16)
    if small.valid.sum() < MIN_CELLS // 2:
        return []
    count = len(lights)
    plain = np.arange(count)

    def left(order: NDArray[np.intp]) -> float:
        return fit(small, _permuted(lights, order), kind, height_mm, 2).unexplained

    random = np.random.default_rng(0)
    shuffled = float(np.median([left(random.permutation(count)) for _ in range(3)]))
    own = left(plain)
    shifts = [1, -1, 2, -2] if own < 0.25 * shuffled else list(range(1, count))
    orders = {f"shifted by {_signed(k, count)}": np.roll(plain, k) for k in shifts}
    orders["in reverse order"] = plain[::-1]
    leaves = {name: left(order) for name, order in orders.items()}
    name = min(leaves, key=leaves.__getitem__)
    order = orders[name]
    if leaves[name] > own / LIKELY or leaves[name] > 2 * EXPLAINED:
        name, order = "", plain
    first = fit(small, _permuted(lights, plain), kind, height_mm, 6)
    best, best_order = first.unexplained, plain
    for start in {name: order, "": plain}.values():
        now = start
        for _ in range(4):
            tried = first
            if now is not plain:
                tried = fit(small, _permuted(lights, now), kind, height_mm, 6)
            if tried.unexplained < best:
                best, best_order = tried.unexplained, now
            costs = picture_costs(small, tried)
            if _in_best_order(costs):
                break
            from scipy.optimize import linear_sum_assignment  # takes 0.3 s to load

            _, better = linear_sum_assignment(costs)
            if np.array_equal(better, plain):
                break
            now = now[better]
    moved = np.flatnonzero(best_order != plain)
    ratio = first.unexplained / best
    figures = (
        f"{100 * first.unexplained:.2g} % of the pictures stay unexplained, and {100 * best:.2g} % "
        "then"
    )
    by = np.unique(best_order[moved] - moved, return_counts=True)[1]
    ordered = bool(len(moved)) and (
        np.array_equal(best_order, order) or by.max() > SAME_SHIFT * len(moved)
    )
    if len(moved) <= 4 and not ordered:
        certain, likely = ratio >= SWAPPED[1], ratio >= SWAPPED[0]
    elif ordered:
        certain = likely = ratio >= MOVED
    else:
        as_random = own > AS_RANDOM * shuffled * len(moved) / count
        certain, likely = (as_random and ratio >= least for least in reversed(SHUFFLED))
    certain, likely = (found and best <= 2 * EXPLAINED for found in (certain, likely))
    odd = odd_light(small, lights, height_mm)
    if odd is not None and odd.unexplained <= best:
        return [odd.note]
    if len(moved) and (certain or likely):
        if name and np.array_equal(best_order, order):
            what = f"the list of lights fits {name}"
        else:
            what = _moved_in_words(lights, moved, best_order)
        if certain:
            raise ReconstructError(
                f"the lights do not belong to these pictures in this order: {what} ({figures}); "
                "correct the light file or the names of the pictures"
            )
        return [f"{what}, as it seems ({figures}): see that no two lamps are exchanged"]
    if own > 0.85 * shuffled and _likeness(small, lights) < 0.1:
        return [
            f"the lights explain the pictures no better than in any other order ({100 * own:.0f} % "
            f"unexplained, {100 * shuffled:.0f} % in random order): this is hardly the light file "
            "of these pictures"
        ]
    return []


def _in_best_order(costs: Array) -> bool:
    """Whether no ring of exchanges lowers the sum of the diagonal of (N, N) costs.

    By prices of the columns (Bellman and Ford): where they come to rest, there is no such ring.
    False where they have not within a few rounds.
    """
    gains = costs - np.diag(costs)[:, None]
    price = np.zeros(len(costs))
    for _ in range(10):
        lower = (price[:, None] + gains).min(axis=0)
        if np.array_equal(lower, price):
            return True
        price = lower
    return False


def _moved_in_words(lights: Lights, moved: NDArray[np.intp], order: NDArray[np.intp]) -> str:
    by, times = np.unique(order[moved] - moved, return_counts=True)
    common = int(by[np.argmax(times)])
    if len(moved) > 4 and times.max() > SAME_SHIFT * len(moved):
        first = int(lights.ids[moved[0]])
        return (
            f"from LED {first} on the pictures belong to lights {abs(common)} places "
            f"{'further' if common > 0 else 'back'} in the list (is a picture missing or there "
            "twice?)"
        )
    if len(moved) > 4:
        return f"{len(moved)} of {len(order)} pictures fit other lights better"
    return "pictures belong to other lights: " + ", ".join(
        f"that of LED {int(lights.ids[k])} to LED {int(lights.ids[order[k]])}" for k in moved
    )


def _signed(shift: int, count: int) -> str:
    """A shift by fewer places than half of the list, forwards or backwards."""
    shift %= count
    return f"{shift}" if shift <= count // 2 else f"−{count - shift}"


def _likeness(small: CoarseStack, lights: Lights) -> float:
    """Rank correlation of how alike two pictures are with how near their lights are."""
    root = np.sqrt(np.maximum(small.radiance[small.valid], 0.0)).T
    root = root - root.mean(axis=0)
    root /= np.linalg.norm(root, axis=1, keepdims=True) + 1e-30
    unit = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    alike = (root @ root.T)[upper].argsort().argsort()
    close = (unit @ unit.T)[upper].argsort().argsort()
    return float(np.corrcoef(alike, close)[0, 1])
