"""Reflectance learned from tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from reconstruct.brdf_fit import fit, tables, theory
from reconstruct.brdf_fit.network import BrdfNetwork
from reconstruct.errors import ReconstructError
from rig.cli import app

N, K = 2.9, 3.1


def test_rough_surfaces_scatter_as_beckmann_facets() -> None:
    """Near the specular direction and for large g the theory is F D / (4 γ_i γ_s)."""
    alpha, ra = 0.2, 3.0
    length = theory.correlation_of(ra, alpha)
    th = np.radians([1.0, 4.0, 8.0, 12.0])
    got = theory.reflectance(ra, length, th, 1e-4, 0.0, N, K)
    d = np.exp(-(np.tan(th) ** 2) / alpha**2) / (np.pi * alpha**2 * np.cos(th) ** 4)
    f0 = ((N - 1) ** 2 + K**2) / ((N + 1) ** 2 + K**2)
    np.testing.assert_allclose(got, f0 * d / 4, rtol=0.1)


def test_the_series_meets_the_rough_limit() -> None:
    """Both sides of the switch from the series to the Beckmann limit agree."""
    g = np.array([199.9, 200.1])
    below, above = theory._scatter(g, g * 1.5)
    assert abs(below / above - 1) < 0.02


def test_smooth_surfaces_scatter_as_first_order_theory() -> None:
    """For g << 1: f = 4π² (γ_i + γ_s)² Q PSD(f) / λ⁴ (Rayleigh-Rice near specular)."""
    ra, length, lam = 0.002, 3.0, theory.WAVELENGTH_UM
    th = np.radians(3.0)
    sigma = ra / theory.RA_OF_SIGMA
    frequency = 2 * np.sin(th) / lam
    psd = np.pi * sigma**2 * length**2 * np.exp(-((np.pi * length * frequency) ** 2))
    f0 = ((N - 1) ** 2 + K**2) / ((N + 1) ** 2 + K**2)
    expected = 4 * np.pi**2 * (2 * np.cos(th)) ** 2 * f0 * psd / lam**4
    got = theory.reflectance(ra, length, th, 0.0, 0.0, N, K)
    assert got == pytest.approx(expected, rel=0.01)


@given(
    st.floats(0, 1.4), st.floats(0, 1.4), st.floats(0, np.pi), st.floats(0.05, 6.3),
    st.floats(0.04, 0.5), st.integers(0, 50),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_any_weights_are_reciprocal_and_not_negative(th, td, pd, ra, alpha, seed) -> None:
    torch.manual_seed(seed)
    network = BrdfNetwork()
    one = network.evaluate(ra, alpha, th, td, pd)
    other = network.evaluate(ra, alpha, th, td, pd + np.pi)  # light and camera swapped
    assert one >= 0
    assert one == pytest.approx(other, rel=2e-4, abs=1e-30)


@pytest.fixture(scope="module")
def fitted() -> fit.Fit:
    table = tables.from_theory("Fe", 40_000)
    return fit.fit(table, steps=400, say=lambda _: None)


def test_a_short_fit_is_near_its_table(fitted: fit.Fit) -> None:
    assert fitted.count > 1000
    assert fitted.median_error < 0.12
    assert 0.2 < fitted.highest_albedo < 1.1


def test_the_renderer_takes_the_fit(fitted: fit.Fit) -> None:
    material, error = fit.as_material(fitted.network, 0.8, 0.2)
    assert material.lobes
    assert error < 0.15
    assert 0.5 < sum(lobe.weight for lobe in material.lobes) < 1.5


def test_files_come_back_and_others_are_refused(fitted: fit.Fit, tmp_path) -> None:
    fitted.network.write(tmp_path / "b.safetensors", {"a": 1})
    again, facts = BrdfNetwork.read(tmp_path / "b.safetensors")
    assert facts == {"a": 1}
    assert again.evaluate(1.0, 0.2, 0.1, 0.3, 1.0) == fitted.network.evaluate(
        1.0, 0.2, 0.1, 0.3, 1.0
    )
    (tmp_path / "junk").write_bytes(b"{}")
    with pytest.raises(ReconstructError, match="not a safetensors file"):
        BrdfNetwork.read(tmp_path / "junk")


def write_csv(path, count: int = 400, alpha: float = 0.3) -> None:
    rng = np.random.default_rng(1)
    th, td, pd = rng.uniform(0, 40, count), rng.uniform(0, 60, count), rng.uniform(0, 180, count)
    value = 2 * np.exp(-(np.tan(np.radians(th)) ** 2) / alpha**2) + 0.1
    lines = [f"{a},{b},{c},{v}" for a, b, c, v in zip(th, td, pd, value, strict=True)]
    path.write_text("theta_h,theta_d,phi_d,reflectance\n" + "\n".join(lines) + "\n")


def test_a_measured_csv_is_fitted(tmp_path) -> None:
    write_csv(tmp_path / "m.csv")
    table = tables.read(tmp_path / "m.csv")
    assert table.alpha[0] == pytest.approx(0.3, rel=0.2)
    out = tmp_path / "m.safetensors"
    done = CliRunner().invoke(
        app, ["fit-brdf", str(tmp_path / "m.csv"), "--out", str(out), "--minutes", "0.04"]
    )
    assert "median relative error" in done.output
    facts = BrdfNetwork.read(out)[1]
    assert facts["table"] == "m.csv"
    assert (done.exit_code == 0) == (facts["median_relative_error"] <= 0.03)
    strict = ["fit-brdf", str(tmp_path / "m.csv"), "--out", str(out), "--minutes", "0.01"]
    assert CliRunner().invoke(app, [*strict, "--bound", "0.000001"]).exit_code == 1


def test_a_merl_file_is_read(tmp_path) -> None:
    half = ((np.arange(90) + 0.5) / 90) ** 2 * np.pi / 2
    green = np.exp(-(np.tan(half) ** 2) / 0.1**2)[:, None, None] * np.ones((90, 90, 180)) + 0.05
    planes = np.stack([green * 0, green * 1500 / 1.15, -np.ones_like(green)])
    path = tmp_path / "steel.binary"
    path.write_bytes(np.array([90, 90, 180], "<i4").tobytes() + planes.astype("<f8").tobytes())
    table = tables.read(path)
    assert table.value.max() == pytest.approx(1.05, rel=0.01)
    assert table.alpha[0] == pytest.approx(0.1, rel=0.3)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ReconstructError, match="cut short"):
        tables.read(path)
    path.write_bytes(b"\0" * 100)
    with pytest.raises(ReconstructError, match="no MERL file"):
        tables.read(path)


def test_bad_tables_are_named(tmp_path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(ReconstructError, match="there is no file"):
        tables.read(path)
    path.write_text("theta_h,theta_d,reflectance\n1,2,3\n")
    with pytest.raises(ReconstructError, match="no column 'phi_d'"):
        tables.read(path)
    path.write_text("theta_h,theta_d,phi_d,reflectance\n1,2,3,x\n")
    with pytest.raises(ReconstructError, match="line 2: not a number"):
        tables.read(path)
    path.write_text("theta_h,theta_d,phi_d,reflectance\n1,2,3,4\n")
    with pytest.raises(ReconstructError, match="a fit needs 50"):
        tables.read(path)
