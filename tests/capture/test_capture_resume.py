"""A run that was killed, interrupted or ran out of disk goes on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import MODES, PLAN, SHOTS, capture
from outcomes import BrightBump
from prompt_clock import PromptClock
from typer.testing import CliRunner

from capture import recording
from capture.errors import DataError, DeviceError, PlanError
from capture.journal import sha256
from capture.plan import Plan
from capture.verify import verify
from rig.cli import app

TWO = Plan(leds=PLAN.leds, exposures_us=(1000.0, 2000.0), settle_us=0)


def frames(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted((folder / "frames").iterdir())}


def stop_after(count: int):  # type: ignore[no-untyped-def]
    taken = iter(range(count - 1))
    return lambda: next(taken, None) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [1, 5, 12, 15])
def test_an_interrupted_run_resumes_to_the_same_bits(mode: str, count: int, tmp_path: Path) -> None:
    whole = capture(tmp_path / "whole", mode, plan=TWO)
    half = capture(tmp_path / "half", mode, plan=TWO, stop=stop_after(count))
    assert half.summary is not None
    assert half.summary.interrupted
    assert half.folder.name == "half.part"
    assert not half.world.lit(half.world.clock.now_us() - 1, half.world.clock.now_us())
    resumed = capture(tmp_path / "half", mode, plan=TWO, resume=True)
    assert resumed.summary is not None
    assert resumed.summary.finished
    assert frames(resumed.folder) == frames(whole.folder)
    assert resumed.verdicts() == whole.verdicts()
    assert verify(resumed.folder).sound


def test_resume_refuses_another_plan(tmp_path: Path) -> None:
    capture(tmp_path / "run", stop=stop_after(3))
    done = capture(tmp_path / "run", plan=TWO, resume=True)
    assert isinstance(done.error, PlanError)
    assert "plan differs" in str(done.error)


def test_resume_refuses_another_camera(tmp_path: Path) -> None:
    capture(tmp_path / "run", stop=stop_after(3))
    done = capture(tmp_path / "run", resume=True, name="another")
    assert isinstance(done.error, PlanError)
    assert "camera.serial" in str(done.error)


def test_resume_refuses_another_virtual_rig(tmp_path: Path) -> None:
    capture(tmp_path / "run", stop=stop_after(3))
    done = capture(tmp_path / "run", resume=True, seed=4)
    assert isinstance(done.error, PlanError)
    assert "virtual_seed was 1, is now 4" in str(done.error)


def test_resume_refuses_pictures_of_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = capture(tmp_path / "run", stop=stop_after(3))
    kept = frames(half.folder)
    monkeypatch.setattr("in_process.bump", lambda leds, part: BrightBump((16, 24), leds, seed=part))
    done = capture(tmp_path / "run", resume=True)
    assert isinstance(done.error, DeviceError)
    assert "the camera sends 24×16 pixels" in str(done.error)
    assert done.folder == half.folder
    assert frames(half.folder) == kept


def test_a_damaged_picture_is_taken_again(tmp_path: Path) -> None:
    half = capture(tmp_path / "run", stop=stop_after(6))
    left = len(SHOTS) - 6
    assert f"{left} of {len(SHOTS)} pictures are still to be taken" in verify(half.folder).problems
    victim = half.folder / "frames" / "0003_led003.tif"
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    done = capture(tmp_path / "run", resume=True)
    assert done.summary is not None
    assert done.summary.finished
    assert verify(done.folder).sound


@pytest.mark.parametrize("position", [0, 4, len(SHOTS) - 1])
def test_a_full_disk_is_one_message_and_resumes(
    position: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = recording.write_atomically

    def full(path: Path, data: bytes, durable: bool = True) -> None:
        if path.name.startswith(f"{position:04d}_"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data, durable)

    with monkeypatch.context() as patch:
        patch.setattr(recording, "write_atomically", full)
        done = capture(tmp_path / "run")
    assert isinstance(done.error, DataError)
    assert "No space left" in str(done.error)
    assert "--resume" in str(done.error)
    assert "\n" not in str(done.error)
    resumed = capture(tmp_path / "run", resume=True)
    assert resumed.summary is not None
    assert resumed.summary.finished
    assert frames(resumed.folder) == frames(capture(tmp_path / "whole").folder)


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from capture.world import PatientClock
from in_process import capture
def told(done, total, what):
    print(done, flush=True)
capture(Path(sys.argv[2]), sys.argv[3], progress=told, clock=PatientClock())
"""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "count", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 4, 5, 9, 11, 12))]
)
def test_a_killed_run_resumes_to_the_same_bits(mode: str, count: int, tmp_path: Path) -> None:
    here = str(Path(__file__).parents[1] / "virtual_rigs")
    arguments = [sys.executable, "-c", CHILD, here, str(tmp_path / "run"), mode]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == count:
                child.kill()  # SIGKILL: nothing can be tidied up
                break
        child.stdout.read()
    whole = capture(tmp_path / "whole", mode)
    if not (tmp_path / "run").exists():  # the last picture may win the race with the signal
        part = tmp_path / "run.part"
        if not (part / "run.jsonl").exists() or not (part / "run.jsonl").read_bytes():
            pytest.skip("killed before anything was on disk")
        resumed = capture(tmp_path / "run", mode, resume=True)
        assert resumed.summary is not None
        assert resumed.summary.finished
    assert frames(tmp_path / "run") == frames(whole.folder)
    assert verify(tmp_path / "run").sound


def wait_for_a_picture(child: subprocess.Popen[str], workspace: Path) -> None:
    """Return once a run has written one; one that writes none is ended, and what it said shown."""
    deadline = time.monotonic() + 60
    while not list(workspace.glob("parts/A12/*/frames/*.tif")):
        if time.monotonic() > deadline or child.poll() is not None:
            child.kill()
            out, err = child.communicate()
            pytest.fail(f"no picture on disk before the signal: {out}{err}")
        time.sleep(0.02)


SMALL = ["--size", "64"]


def resume(workspace: Path) -> None:
    """`rig capture --resume` of the part, in this process: another would have to start first."""
    words = ["capture", "--part", "A12", "--simulate", "--resume", *SMALL]
    words += ["--workspace", str(workspace)]
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0, again.output


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_resumable(
    number: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "rig", "capture", "--part", "A12", "--simulate"]
    options = ["--exposures", "300", "--leds", "1-8", *SMALL, "--workspace", str(tmp_path)]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        wait_for_a_picture(child, tmp_path)
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert child.returncode == status, err
    assert "Traceback" not in err
    (part,) = tmp_path.glob("parts/A12/*.part")
    assert "--resume" in (out if number == signal.SIGINT else err)
    end = json.loads((part / "run.jsonl").read_text().splitlines()[-1])
    assert (end["event"], end["exit_status"]) == ("stop", status)
    monkeypatch.setattr("capture.world.PatientClock", PromptClock)
    monkeypatch.setattr("capture.world._worlds", {})
    resume(tmp_path)
    assert not part.exists()
    assert verify(part.with_suffix("")).sound


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_a_second_interrupt_ends_at_once_and_the_run_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rig", "capture", "--part", "A12", "--simulate"]
    options = ["--exposures", "900", "--leds", "1-4", *SMALL, "--workspace", str(tmp_path)]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        wait_for_a_picture(child, tmp_path)
        assert child.stderr is not None
        child.send_signal(signal.SIGINT)
        told = child.stderr.readline()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert "again" in told
    assert "--resume" in err
    assert child.returncode == 130, out + err
    assert "Traceback" not in err
    resume(tmp_path)
    (run,) = tmp_path.glob("parts/A12/*")
    assert verify(run).sound
