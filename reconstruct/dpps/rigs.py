"""Random rigs: where the lights are, where they point, how strong they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from reconstruct.dpps.drawing import Ask

# what "mixed" draws from; the layouts "panel" and "spiral" are kept for tests
MIXED = {
    "dome96": 0.36, "dome": 0.17, "rings": 0.08, "random": 0.12, "sheet": 0.12, "arcs": 0.05,
    "boards": 0.1,
}  # fmt: skip


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two whose logarithm is drawn evenly."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_lights(
    rng: np.random.Generator, ask: Ask, camera_mm: float, field_mm: float
) -> dict[str, NDArray[np.float64]]:
    """Positions (mm), axes, lobes and powers of a random rig."""
    kind = ask.rig
    if kind == "mixed":
        kind = rng.choice(list(MIXED), p=list(MIXED.values()))
    if ask.lights:
        count = ask.lights
    elif kind == "dome96" and (ask.rig == "dome96" or rng.random() < 0.75):
        count = 96
    else:
        count = round(log_uniform(rng, 8, 96 if kind == "dome96" else 256))
    radius = 280.0 / 420.0 * camera_mm
    if kind in ("dome", "rings", "random", "spiral", "arcs"):
        radius = max(camera_mm * log_uniform(rng, 0.4, 1.3), 1.1 * field_mm)
    turn = rng.uniform(0, 2 * np.pi)
    index = np.arange(count)
    sine: NDArray[Any]
    azimuth: NDArray[Any]
    if kind == "dome96":
        # half: rings from about 24° to 72°; half: even in solid angle; both jittered
        total = max(count, 96)
        if rng.random() < 0.5:
            levels = np.radians(
                np.linspace(rng.uniform(19, 29), rng.uniform(67, 80), int(rng.integers(5, 8)))
            )
            share = np.cumsum(np.cos(levels)) / np.cos(levels).sum()
            ring = np.searchsorted(share, (np.arange(total) + 0.5) / total)
            inside = np.arange(total) - np.searchsorted(ring, ring)
            size = np.bincount(ring)[ring]
            sine = np.sin(levels[ring])
            azimuth = 2 * np.pi * inside / size + 1.1 * ring + turn
        else:
            low = np.sin(np.radians(rng.uniform(14, 24)))
            high = np.sin(np.radians(84))
            sine = np.asarray(low + (high - low) * (np.arange(total) + 0.5) / total)
            azimuth = np.arange(total) * 2.399963 + turn
        pick = np.sort(rng.permutation(total)[:count])
        sine, azimuth = sine[pick], azimuth[pick]
        sine = np.clip(sine + rng.normal(0, 0.01, count), 0.1, 0.999)
        azimuth = azimuth + rng.normal(0, 0.03, count)
    elif kind == "dome":
        low, high = np.sin(np.radians(rng.uniform(10, 40))), np.sin(np.radians(rng.uniform(60, 88)))
        sine = np.asarray(low + (high - low) * (index + 0.5) / count)
        azimuth = index * 2.399963 + turn + rng.normal(0, rng.uniform(0, 0.2), count)
    elif kind == "rings":
        rings = int(rng.integers(1, 7)) if count >= 24 else int(rng.integers(1, 4))
        levels = np.sort(np.sin(np.radians(rng.uniform(15, 85, rings))))
        ring = index % rings
        sine = levels[ring]
        azimuth = (index // rings) * 2 * np.pi / np.ceil(count / rings) + turn + ring * 0.7
    elif kind == "random":
        sine = rng.uniform(0.2, 0.995, count)
        azimuth = rng.uniform(0, 2 * np.pi, count)
    elif kind == "spiral":
        t = (index + 0.5) / count
        sine, azimuth = np.sin(np.radians(15 + 65 * t)), 2 * np.pi * 5 * t + turn
    elif kind == "arcs":  # arms of a gantry, bent over the stage
        arms = int(rng.integers(3, 10))
        low, high = rng.uniform(12, 30), rng.uniform(65, 86)
        sine = np.sin(np.radians(low + (high - low) * (index // arms + 0.5) * arms / count))
        azimuth = 2 * np.pi * (index % arms) / arms + turn
        sine = np.clip(sine, 0.1, 0.999)
    elif kind == "sheet":  # level, round, in rings or without order
        reach = np.sqrt(np.linspace(rng.uniform(0, 0.3), 1, count))
        azimuth = index * 2.399963 + turn
        if rng.random() < 0.5:
            azimuth = rng.uniform(0, 2 * np.pi, count)
        reach = reach * rng.uniform(0.6, 1.3) * camera_mm
        above = rng.uniform(0.3, 0.9) * camera_mm * np.exp(rng.normal(0, 0.02, count))
        position = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), above], -1)
    elif kind == "boards":  # some flat boards of LEDs around the part, each facing it
        boards = int(rng.integers(3, 9))
        low = np.sqrt(1 - rng.uniform(0.4, 0.98, boards) ** 2)
        around = 2 * np.pi * np.arange(boards) / boards + rng.normal(0, 0.4, boards) + turn
        away = np.maximum(camera_mm * rng.uniform(0.45, 1.2, boards), 1.1 * field_mm)
        facing = np.stack([low * np.cos(around), low * np.sin(around), np.sqrt(1 - low**2)], -1)
        along = np.stack([-np.sin(around), np.cos(around), np.zeros(boards)], -1)
        board = index % boards
        offset = rng.uniform(-1, 1, (count, 2)) * rng.uniform(0.1, 0.4, (boards, 1))[board]
        position = (
            facing[board]
            + offset[:, :1] * along[board]
            + offset[:, 1:] * np.cross(facing, along)[board]
        ) * away[board, None]
        position[:, 2] = np.maximum(position[:, 2], 0.1 * away[board])
    elif kind == "panel":
        side = int(np.ceil(np.sqrt(count)))
        gx, gy = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
        flat = np.stack([gx.ravel(), gy.ravel()], -1)[rng.permutation(side * side)[:count]]
        height = rng.uniform(0.35, 0.6) * camera_mm
        position = np.column_stack([flat * camera_mm * 0.9, np.full(count, height)])
        position = position + rng.normal(0, 0.01 * camera_mm, position.shape)
    else:
        raise ValueError(f"no rig layout '{kind}'")
    if kind not in ("panel", "sheet", "boards"):
        cosine = np.sqrt(1 - sine**2)
        direction = np.stack([cosine * np.cos(azimuth), cosine * np.sin(azimuth), sine], -1)
        spread = rng.normal(0, rng.uniform(0, 0.05), (count, 1))
        position = direction * radius * (1 + spread)
    tilt = rng.normal(0, rng.uniform(0, 0.15), (count, 3))
    axis = -position / np.linalg.norm(position, axis=1, keepdims=True) + tilt
    if kind == "panel" or (kind == "sheet" and rng.random() < 0.5):
        axis = np.array([0.0, 0.0, -1.0]) + tilt
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    lobe = 1.0 if rng.random() < 0.5 else float(rng.choice([0.0, 1.0, 1.5, 2.0, 4.0]))
    power = np.exp(rng.normal(0, rng.uniform(0, 0.25), count))
    return {
        "position": position,
        "axis": axis,
        "lobe": np.full(count, lobe),
        "power": power * camera_mm**2,
    }
