"""One writer at a time; what he makes exists whole or not at all; the dead leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from capture.claim import OWNER, claim, claim_first, claim_of, clear_dead
from capture.errors import DataError

DYING = """
import os, signal, sys
from pathlib import Path
from capture.claim import claim
with claim(Path(sys.argv[1])) as claimed:
    (claimed.work / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "results" / "01"
    with claim(target) as claimed:
        (claimed.work / "height").write_text("1")
        assert not target.exists()
        claimed.publish()
    assert (target / "height").read_text() == "1"
    assert names(target.parent) == ["01"]


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    with claim(tmp_path / "new" / "01") as claimed:
        (claimed.work / "height").write_text("1")
    assert names(tmp_path) == []


def test_ctrl_c_before_the_claim_is_told_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def interrupted(handle: int) -> None:
        close(handle)
        if claim_of(tmp_path / "new" / "01").is_dir():
            monkeypatch.setattr(os, "close", close)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", interrupted)  # of the lock, the last step of a claim
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "new" / "01"):
        pass
    assert names(tmp_path) == []


def test_a_second_writer_is_refused_by_one_sentence(tmp_path: Path) -> None:
    target = tmp_path / "01"
    sentence = f"01 is being written by process {os.getpid()}"
    with claim(target), pytest.raises(DataError, match=sentence), claim(target):
        pass
    with claim(target):
        pass


def test_a_second_writer_takes_the_next_name(tmp_path: Path) -> None:
    numbered = [tmp_path / f"{n:02d}" for n in (1, 2, 3, 4)]
    numbered[0].mkdir()
    (numbered[0] / "kept").touch()
    with claim_first(numbered) as first, claim_first(numbered) as second:
        assert (first.target.name, second.target.name) == ("02", "03")


