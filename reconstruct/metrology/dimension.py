"""Flatness (ISO 12781-1)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, QhullError

from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import HeightGrid


def flatness(grid: HeightGrid) -> dict[str, float]:
    """Deviation from flatness in µm.

    ``FLTt`` and ``FLTq``: peak to valley and root mean square from the least-squares plane.
    ``FLTmz``: the smallest distance of two parallel planes that hold all points between them
    (minimum zone), which is what a drawing's flatness tolerance means; by linear programming over
    the convex hull, exact for the small tilts at which vertical and normal distance agree.
    """
    z = remove_form(grid, "plane").residual
    values = z.z_mm[z.mask]
    return {
        "FLTt": 1e3 * float(np.ptp(values)),
        "FLTq": 1e3 * float(np.sqrt(np.mean(values**2))),
        "FLTmz": 1e3 * _minimum_zone(z),
    }


def _minimum_zone(grid: HeightGrid) -> float:
    points = np.column_stack(grid.points())
    scale = np.maximum(np.ptp(points, axis=0), 1e-12)
    points = (points - points.mean(axis=0)) / scale
    try:
        points = points[ConvexHull(points).vertices]
    except QhullError:  # a perfect plane has no hull
        return 0.0
    x, y, z = points.T
    one = np.ones_like(x)
    # Smallest h with |z − (a x + b y + c)| ≤ h.
    above = np.column_stack([-x, -y, -one, -one])
    below = np.column_stack([x, y, one, -one])
    solved = linprog(
        [0, 0, 0, 1],
        A_ub=np.vstack([above, below]),
        b_ub=np.concatenate([-z, z]),
        bounds=[(None, None)] * 3 + [(0, None)],
        method="highs",
    )
    return float(2 * solved.x[3] * scale[2])
