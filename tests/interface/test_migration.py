"""Recordings, results and calibrations that earlier commits wrote still open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import reconstruct as rc
from calib import Camera, read_lights
from capture import Recording
from capture.verify import verify

GOLDEN = sorted(p for p in (Path(__file__).parents[1] / "golden").iterdir() if p.is_dir())


@pytest.fixture(params=GOLDEN, ids=lambda folder: folder.name)
def written(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_is_something_to_open() -> None:
    assert GOLDEN


def test_a_recording_is_sound_and_gives_the_surface_that_it_gave(written: Path) -> None:
    folder = written / "recording"
    assert verify(folder).sound
    recording = Recording.open(folder)
    assert len(recording) == 8
    before = rc.read_results(written / "result")
    again = rc.reconstruct(folder, method=before.summary["method"])
    np.testing.assert_allclose(again.height_mm, before.height_mm, atol=1e-3)


def test_a_result_is_read_whole(written: Path) -> None:
    surface = rc.read_results(written / "result")
    assert surface.mask.all()
    assert surface.camera.width == 32
    kept = json.loads((written / "result" / "summary.json").read_text("utf-8"))
    assert surface.summary["part"] == kept["part"]
    assert surface._repr_html_()


def test_lights_and_camera_are_read(written: Path) -> None:
    lights = read_lights(written / "lights.json")
    assert len(lights) == 8
    assert lights.covariance is not None
    assert lights.intensity == 123.0
    assert Camera.read(written / "result" / "camera.json").shape == (32, 32)


@pytest.mark.parametrize("name", ["result/summary.json", "lights.json"])
def test_a_file_of_a_newer_version_is_refused_in_one_sentence(
    written: Path, name: str, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(written, copy)
    text = (copy / name).read_text("utf-8")
    (copy / name).write_text(text.replace('/1"', '/99"', 1), "utf-8")
    with pytest.raises(Exception, match=r"format .*/99"):
        rc.read_results(copy / "result") if "result" in name else read_lights(copy / name)
