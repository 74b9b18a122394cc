"""Parts as workshops make them: turned, milled, ground, stepped, capped, stamped, coined."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.optics.material import circular_lay
from reconstruct.shapes.base import HeightGrid, Shape, ramp_width, smooth_step
from reconstruct.shapes.blobby import random_field

Field = NDArray[Any]


def _cusps(phase: Field, sharpness: float) -> Field:
    """Periodic tool marks of period 1: rounded arcs meeting in cusps, 0 to 1.

    `sharpness` 0 gives a cosine, towards 1 the parabola of a round-nosed tool.
    """
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    t = phase - np.floor(phase) - 0.5
    # A parabola whose cusp at t = ±1/2 is rounded off, so that its slope stays continuous.
    rounding = 0.06
    a = np.abs(t)
    arc = np.where(
        a < 0.5 - rounding,
        4 * t * t,
        4 * (0.5 - rounding) ** 2
        + 8
        * (0.5 - rounding)
        * ((a - 0.5 + rounding) - (a - 0.5 + rounding) ** 2 / (2 * rounding)),
    )
    return np.asarray((1 - sharpness) * (1 - wave) + sharpness * arc)


def _form(rng: np.random.Generator, size_mm: float, slope_deg: float) -> HeightGrid:
    """The gentle form error under a machined surface."""
    seed = int(rng.integers(2**31))
    shape = random_field(seed, size_mm, slope_deg, correlation_mm=0.45 * size_mm, cells=48)
    assert isinstance(shape.height, HeightGrid)
    return shape.height


def turned(
    seed: int = 0,
    size_mm: float = 110.0,
    pitch_mm: float = 4.0,
    slope_deg: float = 12.0,
    sharpness: float = 0.5,
    cone_deg: float = 2.0,
    form_deg: float = 0.2,
) -> Shape:
    """A faced disc: concentric tool marks on a shallow cone.

    Parameters
    ----------
    pitch_mm : feed per revolution; slope_deg : steepest slope of a cosine groove of that pitch
    sharpness : 0 cosine grooves, 1 arcs of a round-nosed tool
    cone_deg, form_deg : slopes of the cone and of a random form error
    """
    rng = np.random.default_rng(seed)
    cx, cy = rng.uniform(-0.05, 0.05, 2) * size_mm
    depth = pitch_mm * np.tan(np.radians(slope_deg)) / np.pi
    phase = rng.uniform()
    slow = rng.uniform(0, 2 * np.pi)
    form = _form(rng, size_mm, max(form_deg, 1e-6))
    cone = np.tan(np.radians(cone_deg)) * rng.choice([-1.0, 1.0])

    def height(x: Field, y: Field) -> Field:
        # Rounded at the axis, so that the surface has a normal there.
        r = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (0.25 * pitch_mm) ** 2)
        turns = r / pitch_mm + phase + 0.05 * np.sin(r / (3.7 * pitch_mm) + slow)
        z = depth * _cusps(turns, sharpness) + cone * (r - size_mm / 4)
        return np.asarray(z + form(x, y))

    return Shape(
        "turned",
        height,
        None,
        circular_lay((float(cx), float(cy))),
        {"seed": seed, "pitch_mm": pitch_mm, "slope_deg": slope_deg, "cone_deg": cone_deg},
    )


def milled(
    seed: int = 0,
    size_mm: float = 110.0,
    feed_mm: float = 5.0,
    slope_deg: float = 8.0,
    cutter_mm: float = 45.0,
    form_deg: float = 0.3,
) -> Shape:
    """A face-milled plate: arcs of a cutter, one feed apart, in passes side by side.

    Parameters
    ----------
    feed_mm : distance of the arcs; slope_deg : steepest slope of an arc
    cutter_mm : radius of the cutter
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    depth = feed_mm * np.tan(np.radians(slope_deg)) / np.pi
    offset, phase = rng.uniform(-0.5, 0.5) * cutter_mm, rng.uniform()
    form = _form(rng, size_mm, max(form_deg, 1e-6))

    def local(x: Field, y: Field) -> tuple[Field, Field]:
        u = x * np.cos(angle) + y * np.sin(angle)
        v = -x * np.sin(angle) + y * np.cos(angle) - offset
        # Passes overlap: fold the cross-feed coordinate into one pass of 1.5 radii, as a triangle
        # wave, so that the arcs of neighbouring passes meet.
        width = 1.5 * cutter_mm
        v = np.abs((v + width / 2) % (2 * width) - width) - width / 2
        return u, v

    def height(x: Field, y: Field) -> Field:
        u, v = local(x, y)
        arc = u - np.sqrt(np.maximum(cutter_mm**2 - v**2, 0.0))
        return np.asarray(depth * _cusps(arc / feed_mm + phase, 0.3) + form(x, y))

    def lay(points: Field) -> Field:
        _, v = local(points[..., 0], points[..., 1])
        along = np.sqrt(np.maximum(cutter_mm**2 - v**2, 0.0)) / cutter_mm
        across = -v / cutter_mm
        tx = across * np.cos(angle) - along * np.sin(angle)
        ty = across * np.sin(angle) + along * np.cos(angle)
        return np.stack([tx, ty, np.zeros_like(tx)], axis=-1)

    parameters = {"seed": seed, "feed_mm": feed_mm, "slope_deg": slope_deg, "cutter_mm": cutter_mm}
    return Shape("milled", height, None, lay, parameters)


