"""A published DPPS sample runs with nothing else given: import, reconstruct, measure."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from calib.light_files import read_lights
from calib.published import published_camera, published_lights
from capture.reading import Recording
from reconstruct.export.results import read_results
from reconstruct.optics.material import Material
from reconstruct.optics.render import render
from rig.cli import app

run_cli = CliRunner().invoke
SIDE, FIELD_MM = 48, 100.0


def sample(folder: Path, count: int = 96) -> np.ndarray:
    """Pictures of a metal dome on black ground under the published rig; returns its heights."""
    camera, lights = published_camera((SIDE, SIDE), FIELD_MM), published_lights()
    ground = camera.points_at_height(0.0)
    x, y = ground[..., 0], ground[..., 1]
    r2 = (x**2 + y**2) / 30.0**2
    part = r2 < 1.2
    z = np.where(part, 14.0 * np.exp(-r2), 0.0)
    points = camera.points_at_height(z)
    slope = -2.0 * z / 30.0**2
    normals = np.stack([-slope * x, -slope * y, np.ones_like(x)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    images = render(
        points.astype(np.float32), normals.astype(np.float32), camera, lights,
        Material.metal("Cr", 0.25),
    )  # fmt: skip
    images = np.where(part, images / images[:, part].max(), 0.0)
    folder.mkdir(parents=True)
    for number, image in enumerate(images[:count], 1):
        code = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
        cv2.imwrite(str(folder / f"ob_1_2_3_no{number}.png"), code)
    return np.where(part, z, np.nan)


def test_runs_with_nothing_else_given(tmp_path: Path) -> None:
    height = sample(tmp_path / "in")
    space = ["--workspace", str(tmp_path)]
    done = run_cli(app, ["import", str(tmp_path / "in"), "--part", "dome", *space])
    assert done.exit_code == 0, done.output
    assert "each known to 25 mm" in done.output
    assert done.output.rstrip().endswith("Next: rig reconstruct dome")
    (run,) = (tmp_path / "parts" / "dome").iterdir()
    recording = Recording.open(run)
    assert recording.lights_path is not None
    assert recording.camera_path is not None
    known = read_lights(recording.lights_path)
    assert known.covariance is not None
    assert np.sqrt(known.covariance[0, 0, 0]) == pytest.approx(25.0)
    np.testing.assert_allclose(known.position_mm[0], [-114.3, -203.3, 220.2])
    done = run_cli(app, ["reconstruct", "dome", "--method", "dpps", *space])
    assert done.exit_code == 0, done.output
    surface = read_results(run / "results" / "01")
    error = surface.height_mm - height
    assert np.isnan(surface.height_mm[np.isnan(height)]).mean() > 0.9  # background is no part
    assert np.nanstd(error) < 1.5
    measured = run_cli(app, ["measure", "dome", *space])
    assert measured.exit_code == 0, measured.output


def test_fewer_pictures_ask_for_their_lights(tmp_path: Path) -> None:
    sample(tmp_path / "in", count=12)
    space = ["--workspace", str(tmp_path)]
    done = run_cli(app, ["import", str(tmp_path / "in"), "--part", "dome", *space])
    assert done.exit_code == 0, done.output
    assert "12 pictures are not the published 96" in done.output
    assert "--lights FILE" in done.output
