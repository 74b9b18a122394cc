"""What a training sample is drawn from: a random part, metal, rig and sensor, from one seed.

Frame: the camera's, moved to the stage: x right, y up, z towards the camera, the optical centre at
(0, 0, D). A pixel at column c and row r looks along (X, Y, -1); its point is (X Z, Y Z, D - Z) with
depth Z, and u = log Z is what height is learned in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from reconstruct.dpps import sensor, shapes
from reconstruct.dpps.encoding import slope_of_log_depth
from reconstruct.dpps.rigs import log_uniform, random_lights

# What lies beyond the picture shades the part and is mirrored in it, so the part is drawn wider by
# this share of the picture on each side.
BEYOND = 1 / 8
SPLITS = {"train": 1, "validation": 2, "test": 3}
Map = NDArray[np.float32]


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


@dataclass(frozen=True)
class Sensor:
    """What is drawn of the sensor; shares of full scale.

    Attributes
    ----------
    quantile : of the radiance over the part, which meets full scale once multiplied by `headroom`
    read, per_electron, ambient, clips, step : see `sensor.expose`
    places : (H W,) where each pixel enters `sensor.normal_table`
    """

    quantile: float
    headroom: float
    read: float
    per_electron: float
    ambient: float
    clips: bool
    step: float
    places: NDArray[np.int64]

    @property
    def floor(self) -> float:
        """Radiance below this is noise."""
        return float(np.hypot(self.read, self.step / 3.5))


@dataclass(frozen=True)
class Scene:
    """A part under its lights, before any picture is taken of it.

    Attributes
    ----------
    camera_mm : distance D of the optical centre from the stage; field_mm : width of the field
    pixel_angle : derivative of X per column; shift : X, Y at the middle of the picture
    margin : places drawn beyond the picture on each side; the maps are wider by it
    log_depth, base_log_depth, mask, alpha, diffuse : maps of the part and of the assumed surface
    ratio, grain : anisotropy αx/αy along an azimuth; beckmann, f0 : distribution and reflectance
    lights, believed : position, axis, lobe, power; the true ones and those that calibration gives
    radius_mm : of the LEDs
    rays : a pixel for inter-reflection; jitter : (H, W, 2) where they begin, with any
    lens : middle and side weight of its blur, or None
    facts : what was drawn, JSON-able
    """

    camera_mm: float
    field_mm: float
    pixel_angle: float
    shift: NDArray[np.float64]
    margin: int
    log_depth: Map
    base_log_depth: Map
    mask: NDArray[np.bool_]
    alpha: Map
    diffuse: Map
    ratio: float
    grain: float
    beckmann: bool
    f0: float
    lights: dict[str, NDArray[np.float64]]
    believed: dict[str, NDArray[np.float64]]
    radius_mm: float
    rays: int
    jitter: Map | None
    lens: tuple[float, float] | None
    sensor: Sensor
    facts: dict[str, Any]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The picture within the maps."""
        within = slice(self.margin, len(self.mask) - self.margin)
        return within, within

    def directions(self) -> tuple[Map, Map]:
        """(H, W) X and Y of the wide grid."""
        side = len(self.mask)
        along = ((np.arange(side) - (side - 1) / 2) * self.pixel_angle).astype(np.float32)
        X, Y = np.meshgrid(along + np.float32(self.shift[0]), -along + np.float32(self.shift[1]))
        return X, Y

    def points_at(self, depth: NDArray[Any]) -> Map:
        """(H, W, 3) points of the wide grid at these depths."""
        X, Y = self.directions()
        return np.stack([X * depth, Y * depth, self.camera_mm - depth], -1).astype(np.float32)

    def normals(self) -> Map:
        """(H, W, 3) of the smooth surface."""
        X, Y = self.directions()
        slope_px = slope_of_log_depth(self.log_depth, self.pixel_angle)
        # n ∝ (-u_X, -u_Y, 1 + X u_X + Y u_Y) up to sign: see normals_of in fusion
        u_x, u_y = slope_px[..., 0], -slope_px[..., 1]
        normals = np.stack([u_x, u_y, 1 + X * u_x + Y * u_y], -1)
        return (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).astype(np.float32)


def _scaled(
    rng: np.random.Generator, ask: Ask, height: NDArray[np.float32], pixel_mm: float
) -> tuple[NDArray[np.float32], float]:
    """Heights in mm with a random median slope, and that slope in degrees."""
    if ask.slope_deg is not None:
        wanted = rng.uniform(*ask.slope_deg)
    elif rng.random() < 0.6:
        wanted = rng.uniform(26, 56)
    else:
        wanted = log_uniform(rng, 2, 30)
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


