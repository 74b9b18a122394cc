"""A mirror sphere's outline as its true perspective image, and the 3-D centre behind it.

The rays that graze a sphere of radius r at C form a cone about the direction of C with half angle
asin(r / |C|). Its image is an ellipse whose centre is *not* the image of C. Fitting the cone to
edge points, rather than an ellipse and then correcting it, has three unknowns, holds for
distorted lenses, and gives the centre with its covariance at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.circles import Circle, find_concentric
from calib.errors import CalibrationError, NoSphereError

Array = NDArray[np.float64]

EDGE_BIAS_PX = 0.05
"""One sigma by which an outline may be too wide as a whole, sharp and between even areas."""
UNEVEN = 1.0
"""The same between uneven areas, by how far a filter of twice the width moves the outline."""
MIN_OUTLINE = 0.3
RINGS = 6
RING_CONTRAST, RING_COVERAGE, SHARP_PX = 0.1, 0.7, 0.5
"""Of a ring that can be an outline, relative to the best of its place, and how far its edges may
scatter if all rings are blurred."""
ASSUMED_FOCAL = 50.0


@dataclass(frozen=True, eq=False)
class Sphere:
    """A sphere found in a picture.

    Attributes
    ----------
    centre_mm : (3,) world frame
    covariance : (3, 3) of the centre, mm²
    edges : (n, 2) outline points used, px
    rms_px : of their distances from the fitted outline
    coverage : part of the outline that was seen
    contrast : median strength of the edges used, in units of the picture
    widening_mm : (3,) how far off the centre is if the outline is too wide by one sigma of what
        uneven brightness beside it, alike in all pictures of a set, may do; not in `covariance`
    widening_px : that sigma, px
    """

    centre_mm: Array
    covariance: Array
    edges: Array
    rms_px: float
    coverage: float
    contrast: float = 0.0
    widening_mm: Array = field(default_factory=lambda: np.zeros(3))
    widening_px: float = 0.0


def assumed_camera(shape: tuple[int, int], focal_px: float | None = None) -> Camera:
    """A camera for photographs that come without one.

    Without a focal length it is taken so long that the projection is all but orthographic; good
    for directions from small fields of view. The frame's x is right, y up, z to the viewer.
    """
    height, width = shape
    f = focal_px or ASSUMED_FOCAL * max(shape)
    K = np.array([[f, 0.0, (width - 1) / 2], [0.0, f, (height - 1) / 2], [0.0, 0.0, 1.0]])
    return Camera(width, height, K)


def outline(camera: Camera, centre_mm: Array, radius_mm: float, angles: Array) -> Array:
    """(n, 2) pixels of a sphere's outline at angles about the direction of its centre."""
    return _cone_pixels(camera, centre_mm, radius_mm, angles, np.zeros(1))[:, 0]


def _cone_pixels(
    camera: Camera, centre_mm: Array, radius_mm: float, angles: Array, beyond: Array
) -> Array:
    """(n, k, 2) pixels at the cone's half angle plus `beyond` (rad)."""
    towards = centre_mm - camera.centre_mm
    distance = float(np.linalg.norm(towards))
    axis = towards / distance
    # The second vector lies along the image's rows, so that angle 0 points right.
    first = camera.R[0] - (camera.R[0] @ axis) * axis
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    around = np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
    opening = np.arcsin(radius_mm / distance) + beyond
    rays = np.cos(opening)[None, :, None] * axis + np.sin(opening)[None, :, None] * around[:, None]
    return camera.project(camera.centre_mm + distance * rays)


def centre_from_circle(camera: Camera, circle: Circle, radius_mm: float) -> Array:
    """(3,) centre of the sphere that a circle in the image roughly is."""
    x, y, r = circle.x, circle.y, circle.radius
    ring = camera.rays(np.array([[x - r, y], [x + r, y], [x, y - r], [x, y + r]]))
    axis = ring.mean(axis=0)
    axis /= np.linalg.norm(axis)
    opening = np.mean(np.arccos(np.clip(ring @ axis, -1, 1)))
    return np.asarray(camera.centre_mm + axis * radius_mm / np.sin(opening))


