"""Two commands on one recording: each ends with a result of its own, whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from capture.errors import DataError
from reconstruct import part
from reconstruct.export.results import read_results
from rig import reconstructing
from rig.figures import find_result
from rig.reconstructing import Request, run_reconstruction


def at_once(monkeypatch: pytest.MonkeyPatch, *requests: Request) -> list[object]:
    """Start all, let none write before each has computed; results, or what was raised."""
    everybody = threading.Barrier(len(requests))
    compute = part.reconstruct

    def together(*arguments: object, **options: object) -> object:
        surface = compute(*arguments, **options)
        everybody.wait(60)
        return surface

    monkeypatch.setattr(part, "reconstruct", together)
    ends: list[object] = [None] * len(requests)

    def one(number: int) -> None:
        try:
            ends[number] = run_reconstruction(requests[number], lambda line: None)[1]
        except Exception as error:
            ends[number] = error
            everybody.abort()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


def request(workspace: Path, height_mm: float, out: Path | None = None) -> Request:
    return Request("P", method="lambert", height_mm=height_mm, out=out, workspace=workspace)


def test_each_gets_a_result_of_its_own(recorded, monkeypatch):
    ends = at_once(monkeypatch, *(request(recorded, height) for height in (2.0, 30.0)))
    assert len(set(ends)) == 2
    for height, folder in zip((2.0, 30.0), ends, strict=True):
        surface = read_results(folder)
        assert surface.summary["height"]["mm"] == height
        assert np.nanmean(surface.height_mm) == pytest.approx(height, abs=1.0)
        assert (folder / "report.html").is_file()
    assert sorted(p.name for p in ends[0].parent.iterdir()) == ["01", "02"]


def test_the_same_name_is_given_to_one(recorded, tmp_path):
    out = tmp_path / "mine"
    sentence = "is being written by process"
    making = reconstructing.reconstruction(request(recorded, 2.0, out), lambda line: None)
    with making, pytest.raises(DataError, match=sentence):
        run_reconstruction(request(recorded, 30.0, out), lambda line: None)
    assert read_results(out).summary["height"]["mm"] == 2.0


def test_readers_see_complete_results_only(recorded):
    _, first = run_reconstruction(request(recorded, 2.0), lambda line: None)
    making = reconstructing.reconstruction(request(recorded, 30.0), lambda line: None)
    with making as (_, claimed):
        assert (claimed.work / "summary.json").is_file()
        assert find_result("P", recorded) == first
    assert find_result("P", recorded) == claimed.target


def test_a_report_that_cannot_be_written_leaves_no_half_result(recorded, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rig.report.result.write_result_report", full)
    with pytest.raises(OSError, match="No space left"):
        run_reconstruction(request(recorded, 2.0), lambda line: None)
    (run,) = (recorded / "parts" / "P").iterdir()
    assert not (run / "results").exists()
    assert json.loads((run / "run.jsonl").read_text().splitlines()[0])["event"] == "start"
