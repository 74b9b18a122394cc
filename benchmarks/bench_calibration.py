"""How long a calibration takes: ``pytest benchmarks/bench_calibration.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from calib.certificate import Calibration
from calib.pictures import PictureSet, pose_folders, read_camera
from calib.plate import measure_plate
from calib.solve import solve_lights
from calib.views import SphereView, measure_views

CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"
needs_captures = pytest.mark.skipif(
    not CAPTURES.exists(), reason="no captures beside the repository"
)


def measured() -> list[SphereView]:
    camera = read_camera(CAPTURES / "mirror")
    assert camera is not None
    return [
        view
        for pose in pose_folders(CAPTURES / "mirror")
        for view in measure_views(PictureSet.open(pose), camera, 12.7, name=pose.name)
    ]


@needs_captures
def test_measure_six_poses(benchmark: Any) -> None:
    """Six places of the ball, 96 pictures of 640 × 640 each: loading, outlines, highlights."""
    views = benchmark.pedantic(measured, rounds=1)
    assert len(views) == 6


@needs_captures
def test_solve_ball_and_plate(benchmark: Any) -> None:
    """The adjustment of 96 lights with plate and held-out poses."""
    camera = read_camera(CAPTURES / "mirror")
    plate_camera = read_camera(CAPTURES / "white")
    assert camera is not None
    assert plate_camera is not None
    views = measured()
    plate = measure_plate(PictureSet.open(CAPTURES / "white"), plate_camera)

    def solve() -> Calibration:
        return solve_lights(views, camera, 12.7, plate=plate)

    assert len(benchmark.pedantic(solve, rounds=1).lights) == 96
