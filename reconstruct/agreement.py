"""Whether pictures and lights belong together, told in a second from a coarse stack.

A list of lights that is mirrored, turned, shifted, reversed or shuffled against the pictures still
gives a surface. What it cannot give is one surface with one reflectance that explains all the
pictures: along a pixel the radiance over the irradiance of each light is a function of the angle
between the normal and the half vector (metal) or the light (matt), the same function for all
pixels, and the normals are those of a surface. The share of the pictures' variance that this
leaves unexplained is compared between the list as given and its likely confusions. All of them
are fitted alike, so that what the model itself cannot explain is left in all of them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.stack import Stack

Array = NDArray[np.float64]
Kind = Literal["metal", "matt"]
KINDS: tuple[Kind, ...] = ("metal", "matt")

CELLS, ROWS = 24, 8
MIN_CELLS = 40
BINS = 24
TURNS, IDLE = 14, 2  # at most, and so many that gain nothing end a fit
FALLS = 30.0  # what a list in cm left unexplained fell by a factor of 15 once it was taken in mm
SHARE = 3.0  # of a cell's albedo in that of the median cell, each way
_JIT = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": True}


@dataclass(frozen=True, eq=False)
class CoarseStack:
    """Pictures as means over cells of the image.

    Attributes
    ----------
    radiance : (g, h, N) of each cell under each light
    rays : (g, h, 3) unit viewing directions of the cells
    eye_mm : (3,) optical centre
    valid : (g, h) cells that count
    """

    radiance: Array
    rays: Array
    eye_mm: Array
    valid: NDArray[np.bool_]


def coarse(
    stack: Stack, camera: Camera, mask: NDArray[np.bool_] | None = None, cells: int = CELLS
) -> CoarseStack:
    """Means of the pictures over cells of the image, from a few rows of each cell."""
    height, width = stack.shape
    down, across = min(cells, height), min(cells, width)
    rows = np.linspace(0, height, down + 1).astype(int)
    columns = np.linspace(0, width, across + 1).astype(int)
    radiance = np.empty((down, across, len(stack)))
    for r in range(down):
        first = max(rows[r], (rows[r] + rows[r + 1] - ROWS) // 2)
        band, _ = stack.band(slice(int(first), int(min(first + ROWS, rows[r + 1]))))
        mean = band.mean(axis=1, dtype=np.float64)
        radiance[r] = (np.add.reduceat(mean, columns[:-1], axis=1) / np.diff(columns)).T
    y, x = (rows[:-1] + rows[1:] - 1) / 2, (columns[:-1] + columns[1:] - 1) / 2
    rays = camera.rays(np.stack(np.meshgrid(x, y), axis=-1))
    valid = np.ones((down, across), dtype=bool)
    if mask is not None:
        part = np.add.reduceat(np.add.reduceat(mask.astype(float), rows[:-1], 0), columns[:-1], 1)
        valid = part / (np.diff(rows)[:, None] * np.diff(columns)[None]) > 0.5
    noise = np.sqrt(max(stack.noise_floor, 0.0))
    valid &= radiance.max(axis=2) > 2 * noise
    return CoarseStack(radiance, rays, camera.centre_mm, valid)


@dataclass(frozen=True, eq=False)
class Fit:
    """What one surface of one reflectance leaves unexplained.

    Attributes
    ----------
    unexplained : share of the variance of √radiance
    vectors : (3, P, N) half vectors or light directions at the fitted surface
    root : (P, N) square root of the irradiance
    normals : (P, 3) of the fitted surface
    scale : (P,) root of the cells' albedo
    table : (BINS,) root of the reflectance over √(1 − cos)^½
    """

    unexplained: float
    vectors: Array
    root: Array
    normals: Array
    scale: Array
    table: Array


@njit(**_JIT)
def _place(cosine, bins):
    u = math.sqrt(math.sqrt(max(1.0 - cosine, 0.0))) * (bins - 1)
    u = min(u, bins - 1.0001)
    index = int(u)
    return index, u - index


@njit(**_JIT)
def _geometry(points, rays, position, axis, power, lobe, metal, vectors, root):
    """Directions and √irradiance of each light at each point, relative to the mean light."""
    for i in range(len(points)):
        for k in range(len(position)):
            x = position[k, 0] - points[i, 0]
            y = position[k, 1] - points[i, 1]
            z = position[k, 2] - points[i, 2]
            d2 = x * x + y * y + z * z
            s = 1.0 / math.sqrt(d2)
            x, y, z = x * s, y * s, z * s
            psi = -(x * axis[k, 0] + y * axis[k, 1] + z * axis[k, 2])
            psi = max(psi, 0.05)
            beam = psi if lobe[k] == 1.0 else psi ** lobe[k]  # a power takes longer than the rest
            root[i, k] = math.sqrt(power[k] * beam) * s
            if metal:
                x, y, z = x - rays[i, 0], y - rays[i, 1], z - rays[i, 2]
                s = 1.0 / math.sqrt(x * x + y * y + z * z)
                x, y, z = x * s, y * s, z * s
            vectors[0, i, k], vectors[1, i, k], vectors[2, i, k] = x, y, z


def _start(measured: Array, root: Array, vectors: Array, metal: bool) -> Array:
    """(P, 3) normals: weighted mean half vectors, or Lambertian least squares of the bright."""
    places = vectors.transpose(1, 0, 2)
    ratio = np.square(measured / root)
    if metal:
        normals = (places @ (ratio * measured / root)[..., None])[..., 0]
    else:
        bright = measured > 0.15 * measured.max(axis=1, keepdims=True)
        weighted = places * (bright / (ratio + 1e-30))[:, None]  # errors of √radiance are alike
        matrix = weighted @ places.transpose(0, 2, 1)
        ridge = 1e-6 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] + 1e-300
        normals = np.linalg.solve(matrix + ridge * np.eye(3), weighted @ ratio[..., None])[..., 0]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-300), [0.0, 0.0, 1.0])


@njit(**_JIT)
def _tabulate(measured, root, vectors, normals, scale, above, below):
    """Sums of the least squares of the table that all cells share."""
    bins = len(above)
    above[:] = 0.0
    below[:] = 0.0
    for i in range(len(measured)):
        n0, n1, n2 = normals[i, 0], normals[i, 1], normals[i, 2]
        for k in range(measured.shape[1]):
            c = n0 * vectors[0, i, k] + n1 * vectors[1, i, k] + n2 * vectors[2, i, k]
            at, f = _place(c, bins)
            x = root[i, k] * scale[i]
            above[at] += (1 - f) * x * measured[i, k]
            above[at + 1] += f * x * measured[i, k]
            below[at] += (1 - f) * x * x
            below[at + 1] += f * x * x


@njit(**_JIT)
def _model(root, vectors, normals, table, model):
    """√radiance of each cell under each light at scale 1."""
    bins = len(table)
    for i in range(len(root)):
        n0, n1, n2 = normals[i, 0], normals[i, 1], normals[i, 2]
        for k in range(root.shape[1]):
            c = n0 * vectors[0, i, k] + n1 * vectors[1, i, k] + n2 * vectors[2, i, k]
            at, f = _place(c, bins)
            model[i, k] = root[i, k] * ((1 - f) * table[at] + f * table[at + 1])


@njit(**_JIT)
def _search(measured, root, vectors, normals, scale, table, step, slopes):
    """Each cell's best of nine slopes around its own."""
    bins = len(table)
    cells, count = measured.shape
    for i in range(cells):
        p0, q0 = -normals[i, 0] / normals[i, 2], -normals[i, 1] / normals[i, 2]
        best = math.inf
        own, light = measured[i], root[i]
        vx, vy, vz = vectors[0, i], vectors[1, i], vectors[2, i]
        for a in range(-1, 2):
            for b in range(-1, 2):
                p, q = p0 + a * step, q0 + b * step
                s = 1.0 / math.sqrt(1 + p * p + q * q)
                n0, n1, n2 = -p * s, -q * s, s
                cost = 0.0
                for k in range(count):
                    at, f = _place(n0 * vx[k] + n1 * vy[k] + n2 * vz[k], bins)
                    m = scale[i] * light[k] * ((1 - f) * table[at] + f * table[at + 1])
                    cost += (own[k] - m) ** 2
                if cost < best:
                    best = cost
                    slopes[i, 0], slopes[i, 1] = p, q


