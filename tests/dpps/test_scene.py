"""Pictures for training against the renderer of `reconstruct.optics`, and the sensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reconstruct.dpps import scene, sensor
from reconstruct.dpps.rigs import MIXED, random_lights
from reconstruct.dpps.samples import Ask
from reconstruct.optics.brdf import distribution, smith_g1

N = 8
CENTRE = np.array([0, 0, 400.0], np.float32)


def plane(slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-20, 20, N), np.linspace(20, -20, N))
    points = np.stack([x, y, slope * x], -1).astype(np.float32)
    normal = np.array([-slope, 0, 1]) / np.hypot(1, slope)
    return points, np.broadcast_to(normal, points.shape).astype(np.float32).copy()


def pictures(points, normals, position, lobe, **changes):
    one = np.ones((N, N), np.float32)
    axis = -position / np.linalg.norm(position, axis=1, keepdims=True)
    given = {
        "radius": 0.0, "alpha": 0.3 * one, "ratio": 1.0, "grain": 0.0, "beckmann": False,
        "f0": np.float32(0.7), "diffuse": 0.1 * one, "bounce": np.zeros((0, 2), np.float32),
        **changes,
    }  # fmt: skip
    return scene.render(
        points, normals, np.ones((N, N), bool), CENTRE, position.astype(np.float32),
        axis.astype(np.float32), lobe.astype(np.float32),
        np.full(len(position), 1e5, np.float32), given["radius"], given["alpha"], given["ratio"],
        given["grain"], given["beckmann"], given["f0"], given["diffuse"], scene.horizon(points),
        given["bounce"],
    )  # fmt: skip


@pytest.mark.parametrize("beckmann", [False, True])
@pytest.mark.parametrize("lobe", [1.0, 1.5, 2.3])
def test_a_plane_looks_as_microfacet_theory_says(beckmann: bool, lobe: float) -> None:
    points, normals = plane(0.3)
    rng = np.random.default_rng(0)
    position = rng.normal(0, 120, (20, 3)) + np.array([0, 0, 250.0])
    image = pictures(points, normals, position, np.full(20, lobe), beckmann=beckmann)
    p, n = torch.from_numpy(points)[:, :, None], torch.from_numpy(normals)[:, :, None]
    lights = torch.from_numpy(position.astype(np.float32))
    to_light = lights - p
    distance = to_light.norm(dim=-1, keepdim=True)
    light = to_light / distance
    view = torch.nn.functional.normalize(torch.from_numpy(CENTRE) - p, dim=-1)
    half = torch.nn.functional.normalize(light + view, dim=-1)
    kind, alpha = "beckmann" if beckmann else "ggx", 0.3
    n = n.expand_as(half)
    d = distribution(kind, n, half, alpha)
    nl, nv = (n * light).sum(-1).clamp(min=0), (n * view).sum(-1)
    fresnel = 0.7 + 0.3 * (1 - (view * half).sum(-1)) ** 5
    g = smith_g1("ggx", n, light, alpha) * smith_g1("ggx", n, view.expand_as(n), alpha)
    reflected = fresnel * d * g / (4 * nv) + 0.1 * nl / np.pi
    axis = torch.nn.functional.normalize(-lights, dim=-1)
    fall = (-(light * axis).sum(-1)).clamp(min=0) ** lobe
    want = (reflected * fall * 1e5 / distance[..., 0] ** 2).numpy()
    free = (light[..., 2] > 0.35).numpy()  # far above the horizon of the tilted plane
    np.testing.assert_allclose(image[free], want[free], rtol=2e-3, atol=1e-5)


def test_a_wall_throws_a_shadow_and_mirrors() -> None:
    points, normals = plane()
    points[:, 6:, 2] = 40.0
    low = np.array([[300.0, 0, 60.0], [-300.0, 0, 60.0]])
    image = pictures(points, normals, low, np.ones(2))
    assert image[4, 4, 0] == 0
    assert image[4, 4, 1] > 0
    normals[:, 5] = np.array([-0.7, 0, 0.714])
    rng = np.random.default_rng(1)
    more = pictures(points, normals, low, np.ones(2), bounce=rng.random((32, 2)).astype(np.float32))
    plain = pictures(points, normals, low, np.ones(2))
    assert (more >= plain).all()
    assert more.sum() > plain.sum()


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