def ground(
    seed: int = 0,
    size_mm: float = 110.0,
    ra_um: float = 0.8,
    form_deg: float = 0.3,
    waviness_um: float = 15.0,
    cells: int = 512,
) -> Shape:
    """A ground plate: nearly flat, waves of the wheel, scratches along one direction.

    Parameters
    ----------
    ra_um : Ra of the visible scratches across the lay; the finer ones are the material's alpha
    waviness_um : amplitude of the chatter waves
    """
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi)
    axis = np.linspace(-0.75 * size_mm, 0.75 * size_mm, cells)
    profile = rng.standard_normal(cells)
    profile = np.convolve(profile, np.hanning(7), mode="same")
    profile *= 1e-3 * ra_um / np.abs(profile - profile.mean()).mean()
    period, phase = rng.uniform(0.06, 0.2) * size_mm, rng.uniform(0, 2 * np.pi)
    form = _form(rng, size_mm, max(form_deg, 1e-6))

    def height(x: Field, y: Field) -> Field:
        u = x * np.cos(angle) + y * np.sin(angle)
        v = -x * np.sin(angle) + y * np.cos(angle)
        waves = 1e-3 * waviness_um * np.sin(2 * np.pi * u / period + phase)
        return np.asarray(form(x, y) + waves + np.interp(v, axis, profile))

    direction = np.array([np.cos(angle), np.sin(angle), 0.0])

    def lay(points: Field) -> Field:
        return np.broadcast_to(direction, points.shape)

    return Shape("ground", height, None, lay, {"seed": seed, "ra_um": ra_um, "form_deg": form_deg})


def step_gauge(
    seed: int = 0,
    size_mm: float = 110.0,
    steps_mm: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 2.5, 0.5),
    slope_deg: float = 60.0,
) -> Shape:
    """Plateaus of known heights side by side along x, with slopes between."""
    width = size_mm / len(steps_mm)
    edges = (np.arange(1, len(steps_mm)) - len(steps_mm) / 2) * width

    def height(x: Field, y: Field) -> Field:
        z = np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), float(steps_mm[0]))
        for edge, before, after in zip(edges, steps_mm, steps_mm[1:], strict=False):
            z = z + (after - before) * smooth_step(
                (x - edge) / ramp_width(after - before, slope_deg)
            )
        return z

    parameters = {"steps_mm": list(steps_mm), "slope_deg": slope_deg, "seed": seed}
    return Shape("step_gauge", height, parameters=parameters)


def sphere_cap(
    seed: int = 0,
    size_mm: float = 110.0,
    radius_mm: float = 90.0,
    edge_deg: float = 30.0,
    fillet_mm: float = 4.0,
) -> Shape:
    """A spherical cap on a plane, its edge rounded.

    Parameters
    ----------
    radius_mm : of the sphere; edge_deg : slope where the cap ends
    """
    rng = np.random.default_rng(seed)
    cx, cy = rng.uniform(-0.03, 0.03, 2) * size_mm
    base = radius_mm * np.cos(np.radians(edge_deg))

    def height(x: Field, y: Field) -> Field:
        r2 = (x - cx) ** 2 + (y - cy) ** 2
        # Beyond the cap a sphere's square root ends; go on in a straight line into the plane.
        r_edge = 1.2 * radius_mm * np.sin(np.radians(edge_deg))
        r_edge = min(r_edge, 0.98 * radius_mm)
        r = np.sqrt(r2)
        inner = np.sqrt(np.maximum(radius_mm**2 - np.minimum(r, r_edge) ** 2, 0.0))
        cap = inner - np.maximum(r - r_edge, 0.0) * r_edge / np.sqrt(radius_mm**2 - r_edge**2)
        z = cap - base
        # Smooth maximum with the plane.
        return np.asarray(0.5 * (z + np.sqrt(z * z + 0.25 * fillet_mm**2 * 0.1)))

    parameters = {"seed": seed, "radius_mm": radius_mm, "edge_deg": edge_deg}
    return Shape("sphere_cap", height, parameters=parameters)


