"""Figures, keys and sentences of the metrology to the letter: closed forms on exact grids."""

from __future__ import annotations

import numpy as np
import pytest

from reconstruct import metrology
from reconstruct.errors import ReconstructError
from reconstruct.export.topography import write_sdf, write_x3p
from reconstruct.metrology.accuracy import Truth
from reconstruct.metrology.compare import compare
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.measure import Recipe, measure
from reconstruct.metrology.profile import (
    Profile,
    edges_of_step,
    levelled,
    profile_along,
    profile_parameters,
)
from reconstruct.metrology.reading import seen_from_above
from reconstruct.metrology.surfaces import compare_surfaces

STEP_MM = 0.25


def grid(height, size: int = 161) -> HeightGrid:  # type: ignore[no-untyped-def]
    side = STEP_MM * np.arange(size)
    x, y = np.meshgrid(side, side)
    return HeightGrid(height(x, y), STEP_MM, 0.0, 0.0)


def parameters(surface: HeightGrid, recipe: Recipe) -> dict[str, float]:
    return {p.name: p.value for p in measure(surface, recipe).parameters}


def test_a_cut_off_takes_the_long_waves_and_a_short_one_the_noise() -> None:
    def waves(x, y):  # type: ignore[no-untyped-def]
        return (
            0.004 * np.sin(2 * np.pi * x / 20)
            + 0.002 * np.sin(2 * np.pi * y / 4)
            + 0.001 * np.sin(2 * np.pi * x)
        )

    surface = grid(waves)
    squares = {20: 8.0, 4: 2.0, 1: 0.5}  # µm²
    whole = parameters(surface, Recipe(form="mean", draws=0))["Sq"]
    assert whole == pytest.approx(np.sqrt(sum(squares.values())), rel=0.02)
    # Transmission of the Gaussian filter (ISO 16610-61): one half at the cut-off.
    rough = parameters(surface, Recipe(form="mean", cutoff_mm=8, draws=0))["Sq"]
    share = {length: 1 - 2.0 ** -((8 / length) ** 2) for length in squares}
    expected = np.sqrt(sum(share[n] ** 2 * squares[n] for n in squares))
    assert rough == pytest.approx(expected, rel=0.03)
    smooth = parameters(surface, Recipe(form="mean", short_mm=2, draws=0))["Sq"]
    kept = {length: 2.0 ** -((2 / length) ** 2) for length in squares}
    expected = np.sqrt(sum(kept[n] ** 2 * squares[n] for n in squares))
    assert smooth == pytest.approx(expected, rel=0.03)


def test_a_line_as_long_as_two_cut_offs_is_enough_and_a_shorter_one_is_refused() -> None:
    s = 0.1 * np.arange(161)
    wave = Profile(s, 0.003 * np.sin(2 * np.pi * s))
    assert set(profile_parameters(wave, 8.0)) == {"Ra", "Rq", "Rz", "Rt"}
    assert set(profile_parameters(wave)) == {"Pa", "Pq", "Pz", "Pt"}
    with pytest.raises(ReconstructError, match=r"line of 16 mm .* cut-off of 8.01 mm.* twice"):
        profile_parameters(wave, 8.01)


def test_rz_is_the_mean_over_sections_of_one_cut_off_without_half_a_cut_off_at_either_end() -> None:
    s = 0.01 * np.arange(6001)
    heights = 0.001 * np.sign(np.sin(2 * np.pi * 5 * s))
    heights[(s > 0.2) & (s < 0.3)] += 0.050  # in the first half cut-off
    heights[(s > 10.0) & (s < 10.1)] += 0.020  # in one of five sections
    found = profile_parameters(Profile(s, heights), 10.0)
    assert found["Rt"] == pytest.approx(22, abs=0.6)
    assert found["Rz"] == pytest.approx((22 + 4 * 2) / 5, abs=0.4)


def test_a_profile_keeps_its_places_when_it_is_levelled() -> None:
    flat = levelled(profile_along(grid(lambda x, y: 0.1 * x + 3), (2, 5), (32, 5)))
    assert flat.s_mm == pytest.approx(STEP_MM * np.arange(121))
    assert flat.z_mm == pytest.approx(np.zeros(121), abs=1e-9)


def test_a_line_beside_the_surface_is_told_where_the_surface_is() -> None:
    says = r"spans x 0\.0 … 40\.0 mm, y 0\.0 … 40\.0 mm"
    with pytest.raises(ReconstructError, match=says):
        profile_along(grid(lambda x, y: x), (50, 50), (90, 50))


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ((), "the line crosses no edge that stands out: lay it across the step, or name the edge "
             "with --edges"),
        ((10, 20, 30), "a step has one and a groove two: choose a shorter line, or name the edges "
                       "with --edges"),
        ((10, -25), "crosses two steps that go the same way (at 10.00, 25.00 mm along it)"),
    ],
)  # fmt: skip
def test_edges_that_are_no_step_are_refused_with_what_to_do(places, says) -> None:  # type: ignore[no-untyped-def]
    s = 0.05 * np.arange(801)
    z = 1e-6 * np.cos(s)
    for number, place in enumerate(places):
        up = -1.0 if number % 2 and place > 0 else 1.0
        z = z + up * np.clip((s - abs(place)) / 0.2 + 0.5, 0, 1)
    with pytest.raises(ReconstructError) as refused:
        edges_of_step(Profile(s, z))
    assert says in str(refused.value)


def test_a_comparison_names_its_figures_and_counts_what_is_just_within() -> None:
    reference = grid(lambda x, y: 0 * x, 41)
    measured = grid(lambda x, y: np.where(x < 5, 0.25, 0.5), 41)
    found = compare(measured, reference, "none", tolerance_mm=0.25).to_json()
    assert found["alignment"] == "none"
    assert found["within"] == pytest.approx(20 / 41)


