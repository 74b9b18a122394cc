"""A workspace, a calibrated small virtual rig, and a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from floor_bench import LEDS, SIZE, STOPPED, cluster, plate_scene_of
from prompt_clock import PromptClock

from calib.light_files import write_lights
from rig import measuring, session
from rig.capturing import configuration
from rig.config import TEMPLATE
from rig.floor.pages.worker import Bench, Worker
from rig.simulate import virtual_rig
from rig.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a database in a cluster of its own."""
    with cluster() as made:
        yield made.url


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A calibrated workspace of a small virtual rig with a plan for two types of parts.

    Names that begin with ``flat``, ``dented`` or ``tilted`` are plates; others are the
    catalogue's.
    """
    small = virtual_rig(LEDS, (SIZE, SIZE))

    scene = plate_scene_of(small)
    monkeypatch.setattr(session, "default_scene", scene)
    monkeypatch.setattr(measuring, "default_scene", scene)
    monkeypatch.setattr("capture.world._worlds", {})
    monkeypatch.setattr("capture.world.PatientClock", PromptClock)
    (tmp_path / "rig.yaml").write_text(
        TEMPLATE.replace("leds: 96 ", f"leds: {LEDS} "), encoding="utf-8"
    )
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    small.camera.write(calibration / "camera.json")
    # Told in the scene's units it would not go with counts: a calibration would not know it so.
    lights = replace(small.lights, intensity=None)
    write_lights(lights, calibration / "lights.json", small.camera)
    (tmp_path / "plans").mkdir()
    for kind in ("plate", "cover"):
        (tmp_path / "plans" / f"{kind}.yaml").write_text(
            f"format: rig-plan/1\ntype: {kind}\ndatums: {{A: [-40, -40, -10, 40]}}\nfeatures:\n"
            "  - {name: level, kind: angle, region: [10, -40, 40, 40], datum: A, upper: 2}\n"
            "  - {name: flat, kind: flatness, region: [-20, -20, 20, 20], upper: 0.8}\n",
            encoding="utf-8",
        )
    return Workspace.at(tmp_path)


@pytest.fixture
def worker(bench: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    class TillStopped(PromptClock):
        """An operator is slower than a recording, so no time passes until the stop is asked for."""

        def sleep_us(self, duration_us: float) -> None:
            seen = -1
            while (current := (state := worker.state())["current"]) is not None:
                if current["part"] != STOPPED or not current["taken"] or state["stopping"]:
                    break
                seen = worker.wait(seen, 60)
            super().sleep_us(duration_us)

    monkeypatch.setattr("capture.world.PatientClock", TillStopped)
    config, text = configuration(bench, simulate=False)
    with Worker(Bench(bench, config, text, method="lambert")) as worker:
        yield worker
