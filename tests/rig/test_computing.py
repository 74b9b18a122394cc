"""What somebody who waits for a reconstruction sees, and what Ctrl-C leaves."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from reconstruct import part
from reconstruct.errors import Stopped
from reconstruct.export.results import read_results
from rig import reconstructing
from rig.cli import app
from rig.computing import TimeLeft, computing_shown, every
from rig.reconstructing import Request, run_reconstruction


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_the_time_left_follows_the_share_done_which_never_falls():
    clock = Clock()
    left = TimeLeft(clock)
    assert left.told("encode", 0.0) == "encode, 0 %"
    clock.now_s = 30.0
    assert left.told("last level", 0.5) == "last level, 50 %, about 30 s left"
    assert left.told("level 1/2", 0.3) == "level 1/2, 50 %, about 30 s left"
    clock.now_s = 600.0
    assert left.told("last level", 0.6) == "last level, 60 %, about 7 min left"


def test_without_a_terminal_a_line_comes_at_most_once_in_a_period():
    clock, lines = Clock(), []
    show = every(5.0, TimeLeft(clock), lines.append, clock)
    for second in range(12):
        clock.now_s = float(second)
        show("last level", second / 12)
    assert lines == [
        "reconstructing: last level, 42 %, about 7 s left",
        "reconstructing: last level, 83 %, about 2 s left",
    ]


def press_twice() -> None:
    with computing_shown() as step:
        step("encode", 0.0)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            step("start", 0.05)
        step("uncertainty", 0.9)  # once is enough: what is left goes on
        os.kill(os.getpid(), signal.SIGINT)
        step("never", 1.0)


def press_early() -> None:
    with computing_shown():
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")


def test_the_first_ctrl_c_stops_at_the_next_step_and_the_second_at_once(capfd):
    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert "the best surface so far is kept" in capfd.readouterr().err


def test_ctrl_c_before_any_step_interrupts():
    with pytest.raises(KeyboardInterrupt):
        press_early()


def steps_of(monkeypatch: pytest.MonkeyPatch, *, best: bool) -> None:
    """A method that tells of one step and, where it is stopped, has a surface or has none."""
    compute = part.reconstruct

    def stepping(name, stack, camera, lights, options):
        try:
            options.progress("last level", 0.5)
        except Stopped:
            if not best:
                raise
        surface = compute(name, stack, camera, lights, options)
        return replace(surface, summary={**surface.summary, "stopped": True})

    monkeypatch.setattr(part, "reconstruct", stepping)


def stop(stage: str, share: float) -> None:
    raise Stopped


def test_a_stopped_reconstruction_leaves_a_result_that_says_so(recorded, monkeypatch):
    steps_of(monkeypatch, best=True)
    said: list[str] = []
    request = Request("P", method="lambert", height_mm=2.0, workspace=recorded)
    _, folder = run_reconstruction(request, said.append, stop)
    assert read_results(folder).summary["stopped"]
    assert any("stopped before" in line for line in said)


def test_stopped_before_any_surface_leaves_nothing(recorded, monkeypatch):
    steps_of(monkeypatch, best=False)
    request = Request("P", method="lambert", height_mm=2.0, workspace=recorded)
    with pytest.raises(KeyboardInterrupt):
        run_reconstruction(request, lambda line: None, stop)
    results = recorded / "parts/P/20260101T000000Z" / reconstructing.RESULTS
    assert list(results.glob("*")) == []


def test_the_command_ends_with_130_when_it_was_stopped(recorded, monkeypatch):
    steps_of(monkeypatch, best=True)
    typed = ["reconstruct", "P", "--method", "lambert", "--height", "2", "--workspace"]
    done = CliRunner().invoke(app, [*typed, str(recorded)])
    assert done.exit_code == 130
    assert "Wrote" in done.output
