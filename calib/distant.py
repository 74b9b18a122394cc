"""Lamps so far away that places of a mirror ball tell their directions and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.foreign import at_infinity
from calib.lights import Lights
from calib.plausible import FARTHEST
from calib.triangulate import AGREE_DEG
from calib.views import SphereView, directions_from

Array = NDArray[np.float64]

SIGMAS = 2.0


@dataclass(frozen=True, eq=False)
class Distant:
    """Lights that every place of the ball shows in one direction.

    Attributes
    ----------
    lights : at infinity
    missing : what is wrong with those that are not among them, by id
    spread_deg : median angle between a light's direction at a place and its mean
    at_least_mm : how near they could be, by two sigma
    parallel : nobody knows the camera, and the view was taken to be parallel
    """

    lights: Lights
    missing: dict[int, str]
    spread_deg: float
    at_least_mm: float
    parallel: bool

    @property
    def why(self) -> str:
        seen = "seen in parallel (no camera.json, no focal length) they"
        return (
            "The places of the ball show every light in one direction "
            f"(to {self.spread_deg:.2g}°): {seen if self.parallel else 'the lights'} are more than "
            f"{self.at_least_mm / 1000:.2g} m away, which fixes directions only"
        )


def distant_lights(
    views: Sequence[SphereView], camera: Camera, radius_mm: float, parallel: bool = False
) -> Distant | None:
    """Directions, where the places of the ball say that no light is near; None where they do not.

    Seen from a place b further on, a light at the distance d stands b / d further back. One
    inverse distance of all lights is fitted to how their directions differ between the places.
    Lights are distant if even two sigma more of it is less than any rig's lights have. A ball that
    was moved too little for that says nothing.

    Parameters
    ----------
    parallel : nobody knows the camera, and the view is taken to be parallel
    """
    found = [directions_from(view, camera, radius_mm) for view in views]
    seen = {led: [f[led] for f in found if led in f] for led in sorted(set().union(*found))}
    centres = np.array([view.sphere.centre_mm for view in views])
    missing: dict[int, str] = {}
    means: dict[int, Array] = {}
    misses: list[Array] = []
    steps: list[Array] = []
    for led, rays in seen.items():
        points, directions = (np.array(column) for column in zip(*rays, strict=True))
        mean = directions.mean(axis=0)
        mean /= np.linalg.norm(mean)
        miss = directions - mean
        if len(rays) < 2:
            missing[led] = "a highlight in one pose only"
        elif np.degrees(np.linalg.norm(miss, axis=1).max()) > AGREE_DEG:
            missing[led] = "its highlights do not agree on a direction"
        else:
            means[led] = mean
            misses.append(miss)
            step = points - points.mean(axis=0)
            steps.append(step - np.outer(step @ mean, mean))
    if len(means) <= len(missing):
        return None
    away = float(np.linalg.norm(centres.mean(axis=0) - camera.centre_mm))
    differ, apart = np.concatenate(misses), np.concatenate(steps)
    if parallel:  # the camera that stands for it is far away, and mirrored there are the lights
        differ = differ + apart / away
    turned = 2 * _aside(views, camera) / radius_mm  # outlines that are off turn normals, rays twice
    at_least_mm = _nearest(differ, apart, turned)
    width = max(camera.width / camera.K[0, 0], camera.height / camera.K[1, 1]) * away
    if at_least_mm < FARTHEST * width:
        return None
    missing |= {k: "no highlight in any pose" for v in views for k in v.blobs if k not in seen}
    spread = np.degrees(np.median(np.linalg.norm(differ, axis=1)))
    return Distant(
        at_infinity(list(means.values()), ids=list(means)),
        dict(sorted(missing.items())),
        float(spread),
        at_least_mm,
        parallel,
    )


def _aside(views: Sequence[SphereView], camera: Camera) -> float:
    """Uncertainty, mm, of the balls' centres across the line of sight, root mean square."""
    total = 0.0
    for view in views:
        sight = view.sphere.centre_mm - camera.centre_mm
        sight /= np.linalg.norm(sight)
        covariance = view.sphere.covariance
        total += float(np.trace(covariance) - sight @ covariance @ sight)
    return float(np.sqrt(total / len(views)))


def _nearest(misses: Array, steps: Array, turned: float) -> float:
    """The least distance, mm, that differences of directions (n, 3) over steps (n, 3), mm, leave.

    `turned` is by what all directions of one place are off together, root mean square.
    """
    moved = float(np.sum(steps**2))
    if moved == 0:
        return 0.0
    inverse = -float(np.sum(misses * steps)) / moved
    left = misses + inverse * steps
    scatter = float(np.sum(left**2)) / max(len(left) - 1, 1) / moved
    together = turned**2 * len(steps) / moved
    most = abs(inverse) + SIGMAS * np.sqrt(scatter + together)
    return float(1 / most) if most > 0 else np.inf
