"""``rig virtual-rig`` in one terminal, the other commands in another: through the real drivers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from capture.gentl.build import c_compiler, producer_file
from capture.reading import Recording
from rig.cli import app
from rig.config import for_virtual_rig, parse_config
from rig.virtual_rig import lay_producer

RIG = [sys.executable, "-m", "rig"]


def typed(*words: str, workspace: Path) -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace)])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace whose virtual rig runs: 8 LEDs, small pictures."""
    if c_compiler() is None or producer_file() is None:
        pytest.skip(
            "the producer is not built: pip install again, or python -m capture.gentl.build"
        )
    workspace = tmp_path_factory.mktemp("bench")
    assert typed("init", "--virtual-rig", workspace=workspace).exit_code == 0
    file = workspace / "rig.yaml"
    file.write_text(file.read_text().replace("leds: 96", "leds: 8"))
    command = [*RIG, "virtual-rig", "--workspace", str(workspace), "--leds", "8", "--size", "96x64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and "Ctrl-C ends this one" not in line:
            pass
        yield workspace
        process.send_signal(signal.SIGINT)
        assert "The virtual rig has ended." in process.stdout.read()
        assert process.wait() == 130
    assert not (workspace / "virtual" / "board").is_symlink()


def test_doctor_and_devices_see_it(bench: Path) -> None:
    doctor = typed("doctor", workspace=bench)
    assert doctor.exit_code == 0, doctor.output
    assert "virtual rig" in doctor.output
    cti = str(bench / "virtual" / "rig-virtual.cti")
    devices = CliRunner().invoke(app, ["devices", "--cti", cti])
    assert f"{cti}#VC0001" in devices.output


def test_a_capture_lays_the_part_that_it_names(bench: Path) -> None:
    done = typed("capture", "--part", "turned-2", workspace=bench)
    assert done.exit_code == 0, done.output
    recording = Recording.open(next((bench / "parts" / "turned-2").iterdir()))
    assert recording.start["synchronisation"] == "board-clocked"
    assert recording.start["devices"]["camera"]["serial"] == "VC0001"
    assert len(recording.entries) == 12
    assert recording.truth_path is not None  # for rig evaluate
    status = json.loads(typed("virtual-rig", "status", "--json", workspace=bench).output)
    assert status["stage"] == "part turned-2"
    assert status["lit"] == []
    assert (bench / "virtual" / "truth.npz").is_file()


def test_a_person_lays_things_and_breaks_them(bench: Path) -> None:
    placed = typed("virtual-rig", "place", "ball", "--x", "5", workspace=bench)
    assert placed.output == "On the stage: a mirror ball at x 5, y 0 mm\n"
    assert typed("virtual-rig", "place", "plate", workspace=bench).exit_code == 0
    assert not (bench / "virtual" / "truth.npz").exists()
    assert "late-edge" in typed("virtual-rig", "fault", workspace=bench).output
    assert typed("virtual-rig", "fault", "left-on@3", workspace=bench).exit_code == 0
    assert typed("virtual-rig", "fault", "--repair", workspace=bench).exit_code == 0


def test_the_live_page_shows_its_camera(bench: Path) -> None:
    """Free running through harvesters and pyserial; another LED on a wish; dark at the end."""
    command = [*RIG, "live", "--port", "0", "--workspace", str(bench)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        wish = urllib.request.Request(address + "wish", b'{"led": 5, "level": 0.5}')
        state = json.loads(urllib.request.urlopen(wish, timeout=60).read())
        assert state["wish"]["led"] == 5
        assert "VC0001" in state["camera"]
        picture = urllib.request.urlopen(address + "picture.jpg", timeout=60).read()
        seen = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert seen.shape[:2] == (64, 96)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    status = json.loads(typed("virtual-rig", "status", "--json", workspace=bench).output)
    assert status["lit"] == []


def test_one_virtual_rig_a_workspace(bench: Path) -> None:
    second = subprocess.run(
        [*RIG, "virtual-rig", "--workspace", str(bench)], capture_output=True, text=True
    )
    assert second.returncode == 3
    assert "serves" in second.stderr
    assert "already" in second.stderr


def test_without_its_process_each_command_says_so(tmp_path: Path) -> None:
    built = producer_file()
    if built is None:
        pytest.skip("the producer is not built")
    assert typed("init", "--virtual-rig", workspace=tmp_path).exit_code == 0
    (tmp_path / "virtual").mkdir()
    lay_producer(tmp_path / "virtual", built)
    for words in (("capture", "--part", "A12"), ("virtual-rig", "status")):
        done = subprocess.run(
            [*RIG, *words, "--workspace", str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 3
        assert done.stderr.count("\n") == 1
        assert "start 'rig virtual-rig' in another terminal" in done.stderr
    doctor = typed("doctor", workspace=tmp_path)
    assert doctor.exit_code == 3
    assert "start 'rig virtual-rig'" in doctor.output


def test_the_configuration_of_a_virtual_rig_is_one(tmp_path: Path) -> None:
    config = parse_config(for_virtual_rig()).beside(tmp_path)
    assert config.board.port == str(tmp_path / "virtual" / "board")
    assert config.camera.address == f"{tmp_path / 'virtual' / 'rig-virtual.cti'}#VC0001"
    assert (config.camera.line, config.camera.strobe_line) == ("Line0", "Line1")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--size", "big"), "--size: 'big' is no size in pixels; write it as 1024 or 640x480"),
        (("--size", "511x512"), "multiple of 4"),
        (("--camera", "colour=1"), "has no 'colour'"),
        (("--fault", "gremlins"), "there is no fault 'gremlins'"),
        (("--firmware", "cobol"), "auto, native or python"),
    ],
)
def test_nonsense_is_one_sentence(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["virtual-rig", "--workspace", str(tmp_path), *words])
    assert says in str(done.exception)
