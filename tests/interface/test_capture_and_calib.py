"""``import capture``, ``import calib``, ``reconstruct.metrology`` as a program uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from in_process import LEDS, PLAN
from outcomes import PART, bump
from prompt_clock import PromptClock

import calib
import capture
import reconstruct
from capture.world import World, publish, withdraw


@pytest.fixture
def virtual() -> str:
    publish("interface", World(bump(LEDS, PART), PromptClock(), seed=1))
    yield "sim://interface"  # type: ignore[misc]
    withdraw("interface")


def test_a_plan_is_taken_and_read_as_frames_and_as_an_array(virtual: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with capture.open_rig(
        capture.BoardAddress(virtual, leds=LEDS), virtual, trigger="software"
    ) as rig:
        taken = rig.take(
            tmp_path / "run", PLAN, progress=lambda done, total, what: told.append((done, total))
        )
        again = rig.take(tmp_path / "again", PLAN, like=taken)
    assert told[-1] == (len(PLAN.shots()), len(PLAN.shots()))
    assert [entry.kind for entry, _ in taken] == [shot.kind for shot in PLAN.shots()]
    assert all(counts.shape == taken.shape for _, counts in taken)
    assert len(taken) == LEDS
    assert np.asarray(taken).shape == (LEDS, *taken.shape)
    assert {entry.verdict for entry, _ in again if entry.kind == "light"} == {"good"}


def test_a_run_that_is_stopped_is_kept_and_goes_on(virtual: str, tmp_path: Path) -> None:
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count > 3

    with capture.open_rig(
        capture.BoardAddress(virtual, leds=LEDS), virtual, trigger="software"
    ) as rig:
        with pytest.raises(capture.DeviceError, match="resume=True"):
            rig.take(tmp_path / "run", PLAN, stop=stop)
        done = rig.take(tmp_path / "run", PLAN, resume=True)
        with pytest.raises(capture.PlanError, match="the board has 1 to 8"):
            rig.take(tmp_path / "more", capture.Plan(leds=(9,)))
    assert done.leds == PLAN.leds


def test_lights_come_of_pictures_as_from_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(calib.CalibrationError, match="there is no folder"):
        calib.calibrate_lights(tmp_path / "nowhere", 25.4)
    with pytest.raises(calib.CalibrationError, match="diameter"):
        calib.calibrate_lights(tmp_path, -1)


@pytest.mark.parametrize("package", [calib, capture, reconstruct, reconstruct.metrology])
def test_each_package_names_its_interface(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert list(names) == sorted(names)
    for name in names:
        thing = getattr(package, name)
        assert getattr(thing, "__doc__", None), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_surfaces_are_measured_and_compared() -> None:
    from reconstruct import metrology
    from tests.surface.test_metrology import grid as grid_of_heights
    from tests.surface.test_metrology import rough

    grid = grid_of_heights(rough())
    found = metrology.measure_surface(grid, metrology.Recipe(draws=0))
    assert {parameter.name for parameter in found.parameters} >= {"Sa", "Sq"}
    same = metrology.compare_surfaces(grid, grid, alignment="none", tolerance_mm=0.01)
    assert same.max_mm < 1e-9
    assert same.within == 1
