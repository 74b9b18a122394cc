"""Rendering: closed forms, shadows, chunks."""

from dataclasses import replace

import numpy as np
import pytest

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics import shadows
from reconstruct.optics.interreflection import Rays, indirect, upsampled
from reconstruct.optics.material import Lobe, Material, circular_lay
from reconstruct.optics.render import render
from reconstruct.shapes.base import Shape
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample


def camera(width: int = 48, height: int = 40, tilt: float = 0.02) -> Camera:
    focal = 420.0 * width / 110.0
    K = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1.0]])
    R = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    return Camera(
        width, height, K, np.zeros(5), R @ np.diag([1.0, -1.0, -1.0]), np.array([1, 2, 420.0])
    )


def dome(count: int = 12, lobe: float = 1.0) -> Lights:
    rng = np.random.default_rng(1)
    position = rng.standard_normal((count, 3))
    position[:, 2] = np.abs(position[:, 2]) + 0.5
    position *= 280 / np.linalg.norm(position, axis=1, keepdims=True)
    return replace(Lights.at(position, rng.uniform(0.8, 1.2, count), lobe), intensity=7e4)


MATERIALS = {
    "ggx over paint": Material((Lobe(0.2),), 0.1),
    "beckmann": Material((Lobe(0.25, None, 0.78, 2.74, 0.9, "beckmann"),)),
    "brushed": Material((Lobe(0.1, 0.3),), tangents=np.array([1.0, 0.5, 0.0])),
    "turned": Material(
        (Lobe(0.08, 0.3, distribution="beckmann"), Lobe(0.4, weight=0.2)), tangents=circular_lay()
    ),
    "paint": Material.lambertian(0.7),
}


@pytest.mark.parametrize("lobe", [0.0, 1.0, 2.7])
def test_a_matt_plane_has_its_analytic_radiance(lobe: float) -> None:
    view, lights = camera(), dome(lobe=lobe)
    points = view.points_at_height(3.0)
    normals = np.broadcast_to([0.0, 0.0, 1.0], points.shape)
    got = render(points, normals, view, lights, Material.lambertian(0.8))
    offset = lights.position_mm[:, None, None] - points
    d = np.linalg.norm(offset, axis=-1)
    psi = -(offset * lights.axis[:, None, None]).sum(-1) / d
    expected = (
        7e4 * lights.power[:, None, None] * psi**lobe / d**2 * 0.8 / np.pi * offset[..., 2] / d
    )
    np.testing.assert_allclose(got, expected, rtol=2e-5)


def test_pixels_without_surface_stay_dark_and_cast_no_shadow() -> None:
    view, lights = camera(), dome()
    points = view.points_at_height(0.0)
    normals = np.zeros_like(points)
    normals[..., 2] = 1.0
    whole = render(points, normals, view, lights, MATERIALS["ggx over paint"])
    points[10:20, 10:20] = np.nan
    normals[10:20, 10:20] = np.nan
    holed = render(points, normals, view, lights, MATERIALS["ggx over paint"])
    assert not holed[:, 10:20, 10:20].any()
    keep = np.isfinite(points[..., 2])
    np.testing.assert_allclose(holed[:, keep], whole[:, keep], rtol=1e-5)


def test_an_led_as_a_disc_gives_its_points_light_softened() -> None:
    view, lights = camera(), dome(4)
    seen = sample(shape("step_gauge", 1), view)
    point = render(seen.points_mm, seen.normals, view, lights, MATERIALS["paint"])
    disc = render(
        seen.points_mm, seen.normals, view, lights, MATERIALS["paint"], disc_radius_mm=2.0
    )
    lit = point > 0.5 * np.median(point)
    np.testing.assert_allclose(np.median(disc[lit] / point[lit]), 1.0, atol=2e-3)


def ray_traced_shadow(part: Shape, points, lamp) -> np.ndarray:
    """Visibility by stepping along each ray through the height function."""
    t = np.linspace(0.002, 1.0, 3000)
    out = np.ones(points.shape[:2])
    for y, x in np.ndindex(out.shape):
        ray = points[y, x] + t[:, None] * (lamp - points[y, x])
        ray = ray[(np.abs(ray[:, 0]) < 54) & (np.abs(ray[:, 1]) < 45)]
        out[y, x] = float((part.height(ray[:, 0], ray[:, 1]) < ray[:, 2] + 1e-3).all())
    return out


@pytest.mark.parametrize(
    "lamp",
    [(250.0, 30.0, 110.0), (-40.0, 200.0, 90.0), (60.0, 60.0, 200.0), (150, -20.0, 700.0)],
    ids=["right", "top", "above, inside the image", "behind the camera"],
)
def test_cast_shadows_against_ray_tracing(lamp: tuple[float, float, float]) -> None:
    tower = Shape("tower", lambda x, y: 30.0 * np.exp(-((((x - 8) ** 2 + y**2) / 90.0) ** 3)))
    view = camera(64, 56)
    points = sample(tower, view).points_mm.astype(float)
    place = np.array(lamp)
    got = shadows.visibility(points, view, place[None])[0] > 0.5
    expected = ray_traced_shadow(tower, points, place) > 0.5
    wrong = got != expected
    assert wrong.mean() < 0.02  # a pixel's width along the edges
    if lamp[2] < 150:
        assert (~expected).mean() > 0.03
        # Away from the shadow's outline nothing is wrong.
        import cv2

        edge = cv2.dilate(expected.astype(np.uint8), np.ones((5, 5))) != cv2.erode(
            expected.astype(np.uint8), np.ones((5, 5))
        )
        assert not wrong[~edge].any()


