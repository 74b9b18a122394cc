"""The image-formation model in torch: the radiance of `render`, with gradients, on any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics import brdf
from reconstruct.optics.lights import strength
from reconstruct.optics.material import Material
from reconstruct.optics.shadows import light_images

# (normals, to_light, to_camera) -> f_r cos, all broadcasting over (n, H, W, 3)
Reflectance = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LightTensors:
    """Lights on a device: position, axis (N, 3); strength, lobe (N,)."""

    position: Tensor
    axis: Tensor
    strength: Tensor
    lobe: Tensor

    @staticmethod
    def of(lights: Lights, device: Any = None, dtype: torch.dtype = torch.float32) -> LightTensors:
        values = (lights.position_mm, lights.axis, strength(lights), lights.lobe)
        return LightTensors(*(torch.as_tensor(v, dtype=dtype, device=device) for v in values))


def irradiance(points_mm: Tensor, lights: LightTensors) -> tuple[Tensor, Tensor]:
    """Irradiance across the ray (N, H, W) and directions to the lights (N, H, W, 3)."""
    offset = lights.position[:, None, None] - points_mm
    d2 = (offset * offset).sum(-1)
    direction = offset * torch.rsqrt(d2)[..., None]
    psi = -(direction * lights.axis[:, None, None]).sum(-1)
    lobe = lights.lobe[:, None, None]
    falloff = torch.where(lobe == 0, torch.ones_like(psi), psi.clamp_min(1e-20) ** lobe)
    return lights.strength[:, None, None] * falloff / d2, direction


def reflectance_of(material: Material, points_mm: Tensor) -> Reflectance:
    """The material as a function of directions; maps are taken to the points' device."""

    def tensor(value: Any) -> Tensor:
        return torch.as_tensor(np.array(value), dtype=points_mm.dtype, device=points_mm.device)

    tangent = None
    if any(lobe.anisotropic for lobe in material.lobes):
        tangent = tensor(material.tangent_map(points_mm.detach().cpu().numpy()))

    def reflectance(normals: Tensor, light: Tensor, view: Tensor) -> Tensor:
        total = brdf.lambertian(normals, light, tensor(material.diffuse))
        for lobe in material.lobes:
            across = None if lobe.alpha_across is None else tensor(lobe.alpha_across)
            value = brdf.microfacet(
                normals,
                light,
                view,
                tensor(lobe.alpha),
                across,
                lobe.n,
                lobe.k,
                lobe.distribution,
                tangent if lobe.anisotropic else None,
            )
            total = total + tensor(lobe.weight) * value
        return total

    return reflectance


def render(
    points_mm: Tensor,
    normals: Tensor,
    centre_mm: Tensor,
    lights: LightTensors,
    reflectance: Reflectance,
    visibility: Tensor | None = None,
    led_factor: Tensor | None = None,
    pixel_factor: Tensor | None = None,
    memory_bytes: float = 512e6,
) -> Tensor:
    """(N, H, W) radiance, differentiable in everything that is a tensor.

    Works through the lights in chunks; where gradients are wanted each chunk is recomputed in the
    backward pass, so that memory stays bounded there too.

    Parameters
    ----------
    points_mm, normals : (H, W, 3), NaN-free
    centre_mm : (3,) optical centre
    reflectance : from `reflectance_of`, or any function of (normals, to_light, to_camera) that
        returns f_r · max(0, n·l), such as a fitted network
    visibility : (N, H, W) of cast shadows
    led_factor, pixel_factor : (N,) and (H, W) calibration factors
    """
    view = torch.nn.functional.normalize(centre_mm - points_mm, dim=-1)

    def part(position: Tensor, axis: Tensor, power: Tensor, lobe: Tensor) -> Tensor:
        light, direction = irradiance(points_mm, LightTensors(position, axis, power, lobe))
        return light * reflectance(normals, direction, view.expand(direction.shape))

    per_light = 40 * points_mm.element_size() * points_mm[..., 0].numel()
    each = max(1, int(memory_bytes / per_light))
    images = []
    for start in range(0, len(lights.strength), each):
        chosen = slice(start, start + each)
        arguments = (
            lights.position[chosen],
            lights.axis[chosen],
            lights.strength[chosen],
            lights.lobe[chosen],
        )
        if torch.is_grad_enabled():
            images.append(checkpoint(part, *arguments, use_reentrant=False))
        else:
            images.append(part(*arguments))
    out = torch.cat(images)
    if visibility is not None:
        out = out * visibility
    if led_factor is not None:
        out = out * led_factor[:, None, None]
    if pixel_factor is not None:
        out = out * pixel_factor
    return out


