"""The memory of every part: lists, rebuilding, pruning, and a hundred thousand runs."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from floor_bench import BEGIN, lay_result
from sqlalchemy import delete
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from rig.cli import app
from rig.config import StoreSection
from rig.exits import UsageError
from rig.floor.store import database
from rig.floor.store.database import bring_up_to_date, engine_of
from rig.floor.store.prune import prune
from rig.floor.store.remember import remember
from rig.floor.store.store import Filter, Store, open_store
from rig.floor.store.tables import Run
from rig.floor.store.words import run_to_json
from rig.workspace import Workspace

STEP = {
    "name": "step", "kind": "step", "unit": "mm", "value": 1.21, "sigma": 0.004, "nominal": 1.2,
    "lower": 1.15, "upper": 1.25, "verdict": "good", "reason": "",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Store]:
    """The same contract holds on both databases."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    engine = engine_of(url, workspace.folder)
    bring_up_to_date(engine)
    yield Store(engine, workspace, "rig-a")
    with Session(engine) as session, session.begin():
        session.execute(delete(Run))
    engine.dispose()


def rig(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--workspace", str(workspace.folder)])


def everything(store: Store) -> list[dict]:
    rows = [run_to_json(run) for run in store.each()]
    for row in rows:
        row.pop("number")
    return rows


def test_what_was_put_is_found_again(store, workspace):
    lay_result(workspace.folder, "A1", 0, features=[STEP], part_type="bracket", operator="Ada")
    lay_result(workspace.folder, "A2", 1, verdict="out of tolerance", exit_code=1, batch="B_7")
    for part in ("A1", "A2"):
        store.put(next((workspace.parts / part).glob("*/results/01")))
    page = store.history()
    assert page.total == 2
    assert [run.part for run in page.runs] == ["A2", "A1"], "newest first"
    first = page.runs[1]
    assert (first.features[0].value, first.features[0].upper) == (1.21, 1.25)
    assert first.measured_at == BEGIN.replace(tzinfo=None)
    for wanted, parts in (
        (Filter(text="b_7"), ["A2"]),
        (Filter(text="b%7"), []),
        (Filter(text="ada"), ["A1"]),
        (Filter(part_type="bracket"), ["A1"]),
        (Filter(verdict="out of tolerance"), ["A2"]),
        (Filter(since=BEGIN.replace(tzinfo=None) + timedelta(minutes=1)), ["A2"]),
        (Filter(until=BEGIN.replace(tzinfo=None) + timedelta(minutes=1)), ["A1"]),
    ):
        assert [run.part for run in store.history(wanted).runs] == parts, wanted
    assert [value.value for _, value in store.series("bracket", "step")] == [1.21]
    assert store.types() == ["bracket"]


def test_the_same_result_is_entered_once(store, workspace):
    result = lay_result(workspace.folder, "A1", 0, features=[STEP])
    store.put(result)
    store.put(result)
    assert store.history().total == 1
    assert len(store.history().runs[0].features) == 1


def test_rebuilt_it_is_equal_and_other_rigs_keep_theirs(store, workspace):
    for minute in range(5):
        store.put(lay_result(workspace.folder, f"A{minute % 2}", minute, features=[STEP]))
    before = everything(store)
    other = Store(store.engine, workspace, "rig-b")
    other.put(next(workspace.parts.glob("A0/*/results/01")))
    lost = next(workspace.parts.glob("A1/*/results/01"))
    with Session(store.engine) as session, session.begin():
        session.execute(delete(Run).where(Run.part == "A1"))
    assert store.rebuild() == 5
    assert [row for row in everything(store) if row["rig"] == "rig-a"] == before
    assert store.history().total == 6
    (lost / "verdict.json").write_text("{", encoding="utf-8")
    said: list[str] = []
    assert store.rebuild(said.append) == 4
    assert str(lost) in said[0]


def test_a_store_that_cannot_be_written_costs_a_sentence(workspace):
    result = lay_result(workspace.folder, "A1", 0)
    (workspace.folder / "store.sqlite").write_bytes(b"this is no database" * 100)
    told = remember(workspace, result)
    assert told is not None
    assert "rig store rebuild" in told
    assert (result / "verdict.json").is_file()
    assert rig(workspace, "list").exit_code != 0


@pytest.mark.parametrize("pages", [3, 12])
def test_a_full_disk_is_called_that_and_leaves_a_sound_store(workspace, monkeypatch, pages):
    """A limit of the database's pages stands for the disk: its tables fit 12, results do not."""
    for k in range(40):
        lay_result(workspace.folder, f"A{k}", k, features=[STEP])
    prepare = database._prepare_sqlite

    def prepare_small(connection, record):
        prepare(connection, record)
        connection.execute(f"PRAGMA max_page_count={pages}")

    monkeypatch.setattr(database, "_prepare_sqlite", prepare_small)
    engine_of.cache_clear()
    done = rig(workspace, "store", "rebuild")
    assert "the disk is full; make room on it" in str(done.exception)
    monkeypatch.undo()
    engine_of.cache_clear()
    assert "40 results are in the store" in rig(workspace, "store", "rebuild").output


def test_a_database_that_does_not_answer_is_named_without_its_password(workspace):
    (workspace.folder / "rig.yaml").write_text(
        "format: rig/1\nboard: {port: 'sim://rig'}\ncamera: {producer: 'sim://rig'}\n"
        "store: {url: 'postgresql://rig:secret@127.0.0.1:9/floor'}\n",
        encoding="utf-8",
    )
    told = remember(workspace, lay_result(workspace.folder, "A1", 0))
    assert told is not None
    assert "secret" not in told
    assert "127.0.0.1:9" in told


def test_lists_shows_and_exports(workspace, tmp_path):
    lay_result(workspace.folder, "A1", 0, features=[STEP], part_type="bracket")
    lay_result(workspace.folder, "A1", 5, batch="=SUM(A1)")
    assert "2 results" in rig(workspace, "store", "rebuild").stdout
    assert rig(workspace, "list").stdout.splitlines()[-1] == "2 of 2 results"
    listed = json.loads(rig(workspace, "list", "--type", "bracket", "--json").stdout)
    assert [row["features"][0]["value"] for row in listed] == [1.21]
    shown = rig(workspace, "show", "A1")
    assert "2 results" in shown.stdout
    assert "A1" in shown.stdout
    assert rig(workspace, "show", "B9").exit_code != 0
    out = tmp_path / "history.csv"
    assert rig(workspace, "export", "--csv", "--out", str(out)).exit_code == 0
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["feature_name"] for row in rows] == ["", "step"]
    assert rows[0]["batch"] == "'=SUM(A1)", "no spreadsheet runs what somebody typed"
    assert rig(workspace, "export", "--csv").stdout.startswith("rig,path,part")
    assert isinstance(rig(workspace, "export", "--csv", "--out", str(out)).exception, UsageError)


