"""Machined parts that lie on the stage: sharp walls, chamfers, holes through, the stage around.

Heights are piecewise level with vertical walls; z = 0 is the stage. Each is made of features, cut
or added in turn: a region given by its signed distance, the level inside, and a chamfer along its
edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.shapes.base import Shape

Field = NDArray[Any]


@dataclass(frozen=True)
class Feature:
    """A region at a level.

    Attributes
    ----------
    kind : "box" or "disc"
    centre_mm : (x, y); angle : of a box, radians
    half_mm : half length and width of a box, or radius of a disc (twice)
    level_mm : height of the region; 0 cuts through to the stage
    chamfer_mm : of its edge: taken off what it adds, or off the rim of what it cuts
    """

    kind: str
    centre_mm: tuple[float, float]
    half_mm: tuple[float, float]
    level_mm: float
    angle: float = 0.0
    chamfer_mm: float = 0.0

    def inside_mm(self, x: Field, y: Field) -> Field:
        """Signed distance to the region's edge, positive inside."""
        dx, dy = x - self.centre_mm[0], y - self.centre_mm[1]
        if self.kind == "disc":
            return np.asarray(self.half_mm[0] - np.hypot(dx, dy))
        u = np.abs(dx * np.cos(self.angle) + dy * np.sin(self.angle)) - self.half_mm[0]
        v = np.abs(-dx * np.sin(self.angle) + dy * np.cos(self.angle)) - self.half_mm[1]
        beyond = np.hypot(np.maximum(u, 0), np.maximum(v, 0))
        return np.asarray(-beyond - np.minimum(np.maximum(u, v), 0))


def stacked(name: str, features: list[Feature], parameters: dict[str, Any]) -> Shape:
    """A part of features laid on one another in their order; the first ones stand on the stage."""

    def height(x: Field, y: Field) -> Field:
        x, y = np.broadcast_arrays(x, y)
        z = np.zeros(x.shape)
        for feature in features:
            c = feature.chamfer_mm
            far = float(np.hypot(*feature.half_mm)) + c
            near = (np.abs(x - feature.centre_mm[0]) <= far) & (
                np.abs(y - feature.centre_mm[1]) <= far
            )
            d, before = feature.inside_mm(x[near], y[near]), z[near]
            level = np.full_like(before, feature.level_mm)
            if c > 0:  # rising: its own edge is broken; cutting: the rim about it is
                level = np.where(feature.level_mm > before, level - np.clip(c - d, 0.0, c), level)
                rim = np.where(feature.level_mm < before, np.clip(c + d, 0.0, c), 0.0)
                before = np.where(d < 0, np.maximum(before - rim, 0.0), before)
            z[near] = np.where(d >= 0, level, before)
        return np.asarray(z)

    def inside(x: Field, y: Field) -> Field:
        return np.asarray(height(x, y) > 0)

    listed = [feature.__dict__ for feature in features]
    return Shape(name, height, inside, None, parameters | {"features": listed})


def _about(rng: np.random.Generator, size_mm: float) -> tuple[tuple[float, float], float]:
    x, y = rng.uniform(-0.05, 0.05, 2) * size_mm
    return (float(x), float(y)), float(rng.uniform(-0.3, 0.3))


def _wall(rng: np.random.Generator, low: float = 0.2, high: float = 8.0) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _placed(centre: tuple[float, float], angle: float, u: float, v: float) -> tuple[float, float]:
    c, s = np.cos(angle), np.sin(angle)
    return float(centre[0] + u * c - v * s), float(centre[1] + u * s + v * c)


def block(seed: int = 0, size_mm: float = 110.0) -> Shape:
    """A milled block: pocket, bore through, boss."""
    rng = np.random.default_rng([seed, 1])
    centre, angle = _about(rng, size_mm)
    a, b = rng.uniform(0.22, 0.3) * size_mm, rng.uniform(0.16, 0.22) * size_mm
    top = float(rng.uniform(3.0, 12.0))
    chamfer = float(rng.choice([0.0, 0.5, 1.0]))
    depth, boss = min(_wall(rng), 0.7 * top), _wall(rng, 0.2, 4.0)
    features = [
        Feature("box", centre, (a, b), top, angle, chamfer),
        Feature("box", _placed(centre, angle, 0.42 * a, 0.1 * b),
                (rng.uniform(0.3, 0.42) * a, rng.uniform(0.35, 0.6) * b), top - depth, angle),
        Feature("disc", _placed(centre, angle, -0.5 * a, -0.25 * b), (0.28 * b, 0.28 * b), 0.0,
                chamfer_mm=0.5 * chamfer),
        Feature("disc", _placed(centre, angle, -0.45 * a, 0.5 * b), (0.25 * b, 0.25 * b),
                top + boss),
    ]  # fmt: skip
    return stacked("block", features, {"seed": seed})


