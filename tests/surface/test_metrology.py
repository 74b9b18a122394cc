"""Metrology against closed forms and against surfalize, an independent program."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from calib.camera import Camera
from reconstruct.errors import ReconstructError
from reconstruct.metrology.areal import areal_parameters
from reconstruct.metrology.dimension import flatness
from reconstruct.metrology.filters import ALPHA, high_pass, low_pass
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.metrology.measure import Recipe, correlated_noise, measure
from reconstruct.metrology.profile import (
    find_edges,
    levelled,
    profile_along,
    profile_parameters,
    step_height,
)
from reconstruct.surface import Surface


def surfalize_of(z_um: np.ndarray, step_um: float):  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("surfalize")
        return module.Surface(z_um, step_um, step_um)


def rough(shape: tuple[int, int] = (200, 260), seed: int = 0) -> np.ndarray:
    """Gaussian roughness in µm."""
    return gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2) * 5


# a surface seen by a camera ----------------------------------------------------------------------


def seen(camera: Camera, height, slope=None) -> Surface:  # type: ignore[no-untyped-def]
    """What a camera sees of z = height(x, y), by fixed point."""
    z = np.zeros(camera.shape)
    for _ in range(12):
        points = camera.points_at_height(z)
        z = height(points[..., 0], points[..., 1])
    z32 = z.astype(np.float32)
    normals = np.broadcast_to(np.float32([0, 0, 1]), (*z.shape, 3))
    sigma = np.full(z.shape, 0.002, np.float32)
    return Surface(camera, z32, normals, sigma, sigma, np.zeros(z.shape, np.uint8))


def bench_camera(size: int = 96, dist: float = 0.0) -> Camera:
    f = 977.0 * size / 256
    K = np.array([[f, 0, (size - 1) / 2], [0, f, (size - 1) / 2], [0, 0, 1]])
    return Camera(size, size, K, np.array([dist, 0, 0, 0, 0]), t=np.array([0, 0, 420.0]))


@pytest.mark.parametrize("dist", [0.0, -0.3])
def test_resampling_undoes_perspective_and_distortion(dist: float) -> None:
    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 5 * np.sin(x / 12) * np.cos(y / 15) + 0.2 * x

    grid = grid_of(seen(bench_camera(dist=dist), height))
    x, y = np.meshgrid(grid.x_mm, grid.y_mm)
    error = grid.z_mm - height(x, y)
    inner = error[8:-8, 8:-8]
    assert np.isfinite(inner).all()
    assert np.abs(inner).max() < 2e-3
    assert grid.sigma_mm is not None
    assert np.nanmax(np.abs(grid.sigma_mm - 0.002)) < 1e-6


def test_resampling_keeps_holes_and_never_invents() -> None:
    surface = seen(bench_camera(), lambda x, y: 0 * x)
    surface.height_mm[40:60, 50:70] = np.nan
    grid = grid_of(surface)
    assert 0.97 < np.mean(grid.mask) + 20 * 20 / 96**2 < 1.03
    assert np.nanmax(np.abs(grid.z_mm)) < 1e-6
    surface.height_mm[:] = np.nan
    with pytest.raises(ReconstructError, match="too few"):
        grid_of(surface)


# filters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelength", [0.4, 0.8, 2.0])
def test_transmission_of_a_wave_is_that_of_the_standard(wavelength: float) -> None:
    step, cutoff = 0.01, 0.8
    x = np.arange(3000) * step
    z = np.cos(2 * np.pi * x / wavelength)
    smooth = low_pass(z, cutoff, step)[500:-500]
    expected = np.exp(-np.pi * (ALPHA * cutoff / wavelength) ** 2)  # ISO 16610-21, eq. 2
    assert np.abs(smooth).max() == pytest.approx(expected, abs=2e-3)
    both = low_pass(z, cutoff, step) + high_pass(z, cutoff, step)
    np.testing.assert_allclose(both, z, atol=1e-12)


def test_filter_ignores_missing_points_and_keeps_constants() -> None:
    z = np.full((60, 70), 3.25)
    z[20:30, 10:50] = np.nan
    smooth = low_pass(z, 1.0, 0.1)
    np.testing.assert_array_equal(np.isnan(smooth), np.isnan(z))
    np.testing.assert_allclose(smooth[np.isfinite(z)], 3.25, rtol=1e-12)
    z[0, 0] = 100
    far = low_pass(z, 1.0, 0.1)[40:, 40:]
    np.testing.assert_allclose(far, 3.25, rtol=1e-9)
    with pytest.raises(ReconstructError, match="too short"):
        low_pass(z, 0.15, 0.1)


def test_filter_agrees_with_surfalize() -> None:
    z = rough()
    surface = surfalize_of(z, 2.0)
    theirs = surface.filter("highpass", 40.0).data
    ours = high_pass(z, 0.04, 0.002)
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(theirs[inner] - ours[inner]).max() < 1e-3 * ours.std()


# form --------------------------------------------------------------------------------------------


def grid(z: np.ndarray, step: float = 0.1, sigma: float | None = None) -> HeightGrid:
    rows, columns = z.shape
    corner = (-(columns - 1) / 2 * step, -(rows - 1) / 2 * step)
    return HeightGrid(z, step, *corner, None if sigma is None else np.full(z.shape, sigma))


def xy(shape: tuple[int, int] = (80, 100), step: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    g = grid(np.zeros(shape), step)
    x, y = np.meshgrid(g.x_mm, g.y_mm)
    return x, y


def test_plane_and_polynomial_leave_nothing_of_their_own() -> None:
    x, y = xy()
    plane = remove_form(grid(0.3 * x - 0.1 * y + 7), "plane")
    assert np.abs(plane.residual.z_mm).max() < 1e-12
    assert plane.parameters["slope_x"] == pytest.approx(0.3)
    assert plane.parameters["tilt_deg"] == pytest.approx(np.degrees(np.arctan(np.hypot(0.3, 0.1))))
    cubic = x**3 / 50 - x * y**2 / 40 + 0.1 * y
    assert np.abs(remove_form(grid(cubic), "poly3").residual.z_mm).max() < 1e-10
    assert np.abs(remove_form(grid(cubic), "poly2").residual.z_mm).max() > 0.1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sphere(sign: float) -> None:
    x, y = xy()
    ripple = 1e-3 * np.sin(9 * x)
    z = sign * np.sqrt(12.7**2 - (x - 1) ** 2 - (y + 0.5) ** 2) + 3
    form = remove_form(grid(z), "sphere")
    assert form.parameters["radius_mm"] == pytest.approx(12.7, abs=1e-6)
    assert form.parameters["convex"] is (sign > 0)
    np.testing.assert_allclose(form.parameters["centre_mm"], [1, -0.5, 3], atol=1e-6)
    assert np.abs(form.residual.z_mm).max() < 1e-9
    # Material standing out counts positive, whether on a ball or in a cup.
    bumpy = remove_form(grid(z + ripple), "sphere").residual.z_mm
    assert np.corrcoef(bumpy.ravel(), ripple.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cylinder(sign: float) -> None:
    x, y = xy()
    angle, tilt = 0.4, 0.02
    across = -np.sin(angle) * x + np.cos(angle) * y - 0.3
    along = np.cos(angle) * x + np.sin(angle) * y
    z = sign * np.sqrt(20**2 - across**2) / np.cos(tilt) + np.tan(tilt) * along
    form = remove_form(grid(z), "cylinder")
    assert form.parameters["radius_mm"] == pytest.approx(20, abs=1e-4)
    assert np.abs(form.residual.z_mm).max() < 1e-6
    axis = np.array(form.parameters["axis"])
    turned = np.arctan2(axis[1], axis[0]) % np.pi
    assert turned == pytest.approx(angle, abs=1e-5)


def test_form_refuses_what_is_not_there() -> None:
    with pytest.raises(ReconstructError, match="flat"):
        remove_form(grid(np.zeros((20, 20))), "sphere")
    with pytest.raises(ReconstructError, match="no form 'cone'"):
        remove_form(grid(np.zeros((20, 20))), "cone")


# parameters --------------------------------------------------------------------------------------


def test_areal_parameters_of_a_sine_wave() -> None:
    step = 0.01
    x, _ = xy((200, 400), step)
    z = 0.002 * np.sin(2 * np.pi * x / 0.5)  # 2 µm, eight periods
    found = areal_parameters(z, step)
    assert found["Sa"] == pytest.approx(2 * 2 / np.pi, rel=1e-3)
    assert found["Sq"] == pytest.approx(2 / np.sqrt(2), rel=1e-6)
    assert found["Sz"] == pytest.approx(4, rel=1e-2)
    assert found["Sp"] == pytest.approx(found["Sv"], rel=1e-6)
    assert found["Ssk"] == pytest.approx(0, abs=1e-9)
    assert found["Sku"] == pytest.approx(1.5, rel=1e-6)
    slope = 0.002 * 2 * np.pi / 0.5 / np.sqrt(2)
    assert found["Sdq"] == pytest.approx(slope, rel=2e-3)
    assert found["Sdr"] == pytest.approx(100 * slope**2 / 2, rel=5e-3)


def test_developed_area_of_a_tilted_plane_is_exact() -> None:
    x, _ = xy()
    assert areal_parameters(0.75 * x, 0.1)["Sdr"] == pytest.approx(25.0)
    assert areal_parameters(0.75 * x, 0.1)["Sdq"] == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["Sa", "Sq", "Sz", "Sp", "Sv", "Ssk", "Sku", "Sdq", "Sdr"])
def test_areal_parameters_agree_with_surfalize(name: str) -> None:
    z = rough(seed=3)
    surface = surfalize_of(z, 2.0)
    ours = areal_parameters(z * 1e-3, 2e-3)[name]
    assert ours == pytest.approx(
        getattr(surface, name)(), rel=3e-3 if name == "Sdq" else 1e-6, abs=1e-6
    )


def test_profile_parameters_of_a_sine_wave() -> None:
    x, _ = xy((60, 2000), 0.01)
    z = 0.002 * np.sin(2 * np.pi * x / 0.2) + 0.1 * x + 5
    cut = profile_along(grid(z, 0.01), (-8.0, 0.0), (8.0, 0.0))
    found = profile_parameters(cut, cutoff_mm=2.5)
    assert found["Ra"] == pytest.approx(4 / np.pi, rel=0.01)
    assert found["Rq"] == pytest.approx(np.sqrt(2), rel=0.01)
    assert found["Rz"] == pytest.approx(4, rel=0.01)
    assert profile_parameters(cut)["Pq"] == pytest.approx(np.sqrt(2), rel=0.01)
    with pytest.raises(ReconstructError, match="too short for a cut-off"):
        profile_parameters(cut, cutoff_mm=10)
    with pytest.raises(ReconstructError, match="misses the surface"):
        profile_along(grid(z, 0.01), (50.0, 50.0), (60.0, 50.0))


def test_a_cut_off_longer_than_any_surface_takes_no_more_time_or_memory() -> None:
    z = rough((30, 40))
    np.testing.assert_allclose(low_pass(z, 1e12, 0.01), z.mean())
    np.testing.assert_allclose(low_pass(z[0], 1e12, 0.01), z[0].mean())


def test_ra_of_a_profile_agrees_with_surfalize() -> None:
    z = rough(seed=5)
    surface = surfalize_of(z, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = surface.get_horizontal_profile(200.0)
    row = HeightGrid(z * 1e-3, 2e-3)
    places = [profile_along(row, (0.0, y), (row.x_mm[-1], y)) for y in row.y_mm[98:103]]
    ours = [levelled(p).z_mm for p in places]
    ra = [1e3 * float(np.mean(np.abs(z))) for z in ours]
    line = theirs.level() if hasattr(theirs, "level") else theirs
    assert min(abs(value - line.Ra()) / line.Ra() for value in ra) < 0.02


def test_flatness_of_a_saddle_and_of_a_bump() -> None:
    x, y = xy((81, 81), 0.1)
    found = flatness(grid(0.001 * x * y + 0.2 * x))
    assert found["FLTt"] == pytest.approx(2 * 16, rel=1e-6)
    assert found["FLTmz"] == pytest.approx(2 * 16, rel=1e-6)
    # A bump in one corner: the best planes tilt, the least-squares plane does so less.
    z = 0.01 * np.exp(-((x - 3) ** 2 + (y - 3) ** 2))
    found = flatness(grid(z))
    assert found["FLTmz"] < found["FLTt"]
    assert flatness(grid(0.1 * x))["FLTmz"] == pytest.approx(0, abs=1e-6)


def test_step_heights() -> None:
    x, _ = xy((60, 400), 0.05)
    groove = np.where(np.abs(x - 1) < 2, -0.05, 0.0) + 0.01 * x
    cut = profile_along(grid(groove, 0.05), (-9.0, 0.0), (9.0, 0.0))
    assert step_height(cut, (8.0, 12.0)) == pytest.approx(-0.05, abs=1e-9)
    edges = find_edges(cut)
    np.testing.assert_allclose(edges, [8.0, 12.0], atol=0.15)
    up = np.where(x > 0.5, 0.03, 0.0) - 0.02 * x
    cut = profile_along(grid(up, 0.05), (-8.0, 0.0), (8.0, 0.0))
    assert len(find_edges(cut)) == 1
    assert step_height(cut, find_edges(cut)) == pytest.approx(0.03, abs=1e-9)
    with pytest.raises(ReconstructError, match="fewer than three"):
        step_height(cut, (0.01,))


# uncertainty -------------------------------------------------------------------------------------


def test_correlated_noise_has_unit_variance_and_its_length() -> None:
    noise = correlated_noise((400, 400), 6.0, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert np.mean(noise[:, 6:] * noise[:, :-6]) == pytest.approx(np.exp(-1), abs=0.05)


def test_uncertainty_covers_what_noise_does() -> None:
    """Figures of many noisy copies scatter about the true ones as the stated sigma says."""
    truth = rough((80, 100), 7) * 1e-3
    sigma, length = 4e-4, 4.0
    rng = np.random.default_rng(1)
    clean = {p.name: p.value for p in measure(grid(truth), Recipe(draws=0)).parameters}
    ratios: dict[str, list[float]] = {name: [] for name in clean}
    for _ in range(12):
        noisy = truth + sigma * correlated_noise(truth.shape, length, rng)
        found = measure(grid(noisy, sigma=sigma), Recipe(draws=12), seed=2)
        for p in found.parameters:
            assert p.sigma is not None
            ratios[p.name].append((p.value - clean[p.name]) / p.sigma)
    for name in ("Sa", "Sq", "Sz", "FLTq", "FLTt", "Sdq"):
        spread = float(np.sqrt(np.mean(np.square(ratios[name]))))
        assert 0.4 < spread < 1.8, name


def test_a_flat_noisy_plane_is_not_claimed_rough() -> None:
    rng = np.random.default_rng(3)
    z = 1e-3 * correlated_noise((80, 100), 4.0, rng)
    found = {p.name: p for p in measure(grid(z, sigma=1e-3), Recipe()).parameters}
    assert found["Sq"].sigma is not None
    assert found["Sq"].value < 3 * found["Sq"].sigma


def test_uncertainty_of_a_step_height() -> None:
    x, _ = xy((60, 400), 0.05)
    z = np.where(x > 0.5, 0.03, 0.0)
    recipe = Recipe(line_mm=(-8, 0, 8, 0), step=True, edges_mm=(8.5,), correlation_mm=0.05)
    found = {p.name: p for p in measure(grid(z, 0.05, 1e-3), recipe).parameters}
    assert found["h"].value == pytest.approx(30)
    # Two means of about 125 points each, of a parallel pair of lines (twice as uncertain).
    assert found["h"].sigma == pytest.approx(0.35, rel=0.6)


def test_without_sigma_there_is_no_uncertainty() -> None:
    found = measure(grid(rough() * 1e-3), Recipe(draws=8))
    assert {p.sigma for p in found.parameters} == {None}
    assert found.to_json()["format"] == "rig-measurement/1"
