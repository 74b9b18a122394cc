"""The kernel in batched torch, for a GPU: the same functions with the same arguments.

`Batched(device)` stands in for the module `reconstruct.refine.kernel`; what that module's loops do
for one pixel after another is done here for the pixels of some rows at once. Arrays come and go
as NumPy's: a stack of pictures crosses the bus in a small part of the time that its residuals take.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reconstruct.refine.batched_pixel import (
    KD,
    KS,
    OFFSET,
    Eliminated,
    Rows,
    geometry_of,
    indirect_at,
    irradiance,
    pixel_rows,
    ring_normals,
    sampled,
    tangents,
)
from reconstruct.refine.pixel import (
    CLIPPED_BIT,
    HUBER,
    LEAST_FACING,
    N_MATERIAL,
    N_SUMS,
    SHADOW_BIT,
)

# Pixel-lights at once; some sixty float32 values are alive for each.
AT_ONCE_CPU, AT_ONCE_GPU = 1 << 18, 1 << 24


class Batched:
    """The kernel's functions on a torch device."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.at_once = AT_ONCE_CPU if self.device.type == "cpu" else AT_ONCE_GPU

    def _tensor(self, array: NDArray[Any], kind: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(self.device, kind)

    def _bands(self, first: int, last: int, row_size: int) -> list[tuple[int, int]]:
        step = max(1, self.at_once // row_size)
        return [(r, min(r + step, last)) for r in range(first, last, step)]

    def _rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, scale, epsilon, material, model, brush, robust, width,
        doubt, local,
        normal=None,
    ) -> Rows:  # fmt: skip
        """Residuals and Jacobian of some rows; with another normal if one is given, (P, 3)."""
        width_px, n = obs.shape[1], obs.shape[2]
        double = torch.float64
        slopes = jacobians[:, first:last] if jacobians.shape[1] > 1 else jacobians
        at = geometry_of(
            self._tensor(u[first : last + 1], double), self._tensor(xy[:, first:last], double),
            self._tensor(slopes, double), self._tensor(rotation, double),
            self._tensor(centre, double),
        )  # fmt: skip
        if normal is not None:
            at = replace(at, normal=normal)
        table = self._tensor(lights)
        rows = torch.arange(first, last, device=self.device)
        field: Tensor = torch.ones((), device=self.device)
        if flat.shape[0] > 1 or flat.shape[1] > 1:
            field = sampled(self._tensor(flat), rows, width_px, flat_step)
        bounced: Tensor = torch.zeros((), device=self.device)
        by_slopes: Tensor = torch.zeros(2, device=self.device)
        if indirect.shape[2] > n:
            bounced, by_slopes = indirect_at(
                self._tensor(indirect[first:last]).reshape(-1, 3 * n + 2), at.slopes
            )
        elif indirect.shape[0] > 1:
            bounced = sampled(self._tensor(indirect), rows, width_px, indirect_step)
        code = torch.as_tensor(obs[first:last].view(np.int16)).to(self.device, torch.int32)
        code = (code & 0xFFFF).reshape(-1, n)
        own = torch.zeros((2, 1, 1), device=self.device)
        if local.shape[1] > 1:
            own = self._tensor(local[:, first:last]).reshape(2, -1, 1)
        return pixel_rows(
            at, tangents(brush.tolist(), at.point), table,
            irradiance(at.point, table, field), bounced, by_slopes,
            (code >> 2).float() * scale, 1.0 - ((code & SHADOW_BIT) >> 1).float(),
            (code & CLIPPED_BIT).float() if scale > 0 else torch.zeros_like(table[0]),
            float(epsilon), self._tensor(material), own, model, robust, float(width),
            float(doubt),
        )  # fmt: skip

    def system_rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, scale, epsilon, weight, material, model, brush, robust, width,
        doubt, local, sums, cross, loss, with_cross,
    ) -> NDArray[np.float64]:  # fmt: skip
        """As `kernel.system_rows`."""
        _, width_px, n = obs.shape
        total = np.zeros(N_MATERIAL + N_MATERIAL * N_MATERIAL)
        for top, end in self._bands(first, last, width_px * n):
            rows = self._rows(
                top, end, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
                indirect_step, obs, scale, epsilon, material, model, brush, robust, width,
                doubt, local,
            )  # fmt: skip
            pw = self._tensor(weight[top:end]).reshape(-1)
            shape = (end - top, width_px)
            geometry, finish = rows.columns[:3], rows.columns[3:]
            gradient = (geometry * rows.residual).sum(-1)
            products = torch.einsum("ipn,jpn->ijp", geometry, geometry)
            upper = [products[i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
            packed = torch.stack([*gradient, *upper]) * pw
            packed = torch.where(pw > 0, packed, 0.0)
            sums[:, top:end] = packed.reshape(N_SUMS, *shape).cpu().numpy()
            per_pixel = torch.where(pw > 0, rows.loss.sum(-1) * pw, 0.0)
            loss[top:end] = per_pixel.reshape(shape).cpu().numpy()
            if with_cross:
                mixed = torch.einsum("ipn,jpn->ijp", geometry, finish) * pw
                mixed = torch.where(pw > 0, mixed, 0.0)
                cross[:, :, top:end] = mixed.reshape(3, N_MATERIAL, *shape).cpu().numpy()
                held = torch.where((pw > 0)[:, None], finish * pw[:, None], 0.0)
                by_finish = (held * rows.residual).double().sum((-2, -1))
                matrix = torch.einsum("ipn,jpn->ijp", held, finish).double().sum(-1)
                total[:N_MATERIAL] += by_finish.cpu().numpy()
                total[N_MATERIAL:] += matrix.cpu().numpy().ravel()
        return total

    def render_rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, weight, material, model, brush, local, out,
    ) -> None:  # fmt: skip
        """As `kernel.render_rows`."""
        _, width_px, n = obs.shape
        for top, end in self._bands(first, last, width_px * n):
            rows = self._rows(
                top, end, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
                indirect_step, obs, 0.0, 1e-9, material, model, brush, HUBER, 1e9, 0.0, local,
            )  # fmt: skip
            images = torch.square(rows.residual).reshape(end - top, width_px, n)
            images *= (self._tensor(weight[top:end]) > 0)[..., None]
            out[top - first : end - first] = images.cpu().numpy()

    def lens_rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, scale, epsilon, weight, material, model, brush, robust, width,
        doubt, local, change,
    ) -> NDArray[np.float64]:  # fmt: skip
        """As `kernel.lens_rows`."""
        _, width_px, n = obs.shape
        size = N_MATERIAL + 1
        matrix, right = np.zeros((size, size)), np.zeros(size)
        for top, end in self._bands(first, last, width_px * n):
            rows = self._rows(
                top, end, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
                indirect_step, obs, scale, epsilon, material, model, brush, robust, width,
                doubt, local,
            )  # fmt: skip
            pw = self._tensor(weight[top:end]).reshape(-1)
            by_change = rows.columns[OFFSET] * self._tensor(
                change[top - first : end - first]
            ).reshape(-1, n)
            columns = torch.cat([by_change[None], rows.columns[3:]])
            free = Eliminated.of(rows, 1.0, 1e-12)
            used = (pw > 0) & (free.det >= 1e-4 * free.pp * free.qq)
            weighted = torch.where(used, pw, 0.0).double()
            matrix += (free.products(columns) * weighted).sum(-1).cpu().numpy()
            right -= (free.against_residual(columns) * weighted).sum(-1).cpu().numpy()
        return np.concatenate([matrix.ravel(), right])

    def local_rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, scale, epsilon, weight, material, model, brush, robust, width,
        doubt, local, terms, loss,
    ) -> None:  # fmt: skip
        """As `kernel.local_rows`."""
        _, width_px, n = obs.shape
        for top, end in self._bands(first, last, width_px * n):
            rows = self._rows(
                top, end, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
                indirect_step, obs, scale, epsilon, material, model, brush, robust, width,
                doubt, local,
            )  # fmt: skip
            pw = self._tensor(weight[top:end]).reshape(-1)
            columns = rows.columns[[KS, KD]]
            free = Eliminated.of(rows, 1.001, 1e-12)
            right = -free.against_residual(columns)
            matrix = free.products(columns)
            packed = torch.stack([right[0], right[1], matrix[0, 0], matrix[0, 1], matrix[1, 1]])
            packed = torch.where(pw > 0, packed * pw, 0.0)
            terms[:, top:end] = packed.reshape(5, end - top, width_px).float().cpu().numpy()
            per_pixel = torch.where(pw > 0, rows.loss.sum(-1) * pw, 0.0)
            loss[top:end] = per_pixel.reshape(end - top, width_px).cpu().numpy()

    def search_rows(
        self, first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
        indirect_step, obs, scale, epsilon, weight, material, model, brush, robust, width,
        doubt, local, wanted, normals, spacing, best, loss,
    ) -> None:  # fmt: skip
        """As `kernel.search_rows`."""
        _, width_px, n = obs.shape
        turn = self._tensor(rotation)
        for top, end in self._bands(first, last, width_px * n):
            used = wanted[top:end] & (weight[top:end] > 0)
            if not used.any():
                continue
            rays = self._tensor(xy[:, top:end]).reshape(2, -1).T

            def loss_of(
                tried: Tensor, top: int = top, end: int = end, rays: Tensor = rays
            ) -> Tensor:
                facing = -(tried[:, 2] + (rays * tried[:, :2]).sum(-1))
                rows = self._rows(
                    top, end, u, xy, jacobians, rotation, centre, lights, flat, flat_step,
                    indirect, indirect_step, obs, scale, epsilon, material, model, brush, robust,
                    width, doubt, local, tried @ turn.T,
                )  # fmt: skip
                return torch.where(facing < LEAST_FACING, torch.inf, rows.loss.sum(-1))

            kept = self._tensor(normals[0]).expand(len(rays), 3)
            least = torch.full((len(rays),), torch.inf, device=self.device)
            for candidate in self._tensor(normals):
                tried = candidate.expand(len(rays), 3)
                value = loss_of(tried)
                kept = torch.where((value < least)[:, None], tried, kept)
                least = torch.minimum(value, least)
            step = float(spacing)
            for _ in range(3):
                step *= 0.5
                middle = kept
                for side in range(8):
                    tried = ring_normals(middle, step, side)
                    value = loss_of(tried)
                    kept = torch.where((value < least)[:, None], tried, kept)
                    least = torch.minimum(value, least)
            shape = (end - top, width_px)
            best[:, top:end][:, used] = kept.T.reshape(3, *shape).cpu().numpy()[:, used]
            loss[top:end][used] = (least.reshape(shape).cpu().numpy() * weight[top:end])[used]
