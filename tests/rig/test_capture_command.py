"""rig capture as a user types it, on the virtual rig."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from calib.light_files import write_lights
from calib.lights import Lights
from capture.bump import Bump
from capture.errors import DataError
from capture.verify import verify
from capture.world import Scene
from rig import session
from rig.cli import app
from rig.config import TEMPLATE, Config
from rig.simulate import scene_of, virtual_camera, virtual_rig
from rig.workspace import Workspace


@pytest.fixture(autouse=True)
def _small_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick scene instead of the renderer's; each capture gets a virtual rig of its own."""

    def small(config: Config, part: str, seed: int) -> Scene:
        return Bump((48, 64), config.board.leds, seed=len(part))

    monkeypatch.setattr(session, "default_scene", small)
    monkeypatch.setattr("capture.world._worlds", {})


def rig(*arguments: str | Path, workspace: Path) -> Result:
    return CliRunner().invoke(
        app, [*map(str, arguments), "--workspace", str(workspace)], catch_exceptions=True
    )


def message(result: Result) -> str:
    assert result.exception is not None
    assert "\n" not in str(result.exception).strip() or "mistake" in str(result.exception)
    return str(result.exception)


def test_a_simulated_capture_works_without_any_file(tmp_path: Path) -> None:
    arguments = ("capture", "--part", "A12", "--simulate", "--leds", "1-12")
    first = rig(*arguments, workspace=tmp_path)
    assert first.exit_code == 0, first.output
    assert "12 unproven" in first.output or "13 unproven" in first.output
    second = rig(*arguments, workspace=tmp_path)
    assert "16 good" in second.output
    run = Workspace.at(tmp_path).latest_run("A12")
    assert verify(run).sound
    assert (run / "snapshot" / "rig.yaml").read_text() == TEMPLATE
    assert (run / "snapshot" / "plan.json").is_file()
    assert (run / "snapshot" / "camera_nodes.json").is_file()


def test_faults_by_name_befall_the_simulated_rig(tmp_path: Path) -> None:
    arguments = ("capture", "--part", "A12", "--simulate", "--leds", "1-12")
    lost = rig(*arguments, "--fault", "lost-packet@5", workspace=tmp_path)
    assert lost.exit_code == 0, lost.output
    assert "1 retries" in lost.output
    unknown = rig(*arguments, "--fault", "gremlins", workspace=tmp_path)
    assert "there is no fault 'gremlins'" in message(unknown)
    real = rig("capture", "--part", "A12", "--fault", "lost-edge", workspace=tmp_path)
    assert "--fault goes with --simulate" in message(real)


def test_the_calibration_in_force_is_kept_and_serves_as_proof(tmp_path: Path) -> None:
    from calib.light_files import write_lights
    from calib.lights import Lights

    scene = Bump((48, 64), 96)
    (tmp_path / "calibration").mkdir()
    lights = Lights.at(scene.position_mm, scene.power)
    write_lights(lights, tmp_path / "calibration" / "lights.json")
    done = rig("capture", "--part", "A12", "--simulate", workspace=tmp_path)
    assert done.exit_code == 0, done.output
    run = Workspace.at(tmp_path).latest_run("A12")
    assert (run / "calibration" / "lights.json").is_file()
    assert int(done.output.split(" good")[0].split()[-1]) > 60


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    done = rig(
        "capture",
        "--part",
        "A12",
        "--simulate",
        "--dry-run",
        "--exposures",
        "2,8",
        workspace=tmp_path,
    )
    assert done.exit_code == 0
    assert "200 pictures" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_wiring_test_of_few_leds_is_no_reference_of_a_measurement(tmp_path: Path) -> None:
    arguments = ("capture", "--part", "A12", "--simulate", "--leds")
    rig(*arguments, "1-12", workspace=tmp_path)
    assert rig(*arguments, "1-4", workspace=tmp_path).exit_code == 0
    again = rig(*arguments, "1-12", workspace=tmp_path)
    assert "16 good" in again.output, again.output


def test_parts_of_any_kind_leave_no_picture_of_a_faultless_rig_unproven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording of another part is not asked where the lights are known."""
    small = virtual_rig(96, (64, 64))

    def scene(config: Config, part: str, seed: int) -> Scene:
        return scene_of(part, rig=small, bounce=False)

    monkeypatch.setattr(session, "default_scene", scene)
    for part in ("milled-3", "block-1", "coin-7", "metaballs-2"):
        done = rig("capture", "--part", part, "--simulate", workspace=tmp_path)
        assert done.exit_code == 0, done.output
        assert "100 good" in done.output, done.output


def test_exposures_are_found_by_test_shots(tmp_path: Path) -> None:
    done = rig(
        "capture", "--part", "A12", "--simulate", "--leds", "1-8", "--exposures", "auto",
        workspace=tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Exposures: " in done.output


class Pattern(Bump):
    """A camera's test pattern: bright, whatever shines."""

    def irradiance(self, led: int) -> np.ndarray:
        return np.zeros(self.shape, np.float32)

    def ambient(self) -> np.ndarray:
        return np.full(self.shape, 0.5, np.float32)


