"""``rig import``, ``rig export`` and ``rig verify`` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from calib.camera import Camera
from calib.light_files import read_lights
from capture.errors import DataError
from reconstruct.interface import read_pictures
from rig.cli import app
from rig.imports import import_capture

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "captures"
run_cli = CliRunner().invoke


def exchange(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"led_{k:03d}.png" for k in range(1, 5)]
    for name in names:
        cv2.imwrite(str(folder / name), rng.integers(0, 65536, (6, 8)).astype(np.uint16))
    rows = [f"{name} {k} 0 100" for k, name in enumerate(names)]
    (folder / "lights.lp").write_text("\n".join(rows))
    Camera(8, 6, np.array([[900.0, 0, 3.5], [0, 900, 2.5], [0, 0, 1]])).write(
        folder / "camera.json"
    )
    return folder


def test_import_verify_export(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    workspace = ["--workspace", str(tmp_path)]
    done = run_cli(app, ["import", str(source), "--part", "A12", *workspace])
    assert done.exit_code == 0, done.output
    assert "4 pictures of 8×6" in done.output
    assert "no exposure.json" in done.output
    checked = run_cli(app, ["verify", "A12", "--json", *workspace])
    assert checked.exit_code == 0
    assert json.loads(checked.output)["sound"] is True
    done = run_cli(app, ["export", "A12", "--out", str(tmp_path / "out"), *workspace])
    assert done.exit_code == 0, done.output
    for path in source.glob("*.png"):
        np.testing.assert_array_equal(
            cv2.imread(str(path), -1), cv2.imread(str(tmp_path / "out" / path.name), -1)
        )
    run = next((tmp_path / "parts" / "A12").iterdir())
    frame = next((run / "frames").iterdir())
    (run / "frames" / ".DS_Store").touch()
    checked = run_cli(app, ["verify", str(run)])
    assert checked.exit_code == 0
    assert "note: frames/.DS_Store is of a file manager, not of the recording\n" in checked.output
    frame.write_bytes(frame.read_bytes()[:-1] + b"!")
    checked = run_cli(app, ["verify", str(run)])
    assert checked.exit_code == 4
    assert f"frames/{frame.name} is damaged" in checked.output
    for out in ("again", "a12.h5"):
        refused = run_cli(app, ["export", "A12", "--out", str(tmp_path / out), *workspace])
        assert isinstance(refused.exception, DataError)
        assert f"{frame.name} is damaged, its checksum differs" in str(refused.exception)
        assert not (tmp_path / out).exists()
    with pytest.raises(DataError, match=r"is damaged, its checksum differs"):
        read_pictures(run)


def test_import_refuses_a_camera_of_another_size(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    data = json.loads((source / "camera.json").read_text())
    (source / "camera.json").write_text(json.dumps({**data, "width": 9}))
    with pytest.raises(Exception, match="9×6 pictures, these are 8×6") as error:
        import_capture(source, tmp_path / "run")
    assert error.value.exit_code == 4  # type: ignore[attr-defined]
    assert not (tmp_path / "run.part").exists()


def test_a_camera_in_metres_is_told_at_import(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    data = json.loads((source / "camera.json").read_text())
    data["t_world_to_camera"] = [0, 0, 0.42]
    (source / "camera.json").write_text(json.dumps(data))
    done = run_cli(app, ["import", str(source), "--part", "A12", "--workspace", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "if it is in metres, the camera is 420 mm above" in done.output


def test_next_names_what_the_pictures_do_not_bring(tmp_path: Path) -> None:
    source = tmp_path / "ob1_1_1_r"
    source.mkdir()
    for k in range(1, 13):
        picture = np.random.default_rng(k).integers(0, 255, (32, 32)).astype(np.uint8)
        cv2.imwrite(str(source / f"ob_1_1_1_no{k}.png"), picture)
    done = run_cli(app, ["import", str(source), "--part", "P", "--workspace", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "Next: rig reconstruct P --lights FILE" in done.output


def test_too_few_lights_for_a_surface_are_told_at_import(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for k in range(1, 4):
        cv2.imwrite(str(source / f"led_{k:03d}.png"), np.full((32, 32), 40 * k, np.uint8))
    done = run_cli(app, ["import", str(source), "--part", "P", "--workspace", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "at least 4 lights" in done.output
    assert "Next:" not in done.output


def luces(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A tilted plane seen in the LUCES layout: four LEDs around the lens, camera frame."""
    (folder / "RAW").mkdir(parents=True)
    height, width, f, x0, y0, distance = 24, 32, 400.0, 16.0, 12.0, 200.0
    rng = np.random.default_rng(0)
    rows = ["% rows cols f x0 y0 mean_distance", f"{height} {width} {f} {x0} {y0} {distance}"]
    for k in range(4):
        image = rng.integers(0, 65536, (height, width, 3)).astype(np.uint16)
        cv2.imwrite(str(folder / "RAW" / f"{k + 1:02d}.png"), image)
        rows.append(f"{10 * k} 5 0 0 0 1 1.0 1.1 1.2 0.8")
    (folder / "led_params.txt").write_text("\n".join(rows))
    v, u = np.mgrid[:height, :width]
    x, y = (u - x0 + 1) / f, (v - y0 + 1) / f
    depth = 200 / (1 - 0.3 * x)  # the plane z = 200 + 0.3 x in the camera's frame
    normal = np.array([0.3, 0.0, 1.0]) / np.hypot(0.3, 1)  # x right, y up, z to the camera
    codes = np.rint((np.broadcast_to(normal, (height, width, 3)) + 1) / 2 * 65535)
    cv2.imwrite(str(folder / "normals.png"), codes.astype(np.uint16)[..., ::-1])
    cv2.imwrite(str(folder / "mask.png"), np.where(u > 2, 255, 0).astype(np.uint8))
    np.savez(folder / "zgt.npz", zgt=depth)
    points = np.dstack([x * depth, -y * depth, distance - depth])
    return folder, points, normal


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (np.zeros((24, 32), np.uint8), "mask.png covers nothing: paint white"),
        (np.full((12, 16), 255, np.uint8), "mask.png is 16×12 px, the pictures are 32×24 px"),
    ],
)
def test_a_mask_of_luces_that_cannot_be_is_one_sentence(
    mask: np.ndarray, says: str, tmp_path: Path
) -> None:
    folder, *_ = luces(tmp_path / "Bell")
    cv2.imwrite(str(folder / "mask.png"), mask)
    arguments = ["import", str(folder), "--part", "P", "--channel", "green"]
    done = run_cli(app, [*arguments, "--workspace", str(tmp_path)])
    assert getattr(done.exception, "exit_code", None) == 4
    assert says in str(done.exception)
    assert not list(tmp_path.glob("parts/*/*"))


