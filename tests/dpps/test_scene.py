"""Pictures for training against the renderer of `reconstruct.optics`, and the sensor."""

from __future__ import annotations

import numpy as np
import pytest

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.dpps import bounces, scene, sensor
from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.rigs import MIXED, random_lights
from reconstruct.optics.interreflection import Rays, indirect
from reconstruct.optics.material import Lobe, Material, index_of_reflectance
from reconstruct.optics.render import render

N = 8
CENTRE = np.array([0, 0, 400.0], np.float32)
METAL = (np.float32(1.02), np.float32(6.79))


def plane(slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-20, 20, N), np.linspace(20, -20, N))
    points = np.stack([x, y, slope * x], -1).astype(np.float32)
    normal = np.array([-slope, 0, 1]) / np.hypot(1, slope)
    return points, np.broadcast_to(normal, points.shape).astype(np.float32).copy()


def pictures(points, normals, position, lobe, **changes):
    one = np.ones((N, N), np.float32)
    axis = -position / np.linalg.norm(position, axis=1, keepdims=True)
    given = {
        "alpha": 0.3 * one, "ratio": 1.0, "grain": 0.0, "beckmann": False,
        "complex_index": METAL, "diffuse": 0.1 * one,
        **changes,
    }  # fmt: skip
    lamps = scene.Lamps(
        position.astype(np.float32), axis.astype(np.float32), lobe.astype(np.float32),
        np.full(len(position), 1e5, np.float32), 0.0,
    )  # fmt: skip
    image, _ = scene.render(
        points, normals, np.ones((N, N), bool), CENTRE, lamps, scene.Finish(**given),
        scene.horizon(points), 0,
    )  # fmt: skip
    return image


@pytest.mark.parametrize("beckmann", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 2.5])
@pytest.mark.parametrize("lobe", [1.0, 1.5, 2.3])
def test_a_plane_looks_as_the_virtual_rig_shows_it(
    beckmann: bool, ratio: float, lobe: float
) -> None:
    points, normals = plane(0.3)
    rng = np.random.default_rng(0)
    position = rng.normal(0, 120, (20, 3)) + np.array([0, 0, 250.0])
    image = pictures(
        points, normals, position, np.full(20, lobe), beckmann=beckmann, ratio=ratio, grain=0.4
    )
    camera = Camera(N, N, np.diag([100.0, 100.0, 1.0]), t=np.array([0, 0, 400]))
    np.testing.assert_allclose(camera.centre_mm, CENTRE)
    lights = Lights.at(position, np.full(20, 1e5), lobe=lobe)
    widths = 0.3 * np.sqrt(ratio), 0.3 / np.sqrt(ratio)
    finish = Lobe(*widths, *METAL, 1.0, "beckmann" if beckmann else "ggx")
    metal = Material((finish,), 0.1, np.array([np.cos(0.4), np.sin(0.4), 0.0]))
    want = np.moveaxis(render(points, normals, camera, lights, metal, shadows=False), 0, -1)
    away = position - points[:, :, None]
    free = away[..., 2] > 0.35 * np.linalg.norm(away, axis=-1)  # far above the tilted plane
    np.testing.assert_allclose(image[free], want[free], rtol=1e-4, atol=1e-5)


def test_a_wall_throws_a_shadow() -> None:
    points, normals = plane()
    points[:, 6:, 2] = 40.0
    low = np.array([[300.0, 0, 60.0], [-300.0, 0, 60.0]])
    image = pictures(points, normals, low, np.ones(2))
    assert image[4, 4, 0] == 0
    assert image[4, 4, 1] > 0


