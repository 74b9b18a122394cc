"""The numba kernel of `reconstruct.refine.search`: the normal that explains a pixel best."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from reconstruct.refine.inputs import prepare, scratch
from reconstruct.refine.pixel import (
    JIT,
    LEAST_FACING,
    LOSS,
    pixel_rows,
)


@njit(**JIT)
def _tried(
    normal, kept, least, x, y, rotation, geometry, tangent, n, epsilon, mat, model, robust, width,
    doubt, work,
):  # fmt: skip
    """The least loss of the prepared pixel so far; a normal (camera frame) that has less is kept.

    Normals that are turned away are passed over.
    """
    if -(normal[2] + x * normal[0] + y * normal[1]) < LEAST_FACING:
        return least
    for i in range(3):
        geometry[1, i] = (
            rotation[i, 0] * normal[0] + rotation[i, 1] * normal[1] + rotation[i, 2] * normal[2]
        )
    pixel_rows(
        geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5],
        tangent, n, epsilon, mat, model, robust, width, doubt, work,
    )  # fmt: skip
    total = np.float32(0.0)
    for k in range(n):
        total += work[LOSS + k]
    if total < least:
        kept[:] = normal
        return total
    return least


@njit(**JIT)
def search_rows(
    first, last, u, xy, jacobians, rotation, centre, lights, flat, flat_step, indirect,
    indirect_step, obs, scale, epsilon, weight, material, model, brush, robust, width,
    doubt, local, wanted, normals, spacing, best, loss,
):  # fmt: skip
    """The normal of least loss at pixels that are wanted, their points held.

    The arguments before `wanted` are those of `kernel.system_rows`.

    Parameters
    ----------
    wanted : (H, W) bool
    normals : (C, 3) float64 unit normals to try, camera frame
    spacing : angle between neighbours of them, rad; it is halved three times about the best
    best : (3, H, W) float64 out: unit normal, camera frame
    loss : (H, W) float32 out
    """
    _, width_px, n = obs.shape
    geometry64, geometry, tangent, jac, mat, work = scratch(lights)
    trial, kept, centre_of_ring = np.empty(3), np.empty(3), np.empty(3)
    eps, wide, unsure = np.float32(epsilon), np.float32(width), np.float32(doubt)
    for r in range(first, last):
        for c in range(width_px):
            if weight[r, c] == 0.0 or not wanted[r, c]:
                continue
            prepare(
                r, c, u, xy, jacobians, rotation, centre, flat, flat_step, indirect, indirect_step,
                obs, scale, material, brush, local, geometry64, geometry, tangent, jac, mat, work,
            )  # fmt: skip
            x, y = xy[0, r, c], xy[1, r, c]
            least = np.float32(np.inf)
            for candidate in range(normals.shape[0]):
                for i in range(3):
                    trial[i] = normals[candidate, i]
                least = _tried(
                    trial, kept, least, x, y, rotation, geometry, tangent, n, eps, mat, model,
                    robust, wide, unsure, work,
                )  # fmt: skip
            step = spacing
            for _ in range(3):
                step *= 0.5
                centre_of_ring[:] = kept
                for turn in range(8):
                    ring_normal(centre_of_ring, step, turn, trial)
                    least = _tried(
                        trial, kept, least, x, y, rotation, geometry, tangent, n, eps, mat, model,
                        robust, wide, unsure, work,
                    )  # fmt: skip
            for i in range(3):
                best[i, r, c] = kept[i]
            loss[r, c] = least * weight[r, c]


@njit(**JIT)
def ring_normal(normal, angle, turn, out):
    """The unit normal at an angle (rad) from another, the turn-th of eight around it."""
    side = math.sqrt(normal[1] * normal[1] + normal[2] * normal[2])
    ax, ay, az = 0.0, -normal[2] / side, normal[1] / side
    bx = normal[1] * az - normal[2] * ay
    by = normal[2] * ax - normal[0] * az
    bz = normal[0] * ay - normal[1] * ax
    along, across = math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)
    tilt = math.tan(angle)
    out[0] = normal[0] + tilt * (along * ax + across * bx)
    out[1] = normal[1] + tilt * (along * ay + across * by)
    out[2] = normal[2] + tilt * (along * az + across * bz)
    length = math.sqrt(out[0] * out[0] + out[1] * out[1] + out[2] * out[2])
    for i in range(3):
        out[i] /= length
