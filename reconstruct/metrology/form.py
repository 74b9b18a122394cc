"""Taking the form away: plane, sphere, cylinder, polynomial, by least squares.

Planes and polynomials are fitted in z; spheres and cylinders by the distance to their surface
(ISO 17450-1, association by total least squares), and what is left is that distance too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from reconstruct.errors import ReconstructError, RequestError
from reconstruct.metrology.grid import Array, HeightGrid

FORMS = ("none", "mean", "plane", "sphere", "cylinder", "poly2 … poly12")
_FIT_POINTS = 100_000  # more points do not change a fit of five numbers


@dataclass(frozen=True, eq=False)
class Form:
    """A fitted form and what is left without it.

    Attributes
    ----------
    kind : as asked for
    residual : the grid without the form, positive where material is outside
    parameters : of the form, with the unit in each name
    """

    kind: str
    residual: HeightGrid
    parameters: dict[str, Any] = field(default_factory=dict)


def remove_form(grid: HeightGrid, kind: str = "plane") -> Form:
    """Fit a form to a grid and take it away.

    Parameters
    ----------
    kind : none, mean, plane, sphere, cylinder, or poly2 to poly12 (all terms up to that degree)

    Raises
    ------
    ReconstructError
        if there is no such form, or too few points for it
    """
    count = int(np.count_nonzero(grid.mask))
    if count < 16:
        raise ReconstructError(f"{count} measured points are too few to take a form away")
    if kind == "none":
        return Form(kind, grid)
    if kind == "mean":
        mean = float(np.nanmean(grid.z_mm))
        return Form(kind, grid.with_z(grid.z_mm - mean), {"mean_mm": mean})
    if kind == "plane":
        return _plane(grid)
    if kind == "sphere":
        return _sphere(grid)
    if kind == "cylinder":
        return _cylinder(grid)
    degree = kind.removeprefix("poly")
    if kind.startswith("poly") and degree.isdecimal() and 1 <= int(degree) <= 12:
        return _polynomial(grid, int(degree))
    raise RequestError(f"there is no form '{kind}': choose one of {', '.join(FORMS)}")


def _plane(grid: HeightGrid) -> Form:
    x, y, z = grid.points()
    design = np.column_stack([x - x.mean(), y - y.mean(), np.ones_like(x)])
    a, b, c = np.linalg.lstsq(design, z, rcond=None)[0]
    gx, gy = np.meshgrid(grid.x_mm - x.mean(), grid.y_mm - y.mean())
    parameters = {
        "slope_x": float(a),
        "slope_y": float(b),
        "tilt_deg": float(np.degrees(np.arctan(np.hypot(a, b)))),
        "mean_mm": float(c),
    }
    return Form("plane", grid.with_z(grid.z_mm - (a * gx + b * gy + c)), parameters)


def _polynomial(grid: HeightGrid, degree: int) -> Form:
    x, y, z = grid.points()
    # Legendre polynomials over −1 … 1 keep the normal equations well conditioned.
    middle = np.array([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2])
    half = max(float(np.ptp(x)), float(np.ptp(y)), 1e-12) / 2
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    if len(z) < 2 * len(terms):
        raise ReconstructError(f"{len(z)} points are too few for a polynomial of degree {degree}")

    def basis(u: Array, v: Array) -> list[Array]:
        px = np.polynomial.legendre.legvander(u, degree)
        py = np.polynomial.legendre.legvander(v, degree)
        return [px[..., i] * py[..., j] for i, j in terms]

    columns = basis((x - middle[0]) / half, (y - middle[1]) / half)
    normal = np.array([[a @ b for b in columns] for a in columns])
    weights = np.linalg.lstsq(normal, np.array([a @ z for a in columns]), rcond=None)[0]
    gx, gy = np.meshgrid((grid.x_mm - middle[0]) / half, (grid.y_mm - middle[1]) / half)
    form = np.zeros(gx.shape)
    for weight, column in zip(weights, basis(gx, gy), strict=True):
        form += weight * column
    return Form(f"poly{degree}", grid.with_z(grid.z_mm - form), {"degree": degree})


def _thinned(grid: HeightGrid) -> NDArray[np.float64]:
    points = np.column_stack(grid.points())
    return points[:: max(1, len(points) // _FIT_POINTS)]


def _curvature(points: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
    """Second-degree fit: its Hessian (2, 2) and the means of the points."""
    mean = points.mean(axis=0)
    x, y, z = (points - mean).T
    design = np.column_stack([x * x / 2, x * y, y * y / 2, x, y, np.ones_like(x)])
    a, b, c, *_ = np.linalg.lstsq(design, z, rcond=None)[0]
    return np.array([[a, b], [b, c]]), mean


def _sphere(grid: HeightGrid) -> Form:
    points = _thinned(grid)
    hessian, mean = _curvature(points)
    bend = float(np.trace(hessian)) / 2
    extent = float(np.ptp(points[:, :2], axis=0).max())
    if abs(bend) * extent < 1e-9:
        raise ReconstructError("the surface is flat: it has no sphere; ask for a plane")
    # Algebraic start (Kåsa): x² + y² + z² is linear in the centre.
    local = points - mean
    design = np.column_stack([2 * local, np.ones(len(local))])
    fit = np.linalg.lstsq(design, np.sum(local**2, axis=1), rcond=None)[0]
    centre = fit[:3]
    radius = float(np.sqrt(max(fit[3] + centre @ centre, 1e-12)))

    def distance(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(local - p[:3], axis=1) - p[3])

    solved = least_squares(distance, [*centre, radius], x_scale=[1, 1, 1, 1], method="lm")
    centre, radius = solved.x[:3] + mean, float(solved.x[3])
    outside = 1.0 if bend < 0 else -1.0  # a cup's material is outside of its sphere
    gx, gy = np.meshgrid(grid.x_mm - centre[0], grid.y_mm - centre[1])
    away = np.sqrt(gx**2 + gy**2 + (grid.z_mm - centre[2]) ** 2) - radius
    parameters = {
        "radius_mm": radius,
        "convex": bend < 0,
        "centre_mm": [float(v) for v in centre],
    }
    return Form("sphere", grid.with_z(outside * away), parameters)


def _cylinder(grid: HeightGrid) -> Form:
    points = _thinned(grid)
    hessian, mean = _curvature(points)
    values, vectors = np.linalg.eigh(hessian)
    bent = int(np.argmax(np.abs(values)))
    bend = float(values[bent])
    extent = float(np.ptp(points[:, :2], axis=0).max())
    if abs(bend) * extent < 1e-9:
        raise ReconstructError("the surface is flat: it has no cylinder; ask for a plane")
    along = vectors[:, 1 - bent]
    local = points - mean
    radius = 1 / abs(bend)
    start = [float(np.arctan2(along[1], along[0])), 0.0, 0.0, float(np.sign(bend)) * radius, radius]

    def axis(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Unit direction, and the axis's point nearest to the mean's vertical."""
        direction = np.array(
            [np.cos(p[0]) * np.cos(p[1]), np.sin(p[0]) * np.cos(p[1]), np.sin(p[1])]
        )
        return direction, np.array([-np.sin(p[0]) * p[2], np.cos(p[0]) * p[2], p[3]])

    def distance(p: NDArray[np.float64]) -> NDArray[np.float64]:
        direction, point = axis(p)
        return np.asarray(np.linalg.norm(np.cross(local - point, direction), axis=1) - p[4])

    solved = least_squares(distance, start, x_scale="jac", method="lm")
    direction, point = axis(solved.x)
    radius = float(solved.x[4])
    outside = 1.0 if bend < 0 else -1.0
    gx, gy = np.meshgrid(grid.x_mm - mean[0], grid.y_mm - mean[1])
    space = np.stack([gx, gy, grid.z_mm - mean[2]], axis=-1) - point
    away = np.linalg.norm(np.cross(space, direction), axis=-1) - radius
    parameters = {
        "radius_mm": radius,
        "convex": bend < 0,
        "axis": [float(v) for v in direction],
        "point_mm": [float(v) for v in point + mean],
    }
    return Form("cylinder", grid.with_z(outside * away), parameters)
