"""Parts: what they promise of slopes and sizes, and how a camera's pixels see them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from calib.camera import Camera
from reconstruct.errors import ReconstructError
from reconstruct.shapes.base import HeightGrid, Shape, smooth_step
from reconstruct.shapes.catalogue import SHAPES, shape
from reconstruct.shapes.files import read_shape
from reconstruct.shapes.sampling import corner_rays, sample

K = np.array([[240.0, 0, 31.5], [0, 240.0, 31.5], [0, 0, 1]])
CAMERA = Camera(64, 64, K, t=np.array([0.0, 0.0, 420.0]))


def slopes_deg(normals: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(normals[..., 2], -1, 1)))


@pytest.mark.parametrize("name", SHAPES)
def test_every_part_is_seen_whole_and_alike_each_time(name: str) -> None:
    first, again = sample(shape(name, 5), CAMERA), sample(shape(name, 5), CAMERA)
    np.testing.assert_array_equal(first.points_mm, again.points_mm)
    assert np.isfinite(first.points_mm).all()
    assert np.isfinite(first.normals).all()
    np.testing.assert_allclose(np.linalg.norm(first.normals, axis=-1), 1, atol=1e-5)
    assert (first.normals[..., 2] > 0).all()
    assert first.mask.mean() > 0.5
    # Points lie on their pixels' rays (a mean over the pixel, so not to the last digit).
    pixels = CAMERA.project(first.points_mm)
    columns, rows = np.meshgrid(np.arange(64), np.arange(64))
    assert np.abs(pixels - np.stack([columns, rows], -1)).max() < 0.2


@pytest.mark.parametrize("name", ["field", "metaballs", "turned", "stamped", "coin", "milled"])
def test_another_seed_is_another_part(name: str) -> None:
    a, b = (sample(shape(name, seed), CAMERA).height_mm for seed in (1, 2))
    assert np.abs(a - b).max() > 0.01


@pytest.mark.parametrize("slope", [2.0, 15.0, 50.0])
def test_a_random_field_has_the_slope_asked_for(slope: float) -> None:
    part = shape("field", 3, slope_deg=slope, correlation_mm=10.0)
    assert np.median(slopes_deg(sample(part, CAMERA).normals)) == pytest.approx(slope, rel=0.15)


def test_a_random_field_aims_at_its_relief() -> None:
    relief = [
        np.ptp(sample(shape("field", s, relief_mm=20.0, slope_deg=20.0), CAMERA).height_mm)
        for s in range(6)
    ]
    assert 12 < np.median(relief) < 30


def test_steps_have_their_heights() -> None:
    seen = sample(shape("step_gauge", steps_mm=(0.0, 1.5, 0.5)), CAMERA).height_mm
    heights, counts = np.unique(np.round(seen, 3), return_counts=True)
    assert set(heights[counts > 500]) == {np.float32(0.0), np.float32(1.5), np.float32(0.5)}


def test_a_sphere_cap_is_spherical() -> None:
    part = shape("sphere_cap", 0, radius_mm=90.0, edge_deg=30.0)
    seen = sample(part, CAMERA, 4)
    top = seen.points_mm[..., 2] > 4
    p = seen.points_mm[top].astype(float)
    # A sphere is linear in its coefficients: |p|² = 2 c·p + d.
    solution, *_ = np.linalg.lstsq(
        np.column_stack([2 * p, np.ones(len(p))]), (p**2).sum(1), rcond=None
    )
    radius = np.sqrt(solution[3] + (solution[:3] ** 2).sum())
    assert radius == pytest.approx(90.0, abs=0.5)


def test_stamped_flanks_keep_to_their_slope() -> None:
    seen = sample(shape("stamped", 2, slope_deg=40.0, features=1), CAMERA, 4)
    assert slopes_deg(seen.normals).max() == pytest.approx(40.0, abs=4.0)


def test_normals_are_the_gradient_of_the_heights() -> None:
    part = Shape("wave", lambda x, y: 3 * np.sin(x / 9.0) * np.cos(y / 7.0))
    seen = sample(part, CAMERA, 4)
    x, y = seen.points_mm[..., 0], seen.points_mm[..., 1]
    gx, gy = np.cos(x / 9) * np.cos(y / 7) / 3, -3 / 7 * np.sin(x / 9) * np.sin(y / 7)
    true = np.stack([-gx, -gy, np.ones_like(gx)], -1)
    true /= np.linalg.norm(true, axis=-1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((true * seen.normals).sum(-1), -1, 1)))
    assert angle.max() < 0.6
    assert np.median(angle) < 0.1


def test_the_spline_passes_through_exact_heights() -> None:
    z = np.random.default_rng(0).standard_normal((20, 30))
    grid = HeightGrid(z, 2.0, (5.0, -3.0))
    axis_x, axis_y = 5.0 + (np.arange(30) - 14.5) * 2, -3.0 + (np.arange(20) - 9.5) * 2
    x, y = np.meshgrid(axis_x, axis_y)
    np.testing.assert_allclose(grid(x, y)[2:-2, 2:-2], z[2:-2, 2:-2], atol=1e-9)


def test_rays_can_be_shared_between_parts() -> None:
    rays = corner_rays(CAMERA.subdivided(2))
    part = shape("field", 1)
    np.testing.assert_array_equal(
        sample(part, CAMERA, 2, rays).points_mm, sample(part, CAMERA, 2).points_mm
    )


def test_smooth_step_is_smooth_and_monotone() -> None:
    t = np.linspace(-1, 1, 401)
    z = smooth_step(t)
    assert z[0] == 0
    assert z[-1] == 1
    assert (np.diff(z) >= 0).all()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ReconstructError, match="turned"):
        shape("turnd")


def test_a_height_map_comes_back_from_a_file(tmp_path: Path) -> None:
    y, x = np.mgrid[:80, :100]
    z = 3.0 * np.sin(x / 15.0) + 0.05 * y
    z[:10, :10] = np.nan
    tifffile.imwrite(tmp_path / "z.tif", z.astype(np.float32))
    part = read_shape(tmp_path / "z.tif", pixel_mm=1.2)
    # Pixel (column 70, row 20) lies right of and above the middle: rows run down the picture.
    at_x, at_y = np.array([(70 - 49.5) * 1.2]), np.array([(39.5 - 20) * 1.2])
    assert part.height(at_x, at_y)[0] == pytest.approx(z[20, 70], abs=1e-3)
    assert part.inside is not None
    assert part.inside(at_x, at_y).all()
    assert not part.inside(np.array([-45 * 1.2]), np.array([35 * 1.2])).any()


def test_a_mesh_is_seen_from_above(tmp_path: Path) -> None:
    """A box with a pyramid on it: two layers, the upper one counts."""
    text = """v -30 -30 0
