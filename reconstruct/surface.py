"""The result: a surface seen through a camera, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.repeats import Repeats

Map = NDArray[np.float32]


class Flag(IntFlag):
    """Why a pixel is less than good; several may hold."""

    OUTSIDE = 1  # not part of the surface
    CLIPPED = 2  # most of its signal is clipped
    SHADOWED = 4  # too few lights reach it
    UNLIT = 8  # no usable signal: its height is a guess, NaN in the files
    EDGE = 16  # an edge or a wall narrower than a pixel: no height is claimed


@dataclass(frozen=True, eq=False)
class Residual:
    """One light's picture (h, w), captured and as the method's own model has it, same units.

    Averaged over blocks of pixels; NaN where there is no surface or a pixel clipped.
    """

    led: int
    captured: Map
    rendered: Map


@dataclass(frozen=True, eq=False)
class Surface:
    """A height field over the captured image.

    Attributes
    ----------
    camera : the camera that saw it
    height_mm : (H, W) float32, z of the surface point of each pixel, NaN where there is none
    normals : (H, W, 3) float32 unit vectors, world frame, NaN where there is none
    sigma_mm : (H, W) float32 one-sigma height uncertainty (mean height removed)
    normal_sigma_deg : (H, W) float32
    flags : (H, W) uint8 of `Flag`
    material : fitted reflectance parameters, JSON-able
    summary : method, versions, parameters, timings, figures, JSON-able
    residuals : the lights that the fit explains worst, worst first; none of methods without a model
    repeats : what of sigma further recordings would show; None of methods that do not tell it apart
    misfit : (H, W) float32 what the fit of a part with an outline leaves of a pixel's pictures, in
        units of what noise leaves; None of methods that do not tell it
    """

    camera: Camera
    height_mm: Map
    normals: Map
    sigma_mm: Map
    normal_sigma_deg: Map
    flags: NDArray[np.uint8]
    material: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    residuals: tuple[Residual, ...] = ()
    repeats: Repeats | None = None
    misfit: Map | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) where there is a surface."""
        return np.isfinite(self.height_mm)

    def points_mm(self) -> NDArray[np.float64]:
        """(H, W, 3) world points, NaN where there is no surface."""
        return self.camera.points_at_height(self.height_mm)

    # looked at and taken elsewhere ---------------------------------------------------------------
    def __repr__(self) -> str:
        rows, columns = self.height_mm.shape
        measured = self.height_mm[self.mask]
        span = f", {measured.min():.3f} to {measured.max():.3f} mm" if measured.size else ""
        share = 100 * measured.size / self.height_mm.size
        return f"<Surface {columns}×{rows} px, {share:.1f} % measured{span}>"

    def plot(self) -> Any:
        """A matplotlib figure of height, normals and uncertainty over mm on the stage."""
        from reconstruct.showing import plot

        return plot(self)

    def to_mesh(self) -> Any:
        """A `trimesh.Trimesh` in mm, world frame, one vertex per pixel that has a height."""
        from reconstruct.showing import to_mesh

        return to_mesh(self)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of all maps, with x and y in mm as coordinates."""
        from reconstruct.showing import to_xarray

        return to_xarray(self)

    def _repr_html_(self) -> str:
        from reconstruct.showing import to_html

        return to_html(self)