def test_pictures_go_by_the_rule_and_nothing_else_does(workspace):
    for minute, verdict in enumerate(["good", "out of tolerance", "good", "good"]):
        lay_result(workspace.folder, "A1", minute, verdict=verdict)
    unjudged = lay_result(workspace.folder, "A2", 0)
    (unjudged / "verdict.json").unlink()
    rule = StoreSection(thin_after_days=30.0, keep_newest=1)
    later = BEGIN + timedelta(days=40)
    would = prune(workspace, rule, dry_run=True, now=later)
    assert [thinned.run.name for thinned in would] == ["20260131T120000Z", "20260131T120200Z"]
    assert len(list(workspace.parts.glob("*/*/frames"))) == 5, "a dry run removes nothing"
    assert prune(workspace, rule, now=BEGIN + timedelta(days=20)) == []
    assert prune(workspace, rule, now=later) == would
    assert len(list(workspace.parts.glob("*/*/frames"))) == 3
    assert len(list(workspace.parts.glob("*/*/results/01/summary.json"))) == 5
    assert json.loads((would[0].run / "thinned.json").read_text())["bytes"] == 1000
    with pytest.raises(UsageError, match="thin_after_days"):
        prune(workspace, StoreSection())


def generated(count: int) -> list[tuple[dict, list[dict]]]:
    """Rows of runs that were never measured, three features each on every tenth."""
    rng = random.Random(1)
    rows = []
    for number in range(count):
        when = datetime(2024, 1, 1) + timedelta(minutes=7 * number)
        row = {
            "rig": "rig-a", "path": f"parts/P{number % 9000}/{number}/results/01",
            "part": f"P{number % 9000}", "part_type": f"type-{number % 12}",
            "operator": rng.choice(["Ada", "Grace", "Lise"]), "batch": f"B{number // 500}",
            "measured_at": when, "verdict": rng.choice(["good"] * 9 + ["out of tolerance"]),
            "exit_code": 0, "plan_hash": "", "method": "refine", "version": "0.1.0",
            "seconds": 9.0, "figures": {"mean_height_mm": 2.5}, "deviation": {}, "notes": [],
        }  # fmt: skip
        row["search"] = " ".join((row["part"], row["batch"], row["operator"])).lower()
        features = [{**STEP, "name": f"f{k}"} for k in range(3)] if number % 10 == 0 else []
        rows.append((row, features))
    return rows


