"""The adjustment on rigs whose truth is known: right, and right about how right it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from calib.blobs import Blob
from calib.camera import Camera
from calib.certificate import Calibration
from calib.errors import CalibrationError
from calib.lights import Lights
from calib.plate import PlateData, log_pattern
from calib.reflection import highlights
from calib.solve import on_the_stage, solve_directions, solve_lights
from calib.sphere import Sphere
from calib.views import SphereView

CHI2_95 = 7.815  # three degrees of freedom


def random_rig(rng: np.random.Generator, leds: int) -> tuple[Camera, Lights, float]:
    """A camera, LEDs anywhere above the stage, and a ball's radius."""
    distance = rng.uniform(300, 700)
    size = int(rng.integers(480, 1600))
    f = size * distance / rng.uniform(90, 160)
    middle = (size - 1) / 2
    K = np.array([[f, 0, middle], [0, f, middle], [0, 0, 1.0]])
    tilt = rng.normal(0, 0.02, 2)
    R = np.array([[1, 0, tilt[0]], [0, -1, tilt[1]], [tilt[0], tilt[1], -1.0]])
    u, _, v = np.linalg.svd(R)
    camera = Camera(size, size, K, R=u @ v, t=np.array([*rng.normal(0, 2, 2), distance]))
    towards = rng.normal(size=(leds, 3))
    towards[:, 2] = np.abs(towards[:, 2]) + 0.3
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    lights = Lights.at(towards * rng.uniform(150, 450, (leds, 1)), rng.uniform(0.8, 1.2, leds), 1.0)
    axis = lights.axis + rng.normal(0, 0.05, lights.axis.shape)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    return camera, replace(lights, axis=axis), float(rng.uniform(8, 18))


def view_of(
    rng: np.random.Generator,
    camera: Camera,
    lights: Lights,
    radius: float,
    at: Sequence[float],
    noise_px: float,
    name: str = "pose",
) -> SphereView:
    """A ball on the stage, its centre measured with the error that it says it has."""
    centre = np.array([at[0], at[1], radius])
    towards = (centre - camera.centre_mm) / np.linalg.norm(centre - camera.centre_mm)
    covariance = 0.01**2 * np.eye(3) + 0.25**2 * np.outer(towards, towards)
    measured = rng.multivariate_normal(centre, covariance)
    pixels, _, _ = highlights(camera, lights.position_mm, np.tile(centre, (len(lights), 1)), radius)
    pixels = pixels + rng.normal(0, noise_px, pixels.shape)
    blobs = {
        int(k): (Blob(float(p[0]), float(p[1]), 0.02, 1.0, False),)
        for k, p in zip(lights.ids, pixels, strict=True)
    }
    return SphereView(name, Sphere(measured, covariance, np.zeros((0, 2)), 0.1, 1.0), blobs)


def views_of(
    rng: np.random.Generator,
    camera: Camera,
    lights: Lights,
    radius: float,
    poses: int,
    noise_px: float = 0.1,
) -> list[SphereView]:
    half = 0.35 * camera.width * camera.pixel_mm()
    places = rng.uniform(-half, half, (poses, 2))
    places[:2] = [[-0.7 * half, -0.5 * half], [0.7 * half, 0.5 * half]]
    return [
        view_of(rng, camera, lights, radius, at, noise_px, f"pose {n}")
        for n, at in enumerate(places)
    ]


def plate_of(rng: np.random.Generator, camera: Camera, lights: Lights) -> PlateData:
    half = 0.45 * camera.width * camera.pixel_mm()
    x, y = np.meshgrid(np.linspace(-half, half, 16), np.linspace(-half, half, 16))
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    q = np.sum(points**2, axis=1) / (2 * half**2)
    value, *_ = log_pattern(points, lights.position_mm, lights.axis, lights.lobe)
    logs = value + np.log(lights.power)[:, None] + 4.0 - 0.08 * q + rng.normal(0, 2e-3, len(q))
    logs = logs + rng.normal(0, 1e-3, value.shape)
    return PlateData(lights.ids, points, q, logs, np.full(value.shape, 1e-3), True)


