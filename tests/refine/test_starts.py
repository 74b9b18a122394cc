"""Where refinement starts from, and its way out of wrong valleys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulated_parts import at_the_truth, part, pictures, pit

from reconstruct.dpps.captured import read_captured
from reconstruct.errors import ReconstructError
from reconstruct.integrate import log_depth_at, slopes
from reconstruct.methods import Options, reconstruct
from reconstruct.optics.interreflection import indirect
from reconstruct.refine import refinement
from reconstruct.refine.beyond import BEYOND_TRACED, continued
from reconstruct.refine.problem import Material
from reconstruct.refine.refinement import HUBER, Refinement
from reconstruct.refine.search import best_normals
from reconstruct.refine.solve import State, fit_material
from reconstruct.refine.starts import first_materials
from reconstruct.refine.transport import (
    SLOPE_STEP,
    optics_material,
    table_lights,
    update_indirect,
)

CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"


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


def test_light_between_places_is_known_at_other_slopes() -> None:
    _, problem, u = pit()
    metal = Material("ggx", 0.3, 0.3, ks=0.8)
    update_indirect(problem, u, metal, samples=256, by_slopes=True)
    n = len(problem.pictures)
    assert problem.traced.shape == (64, 64, 3 * n + 2)
    assert problem.indirect.max() > 0
    p, q = slopes(u, problem.jacobians)
    for place, slope in enumerate((p, q)):  # the tracer's are differences over two pixels
        assert np.median(np.abs(problem.traced[..., 3 * n + place] - slope)) < 0.06
    # Half a step of the slopes ahead the light is what its derivative says, noise aside.
    around = continued(problem, u, 1, BEYOND_TRACED)
    along, across, turned = around.slopes()
    np.testing.assert_allclose(turned(0.0, 0.0), around.normals, atol=1e-9)
    step = 0.5 * SLOPE_STEP * (1 + along**2 + across**2)
    lights = table_lights(problem)
    traced, scale = optics_material(problem, metal)
    ahead = scale * around.inner(
        indirect(
            around.points, around.normals, around.camera, lights, traced, grid=256, samples=256,
            smooth=0.7, shown=turned(step, 0.0),
        )
    )  # fmt: skip
    ahead = np.moveaxis(ahead, 0, -1)
    change = around.inner(step[None])[0][..., None] * problem.traced[..., n : 2 * n]
    lit = problem.indirect > 0.2 * problem.indirect.max()
    assert lit.sum() > 100
    known = np.abs(problem.indirect + change - ahead)[lit].mean()
    assert known < 0.7 * np.abs(problem.indirect - ahead)[lit].mean()


def test_speckle_of_traced_light_averages_out_as_the_surface_moves() -> None:
    _, problem, u = pit()
    metal = Material("ggx", 0.3, 0.3, ks=0.8)
    update_indirect(problem, u, metal, samples=512)
    clean = problem.indirect.copy()

    def speckle() -> float:
        return float(np.linalg.norm(problem.indirect - clean))

    update_indirect(problem, u, metal, samples=16, by_slopes=True)
    alone = speckle()
    # A little elsewhere at first: slopes 3 % larger, as in a step of the fit.
    update_indirect(problem, u + 0.03 * (u - u.mean()), metal, samples=16, by_slopes=True)
    for turn in range(1, 5):
        update_indirect(
            problem, u, metal, samples=16, seed=turn, by_slopes=True, kept=turn / (turn + 1)
        )
    assert speckle() < 0.6 * alone


@pytest.mark.slow
@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
def test_a_steep_part_ends_in_one_place_from_either_start() -> None:
    capture = read_captured(CAPTURES / "steep")
    heights = []
    for start in ("halfvector", "dpps"):
        options = Options(
            height_mm=capture.mean_height_mm, mask=capture.mask, start=start, uncertainty=False
        )
        surface = reconstruct("refine", capture.stack, capture.camera, capture.lights, options)
        degrees, height_mm = capture.errors(surface)
        assert height_mm < 0.025
        assert degrees < 0.10
        heights.append(surface.height_mm[capture.mask])
    assert (heights[1] - heights[0]).std() < 0.002


def test_the_search_finds_slopes_that_descent_would_not() -> None:
    scene, problem, u = at_the_truth()
    material, _ = fit_material(problem, u, first_materials(problem, u, HUBER)[0], HUBER)
    # A bump that is not there: slopes off by up to 30°.
    rows, columns = np.mgrid[0:65, 0:65] - 32.0
    bump = 0.012 * np.exp(-(rows**2 + columns**2) / (2 * 6.0**2))
    wanted = bump[:64, :64] > 0.001
    normals, _ = best_normals(problem, u - bump, material, HUBER, wanted)
    world = np.einsum("iyx,ji->yxj", normals, problem.rotation)
    cosine = np.clip((world * scene.normals).sum(-1)[wanted], -1, 1)
    assert np.degrees(np.median(np.arccos(cosine))) < 2.0


def test_a_poor_coarse_level_begins_again_at_the_networks_surface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The better one goes on, whichever it is."""
    scene, problem, truth = at_the_truth(48)
    height_mm = float(scene.points_mm[..., 2].mean())
    run = Refinement(
        pictures(scene), scene.rig.camera, scene.rig.lights, Options(height_mm=height_mm)
    )
    flat = log_depth_at(height_mm, problem.camera)
    lost = truth.mean() - 3 * (truth - truth.mean())
    metal = Material("ggx", 0.3, 0.3, ks=0.5)
    fit = first_materials(problem, truth, HUBER)[0]
    monkeypatch.setattr(refinement, "learned_surface", lambda *_: truth)
    found = run.begun_late(1, State(lost, metal))
    heights = problem.height_mm(found.u) - scene.points_mm[..., 2]
    assert heights.std() < 0.1
    assert set(run.notes["late_starts"]) == {"came up", "dpps/ggx", "dpps/beckmann"}
    monkeypatch.setattr(refinement, "learned_surface", lambda *_: flat)
    kept = State(truth, fit)
    assert run.begun_late(1, kept) is kept
    monkeypatch.setattr(refinement, "learned_surface", lambda *_: None)
    assert run.begun_late(1, kept) is kept