@pytest.mark.slow
def test_a_store_of_the_first_version_is_brought_up_to_date(workspace):
    """Its rows stay; what they lack is unknown until the store is made anew."""
    engine = engine_of(None, workspace.folder)
    bring_up_to_date(engine)
    Store(engine, workspace, "rig-a").put(lay_result(workspace.folder, "A1", 0, features=[STEP]))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE features DROP COLUMN repeatability")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with open_store(workspace) as store:
        (run,) = store.each(Filter())
        assert [(f.value, f.repeatability) for f in run.features] == [(1.21, None)]


@pytest.mark.parametrize("count", [31_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_runs_are_looked_through_in_an_instant(store, count):
    store.put_many(generated(count))
    slowest = 0.0
    for wanted, offset in (
        (Filter(), 0),
        (Filter(), count - 50),
        (Filter(text="P123"), 0),
        (Filter(text="grace", verdict="out of tolerance", part_type="type-3"), 50),
        (Filter(since=datetime(2025, 1, 1), until=datetime(2025, 1, 8)), 0),
        (Filter(part="P77"), 0),
        (Filter(text="nothing has this name"), 0),
    ):
        start = time.perf_counter()
        page = store.history(wanted, offset=offset)
        wall = time.perf_counter() - start
        slowest = max(slowest, wall)
        print(f"{store.engine.dialect.name} {wanted} {page.total}: {1000 * wall:.0f} ms")
    print(f"{store.engine.dialect.name}: slowest {1000 * slowest:.0f} ms")
    assert len(store.series("type-0", "f1")) == 500


def test_a_program_killed_while_it_writes_loses_nothing(workspace):
    """kill -9 in the middle: the database is whole, and made anew it holds every result."""
    results = [lay_result(workspace.folder, f"A{k % 7}", k, features=[STEP]) for k in range(60)]
    script = (
        "import sys\nfrom pathlib import Path\nfrom rig.floor.store.store import open_store\n"
        "from rig.workspace import Workspace\n"
        "with open_store(Workspace.at(Path(sys.argv[1]))) as store:\n"
        "    for path in sys.argv[2:]:\n        print(store.put(Path(path)), flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(workspace.folder), *map(str, results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    with open_store(workspace) as store:
        assert 5 <= store.history(limit=1).total < 60
        assert store.rebuild() == 60
        rebuilt = everything(store)
        assert store.rebuild() == 60
        assert everything(store) == rebuilt


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_full_disk_costs_a_sentence_and_no_measurement(workspace):
    """A limit of the size of files stands for the full disk."""
    result = lay_result(workspace.folder, "A1", 0)
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from rig.floor.store.remember import remember\nfrom rig.workspace import Workspace\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "print(remember(Workspace.at(Path(sys.argv[1])), Path(sys.argv[2])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(workspace.folder), str(result)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "safe in its folder but not in the store" in done.stdout
    assert (result / "verdict.json").is_file()
    for left in workspace.folder.glob("store.sqlite*"):
        left.unlink()
    with open_store(workspace) as store:
        assert store.rebuild() == 1


def test_a_database_killed_between_two_runs_is_told_and_filled_again(tmp_path, request):
    url = request.getfixturevalue("postgresql")
    engine = engine_of(url, tmp_path)
    workspace = Workspace.at(tmp_path)
    bring_up_to_date(engine)
    store = Store(engine, workspace, "rig-killed")
    store.put(lay_result(tmp_path, "A1", 0))
    with engine.connect() as other:  # its connections die as they do with the server
        other.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
    store.put(lay_result(tmp_path, "A1", 1))
    assert store.rebuild() == 2
    with Session(engine) as session, session.begin():
        session.execute(delete(Run))
    engine.dispose()
