"""One training sample: a random part, metal, rig and sensor, from one seed.

Frame: the camera's, moved to the stage: x right, y up, z towards the camera, the optical centre at
(0, 0, D). A pixel at column c and row r looks along (X, Y, -1); its point is (X Z, Y Z, D - Z) with
depth Z, and u = log Z is what height is learned in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from reconstruct.dpps import bounces, scene, sensor, shapes
from reconstruct.dpps.encoding import encode, slope_of_log_depth
from reconstruct.dpps.rigs import random_lights
from reconstruct.optics.material import index_of_reflectance

UNIT_PX = 64  # the height head's unit: so many pixels' width
# What lies beyond the picture shades the part and is mirrored in it, so the part is drawn wider by
# this share of the picture on each side, and its light followed over this many places.
BEYOND, LONGEST_PATH = 1 / 8, 2
SPLITS = {"train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True)
class Ask:
    """What kind of samples; None draws at random.

    Attributes
    ----------
    size : image side, px
    slope_deg : range of the median slope
    alpha : range of the microfacet width
    rig : "mixed", "dome96", or the held-out layouts "panel" and "spiral"
    preset_camera : the 96-LED dome's distance and field of view, whatever the rig
    rig_seed : draw the lights from this seed instead: the same rig in every sample
    lights : number of lights
    zoom : share of samples as the second pass sees them: most of them windows of the field, over
        an uneven base, which is a rough guess of the surface in more than half of them
    shapes : "all" or "blobby"
    rays : rays a pixel for inter-reflection; None is 6 in most samples
    ideal : no calibration errors
    """

    size: int = 64
    slope_deg: tuple[float, float] | None = None
    alpha: tuple[float, float] | None = None
    rig: str = "mixed"
    preset_camera: bool = False
    rig_seed: int | None = None
    lights: int | None = None
    zoom: float = 0.3
    shapes: str = "all"
    rays: int | None = None
    ideal: bool = False


@dataclass
class Sample:
    """Channels, truth and what is needed to make metres of it.

    Attributes
    ----------
    channels : (42, H, W) float32
    normals : (H, W, 3), delta : (H, W) log depth over the base / (64 · pixel angle)
    mask : (H, W) bool
    pixel_angle : derivative of X per column; rays : (H, W, 2) X and Y
    base_log_depth, log_depth : (H, W) of the assumed and of the true surface
    centre_mm : D; field_mm : width of the field
    radiance : (H, W, N) as recorded, if kept
    believed : lights as calibrated, clip mask and noise floor, if radiance is kept
    facts : what was drawn, JSON-able
    """

    channels: NDArray[np.float32]
    normals: NDArray[np.float32]
    delta: NDArray[np.float32]
    mask: NDArray[np.bool_]
    pixel_angle: float
    rays: NDArray[np.float32]
    base_log_depth: NDArray[np.float32]
    log_depth: NDArray[np.float32]
    centre_mm: float
    field_mm: float
    radiance: NDArray[np.float32] | None = None
    believed: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def target(self) -> NDArray[np.float32]:
        """(5, H, W): normal, delta, mask."""
        return np.concatenate(
            [np.moveaxis(self.normals, -1, 0), self.delta[None], self.mask[None]]
        ).astype(np.float32)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _scaled(
    rng: np.random.Generator, ask: Ask, height: NDArray[np.float32], pixel_mm: float
) -> tuple[NDArray[np.float32], float]:
    """Heights in mm with a random median slope, and that slope in degrees."""
    if ask.slope_deg is not None:
        wanted = rng.uniform(*ask.slope_deg)
    elif rng.random() < 0.6:
        wanted = rng.uniform(26, 56)
    else:
        wanted = _log_uniform(rng, 2, 30)
    rows, columns = np.gradient(height)
    slope = np.hypot(rows, columns) / pixel_mm
    typical = max(float(np.median(slope)), 0.45 * float(np.quantile(slope, 0.9)), 1e-9)
    factor = np.tan(np.radians(wanted)) / typical
    relief = float(np.ptp(height)) * factor
    factor *= min(1.0, 1.0 * pixel_mm * len(height) / max(relief, 1e-9))
    # walls beyond 75° only alias
    steepest = float(np.quantile(slope, 0.995)) * factor
    factor *= min(1.0, np.tan(np.radians(75)) / max(steepest, 1e-9))
    return (height * factor).astype(np.float32), float(
        np.degrees(np.arctan(np.median(slope) * factor))
    )


def draw(seed: int, ask: Ask = Ask(), split: str = "train", keep_radiance: bool = False) -> Sample:
    """Draw sample number `seed` of a split; shapes and materials of splits never coincide."""
    rng = np.random.default_rng([SPLITS[split], seed])
    n = ask.size
    zoom = rng.random() < ask.zoom
    preset = ask.preset_camera or ask.rig == "dome96"
    camera = 420.0 * (1.0 if preset else _log_uniform(rng, 0.5, 2.0))
    angle = 110.0 / 420.0 * (1.0 if preset else _log_uniform(rng, 0.5, 1.9))
    whole_mm = camera * angle
    rig_rng = rng if ask.rig_seed is None else np.random.default_rng(ask.rig_seed)
    lights = random_lights(rig_rng, ask, camera, whole_mm)
    again = zoom and rng.random() < 0.6  # the base is what a first pass has found
    share = rng.uniform(0.2, 0.6) if zoom and not (again and rng.random() < 0.4) else 1.0
    field_mm = whole_mm * share
    pixel_angle = angle * share / n
    shift = rng.uniform(-0.5, 0.5, 2) * (1 - share) * angle if zoom else np.zeros(2)
    margin = round(BEYOND * n)
    wide, inner = n + 2 * margin, np.s_[margin : margin + n, margin : margin + n]
    along = ((np.arange(wide) - (wide - 1) / 2) * pixel_angle).astype(np.float32)
    X, Y = np.meshgrid(along + np.float32(shift[0]), -along + np.float32(shift[1]))
    pixel_mm = pixel_angle * camera

    # the part
    make = shapes.random_height
    if ask.shapes == "blobby":
        make = shapes.smooth if rng.random() < 0.5 else shapes.blobs
    height, slope = _scaled(rng, ask, make(rng, wide), pixel_mm)
    mask = shapes.outline(rng, wide)
    if mask[inner].sum() < 0.15 * n * n:
        mask = np.ones((wide, wide), dtype=bool)
    height -= float(height[inner][mask[inner]].mean())
    base = np.zeros((wide, wide), dtype=np.float32)
    if zoom:  # a window of a larger part, whose coarse shape is roughly known
        low = shapes.smooth(rng, wide, 0.5) * field_mm * _log_uniform(rng, 0.01, 0.3)
        height = height * np.float32(rng.uniform(0.4 if again else 0.2, 1)) + low
        base = gaussian_filter(height, rng.uniform(0.6, 2.5)) if again else low
        base = base + shapes.smooth(rng, wide, 1.2) * field_mm * _log_uniform(rng, 0.003, 0.05)
        if again:  # errors of its slope, most of them a few degrees
            cycles = rng.uniform(2, 8)
            wrong = np.tan(np.radians(slope)) * rng.uniform(0.02, 0.35)
            base = base + shapes.smooth(rng, wide, cycles) * wrong * field_mm / (2 * np.pi * cycles)
    exact = ask.ideal or rng.random() < 0.4
    error = 0.0 if exact else rng.normal(0, 0.015) * whole_mm
    base = base + np.float32(error)
    depth = np.maximum(camera - height, 0.3 * camera)
    log_depth = np.log(depth).astype(np.float32)
    base_log_depth = np.log(np.maximum(camera - base, 0.3 * camera)).astype(np.float32)

    def points_at(z: NDArray[Any]) -> NDArray[np.float32]:
        return np.stack([X * z, Y * z, camera - z], -1).astype(np.float32)

    points = points_at(depth)
    slope_px = slope_of_log_depth(log_depth, pixel_angle)
    # n ∝ (-u_X, -u_Y, 1 + X u_X + Y u_Y) up to sign: see normals_of in fusion
    u_x, u_y = slope_px[..., 0], -slope_px[..., 1]
    normals = np.stack([u_x, u_y, 1 + X * u_x + Y * u_y], -1)
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)

    # the metal
    narrow, broad = ask.alpha or (0.05, 0.45)
    alpha = np.full((wide, wide), _log_uniform(rng, narrow, broad), dtype=np.float32)
    if rng.random() < 0.3 and ask.alpha is None:
        alpha *= np.exp(0.2 * shapes.smooth(rng, wide))
    alpha = np.clip(alpha, 0.03, 0.7)
    diffuse = np.zeros((wide, wide), dtype=np.float32)
    if rng.random() < 0.5 and not ask.ideal:
        diffuse += np.float32(_log_uniform(rng, 0.003, 0.3))
        if rng.random() < 0.5:
            diffuse *= np.clip(1 + shapes.smooth(rng, wide), 0, None)
    f0 = rng.uniform(0.45, 0.98)
    beckmann = bool(rng.random() < 0.4)
    ratio = _log_uniform(rng, 1, 3) if rng.random() < 0.2 and ask.alpha is None else 1.0

    # its pictures
    as32 = {name: np.ascontiguousarray(value, np.float32) for name, value in lights.items()}
    eye = np.array([0, 0, camera], np.float32)
    image, strength = scene.render(
        points, normals, mask, eye, as32["position"], as32["axis"], as32["lobe"], as32["power"],
        camera / 420 * rng.uniform(0, 4), alpha, ratio, rng.uniform(0, np.pi),
        beckmann, np.float32(f0), diffuse, scene.horizon(points), margin,
    )  # fmt: skip
    image = np.ascontiguousarray(image[inner])
    rays = ask.rays if ask.rays is not None else int(6 * (rng.random() < 0.85))
    if rays > 0:
        mirrored = bounces.bounced(
            points, normals, mask, eye, as32["position"], strength, alpha, beckmann,
            np.float32(f0), index_of_reflectance(f0), diffuse,
            rng.random((wide, wide, 2), dtype=np.float32), rays, LONGEST_PATH, margin,
        )  # fmt: skip
        image += scene.blur(mirrored, 0.5, 0.25)
    if rng.random() < 0.7:
        sigma2 = rng.uniform(0.05, 0.8) ** 2  # px²
        image = scene.blur(image, 1 - sigma2, sigma2 / 2)
    X, Y, normals, mask, height, alpha, log_depth, base_log_depth = (
        np.ascontiguousarray(each[inner])
        for each in (X, Y, normals, mask, height, alpha, log_depth, base_log_depth)
    )

    # the sensor
    hdr = rng.random() < 0.45
    places = np.flatnonzero(mask)
    probe = image.reshape(n * n, -1)[places[:: max(1, len(places) // 300)]]
    quantile = 1.0 if hdr else 1 - _log_uniform(rng, 1e-4, 0.03)
    full = max(float(np.quantile(probe, quantile)) * (1.05 if hdr else 1.0), 1e-20)
    well = _log_uniform(rng, 5000, 40000)
    read = rng.uniform(2, 8) / well * (0.05 if hdr else 1.0)
    step = (0.0 if hdr else 1.0) / (2 ** int(rng.choice([8, 10, 12, 12, 12, 16])) - 1)
    ambient = 0.0 if exact else rng.normal(0, 3e-4) * (0.1 if hdr else 1)  # left over
    count = image.shape[-1]
    clipped = sensor.expose(
        image.reshape(n * n, count), mask.ravel(), 1 / full, sensor.normal_table(),
        sensor.noise_places(rng, n * n, count), read, 1 / (well * (4 if hdr else 1)), ambient,
        not hdr, step,
    ).reshape(image.shape)  # fmt: skip
    floor = float(np.hypot(read, step / 3.5))

    # what calibration believes
    position, power = lights["position"], lights["power"]
    if not exact:
        spread = _log_uniform(rng, 0.05, 1.0) * camera / 420
        position = position + rng.normal(0, spread, position.shape)
        power = power * np.exp(rng.normal(0, rng.uniform(0, 0.03), len(power)))
    base_depth = np.exp(base_log_depth)
    channels = encode(
        image, clipped, mask, points_at(base_depth), np.array([0, 0, camera]), position,
        lights["axis"], lights["lobe"], power,
        slope_of_log_depth(base_log_depth, pixel_angle), floor,
    )  # fmt: skip
    return Sample(
        channels=channels,
        normals=normals,
        delta=((log_depth - base_log_depth) / (UNIT_PX * pixel_angle)).astype(np.float32),
        mask=mask,
        pixel_angle=pixel_angle,
        rays=np.stack([X, Y], -1).astype(np.float32),
        base_log_depth=base_log_depth,
        log_depth=log_depth,
        centre_mm=camera,
        field_mm=field_mm,
        radiance=image if keep_radiance else None,
        believed={
            "clipped": clipped,
            "position": position,
            "axis": lights["axis"],
            "lobe": lights["lobe"],
            "power": power,
            "floor": floor,
        }
        if keep_radiance
        else {},
        facts={
            "slope_deg": slope,
            "alpha": float(alpha.mean()),
            "lights": len(power),
            "beckmann": beckmann,
            "hdr": bool(hdr),
            "zoom": bool(zoom),
            "relief": float(np.ptp(height[mask])) / field_mm,
        },
    )
