"""Recordings reconstructed anew by Dask: what changed, what is not made twice."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from rig.cli import app
from rig.exits import UsageError
from rig.floor.reprocess import runs_of
from rig.floor.store.store import open_store

distributed = pytest.importorskip(
    "distributed", reason="Dask is not installed: pip install '.[cluster]'"
)


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("file", ["height.tif", "summary.json"])
def test_a_damaged_result_keeps_nothing_from_being_made_anew(bench, file):
    measured = rig(bench, "run", "--part", "flat-1", "--method", "halfvector")
    assert measured.exit_code == 0, measured.exception
    (damaged,) = bench.parts.glob(f"*/*/results/01/{file}")
    damaged.write_bytes(b"[]")

    changes = json.loads(rig(bench, "reprocess", "parts/*", "--method", "lambert", "--json").stdout)

    assert [(c["before"], c["error"]) for c in changes] == [(None, "")]
    assert changes[0]["after"]["measured_percent"] > 0


@pytest.mark.parametrize("tag", ["a/b", "..\\up", "x" * 200])
def test_a_tag_that_cannot_name_a_file_is_refused(bench, tag):
    measured = rig(bench, "run", "--part", "flat-1", "--method", "halfvector")
    assert measured.exit_code == 0, measured.exception
    refused = rig(bench, "reprocess", "parts/*", "--tag", tag)
    assert isinstance(refused.exception, UsageError)
    assert "--tag" in str(refused.exception)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_that_is_named_does_the_work(bench):
    measured = rig(bench, "run", "--part", "flat-1", "--method", "halfvector")
    assert measured.exit_code == 0, measured.exception
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        again = ("reprocess", "parts/*", "--method", "lambert", "--scheduler", address, "--json")
        said = rig(bench, *again)
        assert said.exit_code == 0, (said.exception, said.output)
        assert "results/02" in json.loads(said.stdout)[0]["result"]
        with distributed.Client(address) as client:
            asked = client.run(lambda: "rig.floor.reprocess" in sys.modules)
    assert list(asked.values()) == [True], "its worker did the work"


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_refused(bench):
    measured = rig(bench, "run", "--part", "flat-1", "--method", "halfvector")
    assert measured.exit_code == 0, measured.exception
    refused = rig(bench, "reprocess", "parts/*", "--scheduler", "tcp://127.0.0.1:9")
    assert isinstance(refused.exception, UsageError)
    assert "tcp://127.0.0.1:9 does not answer" in str(refused.exception)


def test_a_pattern_that_names_nothing_is_refused(workspace):
    with pytest.raises(UsageError, match="names no recording"):
        runs_of(["parts/*"], workspace)
