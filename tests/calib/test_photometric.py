"""Powers from a white plate, and whom a calibration belongs to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.light_files import read_lights
from calib.lights import Lights
from calib.photometric import calibrate_plate
from calib.pictures import PictureSet, find_pictures, srgb_to_linear
from calib.validity import age_days, check_validity

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
WHITE = SHARED / "captures" / "white"
CAMERA = Camera(
    96, 80, np.array([[360.0, 0, 47.5], [0, 360, 39.5], [0, 0, 1.0]]), t=np.array([0.0, 0, 400])
)


def some_lights(count: int = 12) -> Lights:
    rng = np.random.default_rng(4)
    towards = rng.normal(size=(count, 3))
    towards[:, 2] = np.abs(towards[:, 2]) + 0.8
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    lights = Lights.at(270 * towards, rng.uniform(0.8, 1.2, count), lobe=1.4)
    axis = lights.axis + rng.normal(0, 0.05, (count, 3))
    return replace(lights, axis=axis / np.linalg.norm(axis, axis=1, keepdims=True))


def write_plate(folder: Path, lights: Lights, dead: int | None = None) -> None:
    """A textured plate of reflectance 0.7 under a lens with vignetting, 16 bits."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    points = CAMERA.points_at_height(0.0)
    v, u = np.mgrid[0:80, 0:96]
    q = ((u - 47.5) ** 2 + (v - 39.5) ** 2) / (47.5**2 + 39.5**2)
    albedo = 0.7 / np.pi * np.exp(-0.1 * q) * (1 + 0.003 * rng.normal(size=q.shape))
    for k in range(len(lights)):
        s = lights.position_mm[k] - points
        d = np.linalg.norm(s, axis=-1)
        lobe = np.maximum(-(s @ lights.axis[k]) / d, 0) ** lights.lobe[k]
        radiance = 60000.0 * lights.power[k] * lobe * s[..., 2] / d**3 * albedo
        if k == dead:
            radiance = radiance * 0
        image = radiance * 3.0 + 0.004 + rng.normal(0, 5e-4, radiance.shape)
        counts = np.clip(np.rint(image * 65535), 0, 65535).astype(np.uint16)
        cv2.imwrite(str(folder / f"led_{k + 1:03d}.png"), counts)
    dark = np.full((80, 96), round(0.004 * 65535), dtype=np.uint16)
    cv2.imwrite(str(folder / "dark.png"), dark)
    (folder / "exposure.json").write_text('{"exposure": 3.0}')
    CAMERA.write(folder / "camera.json")


def test_power_axis_lobe_vignetting_and_intensity(tmp_path: Path) -> None:
    lights = some_lights()
    write_plate(tmp_path / "plate", lights)
    blind = Lights.at(lights.position_mm)
    found = calibrate_plate(tmp_path / "plate", blind, reflectance=0.7)
    np.testing.assert_allclose(found.lights.power, lights.power / lights.power.mean(), rtol=0.01)
    assert found.lights.lobe[0] == pytest.approx(1.4, abs=0.1)
    assert np.degrees(np.arccos(np.sum(found.lights.axis * lights.axis, axis=1))).max() < 2.0
    assert found.vignetting.sum() == pytest.approx(-0.1, abs=0.02)
    assert found.lights.intensity == pytest.approx(60000 * lights.power.mean(), rel=0.02)
    error = found.lights.power / (lights.power / lights.power.mean()) - 1
    assert np.sqrt(np.mean((error / found.power_sigma) ** 2)) < 3


def test_dead_leds_are_named_and_powers_are_relative_without_reflectance(tmp_path: Path) -> None:
    lights = some_lights()
    write_plate(tmp_path / "plate", lights, dead=4)
    found = calibrate_plate(tmp_path / "plate", Lights.at(lights.position_mm))
    assert found.dark_ids == (5,)
    assert found.lights.power[4] == 0
    assert found.lights.intensity is None
    with pytest.raises(CalibrationError, match="reflectance"):
        calibrate_plate(tmp_path / "plate", Lights.at(lights.position_mm), reflectance=80)


def test_pictures_and_positions_must_belong_together(tmp_path: Path) -> None:
    lights = some_lights()
    write_plate(tmp_path / "plate", lights)
    with pytest.raises(CalibrationError, match="no position for LED 12"):
        calibrate_plate(tmp_path / "plate", Lights.at(lights.position_mm[:11]))


