"""What has changed at the rig is found and named; an unchanged rig raises no alarm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calib.blobs import Blob
from calib.camera import Camera
from calib.check import check_ball, check_linearity, check_plate
from calib.lights import Lights
from calib.plate import PlateData, log_pattern
from calib.reflection import highlights
from calib.sphere import Sphere
from calib.views import SphereView

CAMERA = Camera(
    480, 480, np.array([[1833.6, 0, 239.5], [0, 1833.6, 239.5], [0, 0, 1.0]]),
    t=np.array([0.0, 0.0, 420.0]),
)  # fmt: skip
RADIUS = 12.7


@pytest.fixture
def lights() -> Lights:
    rng = np.random.default_rng(2)
    towards = rng.normal(size=(40, 3))
    towards[:, 2] = np.abs(towards[:, 2]) + 0.5
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    made = Lights.at(280 * towards, rng.uniform(0.8, 1.2, 40), lobe=1.0)
    covariance = np.tile(np.diag([0.2, 0.2, 0.2, 1e-6, 1e-6, 1e-6]) ** 2, (40, 1, 1))
    return replace(made, covariance=covariance)


def plate_of(lights: Lights, seed: int = 0) -> PlateData:
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-50, 50, 12), np.linspace(-50, 50, 12))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    value, *_ = log_pattern(points, lights.position_mm, lights.axis, lights.lobe)
    texture = rng.normal(0, 1e-3, len(points))
    with np.errstate(divide="ignore"):
        logs = value + np.log(lights.power)[:, None] + texture + 3.0
    logs += rng.normal(0, 1e-3, logs.shape)
    sigma = np.where(np.isfinite(logs), 1e-3, np.inf)
    logs = np.where(np.isfinite(logs), logs, 0.0)
    return PlateData(lights.ids, points, np.sum(points**2, axis=1) / 5000, logs, sigma, True)


def view_of(lights: Lights, camera: Camera = CAMERA, height_mm: float = 0.0) -> SphereView:
    rng = np.random.default_rng(1)
    centre = np.array([5.0, -8.0, RADIUS + height_mm])
    pixels, _, _ = highlights(camera, lights.position_mm, np.tile(centre, (len(lights), 1)), RADIUS)
    pixels = pixels + rng.normal(0, 0.05, pixels.shape)
    blobs = {
        int(k): (Blob(*map(float, pixel), 0.05, float(power), False),) if power > 0 else ()
        for k, pixel, power in zip(lights.ids, pixels, lights.power, strict=True)
    }
    return SphereView("check", Sphere(centre, np.eye(3) * 0.01, np.zeros((0, 2)), 0.1, 1.0), blobs)


def changed(lights: Lights) -> Lights:
    """LED 3 dead, 5 dim, 7 and 11 swapped, 20 moved by 8 mm."""
    position, power = lights.position_mm.copy(), lights.power.copy()
    position[[6, 10]], power[[6, 10]] = position[[10, 6]], power[[10, 6]]
    axis = lights.axis.copy()
    axis[[6, 10]] = axis[[10, 6]]
    power[2] = 0.0
    power[4] *= 0.8
    position[19] += [8.0, 0, 0]
    return replace(lights, position_mm=position, power=power, axis=axis)


def test_an_unchanged_rig_is_good(lights: Lights) -> None:
    for seed in range(5):
        assert check_plate(plate_of(lights, seed), lights) == []
    assert check_ball(view_of(lights), lights, CAMERA, RADIUS) == []


def test_changes_are_found_on_the_plate(lights: Lights) -> None:
    found = {(f.kind, f.leds) for f in check_plate(plate_of(changed(lights)), lights)}
    assert found == {("dead", (3,)), ("dim", (5,)), ("swapped", (7, 11)), ("moved", (20,))}


def test_changes_are_found_in_the_ball(lights: Lights) -> None:
    found = check_ball(view_of(changed(lights)), lights, CAMERA, RADIUS)
    assert {(f.kind, f.leds) for f in found} == {
        ("dead", (3,)),
        ("swapped", (7, 11)),
        ("moved", (20,)),
    }
    moved = next(f for f in found if f.kind == "moved")
    assert float(moved.text.split("some ")[1].split(" mm")[0]) == pytest.approx(8, abs=4)


def test_a_shifted_camera_or_stage_is_found(lights: Lights) -> None:
    turned = replace(CAMERA, K=CAMERA.K + np.array([[0, 0, 1.5], [0, 0, -0.7], [0, 0, 0]]))
    kinds = {f.kind for f in check_ball(view_of(lights, turned), lights, CAMERA, RADIUS)}
    assert "camera" in kinds
    assert "moved" not in kinds
    raised = {f.kind for f in check_ball(view_of(lights, height_mm=3.0), lights, CAMERA, RADIUS)}
    assert raised == {"stage"}


def test_linearity() -> None:
    t = [1.0, 2.0, 4.0, 8.0, 16.0]
    good = [100.2, 200.0, 400.1, 799.0, 1601.0]
    found, worst = check_linearity(t, good, [0.5] * 5)
    assert not found
    assert worst < 0.01
    gamma = [100 * x**0.9 for x in t]
    found, worst = check_linearity(t, gamma, [0.5] * 5)
    assert found[0].kind == "linearity"
    assert worst > 0.05