def test_luces_comes_in_with_camera_lights_and_truth(tmp_path: Path) -> None:
    folder, points, normal = luces(tmp_path / "Bell")
    with pytest.raises(Exception, match="--channel"):
        import_capture(folder, tmp_path / "run")
    _, recording, _ = import_capture(folder, tmp_path / "run", "green")
    assert recording.camera_path is not None
    assert recording.lights_path is not None
    assert recording.truth_path is not None
    camera = Camera.read(recording.camera_path)
    lights = read_lights(recording.lights_path)
    np.testing.assert_allclose(lights.position_mm[2], [20, -5, 200])
    np.testing.assert_allclose(lights.axis[0], [0, 0, -1])
    truth = np.load(recording.truth_path)
    assert np.isnan(truth["position"][:, :3]).all()
    np.testing.assert_allclose(truth["position"][:, 3:], points[:, 3:], atol=1e-3)
    np.testing.assert_allclose(truth["normal"][5, 20], normal, atol=1e-4)
    v, u = np.mgrid[:24, 3:32]
    np.testing.assert_allclose(
        camera.project(truth["position"][:, 3:]), np.dstack([u, v]), atol=1e-3
    )
    # The normal is the truth's own: across the plane's points.
    edge = truth["position"][5, 25] - truth["position"][5, 10]
    assert abs(edge @ truth["normal"][5, 20]) < 1e-3 * np.linalg.norm(edge)
    green = cv2.imread(str(folder / "RAW" / "02.png"), -1)[..., 1]
    np.testing.assert_array_equal(recording.counts(recording.entries[1]), green)


@pytest.mark.captures
@pytest.mark.parametrize("name", ["blob", "white"])
def test_shared_captures_come_in_with_their_noise(tmp_path: Path, name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("no captures beside the repository")
    _, recording, remarks = import_capture(SHARED / name, tmp_path / "run")
    assert remarks == ()
    assert recording.leds == tuple(range(1, 97))
    assert (recording.full_scale, recording.saturation) == (65520, 65520)
    assert recording.noise.gain == pytest.approx(1 / 12_000, rel=0.15)
    assert recording.noise.floor == pytest.approx((3 / 12_000) ** 2, rel=0.3)


def test_pictures_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    cv2.imwrite(str(source / "led_003.png"), np.zeros((5, 8), np.uint16))
    done = run_cli(app, ["import", str(source), "--part", "A12", "--workspace", str(tmp_path)])
    assert "led_003.png is 8×5" in str(done.exception)


@pytest.mark.parametrize(
    ("part", "says"), [("{x}", "'{x}'"), ("top plate", "'top plate'"), ("-3", "-- -3")]
)
def test_the_next_command_can_be_typed_as_it_is_told(part: str, says: str, tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    words = ["import", str(source), f"--part={part}", "--workspace", str(tmp_path)]
    done = run_cli(app, words)
    assert done.exit_code == 0, done.output
    assert f"Next: rig reconstruct {says}\n" in done.output


def test_a_full_scale_beyond_the_pictures_bits_is_refused(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    (source / "exposure.json").write_text('{"exposure": 1, "full_scale": 1e9}')
    done = run_cli(app, ["import", str(source), "--part", "A12", "--workspace", str(tmp_path)])
    assert "no code above 65535" in str(done.exception)
    (source / "exposure.json").write_text('{"exposure": 1, "exposure": 2}')
    done = run_cli(app, ["import", str(source), "--part", "A12", "--workspace", str(tmp_path)])
    assert "'exposure' is set twice" in str(done.exception)
