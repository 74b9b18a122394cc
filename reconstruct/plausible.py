"""Pictures held against lights and camera before anything is computed from them.

Refused is what cannot give a surface: pictures without light, one picture many times, lights that
belong to other pictures. What is only likely is said. See decision 0110.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reconstruct.agreement import KINDS, MIN_CELLS, ROWS, CoarseStack, Kind, coarse, fit
from reconstruct.confusions import refuse_other_order, refuse_turned
from reconstruct.errors import ReconstructError
from reconstruct.room_light import room_light

if TYPE_CHECKING:
    from calib.camera import Camera
    from calib.lights import Lights
    from reconstruct.stack import Stack

Array = NDArray[np.float64]

MIN_PICTURES = 6
TURNED_LIGHTS = 24
MATT = 0.9
"""Scatter of a cell's radiance over irradiance, relative to its mean, below which it is matt: a
matt cell varies as the cosine, by 0.3 to 0.8 with shadows; metals of α up to 0.3 by 1.1 or more."""
DEAD, NEAREST, LIT_NEAREST, WELL_LIT = 0.02, 4, 3, 0.25
"""An LED is dead whose picture has this share of the median picture's light, and less than noise,
where at least three of the four LEDs nearest to it give a quarter: a mirror that sends one past the
camera sends its neighbours past it, too."""
LIT_CELL = 0.05
ALBEDO = (0.015, 6.0)
"""Of the brighter half of a part: share of light that it sends on, over its dome."""
METAL_SENDS = 0.05
"""The lower bound for metal, over that for matt parts: a flat one reflects most light to where the
dome has neither LED nor camera."""


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
    unexplained: dict[Kind, float]
    notes: tuple[str, ...] = ()
    contrast: float = 0.0


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
    if small.valid.any():
        _refuse_dead(stack, small, lights)
    copies = _refuse_copies(stack, small)
    if copies:
        return Judgement(None, {}, tuple(copies))
    if len(stack) < MIN_PICTURES or small.valid.sum() < MIN_CELLS:
        return Judgement(None, {})
    notes = list(_strange_intensity(small, lights, height_mm))
    some = np.unique(np.linspace(0, len(stack) - 1, TURNED_LIGHTS).astype(int))
    few = replace(small, radiance=np.ascontiguousarray(small.radiance[..., some]))
    chosen = lights.select(some)
    given = {kind: fit(few, chosen, kind, height_mm).unexplained for kind in KINDS}
    notes += refuse_turned(few, camera, chosen, height_mm, given)
    notes += refuse_other_order(
        stack, camera, lights, height_mm, mask, min(given, key=given.__getitem__)
    )
    contrast = _contrast(small, lights, height_mm)
    kind: Kind = "matt" if contrast < MATT else "metal"
    share = room_light(small, lights, height_mm) if kind == "matt" else None
    if share is not None:
        notes.append(
            f"some {100 * share:.0f} % of the light in the pictures is of no LED: was room light "
            "on that the dark picture lacks, is there no dark picture, or have the pictures a "
            "gamma curve? Take them in the dark, or the dark picture under the same room light"
        )
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
    full = clipped.mean(axis=1) > 0.99
    if full.any() and not full.all():
        raise ReconstructError(
            f"{_named(stack, full)} clipped all over: expose shorter, or leave them out with --leds"
        )
    if clipped.mean() > 0.9:
        raise ReconstructError(
            f"{100 * clipped.mean():.0f} % of all pixels are clipped: expose shorter"
        )


def _named(stack: Stack, which: NDArray[np.bool_]) -> str:
    """'the pictures of LED 3, 7 are', the first six of them."""
    ids = [str(int(led)) for led in stack.ids[which]]
    several = len(ids) > 1
    names = ", ".join(ids[:6]) + (" …" if len(ids) > 6 else "")
    return f"the picture{'s' * several} of LED {names} {'are' if several else 'is'}"


def _refuse_dead(stack: Stack, small: CoarseStack, lights: Lights) -> None:
    """Refuse single pictures without light whose LEDs' neighbours give light."""
    mean = small.radiance[small.valid].mean(axis=0)
    median = float(np.median(mean))
    dark = mean < min(DEAD * median, np.sqrt(max(stack.noise_floor, 0.0)))
    away_mm = np.linalg.norm(lights.position_mm[:, None] - lights.position_mm, axis=-1)
    nearest = np.argsort(away_mm, axis=1, kind="stable")[:, 1 : 1 + NEAREST]
    dead = dark & ((mean[nearest] > WELL_LIT * median).sum(axis=1) >= LIT_NEAREST)
    if dead.any():
        raise ReconstructError(
            f"{_named(stack, dead)} black, those of the LEDs beside are not: an LED that is dead, "
            "or was not switched? Take the pictures again, or leave them out with --leds"
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
