"""Figures that say what they rest on: edges, turns, and errors that last."""

from __future__ import annotations

import numpy as np
import pytest

from reconstruct.errors import ReconstructError
from reconstruct.metrology.compare import compare
from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.measure import Recipe, correlated_noise, measure
from reconstruct.metrology.profile import Profile, edges_of_step, find_edges

RNG = np.random.default_rng(3)


def profile(*edges_mm: float, noise_mm: float = 1e-3, up: tuple[int, ...] = ()) -> Profile:
    """A line of 60 mm with steps of 0.1 mm; `up` gives their signs, alternating by default."""
    s = np.arange(0, 60, 0.1)
    z = RNG.normal(0, noise_mm, s.size) + 0.004 * s
    for number, edge in enumerate(edges_mm):
        sign = up[number] if up else (-1) ** number
        z += 0.05 * sign * (1 + np.tanh((s - edge) / 0.2))
    return Profile(s, z)


@pytest.mark.parametrize("edges", [(30.0,), (20.0, 35.0), (10.0, 25.0, 45.0), (10, 20, 35, 50)])
def test_all_edges_are_found(edges: tuple[float, ...]) -> None:
    assert find_edges(profile(*edges)) == pytest.approx(edges, abs=0.5)


def test_a_line_without_an_edge_has_none() -> None:
    s = np.arange(0, 60, 0.1)
    assert find_edges(profile()) == ()
    assert find_edges(Profile(s, 0.1 * np.sin(s / 4))) == ()
    assert find_edges(Profile(s, 1e-4 * (s - 30) ** 2)) == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (profile(), "no edge"),
        (profile(10.0, 25.0, 45.0), "3 edges"),
        (profile(20.0, 40.0, up=(1, 1)), "same way"),
    ],
)
def test_a_step_over_no_or_many_edges_is_refused(line: Profile, says: str) -> None:
    with pytest.raises(ReconstructError, match=says):
        edges_of_step(line)


def disc(turn_deg: float = 0.0, lug_mm: float = 0.0, noise: int = 0) -> HeightGrid:
    """A round part with rings, seen in a square; `lug_mm` breaks its symmetry."""
    axis = (np.arange(120) - 59.5) * 0.25
    x, y = np.meshgrid(axis, axis)
    turn = np.radians(turn_deg)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    r = np.hypot(u, v)
    z = 2 - 0.02 * r**2 + 0.15 * np.cos(2 * np.pi * r / 4)
    z += lug_mm * np.exp(-((u - 8) ** 2 + v**2) / 8)
    z += 4e-3 * correlated_noise(z.shape, 4.0, np.random.default_rng(noise))
    return HeightGrid(np.where(r < 14, z, np.nan), step_mm=0.25, x0_mm=axis[0], y0_mm=axis[0])


def turn_of(transform: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0])))


@pytest.mark.parametrize("noise", range(1, 4))
def test_a_round_part_is_not_turned_about_its_axis(noise: int) -> None:
    found = compare(disc(noise=noise), disc(noise=0), "rigid")
    assert abs(turn_of(found.transform)) < 0.06
    assert found.rms_mm < 0.012


def test_a_part_with_a_lug_is_turned_back() -> None:
    found = compare(disc(turn_deg=4.0, lug_mm=0.8, noise=1), disc(lug_mm=0.8), "rigid")
    assert turn_of(found.transform) == pytest.approx(-4.0, abs=0.2)
    assert found.undetermined == ()


def test_the_turn_of_a_round_part_is_reported_as_undetermined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reconstruct.metrology.compare.LEAST_TURN_DEG", 0.0)
    found = compare(disc(turn_deg=3.0, noise=1), disc(), "rigid")
    assert found.undetermined == ("turn about the axis of a round part",)
    assert turn_of(found.transform) == pytest.approx(0.0, abs=1e-6)
    assert found.to_json()["undetermined"] == list(found.undetermined)


def test_errors_as_long_as_the_features_are_covered_by_the_sigma() -> None:
    """Sq of many surfaces with an error as long as their features: sigma is its spread."""
    axis = np.arange(48) * 0.5
    x, y = np.meshgrid(axis, axis)
    true = 0.3 * np.sin(x / 2.5) * np.cos(y / 3.1)
    wrong, sigmas = [], []
    for seed in range(6):
        error = 0.02 * correlated_noise(true.shape, 7.0, np.random.default_rng(seed))
        grid = HeightGrid(true + error, step_mm=0.5, sigma_mm=np.full(true.shape, 0.02))
        (sq,) = [p for p in measure(grid, Recipe("plane", draws=8)).parameters if p.name == "Sq"]
        wrong.append(sq.value)
        sigmas.append(sq.sigma)
    spread = float(np.std(wrong, ddof=1))
    assert 0.5 * spread < float(np.median(sigmas)) < 2.5 * spread