@pytest.mark.skipif(not WHITE.exists(), reason="no captures beside the repository")
def test_path_traced_plate() -> None:
    truth = read_lights(WHITE / "lights.lp")
    found = calibrate_plate(WHITE, Lights.at(truth.position_mm), reflectance=0.8)
    error = np.abs(found.lights.power / (truth.power / truth.power.mean()) - 1)
    assert np.median(error) < 0.001
    assert error.max() < 0.005
    assert found.lights.lobe[0] == pytest.approx(1.0, abs=0.02)
    expected = 4000 * 2.5**2 * np.pi * truth.power.mean()
    assert found.lights.intensity == pytest.approx(expected, rel=0.005)


def test_pictures_are_found_in_order(tmp_path: Path) -> None:
    tiny = np.zeros((4, 4), dtype=np.uint8)
    for name in ("led_10.png", "led_2.png", "dark.png", "Ambient.PNG", "x.txt"):
        if name.lower().endswith("png"):
            cv2.imwrite(str(tmp_path / name), tiny)
    assert [p.name for p in find_pictures(tmp_path)] == ["led_2.png", "led_10.png"]
    assert PictureSet.open(tmp_path).ids == (2, 10)
    (tmp_path / "a.lp").write_text("led_10.png 1 2 3\nled_2.png 1 2 4\n")
    assert [p.name for p in find_pictures(tmp_path)] == ["led_2.png", "led_10.png"]
    assert PictureSet.open(tmp_path).ids == (2, 10)
    with pytest.raises(CalibrationError, match="no folder"):
        PictureSet.open(tmp_path / "none")


def test_right_aligned_twelve_bits_and_damaged_pictures(tmp_path: Path) -> None:
    image = np.linspace(0, 4095, 64).reshape(8, 8).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "led_1.png"), image)
    pictures = PictureSet.open(tmp_path)
    assert pictures.full_scale == 4095
    values, clipped = pictures.read(0)
    assert values.max() == pytest.approx(1)
    assert clipped.sum() == 1
    (tmp_path / "led_2.png").write_bytes(b"no picture")
    with pytest.raises(CalibrationError, match="led_2"):
        PictureSet.open(tmp_path).read(1)


def test_srgb_curve() -> None:
    value = srgb_to_linear(np.array([0.0, 0.04045, 0.5, 1.0], dtype=np.float32))
    np.testing.assert_allclose(value, [0, 0.0031308, 0.214041, 1], atol=1e-5)


NOW = datetime(2026, 6, 1, tzinfo=UTC)
BOARD = {"name": "rig-board", "serial": "b7", "led_count": 96}
EYE = {"vendor": "v", "model": "m", "serial": "c1"}


def dated(days: float) -> Lights:
    date = (NOW - timedelta(days=days)).isoformat()
    return replace(some_lights(), provenance={"date": date, "board": BOARD, "camera": EYE})


def test_a_calibration_of_these_devices_is_accepted() -> None:
    assert check_validity(dated(5), board=BOARD, camera=EYE, max_age_days=90, now=NOW) == []
    assert age_days(dated(5), NOW) == pytest.approx(5)


@pytest.mark.parametrize(
    ("board", "camera", "complaint"),
    [
        ({**BOARD, "serial": "b8"}, EYE, "another board.*serial was 'b7', now it is 'b8'"),
        ({**BOARD, "led_count": 64}, EYE, "another board"),
        (BOARD, {**EYE, "serial": "c2"}, "another camera"),
    ],
)
def test_a_calibration_of_other_devices_is_refused(
    board: dict, camera: dict, complaint: str
) -> None:
    with pytest.raises(CalibrationError, match=complaint):
        check_validity(dated(5), board=board, camera=camera)


def test_age_and_missing_identity_are_warned_of() -> None:
    warnings = check_validity(dated(120), board=BOARD, max_age_days=90, now=NOW)
    assert len(warnings) == 1
    assert "120 days" in warnings[0]
    assert len(check_validity(some_lights(), board=BOARD, camera=EYE)) == 2
    assert check_validity(dated(1), board={**BOARD, "serial": ""}, max_age_days=90, now=NOW) == []
