"""What the slopes of a place change in the pictures of the places that mirror it.

The other half of the derivative of inter-reflected light: `interreflection.indirect` at turned
normals says how light changes with the place that the camera sees, this how it changes with the
places that the light comes by. A wall that no lamp lights towards the camera is told by it alone.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from reconstruct.optics.marching import tops_of
from reconstruct.optics.microfacet import F
from reconstruct.optics.tracing import Scene, add_direct, arrival, walk

# Bands of rows that are gone through side by side, each with a sum of its own.
BANDS = 8
_ZERO, _ONE = F(0), F(1)


class Cost(NamedTuple):
    """First and second derivative of a cost by the light of each pixel and LED, (H, W, N)."""

    pull: NDArray[np.float32]
    stiffness: NDArray[np.float32]


def by_mirrored_slopes(
    scene: Scene, cost: Cost, turn: NDArray[Any], step: NDArray[Any]
) -> NDArray[np.float32]:
    """Gradient and Gauss-Newton matrix of a cost by the slopes of what is mirrored.

    Light L of a pixel and LED that came by other places changes with their slopes s = (p, q): with
    what they send on directly, the paths held.

    Parameters
    ----------
    scene : see `interreflection.scene_of`
    cost : its derivatives, called pull and stiffness below
    turn : (2, H, W, 3) by what unit normals change with p, and with q, larger by `step` (H, W)

    Returns
    -------
    (5, H, W) float32: Σ pull ∂L/∂p and Σ pull ∂L/∂q over all pixels and LEDs, and pp, pq, qq of a
    block-diagonal matrix no smaller than Σ stiffness (∂L/∂s)(∂L/∂s)ᵀ over all places together:
    each row weighs with the sum of its sizes (separable surrogate; De Pierro 1995).
    """
    out = np.zeros((BANDS, *scene.w.shape, 5), np.float32)
    by_mirrored(out, *cost, turn.astype(np.float32), step.astype(np.float32), scene)
    return np.ascontiguousarray(np.moveaxis(out.sum(axis=0), -1, 0))


@njit(cache=True, parallel=True, error_model="numpy")
def by_mirrored(out, pull, stiffness, turn, step, scene):
    """What the slopes of places change by what others mirror of them; see `by_mirrored_slopes`.

    out : (bands, h, w, 5) to be added to: Σ pull ∂L/∂p, the same by q, and pp, pq, qq of a
        matrix no smaller than Σ stiffness (∂L/∂s)(∂L/∂s)ᵀ (the sum over a row bounds it)
    pull, stiffness : (h, w, N); turn : (2, h, w, 3) change of unit normals with slopes p and q
        larger by `step` (h, w)
    """
    tops = tops_of(scene.w)
    bands = len(out)
    height, width = scene.w.shape
    lights, samples, bounces = len(scene.power), scene.samples, scene.bounces
    rows = (height + bands - 1) // bands
    for band in prange(bands):
        places, start = np.empty((bounces, 6), np.float32), np.empty(9, np.float32)
        point, facing = np.empty(3, np.float32), np.empty(3, np.float32)
        moved = np.empty(3, np.float32)
        lit = np.empty(lights, np.float32)
        change = np.empty((samples * bounces, 2, lights), np.float32)
        held = np.empty(lights, np.float32)
        total = np.empty(lights, np.float32)
        where = np.empty((samples * bounces, 2), np.int64)
        for y in range(band * rows, min(band * rows + rows, height)):
            for x in range(width):
                if np.isnan(scene.shown[y, x, 2]):
                    continue
                count = 0
                total[:] = _ZERO
                for s in range(samples):
                    landed = walk(places, start, point, facing, y, x, s, scene, tops)
                    for k in range(landed):
                        gain, dx, dy, dz, r, c = arrival(places[k], scene, point, facing, lit)
                        back = (-dx, -dy, -dz)
                        held[:] = _ZERO
                        add_direct(held, gain, point, facing, back, r, c, lit, scene)
                        for i in range(2):
                            inv = _ZERO
                            for j in range(3):
                                moved[j] = facing[j] + turn[i, r, c, j]
                                inv += moved[j] * moved[j]
                            inv = _ONE / np.sqrt(inv)
                            for j in range(3):
                                moved[j] *= inv
                            change[count, i] = _ZERO
                            add_direct(change[count, i], gain, point, moved, back, r, c, lit, scene)
                            for n in range(lights):
                                change[count, i, n] = (change[count, i, n] - held[n]) / step[r, c]
                        for n in range(lights):
                            p, q = change[count, 0, n], change[count, 1, n]
                            total[n] += np.sqrt(p * p + q * q)
                        where[count, 0], where[count, 1] = r, c
                        count += 1
                for k in range(count):
                    r, c = where[k, 0], where[k, 1]
                    if r == y and c == x:
                        continue
                    for n in range(lights):
                        p, q = change[k, 0, n], change[k, 1, n]
                        size = np.sqrt(p * p + q * q)
                        if not size > _ZERO:
                            continue
                        out[band, r, c, 0] += pull[y, x, n] * p
                        out[band, r, c, 1] += pull[y, x, n] * q
                        bound = stiffness[y, x, n] * total[n] / size
                        out[band, r, c, 2] += bound * p * p
                        out[band, r, c, 3] += bound * p * q
                        out[band, r, c, 4] += bound * q * q
