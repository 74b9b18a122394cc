"""Where a mirror sphere shows a light: the specular point, exactly, with derivatives.

The law of reflection asks that the sphere's normal n at the point P bisects the directions to the
camera's centre O and to the light L. Both lie at finite distance, so n is neither the half vector
at the sphere's centre nor, the classic mistake, the light's direction. In the plane of O, L and
the sphere's centre this is Alhazen's problem, one monotone equation in one angle.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera

Array = NDArray[np.float64]


def specular_normal(camera_mm: Array, light_mm: Array, centre_mm: Array, radius_mm: float) -> Array:
    """(..., 3) unit normal of the sphere where it mirrors the light to the camera."""
    view, light = np.broadcast_arrays(camera_mm - centre_mm, light_mm - centre_mm)
    a = np.linalg.norm(view, axis=-1)
    b = np.linalg.norm(light, axis=-1)
    first = view / a[..., None]
    across = light - np.sum(light * first, axis=-1, keepdims=True) * first
    length = np.linalg.norm(across, axis=-1)
    second = across / np.maximum(length, 1e-300)[..., None]
    beta = np.arctan2(length, np.sum(light * first, axis=-1))
    phi = beta / 2
    for _ in range(20):
        # Angle of reflection minus angle of incidence at the normal that is φ off the view.
        rest = beta - phi
        error = np.arctan2(a * np.sin(phi), a * np.cos(phi) - radius_mm) - np.arctan2(
            b * np.sin(rest), b * np.cos(rest) - radius_mm
        )
        slope = a * (a - radius_mm * np.cos(phi)) / (
            a * a - 2 * a * radius_mm * np.cos(phi) + radius_mm**2
        ) + b * (b - radius_mm * np.cos(rest)) / (
            b * b - 2 * b * radius_mm * np.cos(rest) + radius_mm**2
        )
        change = error / slope
        phi = phi - change
        if np.max(np.abs(change), initial=0.0) < 1e-14:
            break
    return np.asarray(np.cos(phi)[..., None] * first + np.sin(phi)[..., None] * second)


def reflected_ray(
    camera: Camera, pixels: NDArray[Any], centre_mm: Array, radius_mm: float
) -> tuple[Array, Array, Array]:
    """Follow the pixels' viewing rays to the sphere and on to whatever is mirrored there.

    Returns
    -------
    point_mm : (..., 3) on the sphere; NaN where the ray misses it
    direction : (..., 3) unit vector from there towards what is seen in it
    normal : (..., 3) of the sphere
    """
    rays = camera.rays(pixels)
    to_centre = centre_mm - camera.centre_mm
    along = rays @ to_centre
    with np.errstate(invalid="ignore"):
        distance = along - np.sqrt(radius_mm**2 - (to_centre @ to_centre - along**2))
    point = camera.centre_mm + rays * distance[..., None]
    normal = (point - centre_mm) / radius_mm
    direction = rays - 2 * np.sum(rays * normal, axis=-1, keepdims=True) * normal
    return np.asarray(point), np.asarray(direction), np.asarray(normal)


def project_with_derivative(camera: Camera, points_mm: Array) -> tuple[Array, Array]:
    """Pixels (n, 2) of world points (n, 3), and their derivative (n, 2, 3) by the points."""
    rvec, _ = cv2.Rodrigues(camera.R)
    pixels, jacobian = cv2.projectPoints(
        points_mm.reshape(-1, 1, 3), rvec, camera.t, camera.K, camera.dist
    )
    # Columns 3 to 5 are the derivative by the translation, that is by the point in camera axes.
    by_camera_point = np.asarray(jacobian)[:, 3:6].reshape(-1, 2, 3)
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2), by_camera_point @ camera.R


def highlights(
    camera: Camera, light_mm: Array, centre_mm: Array, radius_mm: float
) -> tuple[Array, Array, Array]:
    """Pixels (n, 2) of highlights and their derivatives (n, 2, 3) by light and sphere centre.

    Parameters
    ----------
    light_mm, centre_mm : (n, 3), one pair per highlight
    """
    eye = camera.centre_mm
    normal = specular_normal(eye, light_mm, centre_mm, radius_mm)
    point = centre_mm + radius_mm * normal
    pixels, by_point = project_with_derivative(camera, point)

    # Differentiate Tᵀ(u_O + u_L) = 0, T the tangents at n, u the unit vectors from P.
    def unit(towards: Array) -> tuple[Array, Array]:
        length = np.linalg.norm(towards, axis=-1)
        u = towards / length[:, None]
        return u, (np.eye(3) - u[:, :, None] * u[:, None, :]) / length[:, None, None]

    u_eye, turn_eye = unit(eye - point)
    u_light, turn_light = unit(light_mm - point)
    other = np.eye(3)[np.argmin(np.abs(normal), axis=1)]
    t1 = np.cross(normal, other)
    t1 /= np.linalg.norm(t1, axis=1, keepdims=True)
    T = np.stack([t1, np.cross(normal, t1)], axis=-1)
    Tt = T.transpose(0, 2, 1)
    both = turn_eye + turn_light
    cosine = np.sum((u_eye + u_light) * normal, axis=-1)
    A = -radius_mm * (Tt @ both @ T) - cosine[:, None, None] * np.eye(2)
    by_light = -np.linalg.solve(A, Tt @ turn_light)
    by_centre = np.linalg.solve(A, Tt @ both)
    point_by_light = radius_mm * T @ by_light
    point_by_centre = np.eye(3) + radius_mm * T @ by_centre
    return pixels, by_point @ point_by_light, by_point @ point_by_centre
