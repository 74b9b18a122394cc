"""How big the virtual rig's pictures are: `--size`, and ``virtual: size`` in rig.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from capture.reading import Recording
from capture.world import withdraw
from rig.cli import app
from rig.config import TEMPLATE
from rig.workspace import Workspace


@pytest.fixture(autouse=True)
def _own_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.world._worlds", {})


def rig(*words: str, workspace: Path) -> Result:
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace)])


def capture(workspace: Path, *words: str) -> Result:
    return rig(
        "capture", "--part", "field", "--simulate", "--leds", "1-8", *words, workspace=workspace
    )


def taken(workspace: Path) -> tuple[int, int]:
    return Recording.open(Workspace.at(workspace).latest_run("field")).shape


def test_the_size_is_an_option(tmp_path: Path) -> None:
    assert capture(tmp_path, "--size", "64x48").exit_code == 0
    assert taken(tmp_path) == (48, 64)


def test_the_size_is_kept_in_rig_yaml(tmp_path: Path) -> None:
    text = TEMPLATE.replace("  size: 512 ", "  size: 40 ")
    assert text != TEMPLATE
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    assert capture(tmp_path).exit_code == 0
    assert taken(tmp_path) == (40, 40)


def test_a_recording_of_another_size_is_no_reference(tmp_path: Path) -> None:
    """It shows LEDs in other pixels: by it a sound picture held another LED's light."""
    words = ("capture", "--part", "stamped-3", "--simulate", "--size")
    assert rig(*words, "128", workspace=tmp_path).exit_code == 0
    again = rig(*words, "64", workspace=tmp_path)
    assert again.exit_code == 0, again.output
    assert "100 good" in again.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "banana"), "write it as 1024 or 640x480"),
        (("--size", "130"), "the width is a multiple of 4"),
        (("--size", "8"), "16 to 16384 pixels"),
    ],
)
def test_what_is_no_size_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = capture(tmp_path, *words)
    assert said in str(done.exception)
    assert not (tmp_path / "parts").exists()


def test_a_real_cameras_size_is_its_own(tmp_path: Path) -> None:
    done = rig("capture", "--part", "field", "--size", "64", workspace=tmp_path)
    assert "--size goes with --simulate" in str(done.exception)


def test_a_calibration_of_another_size_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    board = ("--board", "13x9", "--square", "8", "--yes", "--views", "6")
    done = rig("calibrate-camera", "--simulate", "--size", "256", *board, workspace=tmp_path)
    assert done.exit_code == 0, done.output
    withdraw("rig")  # as the end of the command's process would
    done = rig("run", "--part", "field", "--simulate", "--size", "64", workspace=tmp_path)
    assert "256×256 px, the camera gives 64×64" in str(done.exception)
    assert not (tmp_path / "parts").exists()
