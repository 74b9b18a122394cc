"""Views of one part brought together: where the part lay in each, and how sure that is.

Each view is a surface in the world frame of its recording; between recordings the part was turned
or tilted. A pose takes a view's points into the frame of the first one. It is found by

1. a global start: turns and tilts are tried, and, where both views show the part's outline on the
   stage, turns that lay one outline on the other;
2. iterative closest point, point to plane (Chen & Medioni 1992), all views at once: pairs are
   weighted by the uncertainty of both and by a redescending loss, so that what only one view
   has, and what one has wrong, does not pull;
3. outlines, between views of the same tilt: flat parts say nothing else about where they lie.

What the surfaces leave open, such as sliding along a plane or turning a sphere, stays as it
started, and is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from reconstruct.errors import ReconstructError
from reconstruct.views import Array, Pose, View

COARSE, FINE = 500, 6000  # points of a view that look for a partner
TURNS, TILTS_DEG, DIRECTIONS = 12, (15.0, 30.0), 8  # tried for the start
BEST = 5  # starts that are followed to the end
NORMALS_DEG = 25.0  # between partners at most
GATES_MM = (6.0, 3.0, 1.5, 0.8)  # partners lie no farther apart
SAME_TILT_DEG = 2.0  # outlines are compared between views that are tilted alike
OUTLINE_PX = 0.5  # one sigma of an outline
CELL_MM = 6.0  # errors of a surface are alike over such a distance
TURNS_SHOW = 0.1  # share of an open motion that must be turns, for these to be taken back
OPEN = 2e-4  # share of a motion's square that must show along the normals
LEAST_OVERLAP = 0.05


def _thinned(view: View, count: int) -> NDArray[np.int64]:
    """Indices of points spread evenly; rows of pixels would favour one direction."""
    if len(view.points_mm) <= count:
        return np.arange(len(view.points_mm))
    return np.random.default_rng(0).permutation(len(view.points_mm))[:count]


def _exponential(x: Array, centre: Array) -> tuple[Array, Array]:
    """The motion of a small turn about a centre and a shift."""
    R = Rotation.from_rotvec(x[:3]).as_matrix()
    return R, centre - R @ centre + x[3:]


def _weights(residual: Array, sigma: Array) -> Array:
    """Inverse variances under a Geman-McClure loss; its scale follows the residuals."""
    spread = 1.4826 * float(np.median(np.abs(residual))) + 1e-9
    scale = np.hypot(3.0 * spread, 2.0 * sigma)
    return np.asarray(1.0 / (1.0 + (residual / scale) ** 2) ** 2 / (sigma**2 + spread**2))


def _step(motion: Array, residual: Array, weight: Array, size_mm: float) -> tuple[Array, int]:
    """Weighted least squares, motions that hardly show along the normals held at 0."""
    scale = np.array([size_mm, size_mm, size_mm, 1.0, 1.0, 1.0])
    a = motion / scale
    normal = a.T @ (a * weight[:, None])
    values, vectors = np.linalg.eigh(normal)
    kept = values > OPEN * weight.sum()
    inverse = np.where(kept, 1.0 / np.maximum(values, 1e-30), 0.0)
    x = -(vectors * inverse) @ (vectors.T @ (a.T @ (weight * residual)))
    return x / scale, int((~kept).sum())


def _partners(
    points: Array, normals: Array, tree: cKDTree, other: View, gate: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    distance, index = tree.query(points, distance_upper_bound=gate)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    found &= np.sum(normals * other.normals[index], axis=1) > np.cos(np.radians(NORMALS_DEG))
    return found, index


def _icp(
    view: View, first: View, tree: cKDTree, R: Array, t: Array, use: NDArray[np.int64],
    gates: Sequence[float], rounds: int,
) -> tuple[Array, Array, float]:  # fmt: skip
    """Pose of one view on another from a start, and how well the two then agree (0 to 1)."""
    points, normals = view.points_mm[use], view.normals[use]
    size = float(np.std(points, axis=0).max()) + 1e-6
    for gate in gates:
        for _ in range(rounds):
            moved, turned = points @ R.T + t, normals @ R.T
            found, index = _partners(moved, turned, tree, first, max(gate, 3 * first.pixel_mm))
            if found.sum() < 20:
                return R, t, 0.0
            p, n = moved[found], first.normals[index[found]]
            residual = np.sum((p - first.points_mm[index[found]]) * n, axis=1)
            centre = p.mean(axis=0)
            weight = _weights(residual, np.full(len(residual), 1e-3))
            x, _ = _step(np.hstack([np.cross(p - centre, n), n]), residual, weight, size)
            dR, dt = _exponential(x, centre)
            R, t = dR @ R, dR @ t + dt
    moved, turned = points @ R.T + t, normals @ R.T
    found, index = _partners(moved, turned, tree, first, 4 * first.pixel_mm)
    n = first.normals[index]
    residual = np.abs(np.sum((moved - first.points_mm[index]) * n, axis=1))
    alike = np.clip(np.sum(turned * n, axis=1), 0.0, 1.0)
    gate = 0.5 * gates[-1]
    return R, t, float(np.mean(found * np.maximum(1.0 - (residual / gate) ** 2, 0.0) * alike**20))


def _turns_by_outline(view: View, first: View) -> list[tuple[Array, Array, float]]:
    """Turns about z that lay one outline on the other, best first, with their misfit (mm)."""
    if not len(view.outline_mm) or not len(first.outline_mm):
        return []
    tree = cKDTree(first.outline_mm)
    middle, target = view.outline_mm.mean(axis=0), first.outline_mm.mean(axis=0)
    some = view.outline_mm[:: max(1, len(view.outline_mm) // 300)] - middle
    out = []
    for turn in np.radians(np.arange(0, 360, 5)):
        c, s = np.cos(turn), np.sin(turn)
        R2, shift = np.array([[c, -s], [s, c]]), target.copy()
        for _ in range(6):  # closest points, rigid in the plane
            moved = some @ R2.T + shift
            distance, index = tree.query(moved)
            near = distance <= max(np.median(distance) * 2.5, 1e-9)
            a, b = moved[near], first.outline_mm[index[near]]
            ca, cb = a - a.mean(axis=0), b - b.mean(axis=0)
            angle = np.arctan2(np.sum(ca[:, 0] * cb[:, 1] - ca[:, 1] * cb[:, 0]), np.sum(ca * cb))
            c, s = np.cos(angle), np.sin(angle)
            dR = np.array([[c, -s], [s, c]])
            R2, shift = dR @ R2, dR @ (shift - a.mean(axis=0)) + b.mean(axis=0)
        moved = some @ R2.T + shift
        misfit = float(np.mean(np.minimum(tree.query(moved)[0], 3.0)))
        R = np.eye(3)
        R[:2, :2] = R2
        t = np.append(shift - R2 @ middle, 0.0)
        out.append((R, t, misfit))
    return sorted(out, key=lambda each: each[2])


def _start(view: View, first: View, tree: cKDTree) -> tuple[Array, Array]:
    """The best of many turns and tilts."""
    use = _thinned(view, COARSE)
    turned = _turns_by_outline(view, first)
    if turned and turned[0][2] < 1.5 * first.pixel_mm:  # laid on another on the stage
        tried = []
        for R, t, misfit in turned[:8]:
            placed = _icp(view, first, tree, R, t, use, GATES_MM[1:], 2)
            tried.append((placed[2] - 0.2 * misfit, R, t))
        best = max(tried, key=lambda each: each[0])
        return best[1], best[2]
    centre, target = view.points_mm.mean(axis=0), first.points_mm.mean(axis=0)
    tilts = [np.zeros(3)]
    for size, k in product(TILTS_DEG, range(DIRECTIONS)):
        about = 2 * np.pi * k / DIRECTIONS
        tilts.append(np.radians(size) * np.array([np.cos(about), np.sin(about), 0.0]))
    found = []
    few = use[: COARSE // 2]
    for turn, tilt in product(2 * np.pi * np.arange(TURNS) / TURNS, tilts):
        R = (Rotation.from_rotvec(tilt) * Rotation.from_euler("z", turn)).as_matrix()
        R, t, score = _icp(view, first, tree, R, target - R @ centre, few, GATES_MM[:2], 2)
        # Of starts that agree alike the smaller motion is the likelier one.
        size = float(np.linalg.norm(Rotation.from_matrix(R).as_rotvec()))
        found.append((score - 0.02 * size, R, t))
    found.sort(key=lambda each: -each[0])
    ended = []
    for score, R, t in found[:BEST]:
        R, t, score = _icp(view, first, tree, R, t, use, GATES_MM[1:], 4)
        size = float(np.linalg.norm(Rotation.from_matrix(R).as_rotvec()))
        ended.append((score - 0.02 * size, R, t))
    best = max(ended, key=lambda each: each[0])
    return best[1], best[2]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Partners of two views in the first view's frame."""

    i: int
    j: int
    points: Array
    normals: Array
    residual: Array
    sigma: Array


