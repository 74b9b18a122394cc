"""Views of one part: their points and outlines, and where each lies in the frame of the first."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.surface import Flag, Surface

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """A surface as points.

    Attributes
    ----------
    points_mm, normals : (n, 3); sigma_mm : (n,) along the normal
    outline_mm : (m, 2) x and y of the part's border on the stage; none where it fills the picture
    height_mm : at which that outline is taken
    pixel_mm : distance of neighbouring points
    """

    points_mm: Array
    normals: Array
    sigma_mm: Array
    outline_mm: Array
    height_mm: float
    pixel_mm: float


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a view lies in the frame of the first.

    Attributes
    ----------
    R : (3, 3), t : (3,) mm: ``x_first = R x_view + t``
    covariance : (6, 6) of a small turn (rad) about `centre_mm` and shift (mm) of the moved points
    centre_mm : (3,) in the first view's frame
    overlap : share of the points that have a partner in another view
    rms_mm : distance of partners along the normal
    undetermined : motions that the surfaces leave open
    """

    R: Array
    t: Array
    covariance: Array
    centre_mm: Array
    overlap: float
    rms_mm: float
    undetermined: int = 0

    @property
    def tilt_and_turn_deg(self) -> tuple[float, float]:
        """How far the part lay tilted, and turned about the vertical."""
        turn = np.arctan2(self.R[1, 0] - self.R[0, 1], self.R[0, 0] + self.R[1, 1])
        tilt = np.arccos(np.clip(self.R[2, 2], -1.0, 1.0))
        return float(np.degrees(tilt)), float(np.degrees(turn))

    def moved(self, points_mm: Array) -> Array:
        return np.asarray(points_mm @ self.R.T + self.t)

    def sigma_mm(self, points_mm: Array, normals: Array) -> Array:
        """(n,) one sigma along the normals that the pose adds to moved points."""
        motion = np.hstack([np.cross(points_mm - self.centre_mm, normals), normals])
        return np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", motion, self.covariance, motion), 0.0))


def view_of(surface: Surface) -> View:
    """Points, normals and outline of a surface."""
    good = surface.mask & np.isfinite(surface.normals).all(axis=-1)
    if good.sum() < 200:
        raise ReconstructError("a view has too few points with a height to be merged")
    points = surface.points_mm()
    normals = surface.normals[good].astype(float)
    sigma = surface.sigma_mm[good].astype(float)
    known = np.isfinite(sigma) & (sigma > 0)
    typical = float(np.median(sigma[known])) if known.any() else 0.05
    sigma = np.where(known, sigma, 3.0 * typical) * np.clip(normals[:, 2], 0.1, 1.0)
    top = float(np.median(points[good][:, 2]))
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    rim = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    outline = np.empty((0, 2))
    if not part.all() and rim.mean() < 0.02:
        contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        pixels = np.concatenate([c[:, 0] for c in contours if len(c) >= 12] or [np.empty((0, 2))])
        if len(pixels):
            outline = surface.camera.points_at_height(top, pixels)[:, :2]
    step = surface.camera.pixel_mm(top)
    return View(points[good], normals, np.maximum(sigma, 1e-4), outline, top, step)
