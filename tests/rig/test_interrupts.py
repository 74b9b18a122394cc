"""Ctrl-C ends every command in every state, with a GenICam camera that has ideas of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calib.light_files import write_lights
from capture.leds.bench import BenchScene
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import board_of
from capture.world import WallClock, World
from rig.config import TEMPLATE
from rig.simulate import virtual_rig

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
LEDS = 24


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[tuple[Path, World]]:
    """A calibrated workspace: a board on a pty, and the camera of a GenTL producer."""
    genicam = pytest.importorskip("genicam")
    producer = Path(genicam.__file__).parent / "TLSimu.cti"
    if not producer.is_file():
        pytest.skip("TLSimu.cti comes with genicam 1.5.0")
    small = virtual_rig(LEDS, (512, 512))
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    small.camera.write(calibration / "camera.json")
    write_lights(small.lights, calibration / "lights.json", small.camera)
    world = World(BenchScene(LEDS), clock=WallClock())
    with PtyPort(board_of(world)) as port:
        text = TEMPLATE
        for name, value in (
            ("leds", LEDS),
            ("port", f'"{port.name}"'),
            ("producer", f'"{producer}"'),
            ("serial", "SN_InterfaceA_0"),
            ("pixel_format", "Mono8"),
            ("settle_us", 200_000),  # time to interrupt: this camera's exposures take none
        ):
            text, found = re.subn(rf"(?m)^  {name}:.*$", f"  {name}: {value}", text, count=1)
            assert found, name
        (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
        yield tmp_path, world


@contextlib.contextmanager
def typed(workspace: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "-m", "rig", *words, "--workspace", str(workspace)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], words: str) -> str:
    """The line with these words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line
    raise AssertionError(process.communicate())


def interrupted(process: subprocess.Popen[str], world: World | None = None) -> str:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    if world is not None:
        assert [lit for lit in world.log() if lit.off_us is None] == []
    return out + err


def test_capture(bench) -> None:
    workspace, world = bench
    with typed(workspace, "capture", "--part", "A") as process:
        while not list(workspace.glob("parts/A/*/frames/*.tif")):
            assert process.poll() is None, process.communicate()
        assert "--resume" in interrupted(process, world)
    assert len(list(workspace.glob("parts/A/*.part/frames/*.tif"))) < LEDS


def test_live(bench) -> None:
    workspace, world = bench
    with typed(workspace, "live", "--port", "0") as process:
        until(process, "http://")
        assert "LEDs are off" in interrupted(process, world)


def test_run_that_waits_for_the_next_name(bench) -> None:
    workspace, world = bench
    with typed(workspace, "run", "--watch", "--json", "--method", "lambert") as process:
        assert process.stdin is not None
        process.stdin.write("A\n")
        process.stdin.flush()
        until(process, '"part": "A"')  # the devices are open, whatever came of the part
        interrupted(process, world)


def test_calibrate_lights_that_waits_for_the_ball(bench) -> None:
    workspace, world = bench
    (workspace / "calibration" / "lights.json").unlink()
    with typed(workspace, "calibrate-lights", "--sphere-diameter", "25.4") as process:
        until(process, "then Enter")
        interrupted(process, world)
    assert sorted(path.name for path in (workspace / "calibration").iterdir()) == [
        "camera.json",
        "sessions",
    ]


def test_calibrate_camera_that_waits_for_the_board(bench) -> None:
    workspace, world = bench
    with typed(workspace, "calibrate-camera", "--replace") as process:
        until(process, "then Enter")
        interrupted(process, world)


def test_check_while_it_captures(bench) -> None:
    workspace, world = bench
    with typed(workspace, "check", "--yes") as process:
        until(process, "White plate")
        while not list(workspace.glob("calibration/checks/*/plate.part/frames/*.tif")):
            assert process.poll() is None, process.communicate()
        interrupted(process, world)


def test_reconstruct(bench, tmp_path: Path) -> None:
    import numpy as np

    from capture.recording import RecordingWriter

    workspace, _ = bench
    run = workspace / "parts" / "A" / "20260101T000000Z"
    random = np.random.default_rng(0)
    with RecordingWriter.create(run, {"bits": 12}) as writer:
        for led in range(1, LEDS + 1):
            pixels = random.integers(400, 3000, (512, 512)).astype(np.uint16)
            entry = {"index": led, "kind": "light", "led": led, "exposure_us": 1000.0}
            writer.append(pixels, {**entry, "verdict": "good"})
        writer.finish()
    with typed(workspace, "reconstruct", "A", "--method", "refine") as process:
        while not list(run.glob("results/.01.part/work")):
            assert process.poll() is None, process.communicate()
        interrupted(process)
    assert not (run / "results").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_are_ours_while_and_after_a_camera_is_opened(bench, number: int) -> None:
    from capture.camera import open_camera

    workspace, _ = bench
    from rig.config import read_config

    before = signal.getsignal(number)
    with open_camera(read_config(workspace / "rig.yaml").camera.address):
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before
