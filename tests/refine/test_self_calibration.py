"""Lights solved along with the surface."""

from __future__ import annotations

import dataclasses

import numpy as np
from simulated_parts import errors, part, pictures

from reconstruct.methods import Options, reconstruct

SIZE, SIGMA_MM = 96, 1.0


def height_rmse(offset_mm: float, solve: bool) -> tuple[float, dict]:
    """RMSE with the plane removed, since a shift that lights share tilts the surface."""
    scene = part("field-4", SIZE)
    lights = scene.rig.lights
    covariance = np.zeros((len(lights), 6, 6))
    covariance[:, :3, :3] = SIGMA_MM**2 * np.eye(3)
    rng = np.random.default_rng(7)
    off = dataclasses.replace(
        lights,
        position_mm=lights.position_mm + rng.normal(0, offset_mm, (len(lights), 3)),
        covariance=covariance,
    )
    surface = reconstruct(
        "refine", pictures(scene), scene.rig.camera, off,
        Options(
            height_mm=float(scene.points_mm[..., 2].mean()), start="halfvector",
            self_calibrate=solve, uncertainty=False,
        ),
    )  # fmt: skip
    height, _, mask = errors(surface, scene)
    rows, columns = np.nonzero(mask)
    plane = np.column_stack([rows, columns, np.ones(len(rows))])
    rest = height - plane @ np.linalg.lstsq(plane, height, rcond=None)[0]
    return float(np.sqrt(np.mean(rest**2))), surface.summary


def test_lowers_the_error_of_lights_off_by_one_sigma() -> None:
    without, _ = height_rmse(SIGMA_MM, solve=False)
    along, summary = height_rmse(SIGMA_MM, solve=True)
    assert along < 0.7 * without
    assert summary["self_calibration"]["moved_rms_mm"] > 0.5 * SIGMA_MM


def test_does_no_harm_to_exact_lights() -> None:
    without, _ = height_rmse(0.0, solve=False)
    along, _ = height_rmse(0.0, solve=True)
    assert along < 1.1 * without + 1e-4
