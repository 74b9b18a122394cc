"""Pictures held against lights and camera before anything is computed from them.

Refused is what cannot give a surface: pictures without light, one picture many times, lights that
belong to other pictures. What is only likely is said. See decision 0110.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calib.plausible import near
from reconstruct.agreement import CoarseStack, Kind, fit, picture_costs
from reconstruct.errors import ReconstructError

if TYPE_CHECKING:
    from calib.camera import Camera
    from calib.lights import Lights
    from reconstruct.stack import Stack

Array = NDArray[np.float64]

CELLS, ROWS = 24, 8
MIN_CELLS, MIN_PICTURES = 40, 6
TURNED_LIGHTS = 24
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
SAME_SHIFT = 0.8
MATT = 0.9
"""Scatter of a cell's radiance over irradiance, relative to its mean, below which it is matt: a
matt cell varies as the cosine, by 0.3 to 0.8 with shadows; metals of α up to 0.3 by 1.1 or more."""
LIT_CELL = 0.05
ALBEDO = (0.015, 6.0)
"""Of the brighter half of a part: share of light that it sends on, over its dome."""
METAL_SENDS = 0.05
"""The lower bound for metal, over that for matt parts: a flat one reflects most light to where the
dome has neither LED nor camera."""

_TURNS = {
    "mirrored left to right (x has the wrong sign)": ((-1, 0), (0, 1)),
    "mirrored top to bottom (y has the wrong sign)": ((1, 0), (0, -1)),
    "turned by 180° (x and y have the wrong sign)": ((-1, 0), (0, -1)),
    "turned by 90°": ((0, -1), (1, 0)),
    "turned by 270°": ((0, 1), (-1, 0)),
    "with x and y exchanged": ((0, 1), (1, 0)),
    "with x and y exchanged and both of the wrong sign": ((0, -1), (-1, 0)),
}
_SCALES = {
    "ten times as far (is it in cm?)": 10.0,
    "25.4 times as far (is it in inches?)": 25.4,
    "a thousand times as far (is it in metres?)": 1000.0,
    "a tenth as far (is the camera in cm?)": 0.1,
}


@dataclass(frozen=True)
class Judgement:
    """What pictures and lights say of each other.

    Attributes
    ----------
    kind : what the part looks like, or None where that cannot be told
    unexplained : share of the pictures' variance that one surface of one reflectance of that kind
        leaves, as a metal and as a matt part
    notes : what the user should know, one sentence each
    contrast : how a place's brightness scatters over the lights, relative to its mean
    """

    kind: Kind | None
    unexplained: dict[str, float]
    notes: tuple[str, ...] = ()
    contrast: float = 0.0


def coarse(
    stack: Stack, camera: Camera, mask: NDArray[np.bool_] | None = None, cells: int = CELLS
) -> CoarseStack:
    """Means of the pictures over cells of the image, from a few rows of each cell."""
    height, width = stack.shape
    down, across = min(cells, height), min(cells, width)
    rows = np.linspace(0, height, down + 1).astype(int)
    columns = np.linspace(0, width, across + 1).astype(int)
    radiance = np.empty((down, across, len(stack)))
    for r in range(down):
        first = max(rows[r], (rows[r] + rows[r + 1] - ROWS) // 2)
        band, _ = stack.band(slice(int(first), int(min(first + ROWS, rows[r + 1]))))
        mean = band.mean(axis=1, dtype=np.float64)
        radiance[r] = (np.add.reduceat(mean, columns[:-1], axis=1) / np.diff(columns)).T
    y, x = (rows[:-1] + rows[1:] - 1) / 2, (columns[:-1] + columns[1:] - 1) / 2
    rays = camera.rays(np.stack(np.meshgrid(x, y), axis=-1))
    valid = np.ones((down, across), dtype=bool)
    if mask is not None:
        part = np.add.reduceat(np.add.reduceat(mask.astype(float), rows[:-1], 0), columns[:-1], 1)
        valid = part / (np.diff(rows)[:, None] * np.diff(columns)[None]) > 0.5
    noise = np.sqrt(max(stack.noise_floor, 0.0))
    valid &= radiance.max(axis=2) > 2 * noise
    return CoarseStack(radiance, rays, camera.centre_mm, valid)


def judge(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    height_mm: float = 0.0,
    mask: NDArray[np.bool_] | None = None,
) -> Judgement:
    """Hold pictures against lights; the lights are in the order of the pictures.

    Raises
    ------
    ReconstructError
        if the pictures are black or alike, or belong to other lights
    """
    _refuse_black(stack)
    small = coarse(stack, camera, mask)
    copies = _refuse_copies(stack, small)
    if copies:
        return Judgement(None, {}, tuple(copies))
    if len(stack) < MIN_PICTURES or small.valid.sum() < MIN_CELLS:
        return Judgement(None, {})
    notes = list(_strange_intensity(small, lights, height_mm))
    some = np.unique(np.linspace(0, len(stack) - 1, TURNED_LIGHTS).astype(int))
    few = replace(small, radiance=np.ascontiguousarray(small.radiance[..., some]))
    chosen = lights.select(some)
    given = {kind: fit(few, chosen, kind, height_mm).unexplained for kind in ("metal", "matt")}
    notes += _refuse_turned(few, chosen, height_mm, given)
    notes += _refuse_other_order(
        stack, camera, lights, height_mm, mask, min(given, key=given.__getitem__)
    )
    contrast = _contrast(small, lights, height_mm)
    kind: Kind = "matt" if contrast < MATT else "metal"
    return Judgement(kind, given, tuple(notes), contrast)


# pictures alone ------------------------------------------------------------------------------
def _sample(stack: Stack) -> tuple[Array, Array]:
    """(N, n) radiance and clipped of some rows."""
    height = stack.shape[0]
    rows = np.unique(np.linspace(0, height - 1, min(height, 64)).astype(int))
    bands = [stack.band(slice(int(r), int(r) + 1)) for r in rows]
    return (
        np.concatenate([b[0][:, 0] for b in bands], axis=1),
        np.concatenate([b[1][:, 0] for b in bands], axis=1),
    )


def _refuse_black(stack: Stack) -> None:
    radiance, clipped = _sample(stack)
    noise = np.sqrt(max(stack.noise_floor, 0.0))
    top = np.where(clipped, np.inf, radiance).max(axis=1)
    lit = top > 6 * noise
    if lit.sum() < 3:
        some = "all" if not lit.any() else f"{len(lit) - int(lit.sum())} of"
        level = float(np.max(np.where(np.isfinite(top), top, 0)))
        raise ReconstructError(
            f"{some} {len(lit)} pictures are black (the brightest pixel is {level:.2g}, the noise "
            f"{noise:.2g}): were the lights on, the lens open, and is the dark picture dark?"
        )
    if clipped.mean() > 0.9:
        raise ReconstructError(
            f"{100 * clipped.mean():.0f} % of all pixels are clipped: expose shorter"
        )


def _refuse_copies(stack: Stack, small: CoarseStack) -> list[str]:
    """Refuse a picture that is there twice to the last bit; say where all are alike but for noise.

    Two pictures of a camera are never the same to the last bit: their noise differs.
    """
    values = small.radiance[small.valid]
    if not len(values):
        return []
    seen: dict[bytes, int] = {}
    for place, led in enumerate(stack.ids):
        key = np.ascontiguousarray(values[:, place]).tobytes()
        if key in seen and len(values) > 1:
            raise ReconstructError(
                f"the pictures of LED {seen[key]} and LED {int(led)} are one picture to the last "
                "bit, and two lights never give that: is a file copied? Take the copy out"
            )
        seen[key] = int(led)
    level = np.maximum(values.mean(axis=0), 1e-30)
    spread = float((values / level).var(axis=1).mean())
    pixels = ROWS * stack.shape[1] / small.radiance.shape[1]
    noise = stack.noise_floor + stack.noise_gain * np.maximum(values, 0)
    expected = float(np.mean(noise / level**2)) / max(pixels, 1.0)
    if spread > max(1e-8, 3 * expected):
        return []
    return [
        f"the {len(stack)} pictures are alike but for their noise (they differ by "
        f"{100 * np.sqrt(spread):.2g} %), so that they tell no surface: did the LEDs switch, and "
        "is the room dark?"
    ]


def _beams(small: CoarseStack, lights: Lights, height_mm: float) -> Array:
    """(P, N) irradiance that each light sends to each cell's place, across the beam."""
    reach = (height_mm - small.eye_mm[2]) / small.rays[..., 2]
    points = small.eye_mm + small.rays * reach[..., None]
    away = lights.position_mm - points[small.valid][:, None]
    d2 = np.einsum("ikj,ikj->ik", away, away)
    psi = -np.einsum("ikj,kj->ik", away, lights.axis) / np.sqrt(d2)
    return np.asarray(lights.power * np.maximum(psi, 0.05) ** lights.lobe / d2)