def _surface_pairs(
    views: Sequence[View], trees: Sequence[cKDTree], poses: list[tuple[Array, Array]], i: int,
    j: int, gate: float,
) -> _Pairs:  # fmt: skip
    """Points of view i with the plane of their partner in view j."""
    use = _thinned(views[i], FINE)
    (R, t), (S, u) = poses[i], poses[j]
    moved = views[i].points_mm[use] @ R.T + t
    within = (moved - u) @ S
    turned = views[i].normals[use] @ R.T @ S
    reach = max(gate, 3 * views[j].pixel_mm)
    found, index = _partners(within, turned, trees[j], views[j], reach)
    p, at = moved[found], index[found]
    n = views[j].normals[at] @ S.T
    residual = np.sum((p - (views[j].points_mm[at] @ S.T + u)) * n, axis=1)
    close = np.abs(residual) < gate
    sigma = np.hypot(views[i].sigma_mm[use][found], views[j].sigma_mm[at])
    return _Pairs(i, j, p[close], n[close], residual[close], sigma[close])


def _outline_pairs(
    views: Sequence[View], poses: list[tuple[Array, Array]], i: int, j: int
) -> _Pairs | None:
    """Points of the outline of view i with the line of view j's; between views tilted alike."""
    (R, t), (S, u) = poses[i], poses[j]
    a, b = views[i], views[j]
    if not len(a.outline_mm) or not len(b.outline_mm):
        return None
    up = float(np.clip((S.T @ R)[2, 2], -1.0, 1.0))
    if np.degrees(np.arccos(up)) > SAME_TILT_DEG:
        return None
    some = a.outline_mm[:: max(1, len(a.outline_mm) // 1500)]
    p = np.column_stack([some, np.full(len(some), a.height_mm)]) @ R.T + t
    q = np.column_stack([b.outline_mm, np.full(len(b.outline_mm), b.height_mm)]) @ S.T + u
    tree = cKDTree(q[:, :2])
    distance, index = tree.query(p[:, :2], k=7)
    near = q[index][..., :2]
    spread = near - near.mean(axis=1, keepdims=True)
    moments = np.einsum("nki,nkj->nij", spread, spread)
    _, vectors = np.linalg.eigh(moments)
    n = np.column_stack([vectors[:, :, 0], np.zeros(len(p))])
    residual = np.sum((p[:, :2] - near.mean(axis=1)) * n[:, :2], axis=1)
    close = distance[:, 0] < 6 * b.pixel_mm
    if close.sum() < 20:
        return None
    # Neighbours on an outline are wrong alike: some five pixels count as one.
    sigma = np.full(len(p), OUTLINE_PX * b.pixel_mm * np.sqrt(5.0))
    return _Pairs(i, j, p[close], n[close], residual[close], sigma[close])


def _pairs(
    views: Sequence[View], trees: Sequence[cKDTree], poses: list[tuple[Array, Array]], gate: float
) -> list[_Pairs]:
    found = []
    for i, j in product(range(len(views)), repeat=2):
        if i != j:
            each = _surface_pairs(views, trees, poses, i, j, gate)
            if len(each.residual) > 30:
                found.append(each)
        if i < j and (border := _outline_pairs(views, poses, i, j)) is not None:
            found.append(border)
    return found


def _solve(
    pairs: list[_Pairs], turned: Array, centre: Array, size_mm: float
) -> tuple[Array, Array, int]:
    """Small motions (n, 6) of n views besides the first, their covariance, and how many are open.

    `turned` (n, 3) are the turns that took them from where they began to where they are: motions
    that are open take these back.

    The covariance adds up misfits by cells of the surface (a sandwich): within a cell the errors
    of a surface are alike, so that a thousand points in it know no more than one.
    """
    count = len(turned)
    unknowns = 6 * count
    scale = np.tile([size_mm] * 3 + [1.0] * 3, count)
    normal, right = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    scores, total = [], 0.0
    for pair in pairs:
        weight = _weights(pair.residual, pair.sigma)
        motion = np.hstack([np.cross(pair.points - centre, pair.normals), pair.normals])
        rows = np.zeros((len(motion), unknowns))
        for view, sign in ((pair.i, 1.0), (pair.j, -1.0)):
            if view > 0:
                rows[:, 6 * (view - 1) : 6 * view] = sign * motion
        rows /= scale
        normal += rows.T @ (rows * weight[:, None])
        each = rows * (weight * pair.residual)[:, None]
        right += each.sum(axis=0)
        total += float(weight.sum())
        cell = np.floor(pair.points / CELL_MM).astype(np.int64) @ np.array([1, 4096, 4096**2])
        _, which = np.unique(cell, return_inverse=True)
        summed = np.zeros((which.max() + 1, unknowns))
        np.add.at(summed, which.ravel(), each)
        scores.append(summed)
    values, vectors = np.linalg.eigh(normal)
    kept = values > OPEN * total / count
    inverse = (vectors * np.where(kept, 1.0 / np.maximum(values, 1e-30), 0.0)) @ vectors.T
    move = -inverse @ right
    left_open = vectors[:, ~kept]
    of_turns = left_open.reshape(count, 6, -1)[:, :3].reshape(3 * count, -1)
    move -= left_open @ np.linalg.lstsq(of_turns, size_mm * turned.ravel(), TURNS_SHOW)[0]
    scattered = np.concatenate(scores)
    covariance = inverse @ (scattered.T @ scattered) @ inverse
    # What is open is as unsure as the start was: a millimetre over the part.
    covariance += (vectors * (~kept)) @ vectors.T
    return (
        (move / scale).reshape(-1, 6),
        covariance / np.outer(scale, scale),
        int((~kept).sum()),
    )


def register(
    views: Sequence[View], starts: Sequence[tuple[Array, Array] | None] | None = None
) -> list[Pose]:
    """Poses of the views in the frame of the first.

    Parameters
    ----------
    starts : rotation and translation that a view begins at where they are known, or None

    Raises
    ------
    ReconstructError
        a view has hardly anything in common with the others
    """
    trees = [cKDTree(view.points_mm) for view in views]
    poses = [(np.eye(3), np.zeros(3))]
    begun = [np.eye(3)]
    for k in range(1, len(views)):
        known = starts[k] if starts is not None else None
        if known is None:
            poses.append(_start(views[k], views[0], trees[0]))
            begun.append(poses[k][0])
        else:
            begun.append(known[0])
            use = _thinned(views[k], COARSE)
            gates = (2 * GATES_MM[0], *GATES_MM[:3])
            poses.append(_icp(views[k], views[0], trees[0], *known, use, gates, 3)[:2])
    centre = views[0].points_mm.mean(axis=0)
    size = float(np.linalg.norm(np.std(views[0].points_mm, axis=0)))
    covariance, opened = np.zeros((6 * (len(views) - 1),) * 2), 0
    pairs: list[_Pairs] = []
    for gate, rounds in ((GATES_MM[1], 4), (GATES_MM[2], 6), (GATES_MM[3], 8)):
        for _ in range(rounds):
            pairs = _pairs(views, trees, poses, gate)
            if not pairs:
                raise ReconstructError("the views have no surface in common: are they of one part?")
            turned = [R @ first.T for (R, _), first in zip(poses[1:], begun[1:], strict=True)]
            away = Rotation.from_matrix(turned).as_rotvec()
            moves, covariance, opened = _solve(pairs, away, centre, size)
            for k, x in enumerate(moves, 1):
                dR, dt = _exponential(x, centre)
                poses[k] = (dR @ poses[k][0], dR @ poses[k][1] + dt)
            if np.abs(moves[:, 3:]).max() < 1e-4 and np.abs(moves[:, :3]).max() * size < 1e-4:
                break
    out = [Pose(np.eye(3), np.zeros(3), np.zeros((6, 6)), centre, 1.0, 0.0)]
    for k in range(1, len(views)):
        own = [pair for pair in pairs if pair.i == k and np.abs(pair.normals[:, 2]).max() > 0.0]
        shared = sum(len(pair.residual) for pair in own) / len(_thinned(views[k], FINE))
        if shared < LEAST_OVERLAP:
            raise ReconstructError(
                f"view {k + 1} has {100 * min(shared, 1):.0f} % of its points in common with the "
                "others: take views that overlap by a third and more"
            )
        residual = np.concatenate([pair.residual for pair in own])
        block = slice(6 * (k - 1), 6 * k)
        out.append(Pose(
            *poses[k], covariance[block, block], centre, float(min(shared, 1.0)),
            float(np.sqrt(np.mean(residual**2))), opened,
        ))  # fmt: skip
    return out
