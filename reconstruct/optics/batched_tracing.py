"""The tracer in batched torch, for a GPU: all rays of many pixels go on together, step by step.

`BatchedTracer(device)` has the functions `tracing.trace` and `mirrored.by_mirrored` with the same
arguments, in the same order of the same random numbers: both follow the same rays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconstruct.optics.batched_directions import frames, mirrored, unit
from reconstruct.optics.brdf import Distribution, conductor_fresnel, masking_of
from reconstruct.optics.microfacet import GGX

# Rays, and pairs of a landed ray and a light, at once.
RAYS_CPU, RAYS_GPU = 1 << 16, 1 << 20
PAIRS_CPU, PAIRS_GPU = 1 << 20, 1 << 24
# Steps of a march taken at once; rays that have ended by then are left out of the next.
STEPS = 16


@dataclass(frozen=True, eq=False)
class Landed:
    """Places that rays have come by: of which pixel, with what share of its light, and where."""

    pixel: Tensor
    gain: Tensor
    u: Tensor
    v: Tensor
    direction: Tensor
    row: Tensor
    column: Tensor

    def part(self, first: int, last: int) -> Landed:
        return Landed(*(value[first:last] for value in vars(self).values()))

    @staticmethod
    def joined(parts: list[Landed]) -> Landed:
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Landed(*(torch.cat(column) for column in columns))


@dataclass(frozen=True, eq=False)
class Scene:
    """What `interreflection.scene_of` gives the kernels, as tensors and in the same order."""

    w: Tensor
    z0: float
    focal: Tensor
    points: Tensor
    shown: Tensor
    normals: Tensor
    tangents: Tensor
    centre: Tensor
    basis: Tensor
    seen: Tensor
    position: Tensor
    axis: Tensor
    power: Tensor
    exponent: Tensor
    alpha: Tensor
    across: Tensor
    weight: Tensor
    diffuse: Tensor
    index: list[list[float]]
    kinds: list[Distribution]
    samples: int
    bounces: int
    jitter: Tensor

    @staticmethod
    def of(arguments: tuple[Any, ...], device: torch.device) -> Scene:
        def held(value: Any) -> Any:
            if not isinstance(value, np.ndarray) or value.ndim == 0:
                return value
            return torch.tensor(value, device=device)

        named = dict(zip((each.name for each in fields(Scene)), arguments, strict=True))
        # Of lobes and their kinds one is asked for at a time.
        index = named.pop("index").tolist()
        kinds: list[Distribution] = ["ggx" if k == GGX else "beckmann" for k in named.pop("kinds")]
        tensors = {name: held(value) for name, value in named.items()}
        return Scene(**tensors, index=index, kinds=kinds)

    @property
    def shape(self) -> tuple[int, int]:
        return self.w.shape[0], self.w.shape[1]

    def pixels(self) -> Tensor:
        """(P,) numbers of the pixels that the camera is asked for."""
        return torch.nonzero(~torch.isnan(self.shown[..., 2]).flatten())[:, 0]

    # one ray ---------------------------------------------------------------------------------
    def between(self, u: Tensor, v: Tensor, values: Tensor) -> Tensor:
        """(M, C) of (h, w, C) values at columns u and rows v; see `tracing._between`."""
        height, width = self.shape
        r, c = v.long().clamp_max(height - 2), u.long().clamp_max(width - 2)
        f, g = (u - c)[:, None], (v - r)[:, None]
        upper = torch.lerp(values[r, c], values[r, c + 1], f)
        lower = torch.lerp(values[r + 1, c], values[r + 1, c + 1], f)
        out = torch.lerp(upper, lower, g)
        nearest = values[(v + 0.5).long(), (u + 0.5).long()]
        return torch.where(out[:, :1].isnan(), nearest, out)

    def land(self, u: Tensor, v: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whether there is a surface at columns u and rows v, its points and its unit normals."""
        there = ~normals[(v + 0.5).long(), (u + 0.5).long(), 2].isnan()
        return there, self.between(u, v, self.points), unit(self.between(u, v, normals))

    def level(self, points: Tensor) -> Tensor:
        """Scaled inverse depth of points before the camera."""
        depth = (points - self.centre) @ self.basis[2]
        return self.z0 * (self.z0 / depth - 1)

    def march(self, at: Tensor, velocity: Tensor, live: Tensor) -> Tensor:
        """Where `live` rays (3, M) of column, row and level meet the surface; see `tracing._march`.

        (2, M) columns and rows, -1 where a ray leaves the picture or rises above the surface.
        """
        height, width = self.shape
        w = self.w
        corners = torch.stack([w[:-1, :-1], w[:-1, 1:], w[1:, :-1], w[1:, 1:]], -1).reshape(-1, 4)
        highest, bias = w.max(), 0.02 * self.z0 / self.focal[0]
        last = torch.tensor([[[width - 1.0]], [[height - 1.0]]], device=at.device)
        steps = torch.arange(1, STEPS + 1, device=at.device)[:, None]
        ends = torch.full_like(at[:2], -1.0)
        ray = torch.nonzero(live)[:, 0]
        at, velocity = at[:, ray], velocity[:, ray]
        above = torch.zeros_like(at[0])
        for taken in range(0, 2 * (height + width), STEPS):
            if len(ray) == 0:
                break
            on = at[:, None] + steps * velocity[:, None]  # (3, STEPS, M)
            inside = ((on[:2] >= 0) & (on[:2] <= last)).all(0)
            gone = ~inside | ((velocity[2] >= 0) & (on[2] > highest))
            u, v = torch.where(gone, 0.0, on[:2])
            c, r = u.long().clamp_max(width - 2), v.long().clamp_max(height - 2)
            around = corners[r * (width - 1) + c]
            sides = torch.lerp(around[..., 0::2], around[..., 1::2], (u - c)[..., None])
            below = torch.lerp(sides[..., 0], sides[..., 1], v - r) - on[2]
            before = torch.cat([above[None], -below[:-1]])
            hit = (below > bias) & ~gone
            if taken == 0:
                hit[0] = False
            event = hit | gone
            first = event.to(torch.uint8).argmax(0)[None]
            met = torch.nonzero(event.any(0) & hit.gather(0, first)[0])[:, 0]
            first = first[:, met]
            depth, height_before = below[:, met].gather(0, first), before[:, met].gather(0, first)
            back = torch.where(height_before > 0, depth / (depth + height_before), 0.0)[0]
            moved = first[0] + 1 - back
            ends[:, ray[met]] = at[:2, met] + moved * velocity[:2, met]
            kept = torch.nonzero(~event.any(0))[:, 0]
            at, velocity, ray, above = (
                on[:, -1, kept],
                velocity[:, kept],
                ray[kept],
                -below[-1, kept],
            )
        return ends

    def walks(self, pixel: Tensor) -> Iterator[Landed]:
        """Where all rays of some pixels land, time after time; see `tracing.walk`."""
        height, width = self.shape
        share = 1 / self.samples
        s = torch.arange(self.samples, device=pixel.device).repeat(len(pixel))
        pixel = pixel.repeat_interleave(self.samples)
        y, x = pixel // width, pixel % width
        jitter, number = self.jitter[y, x], s.to(self.jitter.dtype)
        u1 = (number + jitter[:, 0]) * share
        u2 = (number * 0.754877666 + jitter[:, 1]).frac()
        u3 = (number * 0.569840291 + jitter[:, 2]).frac()
        u = (number * 0.819172513 + jitter[:, 3]).frac()
        v = (number * 0.671043607 + jitter[:, 4]).frac()
        u, v = (x + u - 0.5).clamp(0, width - 1), (y + v - 0.5).clamp(0, height - 1)
        there, point, facing = self.land(u, v, self.shown)
        away = unit(self.centre - point)
        gain = torch.full_like(u, share)
        r, c, on = y, x, torch.nonzero(there)[:, 0]
        for _ in range(self.bounces):
            pixel, u, v, r, c, u1, u2, u3, gain = (
                value[on] for value in (pixel, u, v, r, c, u1, u2, u3, gain)
            )
            point, facing, away = point[on], facing[on], away[on]
            if len(pixel) == 0:
                return
            direction, weight, u3 = self.drawn(facing, away, r, c, u1, u2, u3)
            gain = gain * weight
            at, velocity, moves = self.ray(u, v, point, direction)
            u, v = self.march(at, velocity, moves & (gain > 1e-4 * share))
            met = u >= 0
            u, v = u.clamp_min(0), v.clamp_min(0)
            there, point, facing = self.land(u, v, self.normals)
            on = torch.nonzero(met & there)[:, 0]
            r, c = (v + 0.5).long(), (u + 0.5).long()
            away = -direction
            jitter = self.jitter[r, c]
            u1, u2 = (u1 * 37 + jitter[:, 0]).frac(), (u2 * 41 + jitter[:, 1]).frac()
            yield Landed(pixel[on], gain[on], u[on], v[on], direction[on], r[on], c[on])

    def ray(
        self, u: Tensor, v: Tensor, point: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Column, row and level of rays, their change per step, and whether they move at all.

        Rays are straight in these; a step is one pixel along an axis at most.
        """
        level = self.level(point)
        cx, cy, cz = (direction @ self.basis.T).unbind(-1)
        depth = self.z0 * self.z0 / (level + self.z0)
        velocity = torch.stack(
            [
                cx * self.focal[0] - (u - self.focal[2]) * cz,
                cy * self.focal[1] - (v - self.focal[3]) * cz,
                -self.z0 * self.z0 * cz / depth,
            ]
        )
        longest = velocity[:2].abs().amax(0)
        moves = longest >= 1e-9
        return torch.stack([u, v, level]), velocity / longest.clamp_min(1e-9), moves

    def drawn(
        self, facing: Tensor, away: Tensor, r: Tensor, c: Tensor, u1: Tensor, u2: Tensor,
        u3: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Directions drawn at places, what a ray weighs more by them, and what is left of `u3`.

        Lobe and Lambertian shares are drawn in proportion to their weights.
        """
        frame = frames(facing, self.tangents[r, c])
        view = (frame @ away[..., None])[..., 0]
        weights = torch.cat([self.weight[r, c], self.diffuse[r, c][:, None]], -1)
        total = weights.sum(-1)
        pick = u3 * total
        local, factor, left = torch.zeros_like(view), torch.zeros_like(u1), u3.clone()
        begin = torch.zeros_like(total)
        lobes = len(self.kinds)
        for number in range(lobes + 1):
            end = begin + weights[:, number]
            mine = pick >= begin if number == lobes else (pick >= begin) & (pick < end)
            at = torch.nonzero(mine)[:, 0]
            if number < lobes:
                local[at], factor[at] = mirrored(
                    view[at], self.alpha[r[at], c[at], number], self.across[r[at], c[at], number],
                    self.index[number], self.kinds[number], u1[at], u2[at],
                )  # fmt: skip
            else:  # cosine-weighted
                root, turn = u1[at].sqrt(), 2 * math.pi * u2[at]
                up = (1 - u1[at]).clamp_min(0).sqrt()
                local[at] = torch.stack([root * turn.cos(), root * turn.sin(), up], -1)
                factor[at] = 1.0
            left[at] = (pick[at] - begin[at]) / weights[at, number].clamp_min(1e-9)
            begin = end
        direction = (frame.transpose(-1, -2) @ local[..., None])[..., 0]
        return direction, torch.where((view[:, 2] > 0) & (total > 0), factor * total, 0.0), left

    # light -----------------------------------------------------------------------------------
    def arrival(self, at: Landed) -> tuple[Tensor, Tensor, Tensor]:
        """Points and unit normals where rays landed, and the visibility of each LED there."""
        _, point, normal = self.land(at.u, at.v, self.normals)
        return point, normal, self.between(at.u, at.v, self.seen)

    def direct(self, at: Landed, point: Tensor, normal: Tensor, lit: Tensor) -> Tensor:
        """(M, N) light of each LED that comes by places, as `tracing.add_direct` adds it."""
        out = -at.direction
        n_o = (normal * out).sum(-1)
        frame = frames(normal, self.tangents[at.row, at.column])
        o_t, o_b, _ = (frame @ out[..., None])[..., 0].unbind(-1)
        # (M, N) components of the directions to the lights
        dx, dy, dz = (self.position[i] - point[:, i : i + 1] for i in range(3))
        inv_d2 = 1 / (dx * dx + dy * dy + dz * dz)
        inv_d = inv_d2.sqrt()
        dx, dy, dz = dx * inv_d, dy * inv_d, dz * inv_d
        axis = self.axis
        cosine = -(axis[0] * dx + axis[1] * dy + axis[2] * dz)
        light = self.power * inv_d2 * cosine.clamp_min(1e-20) ** self.exponent * lit
        (l_t, l_b, n_l) = (
            frame[:, i, 0:1] * dx + frame[:, i, 1:2] * dy + frame[:, i, 2:3] * dz for i in range(3)
        )
        h2 = (2 + 2 * (out[:, 0:1] * dx + out[:, 1:2] * dy + out[:, 2:3] * dz)).clamp_min(1e-12)
        n_h2 = torch.square(n_l + n_o[:, None])
        h_t2, h_b2 = torch.square(l_t + o_t[:, None]), torch.square(l_b + o_b[:, None])
        n_l = n_l.clamp_min(0)
        total = (self.diffuse[at.row, at.column] / math.pi)[:, None] * n_l
        for number, kind in enumerate(self.kinds):
            alpha = self.alpha[at.row, at.column, number]
            across = self.across[at.row, at.column, number]
            ax2, ay2 = alpha**2, across**2
            weight = self.weight[at.row, at.column, number]
            scale = weight * masking_of(kind, n_o, ax2 * o_t * o_t + ay2 * o_b * o_b)
            scale = scale / (4 * n_o * alpha * across)
            ax2, ay2 = ax2[:, None], ay2[:, None]
            e2 = (h_t2 / ax2 + h_b2 / ay2) / n_h2.clamp_min(1e-12)
            cosine4 = torch.square(n_h2 / h2) + 1e-12
            density = 1 / torch.square(1 + e2) if kind == "ggx" else torch.exp(-e2)
            masking = masking_of(kind, n_l, ax2 * l_t * l_t + ay2 * l_b * l_b)
            fresnel = conductor_fresnel(0.5 * h2.sqrt(), *self.index[number])
            total = total + scale[:, None] * (density * masking * fresnel / (math.pi * cosine4))
        total = total * light * at.gain[:, None]
        return torch.where((n_l > 0) & (n_o > 0)[:, None], total, 0.0)


class BatchedTracer:
    """The tracer's kernels on a torch device."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        gpu = self.device.type != "cpu"
        self.rays, self.pairs = (RAYS_GPU, PAIRS_GPU) if gpu else (RAYS_CPU, PAIRS_CPU)

    def trace(self, out: NDArray[np.float32], *arguments: Any) -> None:
        """As `tracing.trace`."""
        with torch.no_grad():
            scene = Scene.of(arguments, self.device)
            lights = len(scene.power)
            light = torch.zeros((out.shape[0] * out.shape[1], lights), device=self.device)
            for pixel in scene.pixels().split(max(1, self.rays // scene.samples)):
                for landed in scene.walks(pixel):
                    for at in self.few(landed, lights):
                        light.index_add_(0, at.pixel, scene.direct(at, *scene.arrival(at)))
            out += light.reshape(out.shape).cpu().numpy()

    def few(self, landed: Landed, lights: int) -> Iterator[Landed]:
        """Landed rays a few at a time."""
        step = max(1, self.pairs // lights)
        for first in range(0, len(landed.pixel), step):
            yield landed.part(first, first + step)

    def by_mirrored(
        self,
        out: NDArray[np.float32],
        pull: NDArray[np.float32],
        stiffness: NDArray[np.float32],
        turn: NDArray[np.float32],
        step: NDArray[np.float32],
        *arguments: Any,
    ) -> None:
        """As `mirrored.by_mirrored`; all of it goes into the first band."""
        with torch.no_grad():
            scene = Scene.of(arguments, self.device)
            height, width = scene.shape
            lights = len(scene.power)
            turned, larger, pulled, stiff = (
                torch.tensor(values, device=self.device) for values in (turn, step, pull, stiffness)
            )
            pulled, stiff = pulled.reshape(-1, lights), stiff.reshape(-1, lights)
            sums = torch.zeros((height * width, 5), device=self.device)
            most = scene.samples * scene.bounces * lights * 2  # values of one pixel's changes
            for pixel in scene.pixels().split(max(1, 4 * self.pairs // most)):
                landings = [each for each in scene.walks(pixel) if len(each.pixel) > 0]
                if not landings:
                    continue
                landed = Landed.joined(landings)
                change = torch.cat(
                    [changes(scene, at, turned, larger) for at in self.few(landed, 3 * lights)]
                )  # (M, 2, N)
                size = torch.linalg.vector_norm(change, dim=1)
                of, place = landed.pixel, landed.row * width + landed.column
                total = torch.zeros_like(pulled).index_add_(0, of, size)
                bound = stiff[of] * total[of] / size.clamp_min(1e-30)
                p, q = change[:, 0], change[:, 1]
                gained = torch.stack(
                    [
                        (pulled[of] * p).sum(-1), (pulled[of] * q).sum(-1), (bound * p * p).sum(-1),
                        (bound * p * q).sum(-1), (bound * q * q).sum(-1),
                    ],
                    -1,
                )  # fmt: skip
                gained[place == of] = 0.0
                sums.index_add_(0, place, gained)
            out[0] += sums.reshape(height, width, 5).cpu().numpy()


def changes(scene: Scene, at: Landed, turn: Tensor, step: Tensor) -> Tensor:
    """(M, 2, N) change of the light that comes by places with their slopes p and q."""
    point, normal, lit = scene.arrival(at)
    held = scene.direct(at, point, normal, lit)
    larger = step[at.row, at.column][:, None]
    moved = (unit(normal + turn[i, at.row, at.column]) for i in range(2))
    return torch.stack([(scene.direct(at, point, n, lit) - held) / larger for n in moved], 1)