def visibility(
    points_mm: Tensor, camera: Camera, position_mm: Any, softness_mm: float | None = None
) -> Tensor:
    """(N, H, W) visibility past the rest of the surface: `shadows.visibility`, batched in torch.

    One sweep over the rows (and one over the columns) for all lights at once. Not differentiable;
    a pixel without surface is NaN.
    """
    with torch.no_grad():
        R = torch.as_tensor(camera.R[2], dtype=torch.float64, device=points_mm.device)
        depth = points_mm.double() @ R + float(camera.t[2])
        good = torch.isfinite(depth)
        reference = float(depth[good].mean()) if bool(good.any()) else 1.0
        scaled = reference * (reference / torch.where(good, depth, reference) - 1.0)
        w = torch.where(good, scaled, -1e6).float()
        image, forward = light_images(camera, position_mm, reference)
        if softness_mm is None:
            softness_mm = 0.25 * reference / float(camera.K[0, 0])
        e = torch.as_tensor(image, device=w.device)
        ahead = torch.as_tensor(forward, device=w.device)
        out = torch.ones(len(e), *w.shape, device=w.device)
        for side in (1, -1):
            out = torch.minimum(out, _swept(w, e, ahead, side, softness_mm))
            columns = _swept(w.T.contiguous(), e[:, [1, 0, 2]], ahead, side, softness_mm)
            out = torch.minimum(out, columns.transpose(1, 2))
        return out


def _swept(w: Tensor, e: Tensor, forward: Tensor, side: int, softness: float) -> Tensor:
    """Shadows in one wedge of each light; see `kernels._sweep`, which this repeats in batches."""
    height, width = w.shape
    out = torch.ones(len(e), height, width, device=w.device)
    eu, ev, we = e[:, 0], e[:, 1], e[:, 2]
    zero = torch.zeros_like(ev)
    if side > 0:
        near = torch.maximum(zero, torch.ceil(ev + 0.5))
        far = torch.full_like(ev, height - 1)
    else:
        near = torch.minimum(torch.full_like(ev, height - 1), torch.floor(ev - 0.5))
        far = zero
    r_near, r_far = side * (near - ev), side * (far - ev)
    exists = side * (far - near) >= 0
    r_near = torch.where(exists, r_near, torch.ones_like(r_near))
    r_far = torch.where(exists, r_far, torch.ones_like(r_far))
    low, high = -eu, width - 1 - eu
    t_min = torch.minimum(low / r_near, low / r_far).clamp_min(-1.0)
    t_max = torch.maximum(high / r_near, high / r_far).clamp_max(1.0)
    exists &= t_min <= t_max
    if not bool(exists.any()):
        return out
    use = torch.nonzero(exists)[:, 0]
    eu, ev, we, near, far, r_far, t_min, t_max = (
        v[use] for v in (eu, ev, we, near, far, r_far, t_min, t_max)
    )
    ahead = forward[use]
    dt = 1.0 / r_far
    count = torch.ceil((t_max - t_min) / dt).long() + 2
    lines = torch.arange(int(count.max()), device=w.device)
    highest = torch.full((len(use), len(lines)), -1e30, device=w.device)
    columns = torch.arange(width, device=w.device)
    rows = (side * (far - near)).long() + 1
    for i in range(int(rows.max())):
        live = i < rows
        y = torch.where(ahead, near + side * i, far - side * i)
        y = torch.where(live, y, near)
        r = side * (y - ev)
        a = (r_far / r).float()[:, None]
        b = (we * (side * (y - far) / r)).float()[:, None]
        level = w[y.long()] * a + b
        u0, du = eu + t_min * r, dt * r
        at = ((columns - u0[:, None]) / du[:, None]).float().clamp_min(0.0)
        line = torch.minimum(at.long(), count[:, None] - 2)
        f = at - line
        left = highest.gather(1, line)
        excess = left + f * (highest.gather(1, line + 1) - left) - level
        value = (1.0 - excess / (a * softness)).clamp(0.0, 1.0)
        inside = (columns >= torch.ceil(eu - r)[:, None]) & (
            columns <= torch.floor(eu + r)[:, None]
        )
        inside &= live[:, None]
        target = out[use, y.long()]
        out[use, y.long()] = torch.where(inside, value, target)
        u = (u0[:, None] + lines * du[:, None]).float()
        on = (u >= 0) & (u <= width - 1) & (lines < count[:, None]) & live[:, None]
        column = u.clamp(0, width - 1).long().clamp_max(width - 2)
        g = u.clamp(0, width - 1) - column
        here = level.gather(1, column)
        here = here + g * (level.gather(1, column + 1) - here)
        highest = torch.where(on, torch.maximum(highest, here), highest)
    return out
