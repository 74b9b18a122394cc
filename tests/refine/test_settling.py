"""The end of the descent: levels of pieces and dark places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from simulated_parts import at_the_truth, pictures

from reconstruct.integrate import at_mean_height, slopes
from reconstruct.methods import Options
from reconstruct.refine.problem import Material
from reconstruct.refine.refinement import FINAL, Refinement
from reconstruct.refine.solve import HELD, State, fit_material, gauss_newton, settled
from reconstruct.refine.starts import first_materials
from reconstruct.refine.transport import update_shadows


def test_two_pieces_end_at_their_levels() -> None:
    """Only the lights' nearness ties pieces together, so their levels are the last to rest."""
    scene, model, truth = at_the_truth()
    height_mm = float(scene.points_mm[..., 2].mean())
    update_shadows(model, truth)
    metal = Material("ggx", 0.25, 0.25, ks=0.8)
    rendered = np.moveaxis(model.render_rows(truth, metal, 0, 64), -1, 0)
    noise = np.random.default_rng(0).normal(0, 1e-5, rendered.shape) * rendered.max()
    shown = replace(
        pictures(scene), radiance=(rendered + noise).astype(np.float32),
        clipped=np.zeros(rendered.shape, dtype=bool),
        noise_floor=float((1e-5 * rendered.max()) ** 2), noise_gain=0.0,
    )  # fmt: skip
    mask = np.ones((64, 64), dtype=bool)
    mask[:, 28:36] = False
    run = Refinement(
        shown, scene.rig.camera, scene.rig.lights, Options(height_mm=height_mm, mask=mask)
    )
    problem = run.problem(1)
    update_shadows(problem, truth)
    material, _ = fit_material(problem, truth, first_materials(problem, truth, FINAL)[0], FINAL)
    apart = truth.copy()
    apart[:, 32:] += 3e-3  # of log depth: more than a millimetre
    start = State(at_mean_height(apart, height_mm, problem.camera, problem.xy, mask), material)

    def level_mm(state: State) -> float:
        error = problem.height_mm(state.u) - scene.points_mm[..., 2]
        return float(abs(error[:, :28].mean() - error[:, 36:].mean()))

    at_first = level_mm(start)
    soon = gauss_newton(problem, start, FINAL, height_mm, 6)
    end = settled(problem, soon, FINAL, height_mm)
    assert level_mm(end) < 0.35 * at_first
    assert end.cost <= soon.cost


def test_a_hold_lets_go_of_what_pictures_show() -> None:
    scene, problem, truth = at_the_truth()
    height_mm = float(scene.points_mm[..., 2].mean())
    update_shadows(problem, truth)
    material, _ = fit_material(problem, truth, first_materials(problem, truth, FINAL)[0], FINAL)
    tilted = truth + 5e-4 * np.sin(np.arange(65) / 3)

    def moved(share: float) -> float:
        """Mean change of slope."""
        with problem.holding(tilted, material, FINAL, share):
            end = gauss_newton(problem, State(tilted, material), FINAL, height_mm, 20, stop=1e-6)
        pairs = zip(
            slopes(end.u, problem.jacobians), slopes(tilted, problem.jacobians), strict=True
        )
        return float(np.hypot(*(a - b for a, b in pairs)).mean())

    free = moved(0.0)
    assert abs(moved(HELD) - free) < 0.02 * free
    assert moved(1e3) < 0.02 * free
    assert problem.hold is None
