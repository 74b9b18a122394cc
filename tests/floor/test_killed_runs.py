"""kill -9 of the server, of its database, a full disk, during a run: no measurement is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from floor_bench import LEDS, cluster
from typer.testing import CliRunner

from capture.reading import Recording
from capture.verify import verify
from rig.cli import app
from rig.exits import DATA
from rig.floor.store.store import open_store
from rig.floor.store.words import run_to_json
from rig.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no kill -9, no limit of a file's size"),
]
PROGRAM = Path(__file__).with_name("measuring_process.py")
PICTURES = LEDS + 4


@contextmanager
def measuring(
    bench: Workspace, *parts: str, limit_bytes: int = 0
) -> Iterator[tuple[subprocess.Popen[str], Callable[..., dict[str, Any]]]]:
    """A server that measures parts; with it a function that waits for a ticket that is so."""
    command = [sys.executable, str(PROGRAM), str(bench.folder), str(limit_bytes), *parts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def until(wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            assert process.stdout is not None
            for line in process.stdout:
                if wanted(ticket := json.loads(line)):
                    return ticket
            raise AssertionError("the server ended before")

        try:
            yield process, until
        finally:
            process.kill()


def rebuilt(bench: Workspace) -> list[dict[str, Any]]:
    """Every row of the store once it has been made anew from the folders, without its number."""
    with open_store(bench) as store:
        store.rebuild()
        rows = [run_to_json(run) for run in store.each()]
    for row in rows:
        row.pop("number")
    return rows


def is_done(ticket: dict[str, Any]) -> bool:
    return ticket["state"] == "done"


def test_a_server_killed_while_it_captures(bench: Workspace) -> None:
    with measuring(bench, "flat-1", "flat-2") as (process, until):
        until(is_done)
        taken = until(lambda t: t["part"] == "flat-2" and t["taken"] >= 9)["taken"]
        process.kill()
    with open_store(bench) as store:
        before = [run_to_json(run) for run in store.each()]
    assert [row["part"] for row in before] == ["flat-1"]
    before[0].pop("number")
    assert rebuilt(bench) == before
    assert verify(bench.latest_run("flat-1")).sound
    (left,) = bench.resumable_runs("flat-2")
    kept = Recording.open(left.with_name(f"{left.name}.part"), unfinished=True)
    assert len(kept.entries) >= taken - 1  # the last one may have been on its way to the disk
    with measuring(bench, "flat-2") as (_, until):
        assert until(is_done)["verdict"]["verdict"] == "good"
    assert {row["part"] for row in rebuilt(bench)} == {"flat-1", "flat-2"}


def test_a_server_killed_while_it_reconstructs(bench: Workspace) -> None:
    with measuring(bench, "flat-1") as (process, until):
        until(lambda t: t["state"] == "reconstructing")
        process.kill()
    recording = bench.latest_run("flat-1")
    assert verify(recording).sound
    assert len(Recording.open(recording).entries) == PICTURES
    whole = rebuilt(bench)  # killed just before the result took its place, or just after
    assert [row["part"] for row in whole] in ([], ["flat-1"])
    assert all((bench.folder / row["path"] / "report.html").is_file() for row in whole)


def test_a_database_killed_during_a_run(bench: Workspace) -> None:
    with cluster() as database:
        file = bench.folder / "rig.yaml"
        text = file.read_text(encoding="utf-8")
        assert text.count("  url: ") == 1
        file.write_text(text.replace("  url: ", f"  url: '{database.url}' "), encoding="utf-8")
        with measuring(bench, "flat-1", "flat-2", "flat-3") as (_, until):
            assert until(is_done)["note"] == ""
            until(lambda t: t["part"] == "flat-2" and t["taken"] >= 9)
            database.kill()
            second = until(lambda t: is_done(t) and t["part"] == "flat-2")
            assert "safe in its folder but not in the store" in second["note"]
            assert second["verdict"]["verdict"] == "good"
            database.start()
            third = until(lambda t: is_done(t) and t["part"] == "flat-3")
            assert third["verdict"]["verdict"] == "good"
        parts = [row["part"] for row in rebuilt(bench)]
        assert parts == ["flat-3", "flat-2", "flat-1"]


def test_a_disk_that_is_full_during_a_run(bench: Workspace) -> None:
    """A limit of the size of files stands for the full disk: the report does not fit. The recording
    is whole and can be reconstructed later; `tests/capture` fills the disk while one is taken."""
    with measuring(bench, "flat-1", limit_bytes=300_000) as (_, until):
        ended = until(lambda t: t["state"] in ("done", "failed"))
    assert ended["state"] == "failed"
    assert ended["exit_code"] == DATA
    assert "\n" not in ended["error"]
    assert rebuilt(bench) == []
    assert verify(bench.latest_run("flat-1")).sound
    done = CliRunner().invoke(
        app, ["reconstruct", "flat-1", "--method", "lambert", "--workspace", str(bench.folder)]
    )
    assert done.exit_code == 0, done.output
    assert [row["part"] for row in rebuilt(bench)] == ["flat-1"]
