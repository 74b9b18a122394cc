"""Captures from elsewhere come in unchanged, go out unchanged, and tricks are refused."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.errors import DataError
from capture.exchange.archive import unpacked
from capture.exchange.exporting import export_recording
from capture.exchange.images import code_scale, read_grey
from capture.exchange.importing import record
from capture.exchange.layouts import find
from capture.reading import Recording
from capture.recording import RecordingWriter
from capture.verify import verify
from intake.lp import read_lp

CAMERA = {"width": 9, "height": 7, "K": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "units": "mm"}


def pictures(count: int, bits: int = 12, shape: tuple[int, int] = (7, 9)) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    if bits == 8:
        return [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(count)]
    top = 2**bits
    return [(rng.integers(0, top, shape) << (16 - bits)).astype(np.uint16) for _ in range(count)]


def exchange(folder: Path, count: int = 5, bits: int = 12) -> Path:
    folder.mkdir()
    for number, image in enumerate(pictures(count, bits), 1):
        cv2.imwrite(str(folder / f"led_{number:03d}.png"), image)
    cv2.imwrite(str(folder / "dark.png"), pictures(1, bits)[0] // 64)
    rows = [f"led_{k:03d}.png {0.1 * k!r} {1 / 3!r} 270.5" for k in range(1, count + 1)]
    (folder / "lights.lp").write_text("\n".join([str(count), *rows]) + "\n")
    (folder / "power.csv").write_text("\n".join(repr(1 / k) for k in range(1, count + 1)))
    (folder / "camera.json").write_text(json.dumps(CAMERA))
    (folder / "exposure.json").write_text(json.dumps({"exposure": 1 / 7}))
    return folder


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_round_trip_is_pixel_identical_and_calibration_exact(tmp_path: Path, bits: int) -> None:
    source = exchange(tmp_path / "in", bits=bits)
    run = record(find(source), tmp_path / "run")
    assert verify(run).sound
    out = export_recording(Recording.open(run), tmp_path / "out")
    for path in sorted(source.glob("*.png")):
        before = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        after = cv2.imread(str(out / path.name), cv2.IMREAD_UNCHANGED)
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
    came, went = read_lp(source / "lights.lp"), read_lp(out / "lights.lp")
    assert came.names == went.names
    np.testing.assert_array_equal(came.xyz, went.xyz)
    assert json.loads((out / "camera.json").read_text()) == CAMERA
    np.testing.assert_allclose(np.loadtxt(out / "power.csv"), 1 / np.arange(1, 6), rtol=1e-12)
    assert json.loads((out / "exposure.json").read_text())["exposure"] == 1 / 7
    again = Recording.open(record(find(out), tmp_path / "again"))
    np.testing.assert_array_equal(again.linear(3).radiance, Recording.open(run).linear(3).radiance)


def test_radiance_is_fraction_of_full_scale_minus_dark_over_exposure(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    image = cv2.imread(str(source / "led_002.png"), cv2.IMREAD_UNCHANGED)
    image[0, 0] = 65520
    cv2.imwrite(str(source / "led_002.png"), image)
    cv2.imwrite(str(source / "dark.png"), np.full((7, 9), 160, np.uint16))
    recording = Recording.open(record(find(source), tmp_path / "run"))
    got = recording.linear(2)
    np.testing.assert_allclose(
        got.radiance, (image.astype(float) - 160) / recording.full_scale * 7, rtol=1e-5
    )
    assert got.clipped[0, 0]
    assert recording.radiometric


def test_a_recording_with_a_bracket_is_merged_or_one_exposure_is_taken(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 200)
    with RecordingWriter.create(tmp_path / "run", {"bits": 12}) as writer:
        index = 0
        for exposure_ms in (1.0, 8.0):
            for led in (0, 1, 2):
                counts = np.clip(ramp * exposure_ms * 4000 * (led > 0) + 20, 0, 4095)
                line = {
                    "index": index,
                    "kind": "light" if led else "dark",
                    "led": led,
                    "exposure_us": 1000 * exposure_ms,
                }
                writer.append(np.tile(counts.astype(np.uint16), (40, 1)), line)
                index += 1
        recording = Recording.open(writer.finish())
    merged = Recording.open(
        record(find(export_recording(recording, tmp_path / "merged")), tmp_path / "m")
    )
    np.testing.assert_allclose(merged.linear(2).radiance, recording.linear(2).radiance, atol=2e-5)
    single = export_recording(recording, tmp_path / "single", exposure=8.0)
    codes = cv2.imread(str(single / "led_001.png"), cv2.IMREAD_UNCHANGED)
    light = next(e for e in recording.entries if e.led == 1 and e.exposure == 8.0)
    np.testing.assert_array_equal(codes, recording.counts(light) << 4)
    with pytest.raises(DataError, match="no exposure 3"):
        export_recording(recording, tmp_path / "none", exposure=3.0)
    with pytest.raises(DataError, match="exists already"):
        export_recording(recording, tmp_path / "single")


# what saturates ----------------------------------------------------------------------------------


def write(folder: Path, codes: np.ndarray) -> Path:
    path = folder / "p.png"
    cv2.imwrite(str(path), codes)
    return path


def test_saturation_of_left_aligned_12_bit_is_4095_shifted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = (rng.integers(0, 4096, (50, 50)) << 4).astype(np.uint16)
    scale = code_scale([write(tmp_path, codes)])
    assert (scale.bits, scale.full_scale, scale.saturation) == (16, 65520, 65520)


def test_saturation_of_right_aligned_12_bit_is_found_by_its_pile(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.integers(0, 6000, (50, 50)), 4095).astype(np.uint16)
    assert code_scale([write(tmp_path, codes)]).saturation == 4095


def test_a_picture_that_does_not_saturate_has_no_pile(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3000, (50, 50)).astype(np.uint16)
    assert code_scale([write(tmp_path, codes)]).saturation == 65535


def test_a_folder_may_say_what_full_scale_is(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    (source / "exposure.json").write_text('{"exposure": 2, "full_scale": 60000}')
    assert Recording.open(record(find(source), tmp_path / "run")).full_scale == 60000


# wrong folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../led_001.png", "/etc/passwd", "a/../../x.png", "C:\\x.png", "..\\x.png"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    source = exchange(tmp_path / "in")
    (source / "lights.lp").write_text(f"{name} 1 2 3\n")
    with pytest.raises(DataError, match="names only"):
        find(source)


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    outside = tmp_path / "outside.png"
    (source / "led_003.png").rename(outside)
    (source / "led_003.png").symlink_to(outside)
    with pytest.raises(DataError, match="link that leaves"):
        find(source)


def test_missing_odd_and_coloured_pictures_are_named(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    good = (source / "led_004.png").read_bytes()
    (source / "led_004.png").unlink()
    with pytest.raises(DataError, match=r"names 'led_004\.png'.*1 of 5 missing"):
        find(source)
    (source / "led_004.png").write_bytes(good[:50])
    with pytest.raises(DataError, match=r"led_004\.png is not a picture or is damaged"):
        record(find(source), tmp_path / "run")
    cv2.imwrite(str(source / "led_004.png"), np.zeros((3, 3), np.uint16))
    with pytest.raises(DataError, match="all must be alike"):
        record(find(source), tmp_path / "run")
    colour = np.zeros((7, 9, 3), np.uint16)
    colour[..., 1] = 500
    cv2.imwrite(str(source / "led_004.png"), colour)
    with pytest.raises(DataError, match="--channel"):
        record(find(source), tmp_path / "run")
    np.testing.assert_array_equal(read_grey(source / "led_004.png", "green")[0], 500)
    assert list(tmp_path.glob("run*")) == []


def test_wrong_side_files_are_refused(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    (source / "power.csv").write_text("1\n1\n")
    with pytest.raises(DataError, match="2 powers for 5 lights"):
        find(source)
    (source / "power.csv").unlink()
    for text in ("{", "[1]", '{"exposure": 0}', '{"exposure": "a"}', '{"exposure": [1, 2]}'):
        (source / "exposure.json").write_text(text)
        with pytest.raises(DataError, match=r"exposure\.json"):
            find(source)


def test_a_failed_import_leaves_another_unfinished_run_alone(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    (tmp_path / "run.part").mkdir()
    (tmp_path / "run.part" / "run.jsonl").write_text("kept")
    with pytest.raises(DataError, match="unfinished"):
        record(find(source), tmp_path / "run")
    assert (tmp_path / "run.part" / "run.jsonl").read_text() == "kept"


def test_other_folders_are_told_apart(tmp_path: Path) -> None:
    spheres = tmp_path / "spheres"
    spheres.mkdir()
    (spheres / "camera.json").write_text("{}")
    exchange(spheres / "pose_1")
    with pytest.raises(DataError, match="mirror-sphere"):
        find(spheres)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no capture"):
        find(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        find(tmp_path / "absent")


# zip ---------------------------------------------------------------------------------------------


def test_a_zip_is_imported_like_its_folder(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"capture/{path.name}")
    with unpacked(tmp_path / "in.zip") as place:
        run = record(find(place), tmp_path / "run")
    assert Recording.open(run).leds == (1, 2, 3, 4, 5)
    assert not place.exists()


def test_a_zip_with_a_readme_beside_the_folder_is_imported(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"capture/{path.name}")
        archive.writestr("readme.txt", "taken on Monday")
    with unpacked(tmp_path / "in.zip") as place:
        assert len(find(place).pictures) == 5


def test_a_zip_with_backslashes_is_imported(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in source.iterdir():
            archive.writestr(f"capture\\{path.name}", path.read_bytes())
    with unpacked(tmp_path / "in.zip") as place:
        assert len(find(place).pictures) == 5


def test_a_refusal_names_the_zip_and_not_the_folder_that_is_gone(tmp_path: Path) -> None:
    source = exchange(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"monday/{path.name}")
            archive.write(path, f"tuesday/{path.name}")
    with (
        pytest.raises(DataError, match=r"in\.zip holds no .* such as .*in\.zip/monday$"),
        unpacked(tmp_path / "in.zip") as place,
    ):
        find(place)


def test_what_a_file_manager_leaves_is_no_damage(tmp_path: Path) -> None:
    run = record(find(exchange(tmp_path / "in")), tmp_path / "run")
    for name in (".DS_Store", "._0001.tif", "Thumbs.db"):
        (run / "frames" / name).write_bytes(b"")
    checked = verify(run)
    assert checked.sound
    assert "frames/.DS_Store is of a file manager" in " ".join(checked.remarks)
    (run / "frames" / "other.tif").write_bytes(b"")
    assert verify(run).problems == ("frames/other.tif does not belong here",)


def tricky(path: Path, name: str, data: bytes = b"x", mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, data)
    return path


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "a\\..\\x"])
def test_zip_paths_that_leave_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="refused"), unpacked(tricky(tmp_path / "z.zip", name)):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["z.zip"]


def test_zip_links_bombs_and_rubbish_are_refused(tmp_path: Path) -> None:
    link = tricky(tmp_path / "l.zip", "a", b"/etc/passwd", stat.S_IFLNK | 0o777)
    with pytest.raises(DataError, match="a link"), unpacked(link):
        pass
    bomb = tricky(tmp_path / "b.zip", "a", bytes(64 * 2**20))
    with pytest.raises(DataError, match="would unpack"), unpacked(bomb):
        pass
    (tmp_path / "r.zip").write_bytes(b"PK rubbish")
    with pytest.raises(DataError, match="not a sound zip"), unpacked(tmp_path / "r.zip"):
        pass


# published DPPS layout ---------------------------------------------------------------------------


def dpps(root: Path) -> Path:
    from scipy.io import savemat

    folder = root / "ob1_2_3_r0"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(1, 13):
        image = rng.integers(0, 256, (128, 128)).astype(np.uint8)
        cv2.imwrite(str(folder / f"ob_1_2_3_no{number}.png"), image)
    height = np.zeros((128, 128))
    height[32:96, 32:96] = np.linspace(0, 0.2, 64)
    normal = np.zeros((128, 128, 3))  # background decodes to (−1, −1, −1)
    slope = 0.2 / 63 * 128
    normal[32:96, 32:96] = (np.array([-slope, 0, 1]) / np.hypot(slope, 1) + 1) / 2
    savemat(root / "depth_obj1j2k3.mat", {"position_map": height})
    savemat(root / "normal_obj1j2k3.mat", {"normal_map": normal})
    return folder


def test_dpps_sample_keeps_order_and_truth_in_mm(tmp_path: Path) -> None:
    folder = dpps(tmp_path / "data_small1")
    recording = Recording.open(record(find(folder, field_mm=64.0), tmp_path / "run"))
    assert recording.leds == tuple(range(1, 13))
    tenth = next(e for e in recording.entries if e.led == 10)
    codes = cv2.imread(str(folder / "ob_1_2_3_no10.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(recording.counts(tenth), codes)
    assert not recording.radiometric
    assert recording.truth_path is not None
    truth = np.load(recording.truth_path)
    assert np.isnan(truth["position"][0, 0]).all()
    assert truth["position"][64, 95, 2] == pytest.approx(0.2 * 64)
    assert truth["position"][64, 95, 0] == pytest.approx((95 - 63.5) * 0.5)
    x, z = truth["position"][64, 32:96, 0], truth["position"][64, 32:96, 2]
    slope = np.polyfit(x, z, 1)[0]
    n = truth["normal"][64, 64]
    assert -n[0] / n[2] == pytest.approx(slope, rel=1e-5)
    (folder / "ob_1_2_3_no7.png").unlink()
    with pytest.raises(DataError, match="no7 is missing"):
        find(folder)
    with pytest.raises(DataError, match="1 DPPS samples"):
        find(folder.parent)