def flange(seed: int = 0, size_mm: float = 110.0) -> Shape:
    """A turned flange: bore, raised ring, bolt holes, a keyway."""
    rng = np.random.default_rng([seed, 2])
    centre, angle = _about(rng, size_mm)
    radius = rng.uniform(0.22, 0.3) * size_mm
    top, ring = float(rng.uniform(2.0, 9.0)), _wall(rng, 0.2, 5.0)
    chamfer = float(rng.choice([0.0, 0.4, 0.8]))
    bore = 0.27 * radius
    features = [
        Feature("disc", centre, (radius, radius), top, chamfer_mm=chamfer),
        Feature("disc", centre, (0.56 * radius, 0.56 * radius), top + ring),
    ]
    if rng.random() < 0.6:  # a keyway across the ring, down into the plate
        floor = top - min(_wall(rng, 0.3, 4.0), 0.6 * top)
        features.append(Feature("box", _placed(centre, angle, 0.42 * radius, 0.0),
                                (0.22 * radius, 0.13 * radius), floor, angle))  # fmt: skip
    features.append(Feature("disc", centre, (bore, bore), 0.0, chamfer_mm=0.5 * chamfer))
    holes = int(rng.integers(3, 7))
    for k in range(holes):
        turn = angle + 2 * np.pi * (k + 0.5) / holes
        at = _placed(centre, turn, 0.79 * radius, 0.0)
        features.append(Feature("disc", at, (0.1 * radius, 0.1 * radius), 0.0))
    return stacked("flange", features, {"seed": seed})


def bracket(seed: int = 0, size_mm: float = 110.0) -> Shape:
    """A bracket: a foot and a higher arm at right angles, with holes and a slot."""
    rng = np.random.default_rng([seed, 3])
    centre, angle = _about(rng, size_mm)
    length, width = rng.uniform(0.22, 0.28) * size_mm, rng.uniform(0.07, 0.1) * size_mm
    foot = float(rng.uniform(1.5, 6.0))
    arm = foot + _wall(rng, 0.2, 8.0)
    slot = foot - min(_wall(rng, 0.3, 4.0), 0.7 * foot)
    features = [
        Feature("box", centre, (length, width), foot, angle, float(rng.choice([0.0, 0.5]))),
        Feature("box", _placed(centre, angle, -length + width, 1.6 * width), (width, 2.6 * width),
                arm, angle),
        Feature("box", _placed(centre, angle, 0.35 * length, 0.0), (0.3 * length, 0.4 * width),
                slot, angle),
        Feature("disc", _placed(centre, angle, 0.85 * length, 0.0), (0.3 * width, 0.3 * width),
                0.0),
        Feature("disc", _placed(centre, angle, -length + width, 3.3 * width),
                (0.35 * width, 0.35 * width), 0.0),
    ]  # fmt: skip
    return stacked("bracket", features, {"seed": seed})


def stepgauge(seed: int = 0, size_mm: float = 110.0) -> Shape:
    """A step gauge: levels side by side on one block."""
    rng = np.random.default_rng([seed, 4])
    centre, angle = _about(rng, size_mm)
    count = int(rng.integers(3, 6))
    a, b = rng.uniform(0.25, 0.32) * size_mm, rng.uniform(0.1, 0.16) * size_mm
    level = float(rng.uniform(1.5, 4.0))
    features = []
    width = a / count
    for k in range(count):
        at = _placed(centre, angle, (2 * k + 1 - count) * width, 0.0)
        features.append(Feature("box", at, (width + 1e-6, b), level, angle))
        level += _wall(rng, 0.2, 4.0)
    return stacked("stepgauge", features, {"seed": seed})


STAGED: dict[str, Callable[..., Shape]] = {
    "block": block,
    "flange": flange,
    "bracket": bracket,
    "stepgauge": stepgauge,
}