@pytest.mark.parametrize("beckmann", [False, True])
def test_a_bowl_mirrors_itself_as_the_exact_tracer_says(beckmann: bool) -> None:
    n, margin = 64, 4
    focal = n * 420 / 110
    middle = (n - 1) / 2
    along = (np.arange(n) - middle) / focal
    x, y = np.meshgrid(along, -along)
    depth = 420 + 35 * np.exp(-((420 * x) ** 2 + (420 * y) ** 2) / (2 * 20.0**2))
    points = np.dstack([x * depth, y * depth, 420 - depth])
    normals = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    normals *= np.sign(normals[..., 2:]) / np.linalg.norm(normals, axis=-1, keepdims=True)
    rng = np.random.default_rng(0)
    away = rng.normal(size=(12, 3))
    away[:, 2] = np.abs(away[:, 2]) + 0.4
    lights = Lights.at(300 * away / np.linalg.norm(away, axis=1, keepdims=True), np.full(12, 1e5))
    camera = Camera(
        n, n, np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), t=np.array([0, 0, 420])
    )
    index = index_of_reflectance(0.8)
    metal = Material((Lobe(0.2, None, *index, 1.0, "beckmann" if beckmann else "ggx"),))
    exact = indirect(
        points, normals, camera, lights, metal, grid=n, rays=Rays(256, bounces=2), smooth=0
    )
    exact = np.moveaxis(exact, 0, -1)[margin:-margin, margin:-margin]

    as32 = [np.ascontiguousarray(a, np.float32) for a in (points, normals)]
    lamps = scene.Lamps(
        *(a.astype(np.float32) for a in (lights.position_mm, lights.axis, lights.lobe)),
        np.full(12, 1e5, np.float32), 0.0,
    )  # fmt: skip
    lit, one = np.ones((n, n), bool), np.ones((n, n), np.float32)
    finish = scene.Finish(
        0.2 * one, 1.0, 0.0, beckmann, (np.float32(index[0]), np.float32(index[1])), 0 * one
    )
    eye = CENTRE + np.float32([0, 0, 20])
    _, strength = scene.render(
        *as32, lit, eye, lamps, finish, scene.horizon(as32[0]), margin
    )  # fmt: skip
    paths = bounces.Paths(rng.random((n, n, 2), dtype=np.float32), 64, 2)
    cheap = bounces.bounced(*as32, lit, eye, lamps[0], strength, finish, paths, margin)
    assert cheap.sum() == pytest.approx(exact.sum(), rel=0.08)
    rest = scene.blur(cheap, 0.5, 0.25) - scene.blur(np.ascontiguousarray(exact), 0.5, 0.25)
    assert np.sqrt((rest**2).mean() / (exact**2).mean()) < 0.12


def test_the_sensor_adds_the_noise_it_states() -> None:
    table = sensor.normal_table()
    rng = np.random.default_rng(2)
    image = np.full((4000, 32), 0.25, np.float32)
    places = sensor.noise_places(rng, 4000, 32)
    lit = np.ones(4000, bool)
    lit[:10] = False
    clipped = sensor.expose(image, lit, 2.0, table, places, 0.01, 1e-3, 0.02, True, 0.0)
    assert (image[:10] == 0.25).all()
    assert not clipped.any()
    assert abs(image[10:].mean() - 0.52) < 5e-4
    assert image[10:].std() == pytest.approx(np.sqrt(1e-4 + 0.5e-3), rel=0.02)
    bright = np.linspace(0, 2, 64, dtype=np.float32).reshape(1, 64)
    marks = sensor.expose(
        bright, np.ones(1, bool), 1.0, table, places[:1], 0.0, 0.0, 0.0, True, 1 / 15
    )
    assert marks[0, 40:].all()
    assert not marks[0, :30].any()
    np.testing.assert_allclose(bright * 15, np.round(bright * 15), atol=1e-5)
    assert bright.max() == 1


@pytest.mark.parametrize("kind", [*MIXED, "panel", "spiral"])
@pytest.mark.parametrize("count", [8, 50, 200])
def test_random_rigs_stand_over_the_part(kind: str, count: int) -> None:
    rng = np.random.default_rng(count)
    lights = random_lights(rng, Ask(rig=kind, lights=count), 420.0, 110.0)
    assert lights["position"].shape == (count, 3)
    assert (lights["position"][:, 2] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(lights["axis"], axis=1), 1)
    assert (lights["power"] > 0).all()
    assert (lights["axis"] * lights["position"]).sum(1).mean() < 0  # they point at it
