"""Two surfaces against each other: alignment, deviation, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError, RequestError
from reconstruct.metrology.grid import Array, HeightGrid

LEAST_TURN_DEG = 0.05  # a smaller one is no harm, round or not
TRIAL_TURNS_DEG = (11.0, 47.0, 103.0)  # no two of them fit a polygon of few sides
ALIGNMENTS = ("none", "mean", "plane", "rigid")


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far a measured surface is from a reference.

    Attributes
    ----------
    deviation : on the measured grid, mm along the reference's normal, positive where the measured
        surface lies higher; NaN where one of them has no surface
    alignment : which was used
    transform : (4, 4) that moved the measured points onto the reference
    mean_mm, rms_mm, mae_mm, p95_mm, max_mm : of the deviation (p95 and max of its size)
    overlap : share of the measured points that have a reference
    within : share of deviations within the tolerance, None if none was given
    """

    deviation: HeightGrid
    alignment: str
    transform: Array
    mean_mm: float
    rms_mm: float
    mae_mm: float
    p95_mm: float
    max_mm: float
    overlap: float
    tolerance_mm: float | None = None
    within: float | None = None
    undetermined: tuple[str, ...] = ()  # motions that the shapes leave open, and that were held

    def passes(self, share: float = 1.0) -> bool:
        """Whether at least this share of the deviations lies within the tolerance."""
        return self.within is None or self.within >= share - 1e-12

    def to_json(self) -> dict[str, Any]:
        return {
            "format": "rig-comparison/1",
            "alignment": self.alignment,
            "mean_mm": self.mean_mm,
            "rms_mm": self.rms_mm,
            "mae_mm": self.mae_mm,
            "p95_mm": self.p95_mm,
            "max_mm": self.max_mm,
            "overlap": self.overlap,
            "tolerance_mm": self.tolerance_mm,
            "within": self.within,
            "undetermined": list(self.undetermined),
            "points": int(np.count_nonzero(self.deviation.mask)),
            "transform": self.transform.tolist(),
        }


def compare(
    measured: HeightGrid,
    reference: HeightGrid,
    alignment: str = "rigid",
    tolerance_mm: float | None = None,
) -> Comparison:
    """Align a measured surface to a reference and find the deviation of every point.

    Parameters
    ----------
    alignment : ``none``; ``mean``: shifted along z; ``plane``: shifted and tilted by the
        least-squares plane of the difference; ``rigid``: turned and shifted in space (iterative
        closest point, point to plane: Chen & Medioni 1992). What the shapes leave open, such as
        sliding along a plane or turning a round part about its axis, is not moved.

    Raises
    ------
    ReconstructError
        if there is no such alignment or the surfaces do not overlap
    """
    if alignment not in ALIGNMENTS:
        raise RequestError(
            f"there is no alignment '{alignment}': choose one of {', '.join(ALIGNMENTS)}"
        )
    x, y, z = measured.points()
    points = np.column_stack([x, y, z])
    target = _Target(reference)
    move = np.eye(4)
    undetermined: tuple[str, ...] = ()
    if alignment == "rigid":
        move, undetermined = _rigid(points, target)
    elif alignment != "none":
        difference, _ = target.deviation(points, vertical=True)
        move = _levelling(points, difference, tilt=alignment == "plane")
    moved = points @ move[:3, :3].T + move[:3, 3]
    deviation, _ = target.deviation(moved)
    there = np.isfinite(deviation)
    if np.count_nonzero(there) < 16:
        raise ReconstructError(_apart(measured, reference))
    values = deviation[there]
    size = np.abs(values)
    plane = np.full(measured.z_mm.shape, np.nan)
    plane[measured.mask] = deviation
    return Comparison(
        deviation=measured.with_z(plane),
        alignment=alignment,
        transform=move,
        mean_mm=float(values.mean()),
        rms_mm=float(np.sqrt(np.mean(values**2))),
        mae_mm=float(size.mean()),
        p95_mm=float(np.quantile(size, 0.95)),
        max_mm=float(size.max()),
        overlap=float(there.mean()),
        tolerance_mm=tolerance_mm,
        within=None if tolerance_mm is None else float(np.mean(size <= tolerance_mm)),
        undetermined=undetermined,
    )


class _Target:
    """The reference: heights and slopes between its grid points."""

    def __init__(self, grid: HeightGrid) -> None:
        self.grid = grid
        slopes = [np.gradient(grid.z_mm, grid.step_mm, axis=axis) for axis in (1, 0)]
        self._slope_x, self._slope_y = (grid.with_z(np.asarray(slope)) for slope in slopes)

    def deviation(self, points: Array, vertical: bool = False) -> tuple[Array, Array]:
        """Signed distance (n,) along the reference's normal, and that normal (n, 3)."""
        x, y = points[:, 0], points[:, 1]
        height = points[:, 2] - self.grid.at(x, y)
        gx, gy = self._slope_x.at(x, y), self._slope_y.at(x, y)
        # Slopes are lost along edges and gaps; there the vertical distance has to do.
        flat = ~np.isfinite(gx) | ~np.isfinite(gy)
        gx, gy = np.where(flat, 0.0, gx), np.where(flat, 0.0, gy)
        normal = np.column_stack([-gx, -gy, np.ones_like(gx)])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return (height if vertical else height * normal[:, 2]), normal


