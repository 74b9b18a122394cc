"""Whatever goes wrong on the rig, no picture is recorded as good that another LED lit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import EXPOSURE_US, LEDS, MODES, SHOTS, capture
from outcomes import Outcome, bump

from capture.faults import Faults, SerialFault

COUNT = len(SHOTS)
SOME = sorted({0, COUNT // 2, COUNT - 1})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed recording of the same rig."""
    done = capture(tmp_path_factory.mktemp("earlier") / "run")
    assert done.summary is not None
    assert done.summary.finished
    return done.folder


def positions(values: list[int]) -> list[object]:
    """Each position; those that only thoroughness asks for are slow."""
    few = set(SOME)
    return [v if v in few else pytest.param(v, marks=pytest.mark.slow) for v in values]


EVERY = positions(list(range(COUNT)))
LIT = positions(list(range(1, LEDS + 1)))


def must_recover(outcome: Outcome) -> None:
    """A fault that happens once: the recording is complete and every picture is proven."""
    assert outcome.error is None, outcome.error
    assert outcome.summary is not None
    assert outcome.summary.finished
    assert set(outcome.verdicts().values()) == {"good"}
    assert outcome.verdicts().keys() == set(range(COUNT))
    assert outcome.wrongly_good() == []


def must_refuse(outcome: Outcome, says: str) -> None:
    """A fault that lasts: one clear message, nothing wrong is recorded as good."""
    assert outcome.error is not None
    assert outcome.error.exit_code == 3
    assert says in str(outcome.error)
    assert "\n" not in str(outcome.error)
    assert outcome.wrongly_good() == []


@pytest.mark.parametrize("mode", MODES)
def test_an_undisturbed_capture_is_proven_by_an_earlier_one(
    mode: str, earlier: Path, tmp_path: Path
) -> None:
    done = capture(tmp_path / "run", mode, reference=earlier)
    must_recover(done)
    assert done.summary is not None
    assert done.summary.retries == 0


@pytest.mark.parametrize("mode", MODES)
def test_without_an_earlier_recording_lit_pictures_are_unproven(mode: str, tmp_path: Path) -> None:
    done = capture(tmp_path / "run", mode)
    assert done.error is None
    for shot in SHOTS:
        expected = "good" if shot.kind == "dark" else "unproven"
        assert done.verdicts()[shot.index] == expected
    assert done.summary is not None
    assert "no earlier recording" in done.summary.reasons[0]


ONCE: dict[str, Callable[[int], Faults]] = {
    "lost frame": lambda n: Faults(lost_frames=frozenset({n})),
    "lost trigger": lambda n: Faults(lost_triggers=frozenset({n})),
    "late edge": lambda n: Faults(late_edges={n: 600}),
    "very late edge": lambda n: Faults(late_edges={n: 1400}),
    "lost edge": lambda n: Faults(lost_edges=frozenset({n})),
    "reset": lambda n: Faults(reset_at_step=frozenset({n}), boot_us=3000),
    "unplug": lambda n: Faults(unplug_at_step=frozenset({n}), unplugged_us=20_000),
}


@pytest.mark.parametrize("position", EVERY)
@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("mode", MODES)
def test_a_fault_that_happens_once_is_survived(
    mode: str, fault: str, position: int, earlier: Path, tmp_path: Path
) -> None:
    must_recover(capture(tmp_path / "run", mode, ONCE[fault](position), reference=earlier))


@pytest.mark.parametrize("led", LIT)
@pytest.mark.parametrize("mode", MODES)
def test_a_dead_led_is_named(mode: str, led: int, tmp_path: Path) -> None:
    done = capture(tmp_path / "run", mode, Faults(dead_leds=frozenset({led})))
    must_refuse(done, f"LED {led} gave no light")


@pytest.mark.parametrize("led", LIT)
@pytest.mark.parametrize("mode", MODES)
def test_a_stuck_led_is_noticed(mode: str, led: int, tmp_path: Path) -> None:
    done = capture(tmp_path / "run", mode, Faults(stuck_leds=frozenset({led})))
    must_refuse(done, "dark")


@pytest.mark.parametrize("led", LIT)
@pytest.mark.parametrize("mode", MODES)
def test_two_leds_at_once_are_noticed_against_an_earlier_recording(
    mode: str, led: int, earlier: Path, tmp_path: Path
) -> None:
    other = led % LEDS + 1
    faults = Faults(coupled_leds=((led, other),))
    must_refuse(capture(tmp_path / "run", mode, faults, reference=earlier), f"led {led}")
    blind = capture(tmp_path / "blind", mode, faults)
    assert blind.wrongly_good() == []


@pytest.mark.parametrize("led", LIT)
@pytest.mark.parametrize("mode", MODES)
def test_swapped_leds_are_named_against_an_earlier_recording(
    mode: str, led: int, earlier: Path, tmp_path: Path
) -> None:
    other = (led + 2) % LEDS + 1
    faults = Faults(swapped_leds=((led, other),))
    done = capture(tmp_path / "run", mode, faults, reference=earlier)
    must_refuse(done, f"it is the picture of LED {other}")
    blind = capture(tmp_path / "blind", mode, faults)
    assert blind.wrongly_good() == []


@pytest.mark.parametrize("position", [*positions(list(range(0, 240, 12))), 60, 132])
@pytest.mark.parametrize("direction", ["to-board", "to-host"])
@pytest.mark.parametrize("kind", ["drop", "duplicate", "garble"])
def test_damaged_serial_bytes_are_survived(
    kind: str, direction: str, position: int, earlier: Path, tmp_path: Path
) -> None:
    fault = SerialFault(kind, position, direction)  # type: ignore[arg-type]
    must_recover(capture(tmp_path / "run", faults=Faults(serial=(fault,)), reference=earlier))


@pytest.mark.parametrize("kind", ["drop", "duplicate", "garble"])
@pytest.mark.parametrize("mode", ["board-clocked", "camera-clocked"])
@pytest.mark.parametrize("position", [300, 700, 1100])
def test_damaged_serial_bytes_of_a_sequence_are_survived(
    mode: str, kind: str, position: int, earlier: Path, tmp_path: Path
) -> None:
    fault = SerialFault(kind, position, "to-host")  # type: ignore[arg-type]
    faults = Faults(serial=(fault,))
    must_recover(capture(tmp_path / "run", mode, faults, reference=earlier))


def test_another_part_is_proven_by_the_linearity_of_light(earlier: Path, tmp_path: Path) -> None:
    done = capture(tmp_path / "run", reference=earlier, part=11)
    assert done.wrongly_good() == []
    swapped = Faults(swapped_leds=((2, 6),))
    crossed = capture(tmp_path / "crossed", faults=swapped, reference=earlier, part=11)
    assert crossed.wrongly_good() == []


def test_warming_up_is_reported_as_drift(earlier: Path, tmp_path: Path) -> None:
    done = capture(tmp_path / "run", faults=Faults(power_loss_per_s=1.0), reference=earlier)
    assert done.summary is not None
    assert done.summary.drift is not None
    assert 0.8 < done.summary.drift < 0.99


def test_a_camera_that_sees_no_light_at_all_is_one_message(tmp_path: Path) -> None:
    done = capture(tmp_path / "run", faults=Faults(dead_leds=frozenset(range(1, LEDS + 1))))
    must_refuse(done, "gave no light")


def test_the_tests_look_at_a_well_exposed_scene() -> None:
    scene = bump(LEDS)
    for led in range(1, LEDS + 1):
        assert 0.1 < scene.irradiance(led).mean() * EXPOSURE_US / 12_000 < 0.8