def test_a_plane_casts_no_shadow_on_itself() -> None:
    view = camera()
    seen = shadows.visibility(view.points_at_height(5.0), view, dome(30).position_mm)
    assert seen.min() > 0.999


def test_lights_that_cast_no_shadow_are_told_without_missing_one() -> None:
    """Each light's shadows with a hole in the surface, where all are cast, and without."""
    view, lights = camera(64, 56), dome(60).position_mm
    waves = Shape("waves", lambda x, y: 3.0 * np.sin(x / 6.0) + 2.0 * np.cos(y / 7.0 + x / 9.0))
    points = sample(waves, view).points_mm
    holed = points.copy()
    holed[0, 0] = np.nan
    whole, cast = (shadows.visibility(each, view, lights) for each in (points, holed))
    dark = (cast[:, 1:, 1:] < 0.99).any(axis=(1, 2))
    assert 10 < dark.sum() < 50
    np.testing.assert_allclose(whole[:, 1:, 1:], cast[:, 1:, 1:], atol=2e-3)


def test_bounced_light_in_a_bowl_but_not_on_a_plane() -> None:
    """Inter-reflection is nil on a plane and considerable in a bowl; more bounces add light."""
    view, lights = camera(64, 64), dome(8)
    metal = Material((Lobe(0.25),))
    flat = sample(Shape("plane", lambda x, y: 0.0 * x), view)
    none = indirect(flat.points_mm, flat.normals, view, lights, metal)
    assert none.max() < 1e-6
    bowl = sample(Shape("bowl", lambda x, y: -25 * np.exp(-(x**2 + y**2) / 500.0)), view)
    direct = render(bowl.points_mm, bowl.normals, view, lights, metal)
    once = indirect(bowl.points_mm, bowl.normals, view, lights, metal, rays=Rays(bounces=1))
    thrice = indirect(bowl.points_mm, bowl.normals, view, lights, metal, rays=Rays(bounces=3))
    assert 0.01 < once.mean() / direct.mean() < 0.5
    assert thrice.mean() > 1.02 * once.mean()


@pytest.mark.parametrize(
    ("alpha", "bound"), [(0.03, 0.25), pytest.param(0.06, 0.13, marks=pytest.mark.slow)]
)
def test_bounced_light_of_large_pixels_is_the_mean_of_small_ones(alpha, bound) -> None:
    """On a mirror that turns by more than its lobe is wide from one pixel to the next."""
    lights, metal = dome(), Material((Lobe(alpha),))
    bowl = Shape("bowl", lambda x, y: -25 * np.exp(-(x**2 + y**2) / 500.0))

    def traced(times: int, samples: int) -> np.ndarray:
        view = camera(48 * times, 40 * times)
        seen = sample(bowl, view)
        images = indirect(
            seen.points_mm, seen.normals, view, lights, metal, grid=48 * times,
            rays=Rays(samples), smooth=0.0,
        )  # fmt: skip
        return images.reshape(len(lights), 40, times, 48, times).mean(axis=(2, 4))

    fine, coarse = traced(4, 256), traced(1, 2000)
    # From middle to nearest middle it would be 0.49 and 0.18.
    assert np.linalg.norm(coarse - fine) < bound * np.linalg.norm(fine)


def test_bounced_light_is_right_in_a_white_sphere_segment() -> None:
    """Inside a matt sphere every part sees every other alike: one bounce off a cap of albedo ρ
    adds ρ · (mean irradiance) · (cap area / sphere area), whatever the place."""
    rho, radius, depth = 0.8, 45.0, 30.0
    rim = np.sqrt(radius**2 - (radius - depth) ** 2)
    # The cap lies below z = 0 inside the field; around it there is nothing.
    cap = Shape(
        "cap",
        lambda x, y: (radius - depth) - np.sqrt(np.maximum(radius**2 - x**2 - y**2, 1.0)),
        inside=lambda x, y: np.hypot(x, y) < rim,
    )
    view = camera(256, 256, tilt=0.0)  # coarser ones lose light at the steep rim: 8 % at 96
    seen = sample(cap, view, 2).masked()
    lamp = replace(Lights.at(np.array([[0.0, 0.0, 4000.0]])), intensity=4000.0**2)
    once = indirect(
        seen.points_mm, seen.normals, view, lamp, Material.lambertian(rho), grid=256,
        rays=Rays(bounces=1), smooth=0.0,
    )[0]  # fmt: skip
    # Power through the rim falls on the cap: π rim² · 1, spread over the sphere's area.
    flux_density = np.pi * rim**2 / (4 * np.pi * radius**2)
    expected = rho / np.pi * rho * flux_density
    middle = once[108:148, 108:148].mean()
    assert middle == pytest.approx(expected, rel=0.045)


def test_upsampling_keeps_a_plane_of_values() -> None:
    images = np.full((2, 8, 8), 3.0, np.float32)
    assert upsampled(images, (33, 34)).shape == (2, 33, 34)
    np.testing.assert_allclose(upsampled(images, (33, 34)), 3.0)
