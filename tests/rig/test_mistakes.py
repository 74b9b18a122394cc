"""What a newcomer gets wrong: one clear sentence, the right exit code, and nothing lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture.bump import Bump
from rig import session
from rig.exits import DATA, DEVICE, USAGE, in_words

Rig = Callable[..., tuple[int, str]]
SHAPE = (24, 32)
HERE = Path(__file__).parent


def refused(answer: tuple[int, str], code: int, *says: str) -> None:
    exit_code, complaint = answer
    assert exit_code == code, complaint
    for words in says:
        assert words in complaint
    sentences = [line for line in complaint.splitlines() if line.startswith("rig: ")]
    assert len(sentences) == 1, complaint
    assert "Traceback" not in complaint
    assert "[Errno" not in complaint


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["capture", "--part", "A12"], USAGE, "rig init"),
        (["capture", "--part", "A12", "--workspace", "nowhere"], USAGE, "there is no folder"),
        (["capture", "--part", "A12", "--workspace", __file__], USAGE, "is a file: name a folder"),
        (["reconstruct", "B99"], USAGE, "there is no recording of part B99"),
        (["reconstruct", "parts/B99"], USAGE, "there is no folder parts/B99"),
        (["reconstruct", str(HERE)], USAGE, "holds no recording"),
        (["compare", "results/B99", "B99"], USAGE, "there is no result at results/B99"),
        (["compare", str(HERE), "B99"], USAGE, f"{HERE} holds no result"),
        (["verify", "B99"], USAGE, "there is no recording of part B99"),
        (["evaluate", "B99"], USAGE, "rig reconstruct B99"),
        (["measure", "B99"], USAGE, "rig reconstruct B99"),
        (["import", "nowhere", "--part", "A12"], DATA, "there is no folder nowhere"),
        (["run", "--watch", "--names", "no.txt", "--simulate"], DATA, "no file no.txt"),
        (["devices", "--describe", "no.xml"], DATA, "no.xml"),
        (["devices", "--cti", "no.cti"], DEVICE, "no.cti does not exist"),
    ],
)
def test_in_an_empty_folder(
    rig: Rig, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    refused(rig(*arguments), code, says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ('port: "sim://rig"|port: /dev/ttyACM77', DEVICE, "no serial port /dev/ttyACM77"),
        ('port: "sim://rig"|port: "2341:0043:7523"', DEVICE, "2341:0043:7523"),
        ('producer: "sim://rig"|producer: maker.cti', DEVICE, "maker.cti does not exist"),
        ('producer: "sim://rig"|producer:', DEVICE, "GENICAM_GENTL64_PATH"),
        ("dialect: rig|dialect: mode_step", USAGE, "mode-step"),
        ("trigger: auto|trigger: board-clocked", USAGE, "camera: line"),
        ("pixel_format: Mono12|pixel_format: RGB8", DEVICE, "Mono12"),
        ("leds: 96|leds 96", USAGE, "line 10"),
    ],
)
def test_in_rig_yaml(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, line: str, code: int, says: str
) -> None:
    monkeypatch.setattr("capture.world._worlds", {})
    monkeypatch.setattr(session, "default_scene", lambda config, part, seed: Bump((8, 8), 96))
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    rig("init")
    text = Path("rig.yaml").read_text(encoding="utf-8")
    wrong, _, right = line.partition("|")
    assert wrong in text
    Path("rig.yaml").write_text(text.replace(wrong, right), encoding="utf-8")
    refused(rig("capture", "--part", "A12", "--leds", "1-2"), code, says)
    assert not Path("parts").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"- a\n", "holds no settings"),
        (b'board: {port: "caf\xe9"}\n', "UTF-8"),
        (b"\0" * 9, "not YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_in_what_is_no_configuration(rig: Rig, content: bytes, says: str) -> None:
    Path("rig.yaml").write_bytes(content)
    refused(rig("capture", "--part", "A12"), USAGE, says)


def test_a_producer_that_is_none(rig: Rig) -> None:
    Path("maker.cti").write_text("no library")
    answer = rig("devices", "--cti", "maker.cti")
    refused(answer, DEVICE, "maker.cti cannot be loaded (", "install the camera maker's")


def test_a_folder_where_a_file_should_be(rig: Rig) -> None:
    Path("rig.yaml").mkdir()
    refused(rig("capture", "--part", "A12"), USAGE, "rig.yaml", "is a folder: name a file")


def _spoil(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("led_3.png", b"", "led_3.png is empty"),
        ("led_3.png", None, "names 'led_3.png', which is not in"),
        ("lights.lp", b"9\nled_1.png 0 0 300\n", "has 1 lights for 6 pictures"),
        ("lights.lp", b"\xff\xfe\x00", "lights.lp"),
        ("camera.json", b"{", "camera.json"),
        ("camera.json", b'{"width": 32}', "pictures/camera.json lacks 'height'"),
        ("camera.json", b"[32]", "camera.json holds no JSON object"),
        ("exposure.json", b'{"exposure": -1}', "exposure is -1: expected a number"),
        ("power.csv", b"1\n", "1 powers for 6 lights"),
    ],
)
def test_in_pictures_from_elsewhere(
    rig: Rig, pictures: Path, name: str, content: bytes | None, says: str
) -> None:
    _spoil(pictures, name, content)
    refused(rig("import", pictures, "--part", "A12"), DATA, says)
    assert not list(Path().glob("parts/*/*"))


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_a_mask_that_covers_nothing(rig: Rig, pictures: Path, name: str) -> None:
    cv2.imwrite(str(pictures / name), np.zeros(SHAPE, np.uint8))
    refused(rig("import", pictures, "--part", "A12"), DATA, name, "covers nothing")
    assert not list(Path().glob("parts/*/*"))


def test_a_curve_that_is_none(rig: Rig, pictures: Path) -> None:
    for curve in ("-3", "magic"):
        refused(rig("import", pictures, "--part", "A12", "--curve", curve), USAGE, "no curve")
    assert not list(Path().glob("parts/*/*"))


def test_a_picture_that_is_cut_short_is_told_by_us_alone(rig: Rig, pictures: Path) -> None:
    rng = np.random.default_rng(0)
    _, data = cv2.imencode(".png", rng.integers(0, 65536, SHAPE).astype(np.uint16))
    _spoil(pictures, "led_3.png", bytes(data)[: len(data) // 2])
    answer = rig("import", pictures, "--part", "A12")
    refused(answer, DATA, "led_3.png")


def test_a_file_instead_of_a_folder(rig: Rig, pictures: Path) -> None:
    refused(rig("import", pictures / "lights.lp", "--part", "A12"), DATA, "is a file")
    (pictures / "a.zip").write_bytes(b"no zip")
    refused(rig("import", pictures / "a.zip", "--part", "A12"), DATA, "not a sound zip file")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--method", "magic"], USAGE, "refine, dpps, lambert, halfvector"),
        (["--start", "moon"], USAGE, "auto, halfvector, flat, dpps"),
        (["--datum", "floor"], USAGE, "none, stage, plane"),
        (["--height", "nan"], USAGE, "--height is nan"),
        (["--height", "401"], USAGE, "above the camera, which is at 400 mm"),
        (["--height-sigma", "0"], USAGE, "--height-sigma is 0"),
        (["--memory", "0"], USAGE, "--memory is 0"),
        (["--plate-reflectance", "-1", "--plate", "."], USAGE, "--plate-reflectance is -1"),
        (["--plate-reflectance", "5", "--plate", "."], USAGE, "--plate-reflectance is 5"),
        (["--plate", "nowhere"], DATA, "nowhere"),
        (["--weights", "no.safetensors"], DATA, "rig train"),
        (["--lights", "no.json"], DATA, "no.json"),
        (["--mask", "no.png"], DATA, "no.png"),
        (["--leds", "1-3"], USAGE, "at least 4"),
        (["--leds", "9-1"], USAGE, "smaller number first"),
        (["--leds", "1-99999999999"], USAGE, "LEDs are numbered 1 to 4096"),
        (["--device", "cuda:77", "--method", "halfvector"], DATA, "cuda:77"),
        (["--device", "gpu"], USAGE, "there is no device 'gpu': choose cpu, auto"),
    ],
)
def test_in_asking_for_a_surface(
    rig: Rig, pictures: Path, arguments: list[str], code: int, says: str
) -> None:
    assert rig("import", pictures, "--part", "A12")[0] == 0
    refused(rig("reconstruct", "A12", *arguments), code, says)
    assert not list(Path().glob("parts/A12/*/results/*"))


def test_three_lights_are_too_few(rig: Rig, pictures: Path) -> None:
    lights = (pictures / "lights.lp").read_text(encoding="utf-8").splitlines()[:3]
    (pictures / "lights.lp").write_text("\n".join(lights), encoding="utf-8")
    refused(rig("import", pictures, "--part", "A12"), DATA, "3 lights for 6 pictures")
    for path in pictures.glob("led_[3-9].png"):
        path.unlink()
    assert rig("import", pictures, "--part", "A12")[0] == 0
    refused(rig("reconstruct", "A12"), DATA, "at least 4 lights, got 3")


def test_a_workspace_lends_its_camera_and_lights_to_pictures_without(
    rig: Rig, pictures: Path
) -> None:
    camera = (pictures / "camera.json").read_bytes()
    _spoil(pictures, "camera.json", None)
    assert rig("import", pictures, "--part", "A12")[0] == 0
    refused(rig("reconstruct", "A12", "--method", "lambert"), USAGE, "rig calibrate-camera")
    Path("calibration").mkdir()
    Path("calibration/camera.json").write_bytes(camera)
    assert rig("reconstruct", "A12", "--method", "lambert")[0] == 0


def test_damaged_recordings_are_named(rig: Rig, pictures: Path) -> None:
    assert rig("import", pictures, "--part", "A12")[0] == 0
    (run,) = Path().glob("parts/A12/*")
    frame, journal = run / "frames" / "0002_led003.tif", run / "run.jsonl"
    whole, lines = frame.read_bytes(), journal.read_bytes()
    surface = ("reconstruct", "A12", "--method", "lambert")
    frame.write_bytes(whole[:300])
    refused(rig(*surface), DATA, "0002_led003.tif is damaged")
    frame.unlink()
    refused(rig(*surface), DATA, "0002_led003.tif is missing")
    frame.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(rig(*surface), DATA, "0002_led003.tif is damaged, its checksum differs")
    frame.write_bytes(whole)
    journal.write_bytes(lines[: len(lines) // 2])
    refused(rig(*surface), DATA, "run.jsonl ends before its time")
    refused(rig("verify", "pictures"), DATA, "is not a recording")
    assert not (run / "results").exists()


def test_truth_of_another_capture(rig: Rig, pictures: Path) -> None:
    assert rig("import", pictures, "--part", "A12")[0] == 0
    assert rig("reconstruct", "A12", "--method", "lambert")[0] == 0
    refused(rig("evaluate", "A12"), USAGE, "--truth truth.npz")
    np.savez("truth.npz", position=np.zeros((5, 5, 3)), normal=np.zeros((5, 5, 3)))
    refused(rig("evaluate", "A12", "--truth", "truth.npz"), DATA, "the truth 5×5")
    for content in (b"hello", b"PK\x03\x04 cut short"):
        Path("truth.npz").write_bytes(content)
        done = rig("evaluate", "A12", "--truth", "truth.npz")
        refused(done, DATA, "expected the .npz file of a truth")


def test_unfinished_runs_are_not_taken_for_results(rig: Rig, pictures: Path) -> None:
    assert rig("import", pictures, "--part", "A12")[0] == 0
    (run,) = Path().glob("parts/A12/*")
    run.rename(run.with_name(run.name + ".part"))
    refused(rig("reconstruct", "A12"), USAGE, "rig capture --part A12 --resume")


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
@pytest.mark.parametrize("text", ["{", "[1]", '{"leds": 5}', "\udcff"])
def test_plans(rig: Rig, name: str, text: str) -> None:
    Path(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(rig("capture", "--part", "A12", "--simulate", "--plan", name), USAGE, name)


def test_what_the_system_refuses_is_a_sentence_with_advice() -> None:
    def said(number: int, *rest: object) -> str:
        return in_words(OSError(number, os.strerror(number), *rest))

    assert said(errno.EROFS, "/mnt/parts").startswith("/mnt/parts: Read-only file system: ")
    assert "another --workspace" in said(errno.EROFS, "/mnt/parts")
    assert "make room" in said(errno.ENOSPC)
    assert "get the right" in said(errno.EACCES, "/root")
    assert said(errno.EIO, "a") == "a: Input/output error"
    assert in_words(ValueError("plain")) == "plain"


def test_a_disk_that_fills_while_importing_leaves_nothing_half(
    rig: Rig, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes, durable: bool = True) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("capture.recording.write_atomically", full)
        refused(rig("import", pictures, "--part", "A12"), DATA, "No space left", "import again")
        patch.setattr("capture.recording.sync_folder", lambda folder: None)
    assert not list(Path().glob("parts/A12/*"))
    assert rig("import", pictures, "--part", "A12")[0] == 0
