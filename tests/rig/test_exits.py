"""Exit codes: 1 is a verdict and nothing else. Whatever the streams are, a command works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capture.errors import DataError
from rig import measuring
from rig.exits import UNFORESEEN, exit_code, failure

RIG = [sys.executable, "-m", "rig"]
BROKEN = """
import sys
from rig import cli
from rig.commands import init
import rig.config
def fails(*a, **k): raise {error}
import rig.workspace
rig.workspace.Workspace.at = staticmethod(fails)
sys.argv = ["rig", *sys.argv[1:]]
cli.main()
"""


def broken(error: str, *typed: str, **more: object) -> subprocess.CompletedProcess[str]:
    """`rig` as typed, with a mistake in it that raises this."""
    command = [sys.executable, "-c", BROKEN.format(error=error), *typed]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


@pytest.mark.parametrize(
    "error", ["TypeError('a\\nb')", "RecursionError", "MemoryError", "SystemExit(1)", "EOFError"]
)
def test_what_nobody_foresaw_is_no_verdict(error, tmp_path):
    done = broken(
        error, "doctor", cwd=tmp_path, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    )
    assert done.returncode == UNFORESEEN
    assert "Traceback" not in done.stderr
    if "Exit" not in error:
        assert len(done.stderr.splitlines()) == 1
        (log,) = (tmp_path / "rig").iterdir()
        assert str(log) in done.stderr
        assert "Traceback" in log.read_text()


def test_the_log_is_kept_in_the_workspace(tmp_path):
    (tmp_path / "rig.yaml").touch()
    done = broken("KeyError('x')", "doctor", "--workspace", str(tmp_path))
    (log,) = (tmp_path / "logs").iterdir()
    assert str(log) in done.stderr
    assert "doctor --workspace" in log.read_text()


def test_a_log_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("rig.exits._log_folders", lambda workspace: [tmp_path / "file" / "in"])
    (tmp_path / "file").touch()
    code, sentence = failure(ValueError("x"))
    assert code == UNFORESEEN
    assert "could not be written" in sentence


def test_no_error_carries_a_verdict():
    error = ValueError()
    error.exit_code = 1
    assert exit_code(error) is None


def test_a_mistake_in_what_was_typed_is_usage(tmp_path):
    for typed in (["nonsense"], ["capture"], ["init", "--no"], []):
        assert subprocess.run([*RIG, *typed], capture_output=True, check=False).returncode == 2


# watching --------------------------------------------------------------------------------------
@pytest.fixture
def watched(tmp_path, monkeypatch):
    """`rig run --watch` over names, with a stand-in for what is done to each part."""

    class Opened:
        def __enter__(self):
            opened.append(1)

        def __exit__(self, *error):
            pass

    class Done:
        exit_code = 0
        notes = ()

        def __init__(self, part: str) -> None:
            self.part = part

        def to_json(self):
            return {"part": self.part, "exit_code": 0}

    def measure(rig, workspace, part, *rest, **options):
        if part.startswith("odd"):
            raise TypeError("of no kind")
        return Done(part)

    opened: list[int] = []
    monkeypatch.setattr(measuring._Session, "_rig", lambda self, part: Opened())
    monkeypatch.setattr(measuring, "measure_part", measure)
    monkeypatch.setattr(measuring, "_check_calibration", lambda *a: None)
    monkeypatch.setattr("capture.world._worlds", {})
    from rig.config import TEMPLATE

    text = TEMPLATE.replace('producer: "sim://rig"', 'producer: "x.cti"  #')
    (tmp_path / "rig.yaml").write_text(text)

    def run(lines: bytes) -> tuple[int, list[dict]]:
        (tmp_path / "names").write_bytes(lines)
        order = measuring.Order(
            watch=True, names=tmp_path / "names", json=True, workspace=tmp_path, method="lambert"
        )
        return measuring.measure(order), opened

    return run


def told(capsys) -> list[tuple[str, int]]:
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [(line["part"], line["exit_code"]) for line in lines]


def test_watching_goes_on_after_what_nobody_foresaw(watched, capsys, tmp_path):
    code, opened = watched(b"A\nodd\nB\n")
    out = capsys.readouterr()
    lines = [json.loads(line) for line in out.out.splitlines()]
    assert [(line["part"], line["exit_code"]) for line in lines] == [
        ("A", 0),
        ("odd", 70),
        ("B", 0),
    ]
    (log,) = (tmp_path / "logs").iterdir()
    assert str(log) in lines[1]["error"]
    assert lines[1]["verdict"] == "failed"
    assert code == 70
    assert len(opened) == 2, "nobody knows what state the devices are in"


def test_names_follow_the_rules_of_part(watched, capsys):
    code, _ = watched(b"P#7\n# P#8\n\nA B\n C\nD \n x#\r\nE\xc3\xa4\r\n")
    expected = [("P#7", 0), ("A B", 0), (" C", 2), ("D ", 2), (" x#", 2), ("E\u00e4", 0)]
    assert told(capsys) == expected
    assert code == 2


def test_a_list_of_names_that_is_no_text_is_one_sentence(watched, capsys):
    from intake.errors import InputError

    with pytest.raises(InputError, match="no UTF-8 text"):
        watched(b"A\nB\xff\n")


# streams ---------------------------------------------------------------------------------------
@pytest.mark.skipif(os.name == "nt", reason="as a POSIX shell closes them")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "| head -c 1", "| true"])
def test_closed_streams_hinder_nothing(closed, tmp_path):
    shell = f'{{ "{sys.executable}" -m rig init --workspace "{tmp_path}"; echo $? >&9; }} {closed}'
    numbers = tmp_path / "code"
    with numbers.open("w") as file:
        handle = file.fileno()
        done = subprocess.run(
            ["bash", "-c", shell.replace("&9", f"&{handle}")],
            pass_fds=[handle],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert numbers.read_text() == "0\n"
    assert done.stderr == ""
    assert (tmp_path / "rig.yaml").stat().st_size > 1000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_cannot_be_printed_is_data_lost(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RIG, "doctor", "--workspace", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr == "rig: No space left on device: make room on that disk\n"


@pytest.mark.skipif(os.name == "nt", reason="limits as POSIX has them")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_error_output_on_a_full_disk_is_no_verdict(tmp_path):
    """`rig run 2> log` ended with 1, "out of tolerance", where the disk of the log was full."""
    with open("/dev/full", "w") as full:
        mistaken = subprocess.run(
            [*RIG, "measure", "nothing"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=full,
            text=True, check=False,
        )  # fmt: skip
        interrupted = subprocess.run(
            [sys.executable, "-c", BROKEN.format(error="KeyboardInterrupt"), "doctor"],
            cwd=tmp_path, stderr=full, check=False,
        )  # fmt: skip
    assert (mistaken.returncode, mistaken.stdout) == (2, "")
    assert interrupted.returncode == 130


def test_init_on_a_full_disk_leaves_no_empty_file(tmp_path):
    shell = f'ulimit -f 0; trap "" XFSZ; exec "{sys.executable}" -m rig init'
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "rig.yaml")
    done = subprocess.run(
        [*RIG, "capture", "--part", "A", "--workspace", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (2, 4)
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_said_where_numpy_writes() -> None:
    code, said = failure(OSError("12288 requested and 4024 written"))
    assert code == 4
    assert "make room" in said


def test_what_a_file_says_does_not_steer_the_terminal() -> None:
    code, said = failure(DataError("lights.lp, line 1: 'a\x1b[2J\x00b'"))
    assert code == 4
    assert said == "lights.lp, line 1: 'a\\x1b[2J\\x00b'"
