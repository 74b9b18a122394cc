"""Options of ``rig`` itself, and the support bundle."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest

from capture.errors import DataError
from tests.console import typed
from tests.plausible import scene


@pytest.fixture
def workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    folder = scene.write(tmp_path / "capture")
    place = tmp_path / "bench"
    place.mkdir()
    assert typed(monkeypatch, capsys, "import", folder, "--part", "A", "--workspace", place)[0] == 0
    return place


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(monkeypatch, capsys, "--version")
    assert (code, out) == (0, f"rig {version('dpps-rig')}\n")


def test_a_log_keeps_what_was_done_and_how_it_ended(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = workspace / "rig.log"
    words = ["--log-file", log, "reconstruct", "A", "--workspace", workspace]
    assert typed(monkeypatch, capsys, *words)[0] == 0
    assert typed(monkeypatch, capsys, "--log-file", log, "verify", "nothing")[0] == 2
    kept = log.read_text(encoding="utf-8")
    assert "reconstruct A" in kept
    assert "Method lambert" in kept
    assert "ended with 0 after" in kept
    assert "ended with 2 after" in kept
    assert "Traceback" in kept  # of what ended the second one
    assert kept.splitlines()[0][10] == "T"


def test_verbose_shows_it_and_nothing_else_does(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", "A", "--workspace", workspace]
    code, out, err = typed(monkeypatch, capsys, *words)
    assert code == 0
    code, again, shown = typed(monkeypatch, capsys, "--verbose", *words)
    assert (code, again) == (0, out)
    assert "rig: ended with 0" in shown
    assert "ended with" not in err


def test_a_warning_of_a_library_goes_into_the_log_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NumPy's warnings stood above the sentence, with the paths of our files."""

    def warns(path: Path) -> NoReturn:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("invalid value encountered in cast", RuntimeWarning, stacklevel=1)
        raise DataError("it is damaged")

    logging.captureWarnings(False)  # an earlier test of this process may have begun it
    monkeypatch.setattr("capture.verify.verify", warns)
    log = tmp_path / "rig.log"
    code, out, err = typed(monkeypatch, capsys, "--log-file", log, "verify", tmp_path)
    assert (code, out, err) == (4, "", "rig: it is damaged\n")
    assert "invalid value encountered in cast" in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = typed(monkeypatch, capsys, "--log-file", tmp_path / "no" / "x.log", "doctor")
    assert code == 2
    assert "name another" in err


def test_a_bundle_holds_no_pictures_and_no_password(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "rig.yaml").write_text(
        "board: {port: 'sim://rig'}\ncamera: {producer: 'sim://rig'}\n"
        "store:\n  url: postgresql://me:hush@host/rig\n"
    )
    bundle = workspace / "help.zip"
    words = ["doctor", "--workspace", workspace, "--bundle"]
    typed(monkeypatch, capsys, *words, bundle)
    with zipfile.ZipFile(bundle) as opened:
        names = opened.namelist()
        everything = b"".join(opened.read(name) for name in names)
        packages = json.loads(opened.read("system.json"))["packages"]
    assert "numpy" in {name.lower() for name in packages}
    assert any(name.endswith("run.jsonl") for name in names)
    assert "doctor.txt" in names
    assert not [name for name in names if name.endswith((".tif", ".png"))]
    assert b"hush" not in everything
    assert b"postgresql://me:***@host" in everything
    before = bundle.read_bytes()
    assert typed(monkeypatch, capsys, *words, bundle)[0] == 2
    assert bundle.read_bytes() == before
    typed(monkeypatch, capsys, *words, workspace / "more.zip", "--with-pictures")
    with zipfile.ZipFile(workspace / "more.zip") as opened:
        frames = [name for name in opened.namelist() if name.endswith(".tif")]
    assert len(frames) == scene.COUNT


def test_ctrl_c_while_the_program_is_loaded_prints_no_traceback() -> None:
    early = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "rig.cli":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from rig.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
