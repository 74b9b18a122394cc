"""Recordings reconstructed anew by Dask: what changed, what is not made twice."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rig.cli import app
from rig.exits import UsageError
from rig.floor.reprocess import runs_of
from rig.floor.store.store import open_store

pytest.importorskip("distributed", reason="Dask is not installed: pip install '.[cluster]'")


def rig(workspace, *arguments: str):
    return CliRunner().invoke(app, [*arguments, "--workspace", str(workspace.folder)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_recordings_are_made_anew_once(bench):
    for part in ("flat-1", "dented-1"):
        measured = rig(bench, "run", "--part", part, "--method", "halfvector")
        assert measured.exit_code == 0, measured.exception
    again = ("reprocess", "parts/*", "--method", "lambert", "--workers", "1")
    said = rig(bench, *again, "--json")
    assert said.exit_code == 0, (said.exception, said.output)
    changes = json.loads(said.stdout)
    assert len(changes) == 2
    assert all(change["before"]["measured_percent"] > 0 for change in changes)
    assert all(change["result"].endswith("results/02") for change in changes)
    assert all(c["before"]["height_range_mm"] != c["after"]["height_range_mm"] for c in changes)
    assert "results/02" in rig(bench, *again, "--json").stdout
    assert len(list(bench.parts.glob("*/*/results/*"))) == 4, "a second time makes nothing new"
    with open_store(bench) as store:
        assert {run.method for run in store.history().runs} == {"halfvector", "lambert"}


def test_a_pattern_that_names_nothing_is_refused(workspace):
    with pytest.raises(UsageError, match="names no recording"):
        runs_of(["parts/*"], workspace)
