"""What no picture shows: the part does not end where the picture does.

A pit that the picture cuts is lit by walls that the picture does not show; leaving them out cost a
steep part half of its error. Beyond the border the surface goes on as a smooth random field most
likely does: value, slope and bend go on, and with distance it comes back to the level of the part,
so that a pit has another wall and a hill another side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb, sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from calib.camera import Camera
from reconstruct.integrate import centre_values, image_coordinates, normals_at, pinhole, slopes_of
from reconstruct.refine.problem import Problem
from reconstruct.spline import spline_values

Array = NDArray[np.float64]
# Share of the longer side by which the surface is continued.
BEYOND_TRACED, BEYOND_SHADOWS = 0.22, 0.1
# Longer side of the grid that the field is solved on, and the least it is solved for beyond it;
# finer detail is continued point-symmetrically.
GRID, RIM = 64, 16
# Shares of the side over which the field may come back to its level, and how many of the grid's
# outermost places tell which.
LENGTHS, TOLD_BY = (0.06, 0.1, 0.15, 0.25, 0.4), 10


@dataclass(frozen=True, eq=False)
class Continued:
    """A surface on a grid of pixels, continued beyond the picture by `border` of them."""

    camera: Camera
    points: Array
    normals: Array
    border: int

    def slopes(self) -> tuple[Array, Array, Callable[[Any, Any], Array]]:
        """(h, w) ∂u/∂x and ∂u/∂y, and the unit normals (h, w, 3) at those plus some more."""
        xy, _ = image_coordinates(self.camera)
        p, q = slopes_of(self.normals, xy, self.camera.R.T)
        return p, q, lambda more_p, more_q: normals_at(p + more_p, q + more_q, self.camera, xy)

    def turning(self) -> NDArray[np.float32]:
        """(h, w, 6) by what the unit normals change with ∂u/∂x, and with ∂u/∂y."""
        _, _, turned = self.slopes()
        step = 1e-3
        by_p, by_q = (
            turned(step * (1 - k), step * k) - turned(-step * (1 - k), -step * k) for k in (0, 1)
        )
        return np.concatenate([by_p, by_q], axis=-1, dtype=np.float32) / np.float32(2 * step)

    def inner(self, images: NDArray[Any]) -> NDArray[Any]:
        """What of (N, h, w) images lies in the picture."""
        b = self.border
        return images[:, b : images.shape[1] - b, b : images.shape[2] - b]

    def within(self, normals: Array) -> Array:
        """(h, w, 3) normals of what the camera is asked for: NaN from two pixels beyond it on."""
        b = max(self.border - 1, 0)
        out = np.full_like(normals, np.nan)
        here = np.s_[b : len(out) - b, b : out.shape[1] - b]
        out[here] = normals[here]
        return out


def goes_on(problem: Problem) -> bool:
    """Whether the part reaches the picture's border."""
    inside = problem.weight > 0
    return bool(inside[[0, -1]].any() or inside[:, [0, -1]].any())


def continued(
    problem: Problem,
    u: Array,
    factor: int,
    share: float,
    drawn: np.random.Generator | None = None,
) -> Continued:
    """The surface averaged over factor × factor pixels and continued beyond the picture.

    A part that ends within the picture ends there. With `drawn` it goes on in one of the ways that
    it may, in place of the likeliest.
    """
    along, inside, camera, border = continued_depth(problem, u, factor, share, drawn)
    rows, columns = np.mgrid[0 : along.shape[0], 0 : along.shape[1]]
    x, y = pinhole(camera, columns, rows)
    in_camera = np.stack([x * along, y * along, along], axis=-1)
    points = (in_camera - camera.t) @ camera.R
    across_rows, across_columns = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(across_rows, across_columns)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    points[~inside] = np.nan
    normals[~inside] = np.nan
    return Continued(camera, points, normals, border)