v 30 -30 0
v 30 30 0
v -30 30 0
v -30 -30 5
v 30 -30 5
v 30 30 5
v -30 30 5
v 0 0 12
f 1 3 2
f 1 4 3
f 5 6 9
f 6 7 9
f 7 8 9
f 8 5 9
"""
    (tmp_path / "box.obj").write_text(text)
    part = read_shape(tmp_path / "box.obj", nodes=301)
    x, y = np.array([0.0, 15.0, -20.0]), np.array([0.0, 0.0, 5.0])
    np.testing.assert_allclose(part.height(x, y), [12.0, 8.5, 5 + 7 / 3], atol=0.15)
    assert sample(part, CAMERA).mask.mean() == pytest.approx(60.0**2 / 112.0**2, rel=0.05)


@pytest.mark.parametrize("name", ["none.tif", "broken.tif", "broken.stl", "a.docx", "flat.npy"])
def test_bad_files_are_refused_in_words(tmp_path: Path, name: str) -> None:
    if name.startswith("broken"):
        (tmp_path / name).write_bytes(b"no such format")
    if name == "flat.npy":
        np.save(tmp_path / name, np.zeros(5))
    with pytest.raises(ReconstructError):
        read_shape(tmp_path / name, pixel_mm=0.1)


def test_a_height_map_needs_the_size_of_its_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((8, 8)))
    with pytest.raises(ReconstructError, match="pixels in mm"):
        read_shape(tmp_path / "z.npy")