def test_a_test_pattern_ends_with_the_code_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "default_scene", lambda *_: Pattern((48, 64), 96))
    done = rig("capture", "--part", "A12", "--simulate", "--leds", "1-8", workspace=tmp_path)
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 4
    assert "test pattern" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.yaml", "leds: 1-3\nexposures_ms: [2]\n"),
        ("plan.json", '{"format": "rig-plan/1", "leds": [1, 2, 3], "exposures_us": [2000]}'),
    ],
)
def test_a_plan_comes_from_a_file(name: str, text: str, tmp_path: Path) -> None:
    plan = tmp_path / name
    plan.write_text(text)
    done = rig(
        "capture", "--part", "A12", "--simulate", "--dry-run", "--plan", plan, workspace=tmp_path
    )
    assert "7 pictures" in done.output
    assert "2 ms" in done.output


@pytest.mark.parametrize("line", ["trigger: board-clocked", "trigger: camera-clocked"])
def test_the_board_and_the_camera_can_lead(line: str, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(
        "board: {port: 'sim://bench', leds: 12}\n"
        f"camera:\n  producer: 'sim://bench'\n  {line}\n  line: Line0\n  strobe_line: Line1\n"
        "  exposure_ms: 2\n  frame_rate_hz: 100\n"
    )
    done = rig("capture", "--part", "A12", workspace=tmp_path)
    assert done.exit_code == 0, (done.output, done.exception)
    assert line.split()[1] in (Workspace.at(tmp_path).latest_run("A12") / "run.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--part", "../x", "--simulate"], 2, "cannot name a part"),
        (["--part", "", "--simulate"], 2, "needs a name"),
        (["--part", "A"], 2, "rig init"),
        (["--part", "A", "--simulate", "--exposures", "2,x"], 2, "2,8,32"),
        (["--part", "A", "--simulate", "--exposures", "0"], 2, "above 0"),
        (["--part", "A", "--simulate", "--leds", "97"], 2, "LED 97"),
        (["--part", "A", "--simulate", "--leds", "1,1"], 2, "more than once"),
        (["--part", "A", "--simulate", "--plan", "no.yaml"], 2, "no plan"),
        (["--part", "A", "--simulate", "--resume"], 2, "no unfinished run"),
    ],
)
def test_mistakes_are_one_sentence_and_a_code(
    arguments: list[str], code: int, says: str, tmp_path: Path
) -> None:
    done = rig("capture", *arguments, workspace=tmp_path)
    assert says in message(done)
    assert getattr(done.exception, "exit_code", None) == code
    assert not (tmp_path / "parts").exists()


def test_a_board_that_is_not_there_is_a_device_error(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(
        "board: {port: /dev/no-such-port}\ncamera: {producer: 'sim://rig'}\n"
    )
    done = rig("capture", "--part", "A", workspace=tmp_path)
    assert getattr(done.exception, "exit_code", None) == 3
    assert "no-such-port" in message(done)


def test_synchronisation_without_its_wire_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(
        "board: {port: 'sim://rig'}\ncamera: {producer: 'sim://rig', trigger: board-clocked}\n"
    )
    done = rig("capture", "--part", "A", workspace=tmp_path)
    assert "names no trigger input" in message(done)


@pytest.mark.parametrize("words", [["--help"], ["capture", "--help"], ["init", "--help"]])
def test_help_loads_neither_torch_nor_harvesters(words: list[str]) -> None:
    heavy = "torch", "harvesters", "genicam", "numpy", "cv2", "numba"
    code = (
        "import sys\nfrom rig.cli import app\n"
        f"sys.argv = ['rig', *{words!r}]\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


def test_help_ends_with_an_example() -> None:
    done = CliRunner().invoke(app, ["capture", "--help"])
    assert "Example: rig capture" in done.output


def test_lights_of_another_board_are_refused_and_old_ones_named(tmp_path: Path) -> None:
    """The calibration in force must be this rig's, and its age is told."""
    (tmp_path / "calibration").mkdir()
    path = tmp_path / "calibration" / "lights.json"
    angle = np.arange(8)
    position = np.column_stack([50 * np.cos(angle), 50 * np.sin(angle), np.full(8, 280.0)])
    lights = Lights.at(position)
    arguments = ("capture", "--simulate", "--leds", "1-4", "--part")
    others = {"date": "2020-01-01T00:00:00+00:00", "board": {"serial": "SOMETHING ELSE"}}
    write_lights(dataclasses.replace(lights, provenance=others), path)
    assert "calibrated with another board" in message(rig(*arguments, "A", workspace=tmp_path))
    ours = {**others, "board": {"led_count": 96}}
    write_lights(dataclasses.replace(lights, provenance=ours), path, overwrite=True)
    taken = rig(*arguments, "B", workspace=tmp_path)
    assert taken.exit_code == 0, taken.output
    assert "days old" in taken.output + taken.stderr
    virtual_camera((48, 64)).write(tmp_path / "calibration" / "camera.json")
    other = tmp_path / "other.json"
    write_lights(dataclasses.replace(lights, provenance=others), other)
    refused = rig("reconstruct", "B", "--lights", other, workspace=tmp_path)
    assert "calibrated with another board" in message(refused)
