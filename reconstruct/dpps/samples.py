"""One training sample: the pictures of a drawn scene, as the network sees them, and the truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.dpps import bounces, scene, sensor
from reconstruct.dpps.drawing import Ask, Scene, scene_of
from reconstruct.dpps.encoding import UNIT_PX, Lamps, encode, moments, slope_of_log_depth
from reconstruct.optics.material import index_of_reflectance

ANY = Ask()
LONGEST_PATH = 2  # places of the part on the way of light that is followed


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


def radiance_of(drawn: Scene) -> NDArray[np.float32]:
    """(H, W, N) radiance that reaches the sensor, of the picture alone."""
    points, normals = drawn.points_at(np.exp(drawn.log_depth)), drawn.normals()
    lights = {k: np.ascontiguousarray(v, np.float32) for k, v in drawn.lights.items()}
    eye = np.array([0, 0, drawn.camera_mm], np.float32)
    lamps = scene.Lamps(
        lights["position"], lights["axis"], lights["lobe"], lights["power"], drawn.radius_mm
    )
    n, k = index_of_reflectance(drawn.f0)
    finish = scene.Finish(
        drawn.alpha, drawn.ratio, drawn.grain, drawn.beckmann, (np.float32(n), np.float32(k)),
        drawn.diffuse,
    )  # fmt: skip
    image, strength = scene.render(
        points, normals, drawn.mask, eye, lamps, finish, scene.horizon(points), drawn.margin
    )
    image = np.ascontiguousarray(image[drawn.inner])
    if drawn.jitter is not None:
        mirrored = bounces.bounced(
            points, normals, drawn.mask, eye, lamps.position, strength, finish,
            bounces.Paths(drawn.jitter, drawn.rays, LONGEST_PATH), drawn.margin,
        )  # fmt: skip
        image += scene.blur(mirrored, 0.5, 0.25)
    if drawn.lens is not None:
        image = scene.blur(image, *drawn.lens)
    return image


def recorded(
    drawn: Scene, radiance: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """(H, W, N) shares of full scale as the sensor records them, and where they clip."""
    mask, chip = drawn.mask[drawn.inner], drawn.sensor
    image = radiance.reshape(mask.size, -1)
    places = np.flatnonzero(mask)
    probe = image[places[:: max(1, len(places) // 300)]]
    full = max(float(np.quantile(probe, chip.quantile)) * chip.headroom, 1e-20)
    clipped = sensor.expose(
        image, mask.ravel(), 1 / full, sensor.normal_table(), chip.places, chip.read,
        chip.per_electron, chip.ambient, chip.clips, chip.step,
    )  # fmt: skip
    return image.reshape(radiance.shape), clipped.reshape(radiance.shape)


def draw(seed: int, ask: Ask = ANY, split: str = "train", keep_radiance: bool = False) -> Sample:
    """Draw sample number `seed` of a split; shapes and materials of splits never coincide."""
    drawn = scene_of(seed, ask, split)
    image, clipped = recorded(drawn, radiance_of(drawn))
    X, Y = (each[drawn.inner] for each in drawn.directions())
    mask = np.ascontiguousarray(drawn.mask[drawn.inner])
    log_depth = np.ascontiguousarray(drawn.log_depth[drawn.inner])
    base = np.ascontiguousarray(drawn.base_log_depth[drawn.inner])
    lights, floor = drawn.believed, drawn.sensor.floor
    points = drawn.points_at(np.exp(drawn.base_log_depth))[drawn.inner]
    centre = np.array([0, 0, drawn.camera_mm])
    lamps = Lamps(*(lights[name] for name in Lamps._fields))
    raw = moments(image, clipped, mask, points, centre, lamps, floor)
    slope = slope_of_log_depth(base, drawn.pixel_angle)
    channels = encode(raw, mask, centre - points, slope, len(lamps.power))
    return Sample(
        channels=channels,
        normals=np.ascontiguousarray(drawn.normals()[drawn.inner]),
        delta=((log_depth - base) / (UNIT_PX * drawn.pixel_angle)).astype(np.float32),
        mask=mask,
        pixel_angle=drawn.pixel_angle,
        rays=np.stack([X, Y], -1).astype(np.float32),
        base_log_depth=base,
        log_depth=log_depth,
        centre_mm=drawn.camera_mm,
        field_mm=drawn.field_mm,
        radiance=image if keep_radiance else None,
        believed={"clipped": clipped, **lights, "floor": floor} if keep_radiance else {},
        facts=drawn.facts,
    )