def test_surfaces_apart_are_told_where_both_lie() -> None:
    here, there = grid(lambda x, y: x, 41), HeightGrid(np.zeros((41, 21)), 0.5, 100.0, 200.0)
    with pytest.raises(ReconstructError) as refused:
        compare(here, there, "mean")
    assert "measured one spans x 0.0 … 10.0, y 0.0 … 10.0 mm" in str(refused.value)
    assert "the reference x 100.0 … 110.0, y 200.0 … 220.0 mm" in str(refused.value)


def test_forms_say_what_they_are() -> None:
    def ball(x, y):  # type: ignore[no-untyped-def]
        return np.sqrt(900 - (x - 20) ** 2 - (y - 20) ** 2) - 30

    found = remove_form(grid(ball), "sphere")
    assert (found.kind, found.parameters["radius_mm"]) == ("sphere", pytest.approx(30))


def test_a_truth_that_does_not_fit_itself_is_refused_by_shape(tmp_path) -> None:  # type: ignore[no-untyped-def]
    position, normal = np.zeros((4, 5, 3)), np.tile([0.0, 0.0, 1.0], (4, 5, 1))
    np.savez(tmp_path / "good.npz", position=position, normal=normal, mask=np.ones((4, 5)))
    read = Truth.read(tmp_path / "good.npz")
    assert np.array_equal(read.normal, normal)
    assert np.array_equal(read.mask, np.ones((4, 5), bool))
    np.savez(tmp_path / "bad.npz", position=position, mask=np.ones((5, 4)))
    with pytest.raises(ReconstructError, match=r"'mask' is \(5, 4\), not \(4, 5\)"):
        Truth.read(tmp_path / "bad.npz")


def test_a_line_is_measured_above_its_cut_off() -> None:
    surface = grid(lambda x, y: 0.004 * np.sin(2 * np.pi * x / 20) + 0.001 * np.sin(2 * np.pi * x))
    found = parameters(
        surface, Recipe(form="mean", line_mm=(1, 20, 39, 20), cutoff_mm=2.5, draws=0)
    )
    assert "Pa" not in found
    assert found["Rq"] == pytest.approx(1 / np.sqrt(2), rel=0.05)  # µm: the short wave alone


def test_a_mesh_that_stands_on_edge_is_refused() -> None:
    line = np.array([[1.0, 2, 0], [1, 2, 1], [1, 2, 2]])
    with pytest.raises(ReconstructError, match=r"^the mesh has no extent in x and y$"):
        seen_from_above(line, np.array([[0, 1, 2]]))
    with pytest.raises(ReconstructError, match=r"^the mesh has no triangles$"):
        seen_from_above(line, np.empty((0, 3), int))


@pytest.mark.parametrize(("suffix", "write"), [(".sdf", write_sdf), (".x3p", write_x3p)])
def test_files_are_compared_in_one_call_and_laid_on_each_other(tmp_path, suffix, write) -> None:  # type: ignore[no-untyped-def]
    surface = grid(lambda x, y: 0.3 * np.sin(x / 5) * np.cos(y / 6), 81)
    tilted = grid(lambda x, y: 0.3 * np.sin(x / 5) * np.cos(y / 6) + 0.002 * x + 0.5, 81)
    for name, each in (("a", surface), ("b", tilted)):
        write(tmp_path / f"{name}{suffix}", each)
    found = compare_surfaces(str(tmp_path / f"b{suffix}"), tmp_path / f"a{suffix}")
    assert found.rms_mm < 1e-4, "rigid, unless told otherwise"
    assert compare(tilted, surface).rms_mm == pytest.approx(found.rms_mm, abs=1e-5)
    assert compare_surfaces(tilted, surface, alignment="none").rms_mm > 0.4


@pytest.mark.parametrize("alignment", ["none", "mean", "plane"])
def test_shift_and_tilt_are_taken_out_as_asked(alignment: str) -> None:
    """A plane of 2 and 3 µm/mm over 20 mm, 0.5 mm too high."""
    flat = grid(lambda x, y: 0.1 * np.sin(x / 3), 81)
    tilted = grid(lambda x, y: 0.1 * np.sin(x / 3) + 0.002 * (x - 10) + 0.003 * (y - 10) + 0.5, 81)
    found = compare(tilted, flat, alignment)
    expected = {"none": np.hypot(500, 21.1), "mean": 21.1, "plane": 0.0}[alignment]
    assert 1e3 * found.rms_mm == pytest.approx(expected, rel=0.01, abs=1e-3)


def test_figures_are_found_at_the_package_by_name() -> None:
    assert metrology.compare_surfaces is compare_surfaces
    assert set(metrology.__all__) <= set(dir(metrology))
    with pytest.raises(AttributeError, match="nothing"):
        metrology.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (Recipe(cutoff_mm=0), "a cut-off of 0 mm: expected a length above 0 mm"),
        (Recipe(short_mm=-1), "an S-filter of -1 mm: expected a length above 0 mm"),
        (Recipe(correlation_mm=np.inf), "a correlation length of inf mm: expected a length"),
        (Recipe(short_mm=2, cutoff_mm=2), "the S-filter of 2 mm takes away all below the cut-off"),
        (Recipe(draws=-1), "-1 draws: expected 0 to "),
        (
            Recipe(cutoff_mm=0.4),
            "a cut-off of 0.4 mm is too short for points 0.25 mm apart: ask for at least 0.5 mm",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_with_its_figures(recipe, sentence) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ReconstructError) as refused:
        measure(grid(lambda x, y: 0.001 * np.sin(x), 41), recipe)
    assert str(refused.value).startswith(sentence)
