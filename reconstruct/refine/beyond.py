"""What no picture shows: the part does not end where the picture does.

Beyond the border the surface is continued point-symmetrically (value and slope go on), since a pit
that the picture cuts is lit by walls that the picture does not show. Leaving that out cost a steep
part half of its error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.integrate import centre_values, image_coordinates, normals_at, slopes_of
from reconstruct.refine.problem import Problem

Array = NDArray[np.float64]
# Share of the longer side by which the surface is continued.
BEYOND_TRACED, BEYOND_SHADOWS = 0.22, 0.1


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


def continued(problem: Problem, u: Array, factor: int, share: float) -> Continued:
    """The surface averaged over factor × factor pixels and continued beyond the picture.

    A part that ends within the picture ends there.
    """
    height, width = (size // factor for size in problem.shape)
    depth = centre_values(u)[: height * factor, : width * factor]
    inside = (problem.weight > 0)[: height * factor, : width * factor]
    if factor > 1:
        depth = depth.reshape(height, factor, width, factor).mean(axis=(1, 3))
        inside = np.asarray(inside.reshape(height, factor, width, factor).any(axis=(1, 3)))
    border = 0
    if inside[[0, -1]].any() or inside[:, [0, -1]].any():
        border = min(round(share * max(height, width)), height - 1, width - 1)
    camera = problem.camera.binned(factor) if factor > 1 else problem.camera
    camera = camera.cropped(-border, -border, width + 2 * border, height + 2 * border)
    depth = np.pad(depth, border, mode="reflect", reflect_type="odd")
    inside = np.pad(inside, border, mode="edge")
    inverse = np.linalg.inv(camera.K)
    rows, columns = np.mgrid[0 : depth.shape[0], 0 : depth.shape[1]]
    # Distortion is left out: it moves what shades or mirrors by less than a grid pixel.
    x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
    y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
    straight = replace(camera, dist=np.zeros(5))
    along = np.exp(depth)
    in_camera = np.stack([x * along, y * along, along], axis=-1)
    points = (in_camera - camera.t) @ camera.R
    across_rows, across_columns = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(across_rows, across_columns)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    points[~inside] = np.nan
    normals[~inside] = np.nan
    return Continued(straight, points, normals, border)