def test_a_replaced_file_is_there_all_the_time(tmp_path: Path) -> None:
    target = tmp_path / "lights.json"
    target.write_text("old")
    with pytest.raises(DataError, match="exists already"), claim(target):
        pass
    seen = []
    with claim(target, replacing=True) as claimed:
        claimed.file.write_text("new")
        claimed.publish_files(lambda path: seen.append(path.read_text()))
    assert seen == ["old"]
    assert target.read_text() == "new"
    assert names(tmp_path) == ["lights.json"]


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_the_next_writer_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "01"
    killed = subprocess.run([sys.executable, "-c", DYING, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".01.part"]
    with claim(tmp_path / "02"):  # beside it is enough
        assert not claim_of(target).exists()
    with claim(target) as claimed:
        assert not (claimed.work / "half").exists()


DYING_HALFWAY = """
import os, signal, sys
from pathlib import Path
from capture.claim import claim
replace = os.replace
def once(made, place):
    os.replace = lambda made, place: os.kill(os.getpid(), signal.SIGKILL)
    replace(made, place)
with claim(Path(sys.argv[1]), replacing=True) as claimed:
    for name in ("lights.json", "calibration.html"):
        (claimed.work / name).write_text("new")
    os.replace = once
    claimed.publish_files(lambda path: path.with_suffix(".kept").write_text(path.read_text()))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_files_that_belong_together_are_put_into_place_whoever_dies(tmp_path: Path) -> None:
    target = tmp_path / "lights.json"
    target.write_text("old")
    killed = subprocess.run([sys.executable, "-c", DYING_HALFWAY, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    clear_dead(tmp_path)
    assert target.read_text() == "new"
    assert names(tmp_path) == ["calibration.html", "lights.json", "lights.kept"]
    assert (tmp_path / "lights.kept").read_text() == "old"


@pytest.mark.parametrize(
    ("change", "is_dead"),
    [
        ({"started": "1"}, True),  # another process has its number now
        ({"boot": "before"}, True),
        ({"pid": 2**22 - 3}, True),
        ({"host": "elsewhere"}, False),  # cannot be told
        ({}, False),
    ],
)
def test_the_dead_are_told_from_the_living(tmp_path: Path, change: dict, is_dead: bool) -> None:
    if "boot" in change and not Path("/proc/sys/kernel/random/boot_id").exists():
        pytest.skip("this system does not say which boot it is")
    with claim(tmp_path / "01") as claimed:
        note = claimed.work.parent / OWNER
        note.write_text(json.dumps({**json.loads(note.read_text()), **change}))
        with claim(tmp_path / "02"):
            assert claimed.work.parent.exists() is not is_dead


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".theirs.part").mkdir()
    (tmp_path / ".theirs.part" / "file").touch()
    with claim(tmp_path / "01"):
        pass
    with pytest.raises(DataError, match="another program"), claim(tmp_path / "theirs"):
        pass
    assert names(tmp_path / ".theirs.part") == ["file"]


# recordings ---------------------------------------------------------------------------------------
DYING_TIDYING = """
import os, signal, sys
from pathlib import Path
from capture.claim import claim_first
left = int(sys.argv[2])
def counted(remove):
    def removing(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return remove(*arguments, **options)
    return removing
os.unlink, os.rmdir = counted(os.unlink), counted(os.rmdir)
with claim_first(Path(sys.argv[1]) / f"{n:02d}" for n in range(1, 9)) as made:
    for name in ("one", "two"):
        (made.work / name).write_text(name, encoding="utf-8")
"""


@pytest.mark.parametrize("removed", range(5))
def test_a_claim_killed_while_it_is_given_up_leaves_nothing_behind(
    tmp_path: Path, removed: int
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", DYING_TIDYING, str(tmp_path), str(removed)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with claim_first(tmp_path / f"{n:02d}" for n in range(1, 9)) as made:
        assert made.target == tmp_path / "01"
    assert list(tmp_path.iterdir()) == []


def killed_in(function: str, code: str, *arguments: Path) -> None:
    """Run some code that a kill -9 ends where it would call this function."""
    module, _, name = function.rpartition(".")
    program = f"""
import os, signal, sys
from pathlib import Path
import {module} as module
setattr(module, {name!r}, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
{textwrap.dedent(code)}
"""
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_a_run_killed_before_its_journal_hides_no_older_one(tmp_path: Path) -> None:
    from rig.workspace import Workspace

    older = tmp_path / "parts" / "A" / "20260101T000000Z"
    begin = """
    from capture.recording import RecordingWriter
    RecordingWriter.create(Path(sys.argv[1]), {"plan": {}, "devices": {}, "bits": 12})
    os.kill(os.getpid(), signal.SIGKILL)
    """
    killed_in("os.getlogin", begin, older)
    killed_in("capture.recording.dump_line", begin, older.with_name("20260102T000000Z"))
    workspace = Workspace.at(tmp_path)
    assert workspace.resumable_runs("A") == [older]
    assert workspace.unfinished_runs("A") == [older]


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_a_killed_import_can_be_made_again(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from capture.exchange.importing import record
    from capture.exchange.layouts import find
    from capture.verify import verify
    from rig.exits import UsageError
    from rig.workspace import Workspace

    source = tmp_path / "in"
    source.mkdir()
    for led in (1, 2, 3):
        cv2.imwrite(str(source / f"{led}.png"), np.full((8, 9), 50 * led, np.uint8))
    (source / "lights.lp").write_text("".join(f"{n}.png {n} 0 9\n" for n in (1, 2, 3)))
    run = tmp_path / "parts" / "A" / "20260101T000000Z"
    killed_in(
        "capture.recording.write_sums",
        """
        from capture.exchange.importing import record
        from capture.exchange.layouts import find
        record(find(Path(sys.argv[1])), Path(sys.argv[2]))
        """,
        source,
        run,
    )
    workspace = Workspace.at(tmp_path)
    with pytest.raises(UsageError, match="there is no recording of part A"):
        workspace.latest_run("A")
    assert verify(record(find(source), run)).sound
    assert names(run.parent) == [run.name]
