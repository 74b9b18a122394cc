"""The way out of a wrong basin: misfits begin again as their neighbourhood goes on."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_parts import at_the_truth

from reconstruct.integrate import integrate_normals
from reconstruct.refine.basin import begun_again, carried_on, misfits, worsened
from reconstruct.refine.problem import Material, Problem
from reconstruct.refine.refinement import HUBER
from reconstruct.refine.solve import State, fit_material, gauss_newton
from reconstruct.refine.starts import first_materials
from reconstruct.refine.transport import update_shadows


def test_a_plane_is_carried_on_exactly() -> None:
    rows, columns = np.mgrid[0:21, 0:31].astype(float)
    u = 6 + 0.01 * columns - 0.02 * rows
    kept = np.ones((20, 30), dtype=bool)
    kept[:8, :10] = False  # a corner of the picture
    kept[12:15, 20:25] = False
    torn = u.copy()
    torn[:8, :10] += 1
    torn[13:15, 21:25] -= 1
    np.testing.assert_allclose(carried_on(torn, kept), u, atol=1e-6)


def test_a_dome_is_carried_on_nearly() -> None:
    rows, columns = np.mgrid[0:41, 0:41].astype(float) - 20
    u = 6 - 1e-3 * (rows**2 + columns**2)
    kept = np.ones((40, 40), dtype=bool)
    kept[14:26, 14:26] = False
    torn = np.where((np.abs(rows) < 6) & (np.abs(columns) < 6), 0.0, u)
    assert np.abs(carried_on(torn, kept) - u).max() < 0.1 * 1e-3 * 2 * 6**2


def test_misfits_are_patches_and_not_specks() -> None:
    rng = np.random.default_rng(0)
    loss = rng.exponential(1.0, (40, 40))
    mask = np.ones((40, 40), dtype=bool)
    mask[:, 30:] = False
    loss[:, 30:] = 100.0  # off the part
    loss[5:15, 5:15] += 20
    loss[30, 10] = 15.0
    bad = misfits(loss, mask, 3.0)
    assert bad[6:14, 6:14].all()
    assert not bad[20:, :].any()
    assert not bad[:, 30:].any()
    assert bad.sum() <= 14**2


def test_only_patches_that_got_worse_go_back() -> None:
    bad = np.zeros((20, 30), dtype=bool)
    bad[2:8, 2:8] = bad[12:18, 2:8] = bad[5:9, 20:25] = True
    before = np.ones((20, 30))
    after = before - 0.5 * bad
    after[12:18, 2:8] = 0.9
    after[12:14, 2:8] = 1.3  # worse in all, by a third of it
    after[5, 20:25] = 1.5  # better in all, but for a row
    after[10, 15] = 9.0  # what did not begin again has no say
    worse = np.zeros_like(bad)
    worse[12:18, 2:8] = True
    np.testing.assert_array_equal(worsened(bad, before, after), worse)
    assert not worsened(bad, before, before - bad).any()


def fitted(problem: Problem, u: np.ndarray, material: Material, height_mm: float) -> State:
    """Where descent ends; this part hardly lights itself."""
    update_shadows(problem, u)
    return gauss_newton(problem, State(u, material), HUBER, height_mm, 6)


@pytest.mark.parametrize("where", [np.s_[:26, :26], np.s_[:, 40:]])
def test_a_corner_gone_astray_is_led_back(where) -> None:
    scene, problem, truth = at_the_truth()
    height_mm, inside = float(scene.points_mm[..., 2].mean()), problem.weight > 0
    update_shadows(problem, truth)
    material, _ = fit_material(problem, truth, first_materials(problem, truth, HUBER)[0], HUBER)
    wrong = scene.normals.copy()  # a region sheared by 35°, and what descent makes of it
    wrong[where] += [0.7, 0.4, 0.0]
    wrong /= np.linalg.norm(wrong, axis=-1, keepdims=True)
    u = integrate_normals(wrong, problem.camera, height_mm, inside)
    astray = fitted(problem, u, material, height_mm)
    state, taken = begun_again(problem, astray, HUBER, height_mm, False, 1.0)
    assert taken > 0
    assert state.cost < 0.6 * astray.cost

    def degrees(at: np.ndarray) -> float:
        cosine = (problem.normals(at) * scene.normals).sum(-1)[inside]
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())

    assert degrees(astray.u) > 2.5
    from_truth = fitted(problem, truth, material, height_mm)
    assert degrees(state.u) < degrees(from_truth.u) + 0.1


def test_what_fits_is_left_alone() -> None:
    scene, problem, truth = at_the_truth()
    height_mm = float(scene.points_mm[..., 2].mean())
    update_shadows(problem, truth)
    material, _ = fit_material(problem, truth, first_materials(problem, truth, HUBER)[0], HUBER)
    solved = fitted(problem, truth, material, height_mm)
    state, _ = begun_again(problem, solved, HUBER, height_mm, False, 1.0)
    assert state.cost <= solved.cost
    assert np.abs(state.u - solved.u).max() < 1e-3
