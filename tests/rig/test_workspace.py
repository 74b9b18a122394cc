"""A workspace: where runs lie, and which names a part may have."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import PlanError
from rig.exits import UsageError
from rig.workspace import Workspace, check_part_name

WHEN = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)


@pytest.mark.parametrize("name", ["A12", "housing 7", "Ø40-ü_1.2", "a" * 100, "12"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert check_part_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", ".hidden", "a/b", "a\\b", "../x", "/abs", "a" * 101, "a\0b", "a\nb", "C:"],
)
def test_names_that_are_no_folder_are_refused(name: str) -> None:
    with pytest.raises(PlanError):
        check_part_name(name)


@pytest.mark.parametrize("name", ["x ", "x.", "con", "NUL.txt", "a?", "a\u202eb", "件" * 100])
def test_names_that_another_system_would_refuse_are_refused(name: str) -> None:
    with pytest.raises(PlanError):
        check_part_name(name)


@given(st.text(max_size=120))
def test_an_accepted_name_is_one_folder_below_parts(name: str) -> None:
    workspace = Workspace(Path("/w"))
    try:
        folder = workspace.part(name)
    except PlanError:
        return
    assert folder.parent == workspace.parts
    assert folder.resolve() == folder


def test_runs_are_named_by_utc_time_and_never_collide(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path)
    names = []
    for _ in range(12):
        run = workspace.new_run("A12", WHEN)
        run.mkdir(parents=True)
        names.append(run.name)
    assert names[:2] == ["20260131T235958Z", "20260131T235958Z-2"]
    assert [run.name for run in workspace.runs("A12")] == names
    assert workspace.latest_run("A12").name == "20260131T235958Z-12"


def test_an_unfinished_run_is_not_the_latest(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path)
    run = workspace.new_run("A12", WHEN)
    run.with_name(run.name + ".part").mkdir(parents=True)
    assert workspace.new_run("A12", WHEN) != run
    assert workspace.unfinished_runs("A12") == [run]
    with pytest.raises(UsageError, match="--resume"):
        workspace.latest_run("A12")


def test_a_part_never_captured_names_those_that_were(tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path)
    workspace.new_run("B7", WHEN).mkdir(parents=True)
    with pytest.raises(UsageError, match="parts: B7"):
        workspace.latest_run("A12")
    assert workspace.all_runs() == [tmp_path / "parts" / "B7" / "20260131T235958Z"]


def test_a_folder_that_is_not_there_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        Workspace.at(tmp_path / "nowhere")