def contained(result: Calibration, lights: Lights) -> np.ndarray:
    """Whether the 95 % ellipsoid of each light holds the truth."""
    where = {int(k): i for i, k in enumerate(lights.ids)}
    truth = lights.position_mm[[where[int(k)] for k in result.lights.ids]]
    off = result.lights.position_mm - truth
    covariance = result.lights.position_covariance()
    assert covariance is not None
    return np.einsum("ki,kij,kj->k", off, np.linalg.inv(covariance), off) < CHI2_95


def coverage(rigs: range, leds: int, plate: bool) -> tuple[float, int]:
    inside: list[bool] = []
    lost = 0
    for seed in rigs:
        rng = np.random.default_rng(seed)
        camera, lights, radius = random_rig(rng, leds)
        noise = float(rng.uniform(0.03, 0.2))
        views = views_of(rng, camera, lights, radius, int(rng.integers(3, 9)), noise)
        data = plate_of(rng, camera, lights) if plate else None
        result = solve_lights(views, camera, radius, plate=data, held_out=False)
        lost += len(result.missing)
        inside += contained(result, lights).tolist()
    return float(np.mean(inside)), lost


def test_ellipsoids_hold_the_truth() -> None:
    share, lost = coverage(range(12), 24, plate=False)
    assert 0.90 <= share <= 0.985
    assert lost == 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("plate", [False, True])
def test_ellipsoids_hold_the_truth_in_a_hundred_rigs(plate: bool) -> None:
    share, lost = coverage(range(100, 200), 32, plate)
    assert 0.90 <= share <= 0.98
    assert lost == 0


def test_the_plate_fixes_what_the_ball_leaves_open() -> None:
    rng = np.random.default_rng(7)
    camera, lights, radius = random_rig(rng, 24)
    views = views_of(rng, camera, lights, radius, 5)
    ball = solve_lights(views, camera, radius, held_out=False)
    both = solve_lights(
        views, camera, radius, plate=plate_of(rng, camera, lights), reflectance=0.8, held_out=False
    )

    def worst(result: Calibration) -> float:
        return float(
            np.median(np.linalg.norm(result.lights.position_mm - lights.position_mm, axis=1))
        )

    assert worst(both) < 0.7 * worst(ball)
    np.testing.assert_allclose(both.lights.power, lights.power / lights.power.mean(), rtol=0.02)
    assert both.lights.covariance is not None
    assert np.linalg.eigvalsh(both.lights.covariance).min() > -1e-12
    assert both.lights.power_sigma is not None
    off = np.log(both.lights.power / (lights.power / lights.power.mean()))
    assert 0.4 < np.std(off) / np.sqrt(np.mean(both.lights.power_sigma**2)) < 2.0
    assert both.vignetting is not None
    assert both.vignetting.sum() == pytest.approx(-0.08, abs=0.02)
    assert both.lights.intensity == pytest.approx(
        np.exp(4.0) * lights.power.mean() * np.pi / 0.8, rel=0.05
    )


@pytest.mark.parametrize("plate", [False, True])
def test_outlines_that_are_all_too_wide(plate: bool) -> None:
    """A plate tells how far the balls are; without it the covariance has to say what is left."""
    rng = np.random.default_rng(11)
    camera, lights, radius = random_rig(rng, 24)
    views = []
    for view in views_of(rng, camera, lights, radius, 5, 0.05):
        towards = view.sphere.centre_mm - camera.centre_mm
        towards /= np.linalg.norm(towards)
        sphere = replace(
            view.sphere,
            centre_mm=view.sphere.centre_mm - 3.0 * towards,
            widening_mm=2.0 * towards,
            widening_px=0.5,
        )
        views.append(replace(view, sphere=sphere))
    data = plate_of(rng, camera, lights) if plate else None
    result = solve_lights(views, camera, radius, plate=data, held_out=False)
    off = np.linalg.norm(result.lights.position_mm - lights.position_mm, axis=1)
    if plate:
        assert np.median(off) < 1.0
    assert np.median(off / result.position_sigma_mm) < 2.0
    blind = [replace(v, sphere=replace(v.sphere, widening_mm=np.zeros(3))) for v in views]
    without = solve_lights(blind, camera, radius, plate=data, held_out=False)
    missed = np.linalg.norm(without.lights.position_mm - lights.position_mm, axis=1)
    assert np.median(missed / without.position_sigma_mm) > 2.5
    if plate:
        assert np.median(off) < 0.5 * np.median(missed)


