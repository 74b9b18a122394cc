"""rig calibrate-camera, calibrate-lights and check, as a user meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import calib
from calib.camera import Camera
from calib.light_files import read_lights, write_lights
from calib.lights import Lights
from calib.sphere import outline
from rig.calibration_scene import CalibrationScene, virtual_camera, virtual_dome
from rig.cli import app, main

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
MIRROR, WHITE = SHARED / "captures" / "mirror", SHARED / "captures" / "white"
CAT = SHARED / "photos" / "two_spheres_cat"
LEDS = 8


def rig(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of ``rig …`` as the console script gives it."""
    monkeypatch.setattr("sys.argv", ["rig", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return int(code) if isinstance(code, int) else 0


def write_pictures(folder: Path, scene: CalibrationScene, leds: int = LEDS) -> None:
    """What the virtual camera would see, as an exchange folder."""
    folder.mkdir(parents=True)
    for led in range(1, leds + 1):
        counts = np.rint(scene.irradiance(led) * 8e3 / 12e3 * 65535)
        cv2.imwrite(str(folder / f"led_{led:03d}.png"), np.clip(counts, 0, 65535).astype(np.uint16))
    scene.room_light = True
    counts = np.rint(scene.ambient() * 8e3 / 12e3 * 65535)
    cv2.imwrite(str(folder / "ambient.png"), np.clip(counts, 0, 65535).astype(np.uint16))
    scene.room_light = False


def test_the_virtual_ball_is_as_large_as_it_is_said_to_be() -> None:
    """Its area in the picture is that of its outline; a rim of 0.1 px would be 0.3 %."""
    scene = CalibrationScene(LEDS, 12.7)
    scene.room_light = True
    paper = scene.ambient()
    scene.show("ball", 20.0, -12.0)
    covered = (1 - scene.ambient() / paper).sum() / 0.7
    ring = outline(scene.camera, scene.ball_mm, 12.7, np.linspace(0, 2 * np.pi, 2000))
    area = 0.5 * abs(np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]))
    assert abs(covered / area - 1) < 5e-4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror-ball set of three poses and a plate of a small virtual rig."""
    folder = tmp_path_factory.mktemp("pictures")
    scene = CalibrationScene(LEDS, 12.7)
    for number, at in enumerate([(-30, -25), (28, -20), (0, 30)], start=1):
        scene.show("ball", *at)
        write_pictures(folder / "ball" / f"pose_{number}", scene)
    scene.camera.write(folder / "ball" / "camera.json")
    scene.show("plate")
    write_pictures(folder / "plate", scene)
    scene.camera.write(folder / "plate" / "camera.json")
    return folder


def off_mm(path: Path) -> np.ndarray:
    lights = read_lights(path)
    truth = virtual_dome(LEDS).position_mm[lights.ids - 1]
    return np.linalg.norm(lights.position_mm - truth, axis=1)


def test_lights_from_pictures(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "lights.json"
    arguments = [
        "calibrate-lights", "--from", pictures / "ball", "--sphere-diameter", 25.4,
        "--plate", pictures / "plate", "--out", out,
    ]  # fmt: skip
    assert rig(*arguments, monkeypatch=monkeypatch) == 0
    assert "8 lights solved from 3 places" in capsys.readouterr().out
    assert np.median(off_mm(out)) < 0.7
    lights = read_lights(out)
    power = virtual_dome(LEDS).power
    np.testing.assert_allclose(lights.power, power / power.mean(), rtol=0.02)
    assert lights.covariance is not None
    assert lights.provenance["date"]
    called = calib.calibrate_lights(pictures / "ball", 25.4, plate=pictures / "plate").lights
    np.testing.assert_array_equal(called.position_mm, lights.position_mm)
    np.testing.assert_array_equal(called.power, lights.power)
    page = (tmp_path / "calibration.html").read_text(encoding="utf-8")
    assert "https://" not in page.split('<script type="application/json"')[0]
    data = page.split('id="data">')[1].split("</script>")[0]
    assert len(json.loads(data)["leds"]) == LEDS
    # A second time: nothing is overwritten unasked, the old one is kept when asked.
    before = out.read_bytes()
    assert rig(*arguments, monkeypatch=monkeypatch) == 2
    assert "exists" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert rig(*arguments, "--replace", monkeypatch=monkeypatch) == 0
    kept = list((tmp_path / "history").glob("lights-*.json"))
    assert len(kept) == 1
    assert kept[0].read_bytes() == before


def test_a_place_without_a_ball_is_left_out(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "ball"
    shutil.copytree(pictures / "ball", folder)
    empty = cv2.imread(str(folder / "pose_2" / "ambient.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(folder / "pose_2" / "ambient.png"), np.full_like(empty, 30000))
    arguments = ["calibrate-lights", "--from", folder, "--sphere-diameter", 25.4]
    assert rig(*arguments, "--out", tmp_path / "a.json", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    assert "pose_2: found 0 of at least 1 spheres" in said
    assert "This place is left out" in said
    assert "8 lights solved from 2 places" in said
    shutil.copy(folder / "pose_2" / "ambient.png", folder / "pose_3" / "ambient.png")
    assert rig(*arguments, "--out", tmp_path / "b.json", monkeypatch=monkeypatch) == 4
    assert not (tmp_path / "b.json").exists()


def test_missing_lights_exit_with_one_and_are_named(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "ball"
    shutil.copytree(pictures / "ball", folder)
    for pose in folder.glob("pose_*"):
        blank = np.zeros(virtual_camera().shape, dtype=np.uint16)
        cv2.imwrite(str(pose / "led_003.png"), blank)
    code = rig(
        "calibrate-lights", "--from", folder, "--sphere-diameter", 25.4,
        "--out", tmp_path / "lights.lp", monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 1
    assert "LED 3 is missing: no highlight" in capsys.readouterr().out
    assert len(read_lights(tmp_path / "lights.lp")) == LEDS - 1


def test_known_positions(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lights(virtual_dome(LEDS), tmp_path / "known.lp")
    code = rig(
        "calibrate-lights", "--positions", tmp_path / "known.lp", "--plate", pictures / "plate",
        "--plate-reflectance", 0.8, "--out", tmp_path / "lights.yaml", monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 0
    lights, truth = read_lights(tmp_path / "lights.yaml"), virtual_dome(LEDS)
    np.testing.assert_allclose(lights.power, truth.power / truth.power.mean(), rtol=0.01)
    np.testing.assert_allclose(lights.position_mm, truth.position_mm, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["calibrate-lights", "--from", "nowhere", "--sphere-diameter", "25.4"], 4, "no folder"),
        (["calibrate-lights", "--from", "."], 2, "--sphere-diameter"),
        (["calibrate-lights", "--from", ".", "--sphere-diameter", "-3"], 2, "diameter"),
        (["calibrate-lights", "--from", ".", "--sphere-diameter", "25"], 4, "no pictures"),
        (["calibrate-lights", "--positions", "x.lp"], 2, "--plate"),
        (["calibrate-camera", "--from", "nowhere"], 4, "no folder"),
        (["calibrate-camera", "--from", "."], 4, "no pictures"),
        (["calibrate-camera", "--board", "13", "--target", "a.pdf"], 2, "13x9"),
        (["check"], 2, "calibrate-lights"),
    ],
)
def test_mistakes_get_one_sentence(
    arguments: list[str],
    code: int,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rig(*arguments, monkeypatch=monkeypatch) == code
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_guided_walk_and_check_at_the_virtual_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    code = rig(
        "calibrate-lights", "--simulate", "--workspace", tmp_path, "--poses", 3,
        "--leds", f"1-{LEDS}", monkeypatch=monkeypatch,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0
    assert "Place 3 of 3" in said
    assert "a further place of the ball" in said
    lights = read_lights(tmp_path / "calibration" / "lights.json")
    truth = virtual_dome(96).position_mm[:LEDS]
    assert np.median(np.linalg.norm(lights.position_mm - truth, axis=1)) < 1.0
    assert lights.provenance["board"]["led_count"] == 96
    assert (tmp_path / "calibration" / "calibration.html").is_file()
    assert rig("check", "--simulate", "--workspace", tmp_path, monkeypatch=monkeypatch) == 0
    assert "as it was calibrated" in capsys.readouterr().out
    code = rig(
        "check", "--simulate", "--workspace", tmp_path, "--seed", 5, "--sphere-diameter", 25.4,
        monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 1
    assert "moved: LED" in capsys.readouterr().out


def test_camera_of_the_virtual_rig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    target = tmp_path / "A4.pdf"
    assert rig("calibrate-camera", "--target", target, monkeypatch=monkeypatch) == 0
    assert target.stat().st_size > 1000
    code = rig(
        "calibrate-camera", "--simulate", "--workspace", tmp_path, "--views", 7,
        monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 0
    assert "7 views cover" in capsys.readouterr().out
    camera = Camera.read(tmp_path / "calibration" / "camera.json")
    assert camera.covariance is not None
    truth = virtual_camera()
    assert camera.K[0, 0] == pytest.approx(truth.K[0, 0], rel=0.01)
    assert camera.centre_mm[2] == pytest.approx(truth.centre_mm[2], rel=0.01)


def test_two_places_of_the_ball_that_show_lamps_far_away_give_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The same highlights on the ball wherever it lies, in photographs without a camera.json."""
    scene = CalibrationScene(LEDS, 12.7)
    scene.show("ball", 0.0, 0.0)
    write_pictures(tmp_path / "ball" / "pose_1", scene)
    (tmp_path / "ball" / "pose_2").mkdir()
    for path in (tmp_path / "ball" / "pose_1").iterdir():
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        cv2.imwrite(str(tmp_path / "ball" / "pose_2" / path.name), np.roll(picture, 90, 1))
    out = tmp_path / "lights.json"
    arguments = ["calibrate-lights", "--from", tmp_path / "ball", "--sphere-diameter", 25.4]
    arguments += ["--out", out]
    assert rig(*arguments, "--plate", tmp_path / "ball" / "pose_1", monkeypatch=monkeypatch) == 4
    assert "leave --plate out" in capsys.readouterr().err
    assert rig(*arguments, monkeypatch=monkeypatch) == 0
    assert f"directions only: {LEDS} lights" in capsys.readouterr().out
    assert read_lights(out).provenance["at_infinity"]
    with pytest.raises(calib.CalibrationError, match="'rig calibrate-lights' writes"):
        calib.calibrate_lights(tmp_path / "ball", 25.4)


