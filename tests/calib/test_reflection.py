"""The mirror sphere's optics: exact reflection, and two mistakes others make."""

from __future__ import annotations

import numpy as np
import pytest

from calib.camera import Camera
from calib.reflection import highlights, reflected_ray, specular_normal

CAMERA = Camera(
    640,
    480,
    np.array([[2000.0, 0.0, 320.0], [0.0, 2010.0, 238.0], [0.0, 0.0, 1.0]]),
    dist=np.array([0.05, -0.1, 1e-3, -5e-4, 0.02]),
    t=np.array([2.0, -3.0, 400.0]),
)
CENTRE = np.array([12.0, -20.0, 12.7])
RADIUS = 12.7


@pytest.fixture
def lights() -> np.ndarray:
    rng = np.random.default_rng(3)
    towards = rng.normal(size=(50, 3))
    towards[:, 2] = np.abs(towards[:, 2]) + 0.2
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return towards * rng.uniform(80, 600, (50, 1))


def test_incidence_equals_reflection(lights: np.ndarray) -> None:
    normal = specular_normal(CAMERA.centre_mm, lights, CENTRE, RADIUS)
    point = CENTRE + RADIUS * normal
    view = CAMERA.centre_mm - point
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    light = lights - point
    light /= np.linalg.norm(light, axis=1, keepdims=True)
    mirrored = 2 * np.sum(view * normal, axis=1, keepdims=True) * normal - view
    np.testing.assert_allclose(mirrored, light, atol=1e-10)


def test_the_ray_through_a_highlight_meets_the_light(lights: np.ndarray) -> None:
    pixels, _, _ = highlights(CAMERA, lights, np.tile(CENTRE, (50, 1)), RADIUS)
    point, direction, _ = reflected_ray(CAMERA, pixels, CENTRE, RADIUS)
    along = np.sum((lights - point) * direction, axis=1, keepdims=True)
    np.testing.assert_allclose(point + along * direction, lights, atol=1e-5)


def test_the_normal_is_not_the_lights_direction(lights: np.ndarray) -> None:
    """Returning the sphere's normal at the highlight for the light's direction: the classic."""
    pixels, _, _ = highlights(CAMERA, lights, np.tile(CENTRE, (50, 1)), RADIUS)
    point, direction, normal = reflected_ray(CAMERA, pixels, CENTRE, RADIUS)
    towards = lights - point
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)

    def angle(a: np.ndarray) -> np.ndarray:
        return np.degrees(np.arccos(np.clip(np.sum(a * towards, axis=1), -1, 1)))

    assert angle(direction).max() < 1e-3
    assert np.median(angle(normal)) > 10


def test_derivatives(lights: np.ndarray) -> None:
    centres = np.tile(CENTRE, (50, 1))
    _, by_light, by_centre = highlights(CAMERA, lights, centres, RADIUS)
    step = 1e-4
    for axis in range(3):
        move = np.eye(3)[axis] * step
        for k, (a, b) in enumerate([(lights, centres), (lights, centres)]):
            plus = highlights(CAMERA, a + move * (k == 0), b + move * (k == 1), RADIUS)[0]
            minus = highlights(CAMERA, a - move * (k == 0), b - move * (k == 1), RADIUS)[0]
            analytic = (by_light, by_centre)[k][:, :, axis]
            np.testing.assert_allclose((plus - minus) / (2 * step), analytic, rtol=1e-4, atol=1e-6)
