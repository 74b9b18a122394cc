"""Where refinement starts from, and its way out of wrong valleys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulated_parts import part, pictures

from reconstruct.errors import ReconstructError
from reconstruct.integrate import integrate_normals
from reconstruct.methods import Options, reconstruct
from reconstruct.refine.method import HUBER, Refinement
from reconstruct.refine.search import best_normals
from reconstruct.refine.solve import fit_material
from reconstruct.refine.starts import first_materials


def test_a_learned_start_without_weights_is_refused_only_where_it_is_asked_for() -> None:
    scene = part("field-3", 64)
    height_mm = float(scene.points_mm[..., 2].mean())
    nowhere = Path("nowhere.safetensors")
    said: list[str] = []
    for start in ("dpps", "auto"):
        options = Options(
            height_mm=height_mm, start=start, weights=nowhere, uncertainty=False, say=said.append
        )
        if start == "dpps":
            with pytest.raises(ReconstructError, match="no weights at"):
                reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
        else:
            reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
            assert any("no learned start" in line for line in said)


def test_the_search_finds_slopes_that_descent_would_not() -> None:
    scene = part("field-3", 64)
    height_mm = float(scene.points_mm[..., 2].mean())
    run = Refinement(
        pictures(scene), scene.rig.camera, scene.rig.lights, Options(height_mm=height_mm)
    )
    problem = run.problem(1)
    u = integrate_normals(scene.normals, problem.camera, height_mm, np.ones((64, 64), bool))
    material, _ = fit_material(problem, u, first_materials(problem, u, HUBER)[0], HUBER)
    # A bump that is not there: slopes off by up to 30°.
    rows, columns = np.mgrid[0:65, 0:65] - 32.0
    bump = 0.012 * np.exp(-(rows**2 + columns**2) / (2 * 6.0**2))
    wanted = bump[:64, :64] > 0.001
    normals, _ = best_normals(problem, u - bump, material, HUBER, wanted)
    world = np.einsum("iyx,ji->yxj", normals, problem.rotation)
    cosine = np.clip((world * scene.normals).sum(-1)[wanted], -1, 1)
    assert np.degrees(np.median(np.arccos(cosine))) < 2.0
