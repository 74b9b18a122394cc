"""rig demo, the README's first command: it ends well, repeats itself, and never overwrites."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reconstruct.export.results import read_results
from reconstruct.metrology.accuracy import Truth, evaluate


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rig", "demo", "--workspace", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_keeps_a_folder_that_is_there(tmp_path):
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert "exists and is kept" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_ends_well_and_gives_the_same_again(tmp_path):
    heights = []
    for name in ("first", "second"):
        done = demo(tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "Try next:" in done.stdout
        (report,) = (tmp_path / name).glob("parts/*/*/results/01/report.html")
        assert str(report) in done.stdout
        page = report.read_text(encoding="utf-8")
        assert "true height error, RMS, mean removed" in page
        surface = read_results(report.parent)
        truth = Truth.read(tmp_path / name / "truth.npz")
        found = evaluate(surface, truth, border_px=8)
        assert found.absolute.rmse_mm < 0.12
        assert found.coverage > 0.8
        assert done.stdout.count("told by shadow") == len(surface.summary["pieces"]) == 3
        heights.append((report.parent / "height.tif").read_bytes())
    assert heights[0] == heights[1]
