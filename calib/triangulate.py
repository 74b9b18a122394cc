"""Two-view triangulation of lights: the start of the adjustment, and the choice of blobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from calib.blobs import Blob
from calib.camera import Camera
from calib.reflection import reflected_ray
from calib.views import SphereView

Array = NDArray[np.float64]

AGREE_DEG = 1.5
FITTING = 0.3
"""Part of its lights on which a view has to agree with the others."""
ENOUGH_LIGHTS = 4
SECOND_CHOICE = 0.3
"""What a blob that is not the brightest of its picture counts in the vote."""


@dataclass(frozen=True, eq=False)
class Track:
    """One light through the views: where it must be, and which blob shows it where.

    Attributes
    ----------
    led : id
    position_mm : (3,) triangulated; None where fewer than two views agree
    blobs : the blob of each view that agrees, by the view's index
    seen : number of views with any blob of this light
    """

    led: int
    position_mm: Array | None
    blobs: dict[int, Blob]
    seen: int


def nearest_to_rays(points: Array, directions: Array, weights: Array | None = None) -> Array:
    """(..., 3) point nearest to rays (..., n, 3) in the least-squares sense; NaN if parallel."""
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    if weights is not None:
        across = across * weights[..., None, None]
    A = across.sum(axis=-3)
    b = np.einsum("...nij,...nj->...i", across, points)
    good = np.linalg.cond(A) < 1e9
    result = np.full(b.shape, np.nan)
    result[good] = np.linalg.solve(A[good], b[good][..., None])[..., 0]
    return result


def _misses(position: Array, points: Array, directions: Array) -> Array:
    """Angles (deg) between rays (m, 3) and the directions to positions (k, 3): (k, m)."""
    towards = position[:, None] - points[None]
    length = np.linalg.norm(towards, axis=-1)
    cosine = np.einsum("kmi,mi->km", towards, directions) / np.maximum(length, 1e-9)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def track_light(led: int, views: Sequence[SphereView], camera: Camera, radius_mm: float) -> Track:
    """Choose in each view the blob on which most views agree, and triangulate.

    Every pair of blobs of two views proposes a position; the one most views have a blob for wins,
    brighter blobs counting more. Reflections of other things do not meet in one point.
    """
    blobs: list[Blob] = []
    owner: list[int] = []
    vote: list[float] = []
    points: list[Array] = []
    directions: list[Array] = []
    for place, view in enumerate(views):
        for rank, blob in enumerate(view.blobs.get(led, ())):
            pixel = np.array([blob.x, blob.y])
            point, direction, _ = reflected_ray(camera, pixel, view.sphere.centre_mm, radius_mm)
            if np.all(np.isfinite(direction)):
                blobs.append(blob)
                owner.append(place)
                vote.append(1.0 if rank == 0 else SECOND_CHOICE)
                points.append(point)
                directions.append(direction)
    seen = len(set(owner))
    if seen < 2:
        return Track(led, None, {owner[0]: blobs[0]} if blobs else {}, seen)
    P, D, where, votes = np.array(points), np.array(directions), np.array(owner), np.array(vote)
    pairs = np.array([(i, j) for i, j in combinations(range(len(P)), 2) if where[i] != where[j]])
    proposals = nearest_to_rays(P[pairs], D[pairs])
    ahead = np.einsum("kni,kni->kn", proposals[:, None] - P[pairs], D[pairs]).min(axis=1)
    good = np.isfinite(ahead) & (ahead > radius_mm)
    if not good.any():
        return Track(led, None, {}, seen)
    pairs, proposals = pairs[good], proposals[good]
    miss = _misses(proposals, P, D)
    worth = np.where(miss < AGREE_DEG, votes * (1.1 - miss / AGREE_DEG), 0.0)
    best = np.zeros((len(proposals), len(views)))
    for place in range(len(views)):
        mine = np.flatnonzero(where == place)
        if len(mine):
            best[:, place] = worth[:, mine].max(axis=1)
    winner = int(np.argmax(best.sum(axis=1)))
    chosen: dict[int, int] = {}
    for place in range(len(views)):
        mine = np.flatnonzero(where == place)
        if len(mine) and best[winner, place] > 0:
            chosen[place] = int(mine[np.argmax(worth[winner, mine])])
    if len(chosen) < 2:
        return Track(led, None, {}, seen)
    index = np.array(list(chosen.values()))
    position = nearest_to_rays(P[index], D[index])
    if (
        not np.all(np.isfinite(position))
        or np.einsum("ni,ni->n", position - P[index], D[index]).min() < radius_mm
    ):
        position = proposals[winner]
    return Track(led, position, {place: blobs[i] for place, i in chosen.items()}, seen)


def strangest_view(tracks: Sequence[Track], views: Sequence[SphereView]) -> int | None:
    """The view that least fits the others: no mirror ball, or one whose place is badly wrong.

    Its spots agree with hardly any of the lights that the others agree on. None where all views
    fit, or where two are left.
    """
    if len(views) < 3:
        return None
    worst, least = None, FITTING
    for place, view in enumerate(views):
        elsewhere = [t for t in tracks if len(set(t.blobs) - {place}) >= 2]
        seen = [t for t in elsewhere if view.blobs.get(t.led)]
        if len(elsewhere) < ENOUGH_LIGHTS:
            continue
        fitting = sum(place in t.blobs for t in seen) / max(len(seen), 1)
        if fitting < least:
            worst, least = place, fitting
    return worst