def _levelling(points: Array, difference: Array, tilt: bool) -> Array:
    """The shift along z, and the small turn, that take a plane out of the difference."""
    there = np.isfinite(difference)
    move = np.eye(4)
    if np.count_nonzero(there) < 16:
        return move
    if not tilt:
        move[2, 3] = -float(difference[there].mean())
        return move
    x, y = points[there, 0], points[there, 1]
    design = np.column_stack([x, y, np.ones_like(x)])
    a, b, c = np.linalg.lstsq(design, difference[there], rcond=None)[0]
    # A shear in z rather than a turn: exact for the plane, equal to a turn for small tilts.
    move[2, 0], move[2, 1], move[2, 3] = -a, -b, -c
    return move


def _rigid(points: Array, target: _Target) -> tuple[Array, tuple[str, ...]]:
    """Rigid alignment, and what the shapes leave open.

    A round part fits at any turn about its axis; what noise would turn it by means nothing. So the
    turn is kept at zero where the reference, turned by itself, fits itself as well as the measured
    surface fits it.
    """
    held = _icp(points, target, turning=False)
    free = _icp(points, target)
    if abs(_turn_deg(free)) < LEAST_TURN_DEG:
        return free, ()
    if _misfit(points, target, free) < 0.5 * _misfit(points, target, held):
        return free, ()  # the turn is seen
    own = np.column_stack(target.grid.points())
    own = own[:: max(1, len(own) // 10_000)]
    middle = (own.min(axis=0) + own.max(axis=0)) / 2
    accepted = 2.0 * _misfit(points, target, held)
    for degrees in TRIAL_TURNS_DEG:
        start = _small_motion(np.array([0.0, 0.0, np.radians(degrees)]), np.zeros(3), middle)
        move = _descend(own, target, start, rounds=20, turning=False)
        if _misfit(own, target, move) > accepted:
            return free, ()
    return held, ("turn about the axis of a round part",)


def _turn_deg(move: Array) -> float:
    """Turn about z of a motion."""
    return float(np.degrees(np.arctan2(move[1, 0] - move[0, 1], move[0, 0] + move[1, 1])))


def _misfit(points: Array, target: _Target, move: Array) -> float:
    """Robust size of the deviations after a motion, mm."""
    points = points[:: max(1, len(points) // 40_000)]
    deviation, _ = target.deviation(points @ move[:3, :3].T + move[:3, 3])
    there = np.isfinite(deviation)
    if np.count_nonzero(there) < 16:
        return float("inf")
    return 1.4826 * float(np.median(np.abs(deviation[there]))) + 1e-9


def _icp(points: Array, target: _Target, turning: bool = True) -> Array:
    """Rigid alignment, begun from where the surfaces lie and from centre on centre.

    Files such as X3P keep no origin, and a part of the surfaces overlapping by chance would be a
    trap; the end with the smaller deviation for its overlap is taken.
    """
    points = points[:: max(1, len(points) // 40_000)]
    x, y, z = target.grid.points()
    middle = np.array([(x.min() + x.max()) / 2, (y.min() + y.max()) / 2, z.mean()])
    low, high = points.min(axis=0), points.max(axis=0)
    centred = np.eye(4)
    centred[:3, 3] = middle - np.array([*(low + high)[:2] / 2, points[:, 2].mean()])
    ends = []
    for start in (np.eye(4), centred):
        move = _descend(points, target, start, turning=turning)
        deviation, _ = target.deviation(points @ move[:3, :3].T + move[:3, 3])
        there = np.isfinite(deviation)
        if np.count_nonzero(there) >= 16:
            score = float(np.sqrt(np.mean(deviation[there] ** 2))) + 1e-12
            ends.append((score / float(there.mean()) ** 2, move))
    return min(ends, key=lambda end: end[0])[1] if ends else np.eye(4)


def _descend(
    points: Array, target: _Target, move: Array, rounds: int = 60, turning: bool = True
) -> Array:
    """Point-to-plane Gauss-Newton with Huber weights, from one start; `turning` about z or not."""
    arm = float(np.ptp(points[:, :2], axis=0).max()) / 2
    for _ in range(rounds):
        moved = points @ move[:3, :3].T + move[:3, 3]
        deviation, normal = target.deviation(moved)
        there = np.isfinite(deviation)
        if np.count_nonzero(there) < 16:
            break
        p, n, r = moved[there], normal[there], deviation[there]
        middle = p.mean(axis=0)
        scale = 1.4826 * float(np.median(np.abs(r - np.median(r)))) + 1e-9
        weight = np.sqrt(np.minimum(1.0, 2.0 * scale / np.maximum(np.abs(r), 1e-15)))
        design = np.column_stack([np.cross(p - middle, n) / arm, n]) * weight[:, None]
        if not turning:
            design[:, 2] = 0.0
        u, s, vt = np.linalg.svd(design.T @ design, hermitian=True)
        keep = s > 1e-6 * s[0]  # what the shapes do not fix stays as it is
        change = -(vt.T[:, keep] / s[keep]) @ (u.T[keep] @ (design.T @ (r * weight)))
        move = _small_motion(change[:3] / arm, change[3:], middle) @ move
        if np.abs(change).max() < 1e-9:
            break
    return move


def _small_motion(turn: NDArray[Any], shift: NDArray[Any], middle: NDArray[Any]) -> Array:
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    motion[:3, 3] = middle + shift - motion[:3, :3] @ middle
    return motion


def _apart(measured: HeightGrid, reference: HeightGrid) -> str:
    def span(grid: HeightGrid) -> str:
        x, y = grid.x_mm, grid.y_mm
        return f"x {x[0]:.1f} … {x[-1]:.1f}, y {y[0]:.1f} … {y[-1]:.1f} mm"

    return (
        f"the surfaces do not overlap: the measured one spans {span(measured)}, "
        f"the reference {span(reference)}; try --align rigid"
    )
