"""``rig merge`` as a person types it: results in, a results folder with a mesh out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tilted_parts import tilted
from typer.testing import CliRunner

from calib.camera import Camera
from reconstruct.export.mesh import read_mesh
from reconstruct.export.results import read_results, write_results
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample
from reconstruct.surface import Surface
from rig.cli import app
from rig.exits import exit_code
from rig.simulate import virtual_camera

run_cli = CliRunner().invoke


def camera() -> Camera:
    return virtual_camera((72, 72))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two results of one relief, tilted by 15° between them, each blind on steep slopes."""
    folder, part = tmp_path_factory.mktemp("views"), shape("field", 5, slope_deg=18.0)
    made = []
    for number, degrees in enumerate((0.0, 15.0)):
        lay = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
        true = sample(tilted(part, lay), camera(), 1)
        blind = true.normals[..., 2] < np.cos(np.radians(24.0))
        height = np.where(blind, np.nan, true.points_mm[..., 2]).astype(np.float32)
        normals = np.where(blind[..., None], np.nan, true.normals).astype(np.float32)
        sigma = np.where(blind, np.nan, 0.01).astype(np.float32)
        flags = np.zeros(height.shape, np.uint8)
        surface = Surface(camera(), height, normals, sigma, sigma, flags, summary={"part": "A"})
        made.append(write_results(surface, folder / f"view{number}"))
    return made


def test_merges_into_a_result_that_other_commands_read(results: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    done = run_cli(app, ["merge", *map(str, results), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "tilt 15.0" in done.output
    merged, first = read_results(out), read_results(results[0])
    assert merged.mask.sum() > first.mask.sum()
    assert len(read_mesh(out / "merged.ply").vertices_mm) > merged.mask.sum()
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [view["result"] for view in summary["views"]] == ["view0", "view1"]
    assert (out / "report.html").is_file()
    assert run_cli(app, ["measure", str(out)]).exit_code == 0
    again = run_cli(app, ["merge", *map(str, results), "--out", str(out)])
    assert exit_code(again.exception) == 2
    assert "exists already and is kept" in str(again.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["A"], "two recordings or more"),
        (["A", "B", "--view", "3"], "there are views 1 to 2"),
        (["A", "B", "--laid", "0,0"], "tells of 1 views"),
        (["A", "B", "--laid", "0,0 left"], "'left'"),
        (["A", "A"], "named twice"),
        (["A", "B"], "say where"),
    ],
)
def test_says_what_is_missing(results: list[Path], words: list[str], said: str) -> None:
    place = {"A": str(results[0]), "B": str(results[1])}
    done = run_cli(app, ["merge", *(place.get(word, word) for word in words)])
    assert exit_code(done.exception) == 2
    assert said in str(done.exception)
