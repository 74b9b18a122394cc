"""A workspace with a recording, pictures from elsewhere, and the program as it is typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from prompt_clock import PromptClock

from calib.camera import Camera
from calib.light_files import write_lights
from capture.recording import RecordingWriter
from rig.cli import main
from rig.simulate import virtual_rig

Rig = Callable[..., tuple[int, str]]
SHAPE = (24, 32)


@pytest.fixture(autouse=True)
def nobody_waits_for_simulated_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this process; a command that is a process keeps the pace of real time."""
    monkeypatch.setattr("capture.world.PatientClock", PromptClock)
    monkeypatch.setattr("capture.world._worlds", {})


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A calibrated workspace with one small recording of part P."""
    rig = virtual_rig(8, (24, 24))
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    rig.camera.write(calibration / "camera.json")
    write_lights(rig.lights, calibration / "lights.json", rig.camera)
    random = np.random.default_rng(0)
    with RecordingWriter.create(tmp_path / "parts/P/20260101T000000Z", {"bits": 12}) as writer:
        for led in range(1, 9):
            pixels = random.integers(400, 3000, (24, 24)).astype(np.uint16)
            entry = {"index": led, "kind": "light", "led": led, "exposure_us": 1000.0}
            writer.append(pixels, {**entry, "verdict": "good"})
        writer.finish()
    return tmp_path


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rig:
    """``rig …`` as typed in an empty folder: its exit code, and all that it complained of."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["rig", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        return (code if isinstance(code, int) else 0), capfd.readouterr().err

    return typed


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A small exchange folder of a matt plane under six LEDs."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = []
    for k in range(6):
        angle = k * np.pi / 3
        cv2.imwrite(str(folder / f"led_{k}.png"), np.full(SHAPE, 20000 + k, np.uint16))
        rows.append(f"led_{k}.png {150 * np.cos(angle):.3f} {150 * np.sin(angle):.3f} 250")
    (folder / "lights.lp").write_text("\n".join(rows), encoding="utf-8")
    K = np.array([[120.0, 0, 15.5], [0, 120, 11.5], [0, 0, 1]])
    flip = np.diag([1.0, -1, -1])
    Camera(SHAPE[1], SHAPE[0], K, R=flip, t=np.array([0, 0, 400.0])).write(folder / "camera.json")
    return folder
