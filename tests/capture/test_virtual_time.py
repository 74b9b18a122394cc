"""The virtual rig's time is its own: what a picture shows does not depend on the host's load.

By the clock of `--simulate`, at the pace of real time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import MODES, PLAN, SHOTS, capture

from capture.faults import Faults
from capture.journal import JOURNAL, read_journal, sha256
from capture.leds.bench import BenchScene
from capture.reading import Recording
from capture.world import PatientClock, World

FOUR_MS = replace(PLAN, exposures_us=(4000.0,))  # back to back: 400 Hz asked, 250 Hz possible
SHORT = replace(FOUR_MS, leds=(1, 2, 3, 4))


@contextmanager
def busy(threads: int = 3) -> Iterator[None]:
    """Threads that hold the interpreter for as long as it lets them."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(20_000))

    workers = [threading.Thread(target=spin) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def stalling(index: int):  # type: ignore[no-untyped-def]
    """A progress callback that stops the host for longer than any buffer or watchdog lasts."""

    def progress(done: int, total: int, what: str) -> None:
        if done == index:
            time.sleep(0.7)

    return progress


def frames(folder: Path) -> list[str]:
    return [sha256(path) for path in sorted((folder / "frames").iterdir())]


def stamps(folder: Path) -> list[object]:
    lines, _ = read_journal(folder / JOURNAL)
    return [(line["timestamp_ns"], line["board_us"]) for line in lines if "timestamp_ns" in line]


@pytest.mark.parametrize("mode", MODES)
def test_recordings_under_load_are_identical_to_the_bit(mode: str, tmp_path: Path) -> None:
    calm = capture(tmp_path / "calm", mode, clock=PatientClock(), plan=SHORT)
    assert calm.error is None
    with busy():
        loaded = capture(tmp_path / "busy", mode, clock=PatientClock(), plan=SHORT)
    stopped = capture(
        tmp_path / "stopped", mode, clock=PatientClock(), plan=SHORT, progress=stalling(4)
    )
    for other in (loaded, stopped):
        assert other.error is None
        assert other.summary is not None
        assert other.summary.retries == 0
        assert frames(other.folder) == frames(calm.folder)
        assert stamps(other.folder) == stamps(calm.folder)


def test_back_to_back_exposures_never_carry_another_leds_light(tmp_path: Path) -> None:
    dim = replace(FOUR_MS, level=0.2)  # far from clipping
    with busy():
        taken = capture(tmp_path / "run", "camera-clocked", clock=PatientClock(), plan=dim)
    assert taken.error is None
    recording, scene = Recording.open(taken.folder), taken.world.scene
    for entry in recording.entries:
        light = scene.ambient() + (0.2 * scene.irradiance(entry.led) if entry.led else 0.0)
        expected = 4000.0 * float(light.mean()) / 12_000 + 0.004
        seen = float(recording.counts(entry).mean()) / recording.full_scale
        assert seen == pytest.approx(expected, rel=0.003, abs=2e-4), entry.file
    assert len(recording.entries) == len(SHOTS)


@pytest.mark.parametrize("late_us", [40, 119])
def test_an_answer_that_lets_one_per_cent_of_the_led_before_in_is_seen(
    late_us: int, tmp_path: Path
) -> None:
    faults = Faults(late_edges={5: late_us})
    taken = capture(tmp_path / "run", "camera-clocked", faults, clock=PatientClock(), plan=FOUR_MS)
    assert taken.error is None
    assert taken.summary is not None
    assert taken.summary.retries > 0  # it was judged bad, and taken again


def test_events_happen_in_the_order_of_their_instants() -> None:
    world = World(BenchScene(2))
    seen: list[tuple[str, int]] = []
    world.connect_exposure_active(lambda at_us: seen.append(("edge", at_us)))
    world.schedule(300, lambda at_us: seen.append(("late", at_us)))
    world.pulse_exposure_active(200)
    world.schedule(100, lambda at_us: world.pulse_exposure_active(at_us + 50))
    assert world.due_us() == 100
    world.settle(1000)
    assert seen == [("edge", 150), ("edge", 200), ("late", 300)]


def test_time_passes_only_while_somebody_waits() -> None:
    clock = PatientClock()
    before_us = clock.now_us()
    time.sleep(0.01)
    assert clock.now_us() == before_us
    clock.sleep_us(1500)
    assert clock.now_us() == before_us + 1500


def test_what_the_host_did_shortens_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = PatientClock()
    time.sleep(0.02)
    slept: list[float] = []
    monkeypatch.setattr("capture.world.time.sleep", slept.append)
    clock.sleep_us(15_000)
    clock.sleep_us(15_000_000)
    assert slept[0] == 0.0
    assert 14.0 < slept[1] < 15.01
    assert clock.now_us() == 15_015_000
