"""Training pairs of many scenes at once, in torch on any device.

`packed` makes few tensors of many scenes, to be sent to the device whole; `pairs` makes the
network's channels and targets of them there: what `samples.draw` makes one by one, equal to
rounding. A worker then only draws parts and rigs, which is a sixth of a sample's cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reconstruct.dpps import batched_scene as optics
from reconstruct.dpps.batched_bounces import Ground, bounced
from reconstruct.dpps.batched_encoding import encoded
from reconstruct.dpps.batched_fusion import found
from reconstruct.dpps.batched_scene import Vector
from reconstruct.dpps.drawing import Scene
from reconstruct.dpps.encoding import UNIT_PX
from reconstruct.dpps.sensor import normal_table
from reconstruct.optics.material import index_of_reflectance

MAPS = ("log_depth", "base", "mask", "alpha", "diffuse", "jitter_1", "jitter_2", "noise")
LIGHTS = ("x", "y", "z", "axis_x", "axis_y", "axis_z", "lobe", "power",
          "believed_x", "believed_y", "believed_z", "believed_power")  # fmt: skip
NUMBERS = (
    "camera", "pixel_angle", "shift_x", "shift_y", "ratio", "grain", "beckmann", "n", "k",
    "radius", "rays", "middle", "side", "quantile", "headroom", "read", "per_electron", "ambient",
    "clips", "step", "floor", "count", "again",
)  # fmt: skip
PROBES = 600  # pixels at most of which a sensor's full scale is a quantile
TOGETHER = 48  # scenes at most whose pictures are in memory at a time; more have unlike lights


@dataclass(frozen=True)
class Batch:
    """Scenes as tensors, ordered by their number of lights.

    Attributes
    ----------
    maps : (B, 8, W, W) float32, see `MAPS`; `noise` fills the picture's part of its map
    lights : (B, N, 12) float32, see `LIGHTS`; filled up with dark ones
    numbers : (B, 23) float64, see `NUMBERS`; `again` is 0, or the blur in px of the surface found
        first, over which the sample is seen
    probes : (B, 600) int64 flat pixels of the picture, −1 where there are fewer
    margin : places around the picture
    """

    maps: Tensor
    lights: Tensor
    numbers: Tensor
    probes: Tensor
    margin: int

    def to(self, device: torch.device) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """For the data loader, which calls it by this name."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            change(self.maps), change(self.lights), change(self.numbers), change(self.probes),
            self.margin,
        )  # fmt: skip

    def __getitem__(self, part: slice) -> Batch:
        """Some scenes, with as many lights as they need."""
        numbers = self.numbers[part]
        most = int(numbers[:, NUMBERS.index("count")].max())
        return Batch(
            self.maps[part], self.lights[part, :most], numbers, self.probes[part], self.margin
        )


