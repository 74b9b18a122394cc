"""What users of other systems report, on cameras that have these habits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outcomes import Outcome, bump
from rig_process import UNDISTURBED_S, RigProcess, captured, rig_process

from capture.camera import open_camera
from capture.camera.base import Camera, CameraSettings, Frame
from capture.errors import DeviceError
from capture.reading import Recording
from rig.session import open_rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigProcess]:
    with rig_process(tmp_path_factory.mktemp("rig")) as process:
        yield process


def test_the_first_trigger_after_arming_is_lost(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    with rig_process(tmp_path / "rig", camera="first_trigger_lost,readout_us=200") as process:
        done = captured(process, tmp_path / "run", "software", timeout_s=1.0)
        assert done.error is None, done.error
        assert done.wrongly_good() == []
        assert done.summary is not None
        assert done.summary.retries == 2


def test_an_exposure_that_applies_one_frame_later(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    with rig_process(tmp_path / "rig", camera="exposure_one_late,readout_us=200") as process:
        config = process.config("software")
        plan = config.default_plan()
        bracket = type(plan)(**{**vars(plan), "exposures_us": (1000.0, 250.0, 500.0)})
        with open_rig(config, timeout_s=UNDISTURBED_S) as rig:
            summary = rig.capture(tmp_path / "run", bracket)
        assert summary.finished
        recording = Recording.open(summary.folder)
        told = [entry.data["exposure_us"] for entry in recording.entries]
        assert sorted(set(told)) == [250.0, 500.0, 1000.0]
        assert len(told) == len(bracket.shots())
        assert Outcome(summary, None, summary.folder, bump(process.leds)).wrongly_good() == []


def test_a_trigger_source_that_resets_when_another_feature_is_set(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    with rig_process(tmp_path / "rig", camera="source_resets,readout_us=200") as process:
        for mode in ("board-clocked", "software"):
            done = captured(process, tmp_path / mode, mode)
            assert done.error is None, done.error
            assert done.summary is not None
            assert done.summary.retries == 0


def test_pictures_are_not_off_by_one_after_an_aborted_sequence(
    rig: RigProcess, tmp_path: Path
) -> None:
    first = captured(rig, tmp_path / "reference", "board-clocked")
    config = rig.config("board-clocked")
    for count in (1, 4):
        taken = iter(range(count))
        with open_rig(config, timeout_s=UNDISTURBED_S) as device:
            stopped = device.capture(
                tmp_path / f"aborted{count}",
                config.default_plan(),
                stop=lambda taken=taken: next(taken, None) is None,  # type: ignore[misc]
            )
            assert stopped.interrupted
        done = captured(rig, tmp_path / f"after{count}", "board-clocked", reference=first.folder)
        assert done.summary is not None
        assert done.summary.verdicts == {"good": 12}
        assert done.summary.retries == 0
        assert done.wrongly_good() == []


_OTHER = """
import sys
from capture.camera import open_camera
from capture.camera.base import CameraSettings
camera = open_camera(sys.argv[1])
camera.configure(CameraSettings(pixel_format="Mono8", exposure_us=500, trigger="free"))
camera.arm()
camera.next_frame(2.0)
print("armed", flush=True)
sys.stdin.read()
"""


def test_two_processes_and_a_crash(rig: RigProcess) -> None:
    """The second is told; what the first one's death leaves armed is put to rest."""
    address = f"{rig.cti}#VC0001"
    command = [sys.executable, "-c", _OTHER, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"armed\n"
        with pytest.raises(DeviceError, match="is another program using it"):
            open_camera(address)
        os.kill(other.pid, signal.SIGKILL)
    with open_camera(address) as camera:
        state = camera.configure(CameraSettings(pixel_format="Mono12", exposure_us=400.0))
        assert state.pixel_format == "Mono12"
        camera.arm()
        camera.trigger()
        assert camera.next_frame(2.0).frame_id == 0


def test_frames_that_overtake_the_answer_to_their_start(tmp_path: Path) -> None:
    """On a starved computer the first frame is there before the host knows that the camera runs."""
    (tmp_path / "rig").mkdir()
    with rig_process(tmp_path / "rig", answers_late_s=0.01) as process:
        for run in ("first", "second"):
            done = captured(process, tmp_path / run, "camera-clocked")
            assert done.error is None, done.error
            assert done.summary is not None
            assert done.summary.retries == 0
            recording = Recording.open(done.folder)
            assert [entry.data["frame_id"] for entry in recording.entries] == list(range(12))


def _shoot(camera: Camera) -> Frame:
    camera.trigger()
    return camera.next_frame(2.0)


def test_a_camera_that_restarts_comes_back_as_it_was_set(rig: RigProcess) -> None:
    with open_camera(f"{rig.cti}#VC0001") as camera:
        camera.configure(CameraSettings(pixel_format="Mono10", exposure_us=700.0))
        camera.arm()
        rig.ask(faults=["camera-restart"])
        with pytest.raises(DeviceError, match=r"failed while a frame was awaited|refused"):
            _shoot(camera)
        camera.disarm()
        camera.arm()
        frame = _shoot(camera)
        assert (frame.pixel_format, frame.exposure_us) == ("Mono10", 700.0)