def continued_depth(
    problem: Problem,
    u: Array,
    factor: int,
    share: float,
    drawn: np.random.Generator | None = None,
) -> tuple[Array, NDArray[np.bool_], Camera, int]:
    """(h, w) depth in mm of the same, where the part is, the camera that sees it, and the border.

    Distortion is left out: it moves what shades or mirrors by less than a grid pixel.
    """
    height, width = (size // factor for size in problem.shape)
    depth = centre_values(u)[: height * factor, : width * factor]
    inside = (problem.weight > 0)[: height * factor, : width * factor]
    if factor > 1:
        depth = depth.reshape(height, factor, width, factor).mean(axis=(1, 3))
        inside = np.asarray(inside.reshape(height, factor, width, factor).any(axis=(1, 3)))
    border = 0
    if goes_on(problem):
        border = min(round(share * max(height, width)), height - 1, width - 1)
    camera = problem.camera.binned(factor) if factor > 1 else problem.camera
    camera = camera.cropped(-border, -border, width + 2 * border, height + 2 * border)
    depth = np.exp(gone_on(depth, border, drawn))
    inside = np.pad(inside, border, mode="edge")
    return depth, inside, replace(camera, dist=np.zeros(5)), border


def gone_on(values: Array, border: int, drawn: np.random.Generator | None = None) -> Array:
    """(h, w) values continued by `border` places on all sides, as a smooth random field goes on.

    As it most likely does, or with `drawn` as it does at random.
    """
    if border == 0:
        return values
    scale = max(1.0, max(values.shape) / GRID)
    height, width = (max(4, round(size / scale)) for size in values.shape)
    rim = max(RIM, int(np.ceil(border / scale)) + 1)
    coarse = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    length = length_told(coarse)
    field = likeliest(coarse, rim, length)
    if drawn is not None:
        field += spread_told(coarse, length, drawn) * departure(coarse.shape, rim, length, drawn)
    rows, columns = (
        (np.arange(-border, size + border) + 0.5) * small / size - 0.5 + rim
        for size, small in zip(values.shape, (height, width), strict=True)
    )
    smooth = spline_values(field, rows, columns)
    inner = np.s_[border : border + values.shape[0], border : border + values.shape[1]]
    detail = np.pad(values - smooth[inner], border, mode="reflect", reflect_type="odd")
    return np.asarray(smooth + detail)


def length_told(values: Array) -> float:
    """The length of `likeliest` by which (h, w) values tell the slopes of their own rim best.

    Looked for downhill from the middle one.
    """
    lengths = [share * max(values.shape) for share in LENGTHS]
    middle = len(lengths) // 2
    best, least = lengths[middle], _missed(values, lengths[middle])
    for way in (lengths[:middle][::-1], lengths[middle + 1 :]):
        for length in way:
            missed = _missed(values, length)
            if missed >= least:
                break
            best, least = length, missed
        if best != lengths[middle]:
            break
    return best


def spread_told(values: Array, length: float, drawn: np.random.Generator) -> float:
    """How many times a `departure` the slopes of their own rim depart from `likeliest` by."""
    inner, rim = _within_rim(values)
    unit = departure(values[inner].shape, rim, length, drawn)
    return _missed(values, length) / _slope_of_rim(unit, rim)


def _missed(values: Array, length: float) -> float:
    """Mean error of the slopes of their own rim that `likeliest` tells from the rest."""
    inner, rim = _within_rim(values)
    return _slope_of_rim(likeliest(values[inner], rim, length) - values, rim)


def _within_rim(values: Array) -> tuple[tuple[slice, slice], int]:
    """What lies within the outermost places that tell about beyond, and how many these are."""
    rim = min(TOLD_BY, min(values.shape) // 4)
    return np.s_[rim:-rim, rim:-rim], rim


def _slope_of_rim(values: Array, rim: int) -> float:
    """Mean slope of the `rim` outermost places of (h, w) values."""
    slope = np.hypot(*np.gradient(values))
    outer = np.ones(values.shape, dtype=bool)
    outer[rim:-rim, rim:-rim] = False
    return float(slope[outer].mean())


def likeliest(values: Array, rim: int, length: float) -> Array:
    """Values (h, w) and their mean continuation by `rim` places, as a Matérn field.

    Its deviation f from the plane through all values minimises ∫ |(1 − length² Δ)^{3/2} f|², of
    which the field with ν = 2 is the solution driven by white noise (Lindgren, Rue and Lindström
    2011, eq. 2, α = 3).
    """
    height, width = values.shape
    given = continuation(height, width, rim, length)
    inner = np.s_[rim : rim + height, rim : rim + width]
    out = given.terms @ (given.to_terms @ values.ravel())
    deviation = (values - out[inner]).ravel()
    out[given.beyond] -= given.factors.solve(given.known @ deviation)
    out[inner] = values
    return np.asarray(out)


def departure(shape: tuple[int, ...], rim: int, length: float, drawn: np.random.Generator) -> Array:
    """One way, drawn at random, in which that field departs from its mean; driven by unit noise.

    Zero on the values (h, w), shape (h + 2 rim, w + 2 rim). Noise pulled back through the energy's
    root and solved for has the energy's inverse for a covariance (Papandreou and Yuille 2010).
    """
    height, width = shape
    given = continuation(height, width, rim, length)
    noise = drawn.standard_normal(given.root.shape[0])
    out = np.zeros(given.beyond.shape)
    out[given.beyond] = given.factors.solve(given.root.T @ noise)
    return out


@dataclass(frozen=True, eq=False)
class Continuation:
    """The energy of a field beyond a picture, given the field within.

    Attributes
    ----------
    beyond : (h + 2 rim, w + 2 rim) bool, the B places beyond
    factors : LU factors of the energy's matrix (B, B) among them
    known : (B, h w) its part that couples them to the picture's places
    root : (R, B) whose square (rootᵀ root) it is
    terms : (h + 2 rim, w + 2 rim, 3) of a plane; to_terms : (3, h w) gives those nearest to values
    """

    beyond: NDArray[np.bool_]
    factors: Any
    known: Any
    root: Any
    terms: Array
    to_terms: Array


@lru_cache(maxsize=32)
def continuation(height: int, width: int, rim: int, length: float) -> Continuation:
    """Of a field with this length beyond (height, width) places."""
    shape = (height + 2 * rim, width + 2 * rim)
    beyond = np.ones(shape, dtype=bool)
    beyond[rim : rim + height, rim : rim + width] = False
    free = beyond.ravel()
    root = sparse.vstack(
        [np.sqrt(comb(3, order)) * length**order * roughness(shape, order) for order in range(4)]
    ).tocsc()
    of_beyond, of_picture = root[:, free], root[:, ~free]
    # Positive definite: no pivots are sought, and the order that suits symmetric matrices does.
    factors = splu(
        (of_beyond.T @ of_beyond).tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )  # fmt: skip
    rows, columns = np.mgrid[-rim : height + rim, -rim : width + rim].astype(float)
    terms = np.stack([np.ones(shape), rows, columns], axis=-1)
    to_terms = np.linalg.pinv(terms[~beyond])
    return Continuation(beyond, factors, of_beyond.T @ of_picture, of_beyond, terms, to_terms)


@lru_cache(maxsize=8)
def roughness(shape: tuple[int, int], order: int) -> Any:
    """Sparse matrix of the differences of an order, for (h w) values of a grid (h, w).

    Of n down and order − n across, weighted by the root of how often they can be taken: the sum of
    squares is the same in all directions (order 2: the energy of a thin plate), free at the border.
    """
    height, width = shape
    return sparse.vstack(
        [
            sqrt(comb(order, down))
            * sparse.kron(_differences(height, down), _differences(width, order - down), "csr")
            for down in range(order + 1)
        ]
    ).tocsc()


def _differences(count: int, order: int) -> Any:
    """(count − order, count) differences of an order along a row of places."""
    return sparse.csr_matrix(np.diff(np.eye(count), order, axis=0))