def _edge_points(
    image: NDArray[np.float32],
    camera: Camera,
    centre_mm: Array,
    radius_mm: float,
    band_px: float,
    coarse: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Sub-pixel edges across the outline: pixels (n, 2), angles (n,), strengths (n,).

    `coarse` is by how much the filter is wider than it need be.
    """
    ring = outline(camera, centre_mm, radius_mm, np.linspace(0, 2 * np.pi, 8, endpoint=False))
    radius_px = float(np.mean(np.linalg.norm(ring - ring.mean(axis=0), axis=1)))
    count = int(np.clip(2 * np.pi * radius_px / 1.5, 90, 1440))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    step = 0.5
    sigma_px = coarse * max(1.0, 0.004 * radius_px)
    far = band_px + max(4.0, 3 * sigma_px + 1)
    offsets = np.arange(-far, far + step / 2, step)
    distance = float(np.linalg.norm(centre_mm - camera.centre_mm))
    per_px = np.arcsin(radius_mm / distance) / radius_px
    pixels = _cone_pixels(camera, centre_mm, radius_mm, angles, offsets * per_px)
    profile = cv2.remap(
        image,
        pixels[..., 0].astype(np.float32),
        pixels[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float64)
    sigma = sigma_px / step
    reach = int(np.ceil(3 * sigma))
    t = np.arange(-reach, reach + 1)
    kernel = -t * np.exp(-0.5 * (t / sigma) ** 2)
    kernel = kernel / (0.5 * np.sum(np.abs(kernel)))
    slope = np.stack([np.convolve(row, kernel, mode="same") for row in profile])
    size = np.abs(slope)
    inside = (pixels[..., 0] > 1) & (pixels[..., 0] < camera.width - 2)
    inside &= (pixels[..., 1] > 1) & (pixels[..., 1] < camera.height - 2)
    edge = np.zeros_like(inside)
    edge[:, 1:-1] = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] > size[:, 2:])
    edge &= inside
    edge[:, :reach] = edge[:, -reach:] = False
    strongest = np.where(edge, size, 0).max(axis=1, keepdims=True)
    edge &= size > 0.25 * strongest
    edge &= size > 0.1 * np.median(strongest)
    row, column = np.nonzero(edge)
    before, here, after = size[row, column - 1], size[row, column], size[row, column + 1]
    shift = 0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-12)
    low = pixels[row, column]
    high = pixels[row, np.minimum(column + 1, len(offsets) - 1)]
    points = low + np.clip(shift, -0.5, 0.5)[:, None] * (high - low)
    return points, angles[row], here


def _cone_residuals(
    camera: Camera, rays: Array, centre_mm: Array, radius_mm: float, px_per_rad: float
) -> tuple[Array, Array]:
    """Distances of rays outside the cone (px), with derivatives (n, 3) by the centre."""
    towards = centre_mm - camera.centre_mm
    distance = float(np.linalg.norm(towards))
    axis = towards / distance
    cosine = np.clip(rays @ axis, -1, 1)
    angle = np.arccos(cosine)
    error = angle - np.arcsin(radius_mm / distance)
    by_centre = -(rays - cosine[:, None] * axis) / (np.sin(angle)[:, None] * distance)
    by_centre += radius_mm / (distance * np.sqrt(distance**2 - radius_mm**2)) * axis
    return error * px_per_rad, by_centre * px_per_rad


def fit_sphere(
    image: NDArray[Any], camera: Camera, radius_mm: float, start_mm: Array, band_px: float
) -> Sphere:
    """Fit a sphere's outline to the edges near where it is expected.

    Parameters
    ----------
    image : (H, W)
    start_mm : (3,) rough centre
    band_px : how far from its outline to look at first

    Raises
    ------
    CalibrationError : if too little of an outline is there
    """
    values = np.ascontiguousarray(image, dtype=np.float32)
    centre = np.asarray(start_mm, dtype=np.float64)
    limit = 0.35
    for band in (band_px, band_px / 2, max(4.0, band_px / 5), max(3.0, band_px / 10)):
        points, angles, strength = _edge_points(values, camera, centre, radius_mm, band)
        if len(points) < 12:
            raise CalibrationError("no outline of a sphere where one was expected")
        rays = camera.rays(points)
        distance = float(np.linalg.norm(centre - camera.centre_mm))
        ring = outline(camera, centre, radius_mm, np.linspace(0, 2 * np.pi, 16, endpoint=False))
        radius_px = float(np.mean(np.linalg.norm(ring - ring.mean(axis=0), axis=1)))
        px_per_rad = radius_px / np.arcsin(radius_mm / distance)
        scales = np.geomspace(max(band / 2, 1.0), 0.5, 10)
        for scale in np.concatenate([scales, np.full(10, 0.5)]):
            error, J = _cone_residuals(camera, rays, centre, radius_mm, px_per_rad)
            weight = 1 / (1 + (error / scale) ** 2) ** 2
            H = (J * weight[:, None]).T @ J
            change = np.linalg.solve(H + 1e-9 * np.trace(H) * np.eye(3), -J.T @ (weight * error))
            length = float(np.linalg.norm(change))
            if length > 0.2 * distance:
                change *= 0.2 * distance / length
            centre = centre + change
            if scale == 0.5 and length < 1e-7 * distance:
                break
        if (
            not np.all(np.isfinite(centre))
            or np.linalg.norm(centre - camera.centre_mm) < 1.05 * radius_mm
        ):
            raise CalibrationError("the outline found is not that of a sphere")
    error, J = _cone_residuals(camera, rays, centre, radius_mm, px_per_rad)
    near = np.abs(error) < 1.5
    spread = 1.4826 * float(np.median(np.abs(error[near]))) if near.any() else np.inf
    near &= np.abs(error) < max(4 * spread, limit)
    coverage = len(np.unique(np.round(angles[near], 9))) / max(
        1, int(np.clip(2 * np.pi * radius_px / 1.5, 90, 1440))
    )
    if coverage < MIN_OUTLINE:
        raise CalibrationError(f"only {100 * coverage:.0f} % of a sphere's outline can be seen")
    rms = float(np.sqrt(np.mean(error[near] ** 2)))
    J = J[near]
    inverse = np.linalg.inv(J.T @ J)
    coarse, _, _ = _edge_points(values, camera, centre, radius_mm, band, coarse=2.0)
    blurred, _ = _cone_residuals(camera, camera.rays(coarse), centre, radius_mm, px_per_rad)
    blurred = blurred[np.abs(blurred) < max(2.0, 3 * rms)]
    # Unequal slopes of brightness beside an edge shift it, the more the wider the filter. That it
    # is mirrored more and more towards grazing angles shifts it too, which no filter shows.
    shift = float(np.median(blurred)) - float(np.median(error[near])) if len(blurred) else 1.0
    whole = inverse @ J.sum(axis=0)
    covariance = inverse * max(rms, 0.02) ** 2 * 3 + EDGE_BIAS_PX**2 * np.outer(whole, whole)
    widening_px = UNEVEN * abs(shift)
    contrast = float(np.median(strength[near]))
    return Sphere(
        centre,
        np.asarray(covariance),
        points[near],
        rms,
        float(coverage),
        contrast,
        whole * widening_px,
        widening_px,
    )


def expected_radius_px(camera: Camera, radius_mm: float) -> tuple[float, float] | None:
    """Least and greatest radius of a sphere's image anywhere near the stage.

    None for a camera at the origin, which has no stage (see `assumed_camera`).
    """
    near = float(np.linalg.norm(camera.centre_mm))
    if near < 2 * radius_mm:
        return None
    f = float(camera.K[0, 0] + camera.K[1, 1]) / 2
    slack = max(4 * radius_mm, 0.15 * near)
    far_px = f * radius_mm / (near + slack)
    near_px = f * radius_mm / max(near - slack - 2 * radius_mm, 0.2 * near)
    return 0.95 * far_px, 1.1 * near_px


def _outline_among(
    image: NDArray[np.float32], camera: Camera, radius_mm: float, group: list[Circle]
) -> list[Sphere]:
    """The sphere, if any, whose outline is one of the rings that share a place.

    Within the outline lie the rings that a mirror shows of its surroundings; around it the edge
    of its own soft shadow, which is no edge at all when looked at closely. So it is the outermost
    ring that is sharp.
    """
    found: list[Sphere] = []
    for circle in group[:RINGS]:
        start = centre_from_circle(camera, circle, radius_mm)
        try:
            found.append(
                fit_sphere(image, camera, radius_mm, start, max(4.0, 0.03 * circle.radius))
            )
        except CalibrationError:
            continue
    if not found:
        return []
    contrast = RING_CONTRAST * max(s.contrast for s in found)
    covered = RING_COVERAGE * max(s.coverage for s in found)
    scatter = max(1.25 * min(s.rms_px for s in found), SHARP_PX)
    sharp = [
        s for s in found if s.contrast >= contrast and s.coverage >= covered and s.rms_px <= scatter
    ]
    eye = camera.centre_mm
    return sorted(sharp, key=lambda s: float(np.linalg.norm(s.centre_mm - eye)))[:1]


def _apart(spheres: list[Sphere], camera: Camera, radius_mm: float) -> list[Sphere]:
    """Those whose outlines leave each other room, the first ones kept."""
    kept: list[Sphere] = []
    axes: list[tuple[Array, float]] = []
    for sphere in spheres:
        towards = sphere.centre_mm - camera.centre_mm
        distance = float(np.linalg.norm(towards))
        axis, opening = towards / distance, float(np.arcsin(radius_mm / distance))
        room = [np.arccos(np.clip(axis @ a, -1, 1)) / (opening + o) for a, o in axes]
        if all(value > 0.85 for value in room):
            kept.append(sphere)
            axes.append((axis, opening))
    return kept


def find_spheres(
    image: NDArray[Any],
    camera: Camera | None,
    radius_mm: float,
    *,
    count: int | None = None,
) -> list[Sphere]:
    """Find mirror spheres in a picture, without hints.

    Parameters
    ----------
    image : (H, W) picture in room light, or the brightest of each pixel over all lights
    camera : None for photographs whose camera is unknown; see `assumed_camera`
    count : how many spheres there are, if that is known

    Returns
    -------
    the spheres, best outline first

    Raises
    ------
    NoSphereError : if there are none, or fewer than `count`
    """
    values = np.asarray(image, dtype=np.float32)
    view = camera if camera is not None else assumed_camera(values.shape)
    expected = expected_radius_px(view, radius_mm)
    known = expected is not None
    if values.shape != view.shape:
        raise CalibrationError(
            f"the picture has {values.shape[1]} × {values.shape[0]} pixels, the camera "
            f"{view.width} × {view.height}"
        )
    spheres: list[Sphere] = []
    for group in find_concentric(values, radius_px=expected):
        spheres += _outline_among(values, view, radius_mm, group)
    # Where the size is not known, a long outline says more than a small one well covered.
    support = {id(s): s.coverage if known else float(len(s.edges)) for s in spheres}
    spheres.sort(key=lambda s: -support[id(s)])
    spheres = _apart(spheres, view, radius_mm)
    if spheres and count is None:
        best = spheres[0]
        spheres = [
            s
            for s in spheres
            if support[id(s)] > 0.5 * support[id(best)]
            and s.contrast > 0.2 * best.contrast
            and s.rms_px < max(4 * best.rms_px, 0.4)
        ]
    if len(spheres) < (count or 1):
        raise NoSphereError(
            f"found {len(spheres)} of {count or 'at least 1'} spheres in the picture: is the "
            "outline of the ball in view, and its diameter right?"
        )
    return spheres[:count]