def _contrast(small: CoarseStack, lights: Lights, height_mm: float) -> float:
    """Median over the brighter cells of the scatter over the lights, relative to the mean."""
    values = np.maximum(small.radiance[small.valid], 0.0)
    reflected = values / _beams(small, lights, height_mm)
    top = values.max(axis=1)
    lit = top > LIT_CELL * np.quantile(top, 0.95)
    mean = reflected[lit].mean(axis=1)
    return float(np.median(reflected[lit].std(axis=1) / np.maximum(mean, 1e-30)))


def _strange_intensity(small: CoarseStack, lights: Lights, height_mm: float) -> list[str]:
    """Refuse an absolute intensity with which a part would shine or swallow all light."""
    if lights.intensity is None:
        return []
    beam = lights.intensity * _beams(small, lights, height_mm)
    # Each light stands for its share of the dome, taken as 2 sr as a whole.
    albedo = (small.radiance[small.valid] / beam).mean(axis=1) * 2.0
    typical = float(np.median(albedo[albedo >= np.median(albedo)]))
    matt = _contrast(small, lights, height_mm) < MATT
    if ALBEDO[0] * (1.0 if matt else METAL_SENDS) < typical < ALBEDO[1]:
        return []
    raise ReconstructError(
        f"the lights' intensity of {lights.intensity:.4g} does not go with these pictures: the "
        f"part would send on {100 * typical:.3g} % of its light, some {typical / 0.5:.2g} times "
        "what parts do; was the exposure or its unit another one when the lights were calibrated?"
    )