def test_nominal_layout_helps_lights_seen_once() -> None:
    rng = np.random.default_rng(3)
    camera, lights, radius = random_rig(rng, 12)
    views = views_of(rng, camera, lights, radius, 2)
    views[0] = replace(views[0], blobs={k: b for k, b in views[0].blobs.items() if k != 5})
    drawing = replace(lights, position_mm=lights.position_mm + rng.normal(0, 3, (12, 3)))
    without = solve_lights(views, camera, radius, held_out=False)
    assert list(without.missing) == [5]
    assert "one pose" in without.missing[5]
    result = solve_lights(
        views, camera, radius, nominal=drawing, nominal_sigma_mm=3.0, held_out=False
    )
    assert not result.missing
    assert 5 in result.weak
    off = np.linalg.norm(result.lights.position_mm - lights.position_mm, axis=1)
    drawn = np.linalg.norm(drawing.position_mm - lights.position_mm, axis=1)
    assert off[4] < drawn[4]
    assert np.median(off) < 0.8 * np.median(drawn)


def test_lights_without_two_agreeing_poses_are_named_not_invented() -> None:
    rng = np.random.default_rng(5)
    camera, lights, radius = random_rig(rng, 16)
    views = views_of(rng, camera, lights, radius, 4)
    for place, view in enumerate(views):
        blobs = dict(view.blobs)
        blobs[3] = ()
        if place:
            blobs[9] = ()
        # LED 12 flashes from another place in every pose.
        wrong = blobs[12][0]
        blobs[12] = (replace(wrong, x=wrong.x + 9 * (-1) ** place, y=wrong.y + 7 * (place - 1.5)),)
        views[place] = replace(view, blobs=blobs)
    result = solve_lights(views, camera, radius, held_out=False)
    assert {3, 9} <= set(result.missing)
    assert 12 in result.missing or 12 in result.weak
    others = [k for k in range(1, 17) if k not in (3, 9, 12)]
    assert set(others) <= set(result.lights.ids.tolist())


def test_what_mirrors_no_light_is_left_out() -> None:
    """A round thing with spots on it that come from no light, and a ball misplaced by far."""
    rng = np.random.default_rng(12)
    camera, lights, radius = random_rig(rng, 24)
    views = views_of(rng, camera, lights, radius, 5, 0.05)
    clean = solve_lights(views, camera, radius)
    lid = view_of(rng, camera, lights, radius, (5.0, -20.0), 40.0, "lid")
    astray = view_of(rng, camera, lights, radius, (-20.0, 25.0), 0.05, "astray")
    sphere = astray.sphere
    moved = sphere.centre_mm + 0.12 * (camera.centre_mm - sphere.centre_mm)
    astray = replace(astray, sphere=replace(sphere, centre_mm=moved))
    result = solve_lights([lid, *views[:2], astray, *views[2:]], camera, radius)
    assert set(result.left_out) == {"lid", "astray"}
    assert result.views == clean.views
    np.testing.assert_allclose(result.lights.position_mm, clean.lights.position_mm, atol=1e-3)


def test_the_right_blob_is_chosen_among_brighter_wrong_ones() -> None:
    rng = np.random.default_rng(6)
    camera, lights, radius = random_rig(rng, 16)
    views = views_of(rng, camera, lights, radius, 5, 0.05)
    clean = solve_lights(views, camera, radius, held_out=False)
    for place in (0, 3):
        blobs = dict(views[place].blobs)
        for led in (2, 7, 11):
            right = blobs[led][0]
            lure = replace(right, x=right.x + rng.uniform(8, 15), y=right.y - 9, flux=5.0)
            blobs[led] = (lure, right)
        views[place] = replace(views[place], blobs=blobs)
    result = solve_lights(views, camera, radius, held_out=False)
    np.testing.assert_allclose(result.lights.position_mm, clean.lights.position_mm, atol=0.2)