def packed(scenes: Sequence[Scene], again: Sequence[float]) -> Batch:
    """The tensors of scenes of one size; `again` as in `Batch`."""
    order = np.argsort([len(s.lights["power"]) for s in scenes], kind="stable")
    margin, side = scenes[0].margin, len(scenes[0].mask)
    small, most = side - 2 * margin, max(len(s.lights["power"]) for s in scenes)
    maps = np.zeros((len(scenes), len(MAPS), side, side), dtype=np.float32)
    lights = np.zeros((len(scenes), most, len(LIGHTS)), dtype=np.float32)
    lights[..., [2, 10]] = 1e3  # dark ones far up
    lights[..., [6, 11]] = 1.0
    numbers = np.empty((len(scenes), len(NUMBERS)))
    probes = np.full((len(scenes), PROBES), -1, dtype=np.int64)
    for i, j in enumerate(order):
        s = scenes[j]
        chip, count = s.sensor, len(s.lights["power"])
        maps[i, :5] = s.log_depth, s.base_log_depth, s.mask, s.alpha, s.diffuse
        if s.jitter is not None:
            maps[i, 5:7] = np.moveaxis(s.jitter, -1, 0)
        maps[i, 7][s.inner] = chip.places.reshape(small, small)
        for lit, where in ((s.lights, 0), (s.believed, 8)):
            lights[i, :count, where : where + 3] = lit["position"]
        lights[i, :count, 3:6] = s.lights["axis"]
        lights[i, :count, 6] = s.lights["lobe"]
        lights[i, :count, 7] = s.lights["power"]
        lights[i, :count, 11] = s.believed["power"]
        numbers[i] = (
            s.camera_mm, s.pixel_angle, *s.shift, s.ratio, s.grain, s.beckmann,
            *index_of_reflectance(s.f0), s.radius_mm, s.rays if s.jitter is not None else 0,
            *(s.lens or (1.0, 0.0)), chip.quantile, chip.headroom, chip.read, chip.per_electron,
            chip.ambient, chip.clips, chip.step, chip.floor, count, again[j],
        )  # fmt: skip
        places = np.flatnonzero(s.mask[s.inner])
        some = places[:: max(1, len(places) // 300)]
        probes[i, : len(some)] = some
    return Batch(
        torch.from_numpy(maps), torch.from_numpy(lights), torch.from_numpy(numbers),
        torch.from_numpy(probes), margin,
    )  # fmt: skip


class Darkroom:
    """A batch on a device, with the names of what is in it."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.margin = batch, batch.margin
        self.map: dict[str, Tensor] = dict(zip(MAPS, batch.maps.unbind(1), strict=True))
        self.light = dict(zip(LIGHTS, batch.lights.movedim(2, 0).contiguous(), strict=True))
        self.exact = dict(zip(NUMBERS, batch.numbers.unbind(1), strict=True))
        self.number = {name: value.float() for name, value in self.exact.items()}
        self.lit = self.map["mask"] > 0
        side = batch.maps.shape[-1]
        along = torch.arange(side, device=batch.maps.device).double() - (side - 1) / 2
        along = (along * self.exact["pixel_angle"][:, None]).float()
        X = along + self.number["shift_x"][:, None]
        Y = -along + self.number["shift_y"][:, None]
        shape = (len(along), side, side)
        self.rays = (X[:, None, :].expand(shape), Y[:, :, None].expand(shape))

    def inner(self, each: Tensor) -> Tensor:
        """The picture within a map (B, W, W)."""
        m = self.margin
        return each[:, m : each.shape[1] - m, m : each.shape[2] - m]

    def points_at(self, log_depth: Tensor) -> Vector:
        """(B, W, W) points of the wide grid."""
        z = torch.exp(log_depth)
        X, Y = self.rays
        return X * z, Y * z, self.number["camera"][:, None, None] - z

    def slopes(self, log_depth: Tensor) -> tuple[Tensor, Tensor]:
        """Differences of log depth along columns and rows per pixel angle."""
        rows, columns = torch.gradient(log_depth, dim=(1, 2))
        angle = self.number["pixel_angle"][:, None, None]
        return columns / angle, rows / angle

    def normals(self) -> Vector:
        columns, rows = self.slopes(self.map["log_depth"])
        X, Y = self.rays
        n = (columns, -rows, 1 + X * columns - Y * rows)
        return optics.unit(n)

    def radiance(self, points: Vector, normals: Vector) -> Tensor:
        """(B, H, W, N) radiance that reaches the sensor."""
        light, number = self.light, self.number
        position = (light["x"], light["y"], light["z"])
        spread = optics.columns(position)
        flat = tuple(each.flatten(1)[..., None] for each in points)
        one = {name: value[:, None, None] for name, value in number.items()}
        strength = optics.strengths(
            flat,
            optics.Lamps(
                spread,
                (light["axis_x"][:, None], light["axis_y"][:, None], light["axis_z"][:, None]),
                light["lobe"][:, None], light["power"][:, None],
            ),
            optics.horizon(points), one["radius"],
        )  # fmt: skip
        strength = strength * self.lit.flatten(1)[..., None]
        batch, side = self.lit.shape[:2]
        shape = (batch, side - 2 * self.margin, side - 2 * self.margin, -1)

        def column(each: Tensor) -> Tensor:
            return self.inner(each).reshape(batch, -1, 1)

        image = optics.direct(
            tuple(column(each) for each in points), tuple(column(each) for each in normals), spread,
            self.inner(strength.reshape(batch, side, side, -1)).reshape(
                batch, -1, strength.shape[-1]
            ),
            one["camera"], one["radius"],
            optics.Metal(
                column(self.map["alpha"]), one["ratio"], one["grain"], one["beckmann"],
                (one["n"], one["k"]), column(self.map["diffuse"]),
            ),
        ).reshape(shape)  # fmt: skip
        if number["rays"].any():
            mirrored = bounced(
                Ground(points, normals, self.lit), number["camera"], position, strength,
                optics.Metal(
                    self.map["alpha"], number["ratio"], number["grain"], number["beckmann"],
                    (number["n"], number["k"]), self.map["diffuse"],
                ),
                (self.map["jitter_1"], self.map["jitter_2"]),
                number["rays"], self.margin,
            )  # fmt: skip
            half = torch.full_like(number["rays"], 0.5)
            image = image + optics.blur(mirrored, half, half / 2)
        return optics.blur(image, number["middle"], number["side"])

    def _full_scale(self, flat: Tensor) -> Tensor:
        """(B,) radiance that meets full scale, of (B, P, N): a quantile over probed pixels."""
        probes, count = self.batch.probes, flat.shape[2]
        values = flat.gather(1, probes.clamp_min(0)[..., None].expand(-1, -1, count))
        real = torch.arange(count, device=flat.device) < self.exact["count"][:, None]
        known = (probes >= 0)[..., None] & real[:, None]
        values = torch.where(known, values, -torch.inf).flatten(1)
        place = (1 - self.exact["quantile"]) * (known.flatten(1).sum(1) - 1)  # from the brightest
        high = place.floor().long()
        brightest = values.topk(int(high.max()) + 2).values
        upper, lower = (brightest.gather(1, (high + i)[:, None])[:, 0] for i in (0, 1))
        between = (place - high).float()
        lower = torch.where(between > 0, lower, upper)
        return torch.lerp(upper, lower, between) * self.number["headroom"]

    def recorded(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of full scale as the sensor records them, and where they clip."""
        flat = image.flatten(1, 2)
        one = {name: value[:, None, None] for name, value in self.number.items()}
        value, clipped = optics.exposed(
            flat, self._full_scale(flat)[:, None, None],
            self.inner(self.map["noise"]).flatten(1).long()[..., None],
            torch.from_numpy(normal_table()).to(image.device), one["read"], one["per_electron"],
            one["ambient"], one["clips"], one["step"],
        )  # fmt: skip
        return value.reshape(image.shape), clipped.reshape(image.shape)

    def channels(self, image: Tensor, clipped: Tensor, base: Tensor) -> Tensor:
        """(B, 42, H, W) over a base surface, given as log depth on the picture."""
        X, Y = (self.inner(each) for each in self.rays)
        z, camera = torch.exp(base), self.number["camera"][:, None, None]
        light = self.light
        return encoded(
            image, clipped, self.inner(self.lit), (X * z, Y * z, camera - z),
            self.number["camera"], self.number["count"],
            optics.Lamps(
                (light["believed_x"], light["believed_y"], light["believed_z"]),
                (light["axis_x"], light["axis_y"], light["axis_z"]), light["lobe"],
                light["believed_power"],
            ),
            torch.stack(self.slopes(base), 1), self.number["floor"],
        )  # fmt: skip

    def target(self, normals: Vector, base: Tensor) -> Tensor:
        """(B, 5, H, W) normal, delta, mask."""
        unit = UNIT_PX * self.number["pixel_angle"][:, None, None]
        delta = (self.inner(self.map["log_depth"]) - base) / unit
        mask = self.inner(self.map["mask"])
        return torch.stack([*(self.inner(n) for n in normals), delta, mask], 1)


@torch.no_grad()
def _pairs(batch: Batch, first_pass: Any) -> tuple[Tensor, Tensor]:
    room = Darkroom(batch)
    normals = room.normals()
    points = room.points_at(room.map["log_depth"])
    image, clipped = room.recorded(room.radiance(points, normals))
    base = room.inner(room.map["base"]).contiguous()
    x = room.channels(image, clipped, base)
    again = room.number["again"]
    if first_pass is not None and (again > 0).any():
        rays = tuple(room.inner(each) for each in room.rays)
        surface = found(
            first_pass(x), base, rays, room.inner(room.lit), room.number["pixel_angle"], again
        )
        chosen = (again > 0)[:, None, None]
        base = torch.where(chosen, surface, base)
        x = torch.where(chosen[:, None], room.channels(image, clipped, base), x)
    return x, room.target(normals, base)


def pairs(batch: Batch, first_pass: Any = None) -> tuple[Tensor, Tensor]:
    """(B, 42, H, W) channels and (B, 5, H, W) targets of a batch on its device.

    `first_pass` is a network for the samples that are seen over what it finds in them, or None.
    """
    count = len(batch.maps)
    size = -(-count // -(-count // TOGETHER))
    parts = [_pairs(batch[i : i + size], first_pass) for i in range(0, count, size)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