@pytest.mark.skipif(not CAT.exists(), reason="no photographs beside the repository")
@pytest.mark.slow
def test_photographs_without_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "lights.lp"
    code = rig(
        "calibrate-lights", "--from", CAT / "LightProbe-1", "--sphere-diameter", 2,
        "--out", out, monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 0
    assert "directions only: 12 lights" in capsys.readouterr().out
    lights = read_lights(out)
    unit = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    reference = np.loadtxt(CAT / "LightProbe-1" / "light_directions.txt").T
    off = np.degrees(np.arccos(np.clip(np.sum(unit * reference, axis=1), -1, 1)))
    assert np.median(off) < 1.0
    assert off.max() < 2.5


@pytest.mark.skipif(not CAT.exists(), reason="no photographs beside the repository")
@pytest.mark.slow
def test_lamps_are_triangulated_from_two_photographed_spheres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both windows lie in one picture; the lamps stood around the scene, about equally far."""
    out = tmp_path / "lights.json"
    code = rig(
        "calibrate-lights", "--from", CAT, "--sphere-diameter", 2, "--focal", 18_500,
        "--out", out, monkeypatch=monkeypatch,
    )  # fmt: skip
    assert code == 0
    lights = read_lights(out)
    assert len(lights) == 12
    covariance = lights.position_covariance()
    assert covariance is not None
    far = np.linalg.norm(lights.position_mm, axis=1)
    assert np.std(far) / np.mean(far) < 0.1
    assert np.median(np.sqrt(np.trace(covariance, axis1=1, axis2=2)) / far) < 0.1
    unit = lights.position_mm / far[:, None]
    reference = np.loadtxt(CAT / "light_directions.txt").T
    off = np.degrees(np.arccos(np.clip(np.sum(unit * reference, axis=1), -1, 1)))
    # The references take the view to be parallel.
    assert off.max() < 2.5


@pytest.mark.skipif(not MIRROR.exists(), reason="no captures beside the repository")
@pytest.mark.slow
@pytest.mark.parametrize("plate", [False, True])
def test_path_traced_rig(plate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "lights.json"
    extra = ["--plate", WHITE, "--plate-reflectance", 0.8] if plate else []
    arguments = ["calibrate-lights", "--from", MIRROR, "--sphere-diameter", 25.4, "--out", out]
    assert rig(*arguments, *extra, monkeypatch=monkeypatch) == 0
    lights, truth = read_lights(out), read_lights(MIRROR / "lights_true.lp")
    off = lights.position_mm - truth.position_mm
    far = np.linalg.norm(off, axis=1)
    unit = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    true = truth.position_mm / np.linalg.norm(truth.position_mm, axis=1, keepdims=True)
    angle = np.degrees(np.linalg.norm(np.cross(unit, true), axis=1))
    assert angle.max() <= 0.3
    assert np.median(angle) <= 0.1
    assert np.median(far) <= (0.7 if plate else 2.0)
    covariance = lights.position_covariance()
    assert covariance is not None
    chi2 = np.einsum("ki,kij,kj->k", off, np.linalg.inv(covariance), off)
    assert np.sqrt(np.mean(chi2) / 3) < 1.5
    if plate:
        assert far.max() <= 2.5
        error = np.abs(lights.power / (truth.power / truth.power.mean()) - 1)
        assert np.median(error) <= 0.01


def test_help_ends_with_an_example() -> None:
    for name in ("calibrate-lights", "calibrate-camera", "check"):
        text = CliRunner().invoke(app, [name, "--help"]).output
        assert f"Example: rig {name}" in text


def test_identity_of_lights_survives_the_file(tmp_path: Path) -> None:
    lights = Lights.at(virtual_dome(4).position_mm)
    write_lights(lights, tmp_path / "a.json")
    np.testing.assert_array_equal(read_lights(tmp_path / "a.json").ids, lights.ids)