# pictures against lights ---------------------------------------------------------------------
def _permuted(lights: Lights, order: NDArray[np.intp]) -> Lights:
    """The lights in another order, each picture keeping its number."""
    return replace(lights.select(order), ids=lights.ids)


def _turned(lights: Lights, turn: tuple[tuple[int, int], tuple[int, int]]) -> Lights:
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    return replace(lights, position_mm=lights.position_mm @ matrix.T, axis=lights.axis @ matrix.T)


def _refuse_turned(
    few: CoarseStack, lights: Lights, height_mm: float, given: dict[str, float]
) -> list[str]:
    """Say or refuse lights that fit the pictures better turned or mirrored."""
    kind = min(given, key=given.__getitem__)
    own = given[kind]
    others = {name: _turned(lights, turn) for name, turn in _TURNS.items()}
    if near(lights).all():
        for name, scale in _SCALES.items():
            if scale > 1 or lights.position_mm[:, 2].min() * scale > height_mm + 1:
                others[name] = replace(lights, position_mm=lights.position_mm * scale)
    found = {
        name: fit(few, other, _kind(kind), height_mm).unexplained for name, other in others.items()
    }
    name = min(found, key=found.__getitem__)
    best = found[name]
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


def _refuse_other_order(
    stack: Stack,
    camera: Camera,
    lights: Lights,
    height_mm: float,
    mask: NDArray[np.bool_] | None,
    kind: str,
) -> list[str]:
    """Say or refuse a list of lights that is reversed, shifted, swapped or shuffled."""
    small = coarse(stack, camera, mask, 16)
    if small.valid.sum() < MIN_CELLS // 2:
        return []
    count = len(lights)
    plain = np.arange(count)

    def left(order: NDArray[np.intp]) -> float:
        return fit(small, _permuted(lights, order), _kind(kind), height_mm, 2).unexplained

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
    first = fit(small, _permuted(lights, plain), _kind(kind), height_mm, 6)
    best, best_order = first.unexplained, plain
    for start in {name: order, "": plain}.values():
        now = start
        for _ in range(4):
            tried = first
            if now is not plain:
                tried = fit(small, _permuted(lights, now), _kind(kind), height_mm, 6)
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
        certain, likely = ratio >= SHUFFLED[1], ratio >= SHUFFLED[0]
    certain, likely = (found and best <= 2 * EXPLAINED for found in (certain, likely))
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


def _kind(name: str) -> Kind:
    return "matt" if name == "matt" else "metal"


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