def _explained(measured: Array, found: Fit) -> Array:
    """Fit table and scales at the normals given, in place; returns the model's √radiance."""
    above, below = np.empty(BINS), np.empty(BINS)
    model = np.empty_like(measured)
    for _ in range(2):
        _tabulate(measured, found.root, found.vectors, found.normals, found.scale, above, below)
        found.table[:] = above / np.maximum(below, 1e-300)
        _model(found.root, found.vectors, found.normals, found.table, model)
        energy = np.einsum("ik,ik->i", model, model)
        scale = np.einsum("ik,ik->i", model, measured) / np.maximum(energy, 1e-300)
        middle = np.median(scale)
        found.scale[:] = np.clip(scale, middle / SHARE, middle * SHARE)
    return model * found.scale[:, None]


@functools.cache
def _waves(count: int) -> tuple[Array, Array]:
    """(n, n) orthonormal cosine transform of so few cells, and each wave's second difference.

    SciPy's transform would be 0.3 s of loading for them.
    """
    frequency = np.pi * np.arange(count) / count
    waves = np.cos(frequency[:, None] * (np.arange(count) + 0.5)) * math.sqrt(2 / count)
    waves[0] /= math.sqrt(2)
    return waves, 2 * np.cos(frequency) - 2


def _integrated(slopes: Array, cell_mm: tuple[float, float]) -> tuple[Array, Array]:
    """Heights (g, h) whose slopes come nearest, and the normals (g, h, 3) of those heights."""
    dx, dy = cell_mm
    along, down = slopes[..., 0] * dx, -slopes[..., 1] * dy
    rows, columns = slopes.shape[:2]
    divergence = np.zeros((rows, columns))
    right, below = (along[:, 1:] + along[:, :-1]) / 2, (down[1:] + down[:-1]) / 2
    divergence[:, :-1] += right
    divergence[:, 1:] -= right
    divergence[:-1] += below
    divergence[1:] -= below
    (waves_down, bend_down), (waves_across, bend_across) = _waves(rows), _waves(columns)
    symbol = bend_down[:, None] + bend_across[None]
    symbol[0, 0] = 1.0
    spectrum = waves_down @ divergence @ waves_across.T / symbol
    spectrum[0, 0] = 0.0
    z = waves_down.T @ spectrum @ waves_across
    normals = np.stack(
        [-np.gradient(z, axis=1) / dx, np.gradient(z, axis=0) / dy, np.ones_like(z)], axis=-1
    )
    return z, normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def fit(
    stack: CoarseStack,
    lights: Lights,
    kind: Kind,
    height_mm: float = 0.0,
    turns: int = TURNS,
    wanted: float = np.inf,
    lay: Array | None = None,
) -> Fit:
    """Fit one surface of one reflectance to a coarse stack.

    Parameters
    ----------
    wanted : end at once where hardly less than this will come to be left unexplained
    lay : (2, 2) by which slopes are stretched across a metal's lay, so that its highlights are
        round; the directions and normals of the fit are stretched then
    """
    shape = stack.radiance.shape[:2]
    valid = stack.valid
    measured = np.sqrt(np.maximum(stack.radiance[valid], 0.0))
    rays = np.ascontiguousarray(stack.rays[valid])
    metal = kind == "metal"
    far = float(np.median(np.linalg.norm(lights.position_mm, axis=1)))
    power = lights.power / lights.power.mean() * far**2
    position = np.ascontiguousarray(lights.position_mm)
    vectors = np.empty((3, *measured.shape))
    root = np.empty_like(measured)
    z = np.full(shape, height_mm)
    normals = np.zeros((*shape, 3))
    normals[..., 2] = 1.0
    slopes = np.zeros((*shape, 2))
    inside = np.empty((len(measured), 2))
    table = np.zeros(BINS)
    scale = np.ones(len(measured))
    variance = float(((measured - measured.mean()) ** 2).sum()) or 1.0
    best: Fit | None = None
    step = 0.06
    begin, idle = 3, 0
    for turn in range(begin + turns):
        points = stack.eye_mm + stack.rays * ((z - stack.eye_mm[2]) / stack.rays[..., 2])[..., None]
        cell_mm = (
            float(np.median(np.diff(points[..., 0], axis=1))),
            -float(np.median(np.diff(points[..., 1], axis=0))),
        )
        _geometry(
            points[valid], rays, position, lights.axis, power, lights.lobe, metal, vectors, root
        )
        if lay is not None:
            vectors[:2] = np.tensordot(lay, vectors[:2], 1)
            vectors /= np.linalg.norm(vectors, axis=0)
        if turn < begin:
            flat = _start(measured, root, vectors, metal)
            steep = np.maximum(flat[:, 2], 0.15)
            inside = -flat[:, :2] / steep[:, None]
        else:
            flat = np.ascontiguousarray(normals[valid])
            if lay is not None:
                flat[:, :2] = flat[:, :2] @ lay.T
                flat /= np.linalg.norm(flat, axis=1, keepdims=True)
            now = Fit(0.0, vectors, root, flat, scale, table)
            error = float(((measured - _explained(measured, now)) ** 2).sum())
            idle += 1
            if best is None or error / variance < best.unexplained:
                idle = 0
                best = Fit(
                    error / variance, vectors.copy(), root.copy(), flat, scale.copy(), table.copy()
                )
            if turn == begin + turns - 1 or idle == IDLE or best.unexplained > FALLS * wanted:
                break
            _search(measured, root, vectors, flat, scale, table, step, inside)
            step *= 0.8
        drawn = inside if lay is None else np.linalg.solve(lay, inside.T).T
        slopes[valid] = np.clip(drawn, -6, 6)
        z, normals = _integrated(slopes, cell_mm)
        z = z + height_mm
    assert best is not None
    return best


def picture_costs(stack: CoarseStack, found: Fit) -> Array:
    """(N, N) squared error of picture k taken as lit by light j."""
    measured, model = _compared(stack, found)
    own, theirs = (measured**2).sum(axis=0), (model**2).sum(axis=0)
    return np.asarray(own[:, None] + theirs[None] - 2 * measured.T @ model)


def explained_power(stack: CoarseStack, found: Fit) -> Array:
    """(N,) how much brighter each picture is than the surface found shows it."""
    measured, model = _compared(stack, found)
    energy = np.maximum((model**2).sum(axis=0), 1e-300)
    return np.asarray(np.square((measured * model).sum(axis=0) / energy))


def _compared(stack: CoarseStack, found: Fit) -> tuple[Array, Array]:
    """√radiance (P, N) as measured, and of the surface found."""
    measured = np.sqrt(np.maximum(stack.radiance[stack.valid], 0.0))
    model = np.empty_like(measured)
    _model(found.root, found.vectors, found.normals, found.table, model)
    return measured, model * found.scale[:, None]
