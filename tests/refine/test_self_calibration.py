"""Lights solved along with the surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from simulated_parts import part, pictures

from calib.camera import Camera
from calib.light_files import read_lights, read_powers
from calib.lights import Lights
from reconstruct.methods import Options, reconstruct
from reconstruct.refine.fit import FINAL
from reconstruct.refine.problem import Problem
from reconstruct.refine.refinement import Refinement
from reconstruct.refine.selfcalibrate import with_lights
from reconstruct.refine.solve import State
from reconstruct.stack import Stack

BLOB = Path(__file__).resolve().parents[3] / "shared" / "captures" / "blob"
needs_captures = (
    pytest.mark.slow,
    pytest.mark.captures,
    pytest.mark.skipif(not BLOB.exists(), reason="no captures beside the repository"),
)


@cache
def simulated(name: str, size: int) -> tuple[Stack, Camera, Lights, np.ndarray]:
    scene = part(name, size)
    return pictures(scene), scene.rig.camera, scene.rig.lights, scene.points_mm[..., 2]


@cache
def path_traced() -> tuple[Stack, Camera, Lights, np.ndarray]:
    lights = replace(read_lights(BLOB / "lights.lp"), power=read_powers(BLOB / "power.csv", 96))
    counts = np.stack([cv2.imread(str(BLOB / f"led_{led:03d}.png"), -1) for led in range(1, 97)])
    radiance = (counts / 65536 - 0.004).astype(np.float32)
    # 12,000 e⁻ full well, 3 e⁻ read noise.
    stack = Stack(lights.ids, radiance, counts >= 4094 << 4, (3 / 12_000) ** 2, 1 / 12_000)
    with np.load(BLOB / "truth.npz") as truth:
        height = truth["position"][..., 2]
    return stack, Camera.read(BLOB / "camera.json"), replace(lights, lobe=np.ones(96)), height


def form_rmse(problem: Problem, state: State, truth: np.ndarray, border: int = 6) -> float:
    """RMSE of height with the plane removed: a shift that lights share tilts the surface."""
    inner = slice(border, -border)
    error = (problem.height_mm(state.u) - truth)[inner, inner]
    rows, columns = np.indices(error.shape)
    plane = np.column_stack([rows.ravel(), columns.ravel(), np.ones(error.size)])
    rest = error.ravel() - plane @ np.linalg.lstsq(plane, error.ravel(), rcond=None)[0]
    return float(np.sqrt(np.mean(rest**2)))


def before_and_after(
    case: tuple[Stack, Camera, Lights, np.ndarray], sigma_mm: float, off: bool
) -> tuple[float, float, dict]:
    """Form errors without and with self-calibration, of lights off by one sigma or exact."""
    stack, camera, exact, truth = case
    count = len(exact)
    covariance = np.zeros((count, 6, 6))
    covariance[:, :3, :3] = sigma_mm**2 * np.eye(3)
    shift = np.random.default_rng(7).normal(0, sigma_mm, (count, 3)) if off else 0.0
    lights = replace(exact, position_mm=exact.position_mm + shift, covariance=covariance)
    height = float(np.nanmean(truth))
    run = Refinement(stack, camera, lights, Options(height_mm=height, start="halfvector"))
    problem, state = run.run()
    before = form_rmse(problem, state, truth)
    state, notes = with_lights(problem, state, FINAL, lights, height)
    return before, form_rmse(problem, state, truth), notes


CASES = [
    pytest.param(lambda: simulated("field-4", 96), 1.0, 0.75, id="field-4"),
    pytest.param(path_traced, 0.5, 0.85, id="blob", marks=needs_captures),
    pytest.param(lambda: simulated("field-3", 96), 1.0, 0.97, id="field-3", marks=pytest.mark.slow),
    pytest.param(lambda: simulated("field-8", 96), 0.7, 0.99, id="field-8", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("case", "sigma_mm", "share"), CASES)
def test_lowers_the_error_of_lights_off_by_one_sigma(
    case: Callable[[], tuple[Stack, Camera, Lights, np.ndarray]], sigma_mm: float, share: float
) -> None:
    before, after, notes = before_and_after(case(), sigma_mm, off=True)
    print(before, after, notes)
    assert notes["kept"]
    assert after < share * before
    assert 0.6 < notes["error_in_sigmas"] <= 1.0


@pytest.mark.parametrize(("case", "sigma_mm", "share"), CASES)
def test_leaves_exact_lights_alone(
    case: Callable[[], tuple[Stack, Camera, Lights, np.ndarray]], sigma_mm: float, share: float
) -> None:
    before, after, notes = before_and_after(case(), sigma_mm, off=False)
    print(before, after, notes)
    assert after <= 1.02 * before
    assert notes["error_in_sigmas"] < 0.6


def test_few_lights_are_left_alone() -> None:
    """Twelve lights do not hold the surface against one of them."""
    stack, camera, lights, truth = simulated("field-4", 32)
    few = np.arange(0, 96, 8)
    covariance = np.tile(np.eye(6), (12, 1, 1))
    surface = reconstruct(
        "refine", stack.select(few), camera, replace(lights.select(few), covariance=covariance),
        Options(
            height_mm=float(truth.mean()), start="halfvector", self_calibrate=True,
            uncertainty=False,
        ),
    )  # fmt: skip
    assert not surface.summary["self_calibration"]["kept"]
    assert "fewer than" in surface.summary["self_calibration"]["reason"]
