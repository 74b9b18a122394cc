"""The surface that a network finds in many pictures at once: `again` in torch on any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reconstruct.dpps.again import SCREEN
from reconstruct.dpps.encoding import UNIT_PX
from reconstruct.dpps.fusion import STEEPEST
from reconstruct.dpps.network import Prediction

STEPS = 24


def _slopes_px(normals: Tensor, rays: tuple[Tensor, ...], angle: Tensor) -> tuple[Tensor, Tensor]:
    """Difference of log depth per pixel along columns and rows, of (B, 3, H, W) normals."""
    X, Y = rays
    nx, ny, nz = normals.unbind(1)
    facing = nz - nx * X - ny * Y
    facing = torch.maximum(facing, float(STEEPEST) * torch.sqrt(1 + X * X + Y * Y))
    return nx / facing * angle, -ny / facing * angle


def _cosines(size: int, device: torch.device) -> Tensor:
    """(N, N) orthonormal matrix of the cosine transform."""
    k = torch.arange(size, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / size * k[:, None] * (k + 0.5)) * math.sqrt(2 / size)
    matrix[0] *= math.sqrt(0.5)
    return matrix


def fused_depth(
    slopes: tuple[Tensor, Tensor], guess: Tensor, mask: Tensor, weight: Tensor
) -> Tensor:
    """(B, H, W) log depth, as `fusion.fuse` at the screen of `again`, by as many steps for all.

    Off the part it is the guess.
    """
    part = mask.to(guess.dtype)
    trust = [0.5 * (weight[:, :, :-1] + weight[:, :, 1:]) * part[:, :, :-1] * part[:, :, 1:],
             0.5 * (weight[:, :-1] + weight[:, 1:]) * part[:, :-1] * part[:, 1:]]  # fmt: skip

    def gradient(u: Tensor) -> list[Tensor]:
        return [u[:, :, 1:] - u[:, :, :-1], u[:, 1:] - u[:, :-1]]

    def divergence(flow: list[Tensor]) -> Tensor:
        """The adjoint of the gradient."""
        out = torch.zeros_like(guess)
        out[:, :, 1:] += flow[0]
        out[:, :, :-1] -= flow[0]
        out[:, 1:] += flow[1]
        out[:, :-1] -= flow[1]
        return out

    def normal_equations(u: Tensor) -> Tensor:
        return SCREEN * u * part + divergence(
            [w * g for w, g in zip(trust, gradient(u), strict=True)]
        )

    wanted = [0.5 * (slopes[0][:, :, :-1] + slopes[0][:, :, 1:]),
              0.5 * (slopes[1][:, :-1] + slopes[1][:, 1:])]  # fmt: skip
    residual = divergence(
        [w * (s - g) for w, s, g in zip(trust, wanted, gradient(guess), strict=True)]
    )
    height, width = guess.shape[1:]
    down, across = _cosines(height, guess.device), _cosines(width, guess.device)
    ky = 2 - 2 * torch.cos(math.pi * torch.arange(height, device=guess.device) / height)
    kx = 2 - 2 * torch.cos(math.pi * torch.arange(width, device=guess.device) / width)
    mean = (weight * part).sum((1, 2)) / part.sum((1, 2)).clamp_min(1)
    spectrum = mean[:, None, None] * (ky[:, None] + kx) + SCREEN

    def precondition(r: Tensor) -> Tensor:
        return down.T @ (down @ r @ across.T / spectrum) @ across * part

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((1, 2), keepdim=True)

    change = torch.zeros_like(guess)
    z = precondition(residual)
    direction, size = z, inner(residual, z)
    for _ in range(STEPS):
        pushed = normal_equations(direction)
        length = size / inner(direction, pushed).clamp_min(1e-30)
        change = change + length * direction
        residual = residual - length * pushed
        z = precondition(residual)
        before, size = size, inner(residual, z)
        direction = z + size / before.clamp_min(1e-30) * direction
    return guess + change * part


def _blurs(sigma: Tensor, size: int) -> Tensor:
    """(B, N, N) matrices of a Gaussian blur, edges left out."""
    place = torch.arange(size, device=sigma.device, dtype=torch.float32)
    gap = place[:, None] - place
    return torch.exp(-0.5 * (gap / sigma.clamp_min(0.1)[:, None, None]) ** 2)


def found(
    guess: Prediction, base: Tensor, rays: tuple[Tensor, ...], mask: Tensor, pixel_angle: Tensor,
    sigma: Tensor,
) -> Tensor:  # fmt: skip
    """(B, H, W) log depth of the surface in a network's first look, blurred by `sigma` px.

    `base` (B, H, W) is the log depth that it looked over. Over the part's edge it goes on as its
    neighbourhood does, farther out as the base.
    """
    angle = pixel_angle[:, None, None]
    depth = base + UNIT_PX * angle * guess.delta.float()
    error = guess.log_normal_error.float().exp()
    middle = torch.where(mask, error, torch.nan).flatten(1).nanmedian(1).values
    weight = ((middle[:, None, None] / error) ** 2).clamp(0.05, 4.0)
    slopes = _slopes_px(guess.normals.float(), rays, angle)
    surface = fused_depth(slopes, depth, mask, weight)
    part = mask.to(base.dtype)
    down, across = _blurs(sigma, base.shape[1]), _blurs(sigma, base.shape[2])
    near = down @ part @ across
    smooth = down @ ((surface - base) * part) @ across / near.clamp_min(1e-6)
    return base + torch.where(near > 1e-6, smooth, 0.0)