def stamped(
    seed: int = 0,
    size_mm: float = 110.0,
    depth_mm: float = 3.0,
    slope_deg: float = 40.0,
    features: int = 6,
) -> Shape:
    """A sheet with plateaus, rings, beads and letters pressed in, steepest slope as given."""
    rng = np.random.default_rng(seed)
    parts: list[tuple[str, NDArray[np.float64]]] = []
    for _ in range(features):
        kind = str(rng.choice(["disc", "ring", "bar", "box"]))
        place = rng.uniform(-0.38, 0.38, 2) * size_mm
        size = rng.uniform(0.06, 0.2, 2) * size_mm
        rise = rng.uniform(0.3, 1.0) * depth_mm * rng.choice([-1.0, 1.0])
        parts.append((kind, np.array([*place, *size, rng.uniform(0, np.pi), rise])))
    form = _form(rng, size_mm, 1.0)

    def height(x: Field, y: Field) -> Field:
        z = form(x, y)
        for kind, (cx, cy, a, b, angle, rise) in parts:
            u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
            v = -(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)
            width = ramp_width(rise, slope_deg)
            if kind == "disc":
                distance = a - np.hypot(u, v)
            elif kind == "ring":
                distance = 0.25 * a + 0.5 * width - np.abs(np.hypot(u, v) - a)
            elif kind == "bar":
                distance = 0.2 * b + 0.5 * width - np.hypot(np.maximum(np.abs(u) - a, 0.0), v)
            else:  # a box with rounded corners
                corner = 0.35 * min(a, b)
                du, dv = np.abs(u) - a + corner, np.abs(v) - b + corner
                outside = np.hypot(np.maximum(du, 0.0), np.maximum(dv, 0.0))
                distance = corner - outside - np.minimum(np.maximum(du, dv), 0.0)
            z = z + rise * smooth_step(distance / width)
        return np.asarray(z)

    parameters = {"seed": seed, "depth_mm": depth_mm, "slope_deg": slope_deg, "features": features}
    return Shape("stamped", height, parameters=parameters)


def coin(
    seed: int = 0,
    size_mm: float = 110.0,
    relief_mm: float = 0.9,
    slope_deg: float = 30.0,
) -> Shape:
    """A struck disc: rim, ring of pearls and an emblem, on a flat field.

    Parameters
    ----------
    relief_mm : height of the emblem; slope_deg : steepest slope of its flanks
    """
    rng = np.random.default_rng(seed)
    radius = 0.46 * size_mm
    emblem = random_field(
        int(rng.integers(2**31)), size_mm, 20.0, correlation_mm=0.09 * size_mm, cells=160
    ).height
    detail = random_field(
        int(rng.integers(2**31)), size_mm, slope_deg * 0.25, correlation_mm=0.05 * size_mm
    ).height
    axis = np.linspace(-0.5, 0.5, 65) * size_mm
    spread = float(np.std(emblem(*np.meshgrid(axis, axis))))
    pearls = int(rng.integers(40, 70))
    # The threshold of a random field: flanks as steep as asked where the field's slope is typical.
    flank = ramp_width(relief_mm, slope_deg) * np.tan(np.radians(20.0))

    def height(x: Field, y: Field) -> Field:
        r = np.hypot(x, y)
        within = smooth_step((0.72 * radius - r) / (0.1 * radius))
        figure = smooth_step((emblem(x, y) - 0.2 * spread) / flank)
        z = within * figure * (relief_mm + 0.35 * np.clip(detail(x, y), -relief_mm, relief_mm))
        angle = np.arctan2(y, x) * pearls / (2 * np.pi)
        along = (angle - np.round(angle)) * 2 * np.pi * 0.84 * radius / pearls
        pearl = 1.0 - (along**2 + (r - 0.84 * radius) ** 2) / (0.04 * radius) ** 2
        z = z + 0.5 * relief_mm * smooth_step(np.clip(pearl, 0.0, 1.0) * 0.9 - 0.5)
        width = ramp_width(1.2 * relief_mm, slope_deg)
        return np.asarray(z + 1.2 * relief_mm * smooth_step((r - 0.92 * radius) / width))

    def inside(x: Field, y: Field) -> Field:
        return np.asarray(np.hypot(x, y) < radius)

    parameters = {"seed": seed, "relief_mm": relief_mm, "slope_deg": slope_deg}
    return Shape("coin", height, inside, None, parameters)
