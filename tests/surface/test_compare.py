"""Accuracy against a truth, and comparison of two surfaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calib.camera import Camera
from reconstruct.errors import ReconstructError
from reconstruct.metrology.accuracy import Truth, angle_deg, evaluate
from reconstruct.metrology.compare import compare
from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.reading import read_shape, seen_from_above
from reconstruct.surface import Surface
from rig.figures import accuracy_table
from rig.report.result import true_errors


def truth_and_surface(error) -> tuple[Truth, Surface]:  # type: ignore[no-untyped-def]
    """A flat truth at z = 1 seen by a camera, and a result that is off by error(x, y)."""
    K = np.array([[977.0, 0, 63.5], [0, 977, 63.5], [0, 0, 1]])
    camera = Camera(128, 128, K, t=np.array([0, 0, 420.0]))
    position = camera.points_at_height(1.0)
    normal = np.broadcast_to([0.0, 0.0, 1.0], position.shape).copy()
    z = (1.0 + error(position[..., 0], position[..., 1])).astype(np.float32)
    sigma = np.full(z.shape, 0.01, np.float32)
    flags = np.zeros(z.shape, np.uint8)
    return Truth(position, normal), Surface(
        camera, z, normal.astype(np.float32), sigma, sigma, flags
    )


def test_offset_plane_and_absolute_are_told_apart() -> None:
    truth, surface = truth_and_surface(lambda x, y: 0.5 + 0.01 * x)
    found = evaluate(surface, truth)
    assert found.offset_mm == pytest.approx(0.5, abs=1e-3)
    assert found.plane_removed.rmse_mm < 1e-6
    spread = float(np.std(truth.position[..., 0])) * 0.01
    assert found.mean_removed.rmse_mm == pytest.approx(spread, rel=1e-4)
    assert found.absolute.rmse_mm == pytest.approx(np.hypot(0.5, spread), rel=1e-3)
    assert found.coverage == 1.0


def test_error_is_split_into_form_and_texture() -> None:
    truth, surface = truth_and_surface(
        lambda x, y: 0.03 * np.sin(2 * np.pi * x / 40) + 0.01 * np.sin(2 * np.pi * y / 1.5)
    )
    found = evaluate(surface, truth, cutoff_mm=8.0)
    assert found.form_rmse_mm == pytest.approx(0.03 / np.sqrt(2), rel=0.1)
    assert found.texture_rmse_mm == pytest.approx(0.01 / np.sqrt(2), rel=0.1)


def test_border_holes_and_normals() -> None:
    truth, surface = truth_and_surface(lambda x, y: 0 * x)
    surface.height_mm[:4] += 5.0
    surface.height_mm[60:70, 60:70] = np.nan
    tilt = np.radians(0.5)
    surface.normals[:, :] = [np.sin(tilt), 0, np.cos(tilt)]
    assert evaluate(surface, truth).absolute.max_mm == pytest.approx(5, abs=1e-5)
    found = evaluate(surface, truth, border_px=8)
    assert found.absolute.max_mm < 1e-6
    assert found.pixels == 112 * 112 - 100
    assert found.coverage == pytest.approx(1 - 100 / 112**2)
    assert found.normal_mean_deg == pytest.approx(0.5, abs=1e-4)
    assert found.within_one_sigma == 1.0


def test_one_sigma_share_is_that_of_a_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    truth, surface = truth_and_surface(lambda x, y: rng.normal(0, 0.01, x.shape))
    assert evaluate(surface, truth).within_one_sigma == pytest.approx(0.683, abs=0.02)


def test_the_share_within_one_sigma_says_of_which_errors_it_is() -> None:
    truth, surface = truth_and_surface(lambda x, y: 0 * x + 0.5)
    for summary, which, share in (({}, "mean removed", 100), ({"pieces": []}, "absolute", 0)):
        found = evaluate(replace(surface, summary=summary), truth)
        words = f"height errors, {which}, within one sigma"
        assert f"{share} % of {words}" in accuracy_table(found)
        figures = {figure.name: figure.value for figure in true_errors(found)}
        assert figures[f"true {words}"] == share
        assert ("true height error, RMS, absolute" in figures) == (which == "absolute")


def test_small_angles_are_exact() -> None:
    a = np.array([0.0, 0.0, 1.0])
    b = np.array([1e-9, 0.0, 1.0])
    assert angle_deg(a, b) == pytest.approx(np.degrees(1e-9), rel=1e-6)
    assert angle_deg(a, -a) == pytest.approx(180)


def test_evaluate_refuses_what_does_not_fit(tmp_path: Path) -> None:
    truth, surface = truth_and_surface(lambda x, y: 0 * x)
    other = Truth(truth.position[:100], None)
    with pytest.raises(ReconstructError, match="other captures"):
        evaluate(surface, other)
    with pytest.raises(ReconstructError, match="leaves nothing"):
        evaluate(surface, truth, border_px=64)
    np.savez(tmp_path / "t.npz", normal=truth.normal)
    with pytest.raises(ReconstructError, match="no 'position'"):
        Truth.read(tmp_path / "t.npz")
    (tmp_path / "t.npz").write_bytes(b"rubbish")
    with pytest.raises(ReconstructError, match=r"expected the \.npz file of a truth"):
        Truth.read(tmp_path / "t.npz")


# two surfaces ------------------------------------------------------------------------------------


def hills(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 1.5 * np.sin(x / 5) * np.cos(y / 7) + 0.3 * np.sin(x / 2 + y / 3)


def hill_grid(step: float = 0.25, half: float = 20.0, shift: float = 0.0) -> HeightGrid:
    axis = np.arange(-half, half + step / 2, step)
    x, y = np.meshgrid(axis, axis)
    return HeightGrid(hills(x, y) + shift, step, -half, -half)


def test_identical_surfaces_do_not_differ() -> None:
    for alignment in ("none", "mean", "plane", "rigid"):
        found = compare(hill_grid(), hill_grid(), alignment, 0.001)
        assert found.max_mm < 1e-9
        assert found.passes()


def test_mean_and_plane_alignment_take_out_what_they_say() -> None:
    reference = hill_grid()
    x, _ = np.meshgrid(reference.x_mm, reference.y_mm)
    tilted = reference.with_z(reference.z_mm + 0.2 + 0.005 * x)
    assert compare(tilted, reference, "none").mean_mm == pytest.approx(0.2, rel=0.15)
    assert abs(compare(tilted, reference, "mean").mean_mm) < 5e-3
    assert compare(tilted, reference, "mean").max_mm > 0.05
    assert compare(tilted, reference, "plane").max_mm < 1e-6


def moved_hills(turn_deg: tuple[float, float, float], shift: tuple[float, float, float]):  # type: ignore[no-untyped-def]
    """The hills after a rigid motion, as the highest points of their mesh."""
    fine = hill_grid(0.1, 24.0)
    x, y = np.meshgrid(fine.x_mm, fine.y_mm)
    points = np.stack([x, y, fine.z_mm], axis=-1)
    motion = Rotation.from_euler("xyz", turn_deg, degrees=True)
    moved = (motion.apply(points.reshape(-1, 3)) + shift).reshape(points.shape)
    rows, columns = x.shape
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.concatenate(
        [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    )
    return seen_from_above(moved.reshape(-1, 3), faces, 0.2)


def test_rigid_alignment_finds_the_motion_and_a_dent() -> None:
    measured = moved_hills((0.8, -0.5, 2.0), (0.6, -0.4, 1.0))
    reference = hill_grid(0.1, 30.0)
    assert compare(measured, reference, "none").rms_mm > 0.5
    found = compare(measured, reference, "rigid")
    assert found.rms_mm < 2e-3
    turn = Rotation.from_matrix(found.transform[:3, :3]).as_euler("zyx", degrees=True)
    assert turn[0] == pytest.approx(-2.0, abs=0.02)
    x, y = np.meshgrid(measured.x_mm, measured.y_mm)
    dent = 0.1 * np.exp(-((x - 3) ** 2 + y**2) / 2)
    found = compare(measured.with_z(measured.z_mm - dent), reference, "rigid", 0.05)
    assert found.max_mm == pytest.approx(0.1, abs=0.02)
    row, column = np.unravel_index(np.nanargmin(found.deviation.z_mm), x.shape)
    assert np.hypot(x[row, column] - 3, y[row, column]) < 0.5
    assert not found.passes()
    assert found.passes(0.99)


def test_a_plane_does_not_slide() -> None:
    flat = hill_grid()
    x, _ = np.meshgrid(flat.x_mm, flat.y_mm)
    plane = flat.with_z(0.1 * x)
    found = compare(plane.with_z(plane.z_mm + 0.3), plane, "rigid")
    assert found.max_mm < 1e-6
    assert np.linalg.norm(found.transform[:2, 3]) < 0.05


def test_far_origins_are_brought_together_and_apart_is_said() -> None:
    reference = hill_grid()
    away = HeightGrid(reference.z_mm, 0.25, 480.0, 480.0)
    assert compare(away, reference, "rigid").rms_mm < 1e-3
    with pytest.raises(ReconstructError, match="do not overlap"):
        compare(away, reference, "none")
    with pytest.raises(ReconstructError, match="no alignment"):
        compare(reference, reference, "best")


def test_maps_need_a_pitch_and_are_the_right_way_up(tmp_path: Path) -> None:
    z = np.zeros((20, 30), np.float32)
    z[0] = 1.0  # the upper edge of the picture
    np.save(tmp_path / "z.npy", z)
    with pytest.raises(ReconstructError, match="--pitch"):
        read_shape(tmp_path / "z.npy")
    grid = read_shape(tmp_path / "z.npy", pitch_mm=0.5)
    assert grid.at(np.array([0.0]), np.array([19 / 2 * 0.5]))[0] == 1.0
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ReconstructError, match="no known kind"):
        read_shape(tmp_path / "a.txt")
