"""rig init: writes a file that works, and keeps one that is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rig.cli import app
from rig.config import read_config
from rig.exits import UsageError


def test_init_writes_a_configuration_that_reads_back(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--workspace", str(tmp_path / "new")])
    assert done.exit_code == 0
    assert read_config(tmp_path / "new" / "rig.yaml").board.leds == 96


def test_init_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text("mine")
    done = CliRunner().invoke(app, ["init", "--workspace", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert (tmp_path / "rig.yaml").read_text() == "mine"


def test_help_ends_with_an_example() -> None:
    done = CliRunner().invoke(app, ["init", "--help"])
    assert done.exit_code == 0
    assert "Example: rig init" in done.output


@pytest.mark.parametrize("option", ["--nonsense", "extra"])
def test_a_wrong_option_is_a_usage_error(option: str) -> None:
    assert CliRunner().invoke(app, ["init", option]).exit_code == 2