def test_pixel_phase_error_is_found_and_removed() -> None:
    rng = np.random.default_rng(8)
    camera, lights, radius = random_rig(rng, 40)
    views = views_of(rng, camera, lights, radius, 6, 0.02)
    for place, view in enumerate(views):
        blobs = {}
        for led, (blob,) in view.blobs.items():
            x = blob.x - 0.13 * np.sin(2 * np.pi * blob.x)
            y = blob.y - 0.13 * np.sin(2 * np.pi * blob.y)
            blobs[led] = (replace(blob, x=x, y=y),)
        views[place] = replace(view, blobs=blobs)
    result = solve_lights(views, camera, radius)
    assert result.extra["pixel_phase"][0] == pytest.approx(-0.13, abs=0.02)
    assert np.sqrt(np.mean(result.residuals_px[result.used] ** 2)) < 0.05
    assert result.held_out_px is not None
    assert max(result.held_out_px.values()) < 0.3


def test_without_phase_error_none_is_claimed() -> None:
    rng = np.random.default_rng(9)
    camera, lights, radius = random_rig(rng, 40)
    result = solve_lights(views_of(rng, camera, lights, radius, 5), camera, radius, held_out=False)
    assert result.extra["pixel_phase"] == [0.0, 0.0]


def moved_by(mm: float) -> Calibration:
    """Solved from the ball in two places that far apart."""
    rng = np.random.default_rng(5)
    camera, lights, radius = random_rig(rng, 12)
    views = [view_of(rng, camera, lights, radius, (x, 0), 0.1, f"{x}") for x in (0, mm)]
    return solve_lights(views, camera, radius)


def test_lights_that_may_be_anywhere_are_refused() -> None:
    with pytest.raises(CalibrationError, match="do not tell where the lights are"):
        moved_by(2)
    assert any("not determined" in why for why in moved_by(5).missing.values())


def test_one_place_gives_directions() -> None:
    rng = np.random.default_rng(4)
    camera, lights, radius = random_rig(rng, 10)
    view = view_of(rng, camera, lights, radius, (0.0, 0.0), 0.01)
    with pytest.raises(CalibrationError, match="two or more"):
        solve_lights([view], camera, radius)
    found, missing = solve_directions(view, camera, radius)
    unit = found.position_mm / np.linalg.norm(found.position_mm, axis=1, keepdims=True)
    true = lights.position_mm - np.array([0, 0, radius])
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.sum(unit * true, axis=1))).max() < 6  # parallax of the ball
    assert not missing


def test_a_scale_that_all_lights_share_is_as_large_as_their_common_steps_say() -> None:
    """A mean over all lights, in which errors of single ones would nearly be gone."""
    squares, alone = [], []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        camera, lights, radius = random_rig(rng, 24)
        views = views_of(rng, camera, lights, radius, 4, 0.1)
        found = solve_lights(views, camera, radius, held_out=False).lights
        assert found.covariance is not None
        assert found.common_steps is not None
        truth = lights.position_mm[[list(lights.ids).index(k) for k in found.ids]]
        outward = truth - truth.mean(axis=0)
        error = float(np.sum(outward * (found.position_mm - truth)))
        single = np.einsum("ni,nij,nj->", outward, found.covariance[:, :3, :3], outward)
        common = np.square(np.einsum("kni,ni->k", found.common_steps, outward)).sum()
        squares.append(error**2 / (single + common))
        alone.append(error**2 / single)
    assert 0.4 < np.mean(squares) < 2.0
    assert np.mean(alone) > 4.0


def test_a_ball_that_lies_on_the_stage_is_told_so_and_one_on_a_stand_is_not() -> None:
    """Outlines that are all too small by a hundredth of a pixel put every ball too low."""
    radius = 12.7
    centres = np.array([[-30.0, 0.0, 12.82], [30.0, 5.0, 12.84], [0.0, 35.0, 12.83]])
    shared = np.tile([0.0, 0.0, 0.12], 3)
    information = np.linalg.inv(1e-4 * np.eye(9) + np.outer(shared, shared))
    there, told = on_the_stage(centres, information, radius)
    np.testing.assert_allclose(there[:, 2], radius, atol=0.04)
    np.testing.assert_allclose(there[:, :2], centres[:, :2], atol=0.002)
    assert 0.05 < np.sqrt(np.linalg.inv(told)[2, 2]) < 0.07
    stand = centres + np.array([0.0, 0.0, 2.0])
    there, told = on_the_stage(stand, information, radius)
    np.testing.assert_array_equal(there, stand)
    np.testing.assert_array_equal(told, information)
