"""A served rig warms up beside its page, and leaves nothing of it behind."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest

from capture.errors import DeviceError
from capture.world import find
from rig.floor.warm import NAME, Warming


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_measures_and_leaves_nothing(temporary: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rig.floor.warm"), Warming("lambert", "cpu") as warming:
        warming.wait()
    assert "not warmed up" not in caplog.text
    assert list(temporary.iterdir()) == []
    with pytest.raises(DeviceError):
        find(f"sim://{NAME}")


def test_it_is_given_up_when_the_server_ends(temporary: Path) -> None:
    with Warming("refine", "cpu"):
        pass
    assert list(temporary.iterdir()) == []


def test_what_goes_wrong_is_left_to_the_measurement(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rig.floor.warm")
    with Warming("no such method", "cpu") as warming:
        warming.wait()
    assert "not warmed up" in caplog.text
