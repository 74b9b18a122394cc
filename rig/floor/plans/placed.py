"""A measured part laid into the frame of its plan, and figures of its regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from reconstruct.errors import ReconstructError
from reconstruct.metrology.grid import Array, HeightGrid
from reconstruct.surface import Surface

Mask = NDArray[np.bool_]
LEAST_POINTS = 16


@dataclass(frozen=True, eq=False)
class Placed:
    """Heights on the measured grid and where each point lies in the part's frame.

    Attributes
    ----------
    grid : as measured, world frame
    move : (4, 4) from the world to the part's frame
    x_mm, y_mm, z_mm : (ny, nx) in the part's frame; x and y are known off the surface too, for
        the mean height, so that holes have a place
    part : (ny, nx) what belongs to the part, measured or not
    """

    grid: HeightGrid
    move: Array
    x_mm: Array
    y_mm: Array
    z_mm: Array

    def with_noise(self, noise_mm: Array) -> Placed:
        """The same part with an error of height added."""
        grid = self.grid.with_z(self.grid.z_mm + noise_mm)
        return replace(self, grid=grid, z_mm=self.z_mm + noise_mm)

    def region(self, region: Sequence[float]) -> Mask:
        """(ny, nx) what of the grid lies in a rectangle (x0, y0, x1, y1) or circle (x, y, r)."""
        if len(region) == 3:
            x, y, radius = region
            return np.asarray(np.hypot(self.x_mm - x, self.y_mm - y) <= radius)
        x0, x1 = sorted((region[0], region[2]))
        y0, y1 = sorted((region[1], region[3]))
        return np.asarray(
            (self.x_mm >= x0) & (self.x_mm <= x1) & (self.y_mm >= y0) & (self.y_mm <= y1)
        )

    def points(self, inside: Mask) -> Array:
        """(n, 3) measured points there; raises `ReconstructError` if they are too few."""
        use = inside & np.isfinite(self.z_mm)
        found = np.column_stack([self.x_mm[use], self.y_mm[use], self.z_mm[use]])
        if len(found) < LEAST_POINTS:
            raise ReconstructError(f"{len(found)} measured points lie there, {LEAST_POINTS} needed")
        return found

    def covered(self, region: Sequence[float]) -> float:
        """Share of a region that was measured, what lies off the grid included."""
        area = (
            np.pi * region[2] ** 2
            if len(region) == 3
            else abs((region[2] - region[0]) * (region[3] - region[1]))
        )
        count = np.count_nonzero(self.region(region) & self.grid.mask)
        edge = 2 * self.grid.step_mm * np.sqrt(area)  # a row of points along two sides
        return float(min(1.0, (count * self.grid.step_mm**2 + edge) / max(area, 1e-12)))

    def cut(self, inside: Mask) -> HeightGrid:
        """The measured grid of a region alone (z in the part's frame)."""
        rows, columns = np.nonzero(inside & self.grid.mask)
        if len(rows) < LEAST_POINTS:
            raise ReconstructError(f"{len(rows)} measured points lie there, {LEAST_POINTS} needed")
        r, c = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        z = np.where(inside[r, c], self.z_mm[r, c], np.nan)
        grid = self.grid
        return HeightGrid(
            z,
            grid.step_mm,
            grid.x0_mm + grid.step_mm * c.start,
            grid.y0_mm + grid.step_mm * r.start,
        )

    def to_world(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """Where a place of the plan lies in the world, at the part's mean height."""
        back = np.linalg.inv(self.move)
        point = back @ np.array([x_mm, y_mm, float(np.nanmean(self.z_mm)), 1.0])
        return float(point[0]), float(point[1])


def placed(grid: HeightGrid, move: Array | None = None) -> Placed:
    """A grid in the part's frame (None: the world's)."""
    move = np.eye(4) if move is None else np.asarray(move, dtype=np.float64)
    x, y = np.meshgrid(grid.x_mm, grid.y_mm)
    z = np.where(grid.mask, grid.z_mm, np.nanmean(grid.z_mm))
    moved = np.stack([x, y, z], axis=-1) @ move[:3, :3].T + move[:3, 3]
    return Placed(
        grid, move, moved[..., 0], moved[..., 1], np.where(grid.mask, moved[..., 2], np.nan)
    )


def changes_on(grid: HeightGrid, surface: Surface) -> Iterator[Array]:
    """(ny, nx) changes of height that further measurements would bring, at a surface's grid."""
    if surface.repeats is None:
        return
    x, y = np.meshgrid(grid.x_mm, grid.y_mm)
    z = np.where(grid.mask, grid.z_mm, np.nanmean(grid.z_mm))
    yield from surface.repeats.at(surface.camera, np.stack([x, y, z], axis=-1))


def plane(points: Array) -> tuple[Array, Array]:
    """Centre and upward unit normal of the plane with least squares in z."""
    centre = points.mean(axis=0)
    design = points[:, :2] - centre[:2]
    slope, *_ = np.linalg.lstsq(design, points[:, 2] - centre[2], rcond=None)
    normal = np.array([-slope[0], -slope[1], 1.0])
    return centre, normal / np.linalg.norm(normal)


def height_over(points: Array, datum: Array) -> float:
    """Mean distance of points from the datum's plane, along its normal, mm."""
    centre, normal = plane(datum)
    return float(np.mean((points - centre) @ normal))


def angle_between(points: Array, datum: Array) -> float:
    """Angle between the planes of two sets of points, degrees."""
    (_, a), (_, b) = plane(points), plane(datum)
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


@dataclass(frozen=True)
class Hole:
    """A bore as a circle in x and y; `sigma_mm` is that of its centre."""

    x_mm: float
    y_mm: float
    diameter_mm: float
    sigma_mm: float


def find_hole(part: Placed, centre: Sequence[float], search_mm: float) -> Hole:
    """The hole in the surface next to a place: a circle through its rim.

    The hole is the largest patch around `centre` that was not measured or lies far below its
    surroundings; the circle is fitted to the middles between its outermost points and their
    neighbours on the surface (Kåsa's start, then least squares of the distance).

    Raises
    ------
    ReconstructError
        if there is no hole, or it reaches the edge of where it is looked for
    """
    near = part.region((centre[0], centre[1], search_mm))
    around = part.points(near)
    level = float(np.median(around[:, 2]))
    spread = 1.4826 * float(np.median(np.abs(around[:, 2] - level)))
    low = np.nan_to_num(part.z_mm, nan=-np.inf) < level - max(6 * spread, 0.1)
    labels, count = ndimage.label(near & low)
    if not count:
        raise ReconstructError(
            f"no hole lies within {search_mm:g} mm of {centre[0]:g}, {centre[1]:g}"
        )
    sizes = ndimage.sum_labels(np.ones(labels.shape), labels, np.arange(1, count + 1))
    hole = labels == 1 + int(np.argmax(sizes))
    rim = ndimage.binary_dilation(hole) & ~hole
    if not (rim & near).any() or (hole & ~ndimage.binary_erosion(near)).any():
        raise ReconstructError(
            "the hole reaches the edge of where it is looked for: widen search_mm"
        )
    inner = hole & ~ndimage.binary_erosion(hole)
    outer_x, outer_y = part.x_mm[rim], part.y_mm[rim]
    inner_x, inner_y = part.x_mm[inner], part.y_mm[inner]
    x, y = np.concatenate([outer_x, inner_x]), np.concatenate([outer_y, inner_y])
    design = np.column_stack([2 * x, 2 * y, np.ones_like(x)])
    a, b, c = np.linalg.lstsq(design, x * x + y * y, rcond=None)[0]
    start = [a, b, float(np.sqrt(max(c + a * a + b * b, 1e-9)))]
    solved = optimize.least_squares(lambda p: np.hypot(x - p[0], y - p[1]) - p[2], start)
    residual = float(np.sqrt(np.mean(solved.fun**2)))
    random = residual * float(np.sqrt(2 / (len(x) / 2)))
    # All of the rim may lie a part of a point's distance off: walls seen aslant, pixels half full.
    common = part.grid.step_mm / np.sqrt(12)
    return Hole(
        float(solved.x[0]),
        float(solved.x[1]),
        2 * float(solved.x[2]),
        float(np.hypot(random, common)),
    )