def scene_of(seed: int, ask: Ask = Ask(), split: str = "train") -> Scene:
    """Draw scene number `seed` of a split; shapes and materials of splits never coincide."""
    rng = np.random.default_rng([SPLITS[split], seed])
    n = ask.size
    zoom = rng.random() < ask.zoom
    preset = ask.preset_camera or ask.rig == "dome96"
    camera = 420.0 * (1.0 if preset else log_uniform(rng, 0.5, 2.0))
    angle = 110.0 / 420.0 * (1.0 if preset else log_uniform(rng, 0.5, 1.9))
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
        low = shapes.smooth(rng, wide, 0.5) * field_mm * log_uniform(rng, 0.01, 0.3)
        height = height * np.float32(rng.uniform(0.4 if again else 0.2, 1)) + low
        base = gaussian_filter(height, rng.uniform(0.6, 2.5)) if again else low
        base = base + shapes.smooth(rng, wide, 1.2) * field_mm * log_uniform(rng, 0.003, 0.05)
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

    # the metal
    narrow, broad = ask.alpha or (0.05, 0.45)
    alpha = np.full((wide, wide), log_uniform(rng, narrow, broad), dtype=np.float32)
    if rng.random() < 0.3 and ask.alpha is None:
        alpha *= np.exp(0.2 * shapes.smooth(rng, wide))
    alpha = np.clip(alpha, 0.03, 0.7)
    diffuse = np.zeros((wide, wide), dtype=np.float32)
    if rng.random() < 0.5 and not ask.ideal:
        diffuse += np.float32(log_uniform(rng, 0.003, 0.3))
        if rng.random() < 0.5:
            diffuse *= np.clip(1 + shapes.smooth(rng, wide), 0, None)
    f0 = rng.uniform(0.45, 0.98)
    beckmann = bool(rng.random() < 0.4)
    ratio = log_uniform(rng, 1, 3) if rng.random() < 0.2 and ask.alpha is None else 1.0

    radius_mm = camera / 420 * rng.uniform(0, 4)
    grain = rng.uniform(0, np.pi)

    # how its pictures are taken
    rays = ask.rays if ask.rays is not None else int(6 * (rng.random() < 0.85))
    jitter = rng.random((wide, wide, 2), dtype=np.float32) if rays > 0 else None
    lens = None
    if rng.random() < 0.7:
        sigma2 = rng.uniform(0.05, 0.8) ** 2  # px²
        lens = (1 - sigma2, sigma2 / 2)
    hdr = rng.random() < 0.45
    quantile = 1.0 if hdr else 1 - log_uniform(rng, 1e-4, 0.03)
    well = log_uniform(rng, 5000, 40000)
    read = rng.uniform(2, 8) / well * (0.05 if hdr else 1.0)
    step = (0.0 if hdr else 1.0) / (2 ** int(rng.choice([8, 10, 12, 12, 12, 16])) - 1)
    ambient = 0.0 if exact else rng.normal(0, 3e-4) * (0.1 if hdr else 1)  # left over
    count = len(lights["power"])
    places = sensor.noise_places(rng, n * n, count)

    # what calibration believes
    position, power = lights["position"], lights["power"]
    if not exact:
        spread = log_uniform(rng, 0.05, 1.0) * camera / 420
        position = position + rng.normal(0, spread, position.shape)
        power = power * np.exp(rng.normal(0, rng.uniform(0, 0.03), len(power)))
    return Scene(
        camera_mm=camera,
        field_mm=field_mm,
        pixel_angle=pixel_angle,
        shift=shift,
        margin=margin,
        log_depth=log_depth,
        base_log_depth=base_log_depth,
        mask=mask,
        alpha=alpha,
        diffuse=diffuse,
        ratio=ratio,
        grain=grain,
        beckmann=beckmann,
        f0=f0,
        lights=lights,
        believed={**lights, "position": position, "power": power},
        radius_mm=radius_mm,
        rays=rays,
        jitter=jitter,
        lens=lens,
        sensor=Sensor(
            quantile,
            1.05 if hdr else 1.0,
            read,
            1 / (well * (4 if hdr else 1)),
            ambient,
            not hdr,
            step,
            places,
        ),
        facts={
            "slope_deg": slope,
            "alpha": float(alpha[inner].mean()),
            "lights": count,
            "beckmann": beckmann,
            "hdr": bool(hdr),
            "zoom": bool(zoom),
            "relief": float(np.ptp(height[inner][mask[inner]])) / field_mm,
        },
    )
