"""Faults of timing and links by name, on both virtual rigs: the one in the program's own process
(`--simulate`) and the one behind the unmodified drivers harvesters, genicam and pyserial.

No picture of another LED is ever recorded as good; each fault ends in a retry or in one sentence.
`benchmarks/faults_through_drivers.py` runs every kind at every position of 24 LEDs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import in_process
import pytest
from outcomes import Outcome
from rig_process import captured, rig_process

from capture.errors import PlanError
from capture.fault_names import KINDS, fault_named
from capture.faults import NONE, Faults

SENTENCE = {"clock-drift": "the clocks do not run alike"}  # what lasts cannot be retried away
UNHARMED = {"doubled-edge", "bouncing-edge"}  # the sensor is busy when the second edge comes

Capture = Callable[[Path, str, list[str], Path | None], Outcome]


def _in_process(folder: Path, mode: str, names: list[str], reference: Path | None) -> Outcome:
    faults = Faults(unplugged_us=20_000)
    for name in names:
        faults = fault_named(name, base=faults)
    return in_process.capture(folder, mode, faults, reference)


@pytest.fixture(scope="module", params=["in process", "through drivers"])
def take(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Capture]:
    """Takes all LEDs of a virtual rig into a folder, with these faults, against a reference."""
    if request.param == "in process":
        yield _in_process
        return
    with rig_process(tmp_path_factory.mktemp("rig")) as process:
        yield lambda folder, mode, names, reference: captured(
            process, folder, mode, names, reference
        )


@pytest.fixture(scope="module")
def earlier(take: Capture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed recording of the same rig."""
    done = take(tmp_path_factory.mktemp("earlier") / "run", "board-clocked", [], None)
    assert done.summary is not None
    assert done.summary.finished
    return done.folder


@pytest.mark.parametrize("kind", KINDS)
def test_board_clocked(kind: str, take: Capture, earlier: Path, tmp_path: Path) -> None:
    done = take(tmp_path / "run", "board-clocked", [f"{kind}@3"], earlier)
    assert done.wrongly_good() == []
    if kind in SENTENCE:
        assert done.error is not None
        assert done.error.exit_code == 3
        assert SENTENCE[kind] in str(done.error)
        assert "\n" not in str(done.error)
        return
    assert done.error is None, done.error
    assert done.summary is not None
    assert done.summary.verdicts == {"good": 12}
    assert (done.summary.retries == 0) == (kind in UNHARMED)


@pytest.mark.parametrize(
    "kind", ["stale-picture", "camera-restart", "left-on", "lost-packet", "board-unplugged"]
)
def test_software(kind: str, take: Capture, earlier: Path, tmp_path: Path) -> None:
    done = take(tmp_path / "run", "software", [f"{kind}@5"], earlier)
    assert done.wrongly_good() == []
    assert done.summary is not None, done.error
    assert done.summary.verdicts == {"good": 12}
    # A cable that is out before the host has read the echo costs the exchange, and no picture.
    assert done.summary.retries > 0 or kind == "board-unplugged"


@pytest.mark.parametrize("kind", ["lost-edge", "doubled-edge"])
def test_camera_clocked(kind: str, take: Capture, earlier: Path, tmp_path: Path) -> None:
    done = take(tmp_path / "run", "camera-clocked", [f"{kind}@4"], earlier)
    assert done.wrongly_good() == []
    assert done.summary is not None, done.error
    assert done.summary.verdicts == {"good": 12}
    assert done.summary.retries > 0


def test_two_captures_on_a_stepped_clock_are_alike(tmp_path: Path) -> None:
    """To the bit, time stamps included, though the host is never equally fast."""
    runs = []
    for number in range(2):
        folder = tmp_path / f"rig{number}"
        folder.mkdir()
        with rig_process(folder) as process:
            done = captured(process, tmp_path / f"run{number}", "board-clocked", ["left-on@2"])
            recording = done.folder
            frames = sorted((recording / "frames").iterdir())
            runs.append([path.read_bytes() for path in frames])
    assert runs[0] == runs[1]


def test_faults_by_name_add_up() -> None:
    faults = fault_named("late-edge@5", {"edge": 10}, fault_named("late-edge"))
    assert faults.late_edges.keys() == {0, 15}
    assert fault_named("brown-out@1").brown_outs.keys() == {1}
    assert all(fault_named(name) != NONE for name in KINDS)
    with pytest.raises(PlanError, match="there is no fault 'late': name one of lost-edge"):
        fault_named("late")
    with pytest.raises(PlanError, match="stands a number"):
        fault_named("late-edge@x", base=Faults())
