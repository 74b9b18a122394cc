"""The uncertainty that refinement states is about as large as its errors."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from simulated_parts import easy, errors, part, pictures, pit

from reconstruct.methods import Options, reconstruct
from reconstruct.optics.material import Material as OpticalMaterial
from reconstruct.refine.claims import MeanHeight
from reconstruct.refine.fit import HUBER
from reconstruct.refine.pixel import LEVELS
from reconstruct.refine.problem import Material
from reconstruct.refine.solve import State
from reconstruct.refine.transport import update_indirect
from reconstruct.refine.uncertainty import Spread, beyond_steps, estimate
from reconstruct.surface import Flag, Surface
from rig.simulate import RenderedScene

KINDS = ("field", "turned", "ground", "sphere_cap", "stamped", "coin")


def refined(name: str, size: int = 128, **options: object):
    scene = part(name, size)
    truth = scene.points_mm[..., 2]
    known = np.isfinite(truth)
    surface = reconstruct(
        "refine", pictures(scene), scene.rig.camera, scene.rig.lights,
        Options(
            height_mm=float(truth[known].mean()), height_sigma_mm=0.0,
            mask=None if known.all() else known, **options,
        ),
    )  # fmt: skip
    return surface, scene


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thirds_of_errors_lie_within_one_sigma() -> None:
    """Over parts of all kinds that had no say in the weights of the estimate."""
    heights, normals = [], []
    for name in [f"{kind}-{seed}" for seed in (10, 11) for kind in KINDS]:
        surface, scene = refined(name, 96)
        height, angle, mask = errors(surface, scene)
        within = [np.mean(np.abs(height) < k * surface.sigma_mm[mask]) for k in (1, 2, 3)]
        heights.append(within)
        normals.append(np.mean(angle < surface.normal_sigma_deg[mask]))
        print(name, height.std(), np.round(within, 2), normals[-1])
    one, two, three = np.mean(heights, axis=0)
    assert 0.60 <= one <= 0.75
    assert two >= 0.90
    assert three >= 0.98
    assert 0.60 <= np.mean(normals) <= 0.75


@pytest.mark.parametrize("calibrated_with_it", [False, True])
def test_a_camera_that_is_unsure_of_the_stage_tilts_the_surface(calibrated_with_it: bool) -> None:
    """By all of it where the lights were calibrated with that camera, else by about half."""
    scene = easy()
    camera, lights = scene.rig.camera, scene.rig.lights
    turn = np.radians(0.1)
    covariance = np.zeros((15, 15))
    covariance[9, 9] = turn**2  # about the picture's x: it tilts along y
    if calibrated_with_it:
        lights = replace(lights, covariance=np.zeros((len(lights), 6, 6)))
    truth = scene.points_mm[..., 2]
    surface = reconstruct(
        "refine", pictures(scene), replace(camera, covariance=covariance), lights,
        Options(height_mm=float(truth.mean()), start="halfvector", self_calibrate=False),
    )  # fmt: skip
    y = scene.points_mm[..., 1]
    tilt = turn * np.std(y)
    told = np.sqrt(surface.summary["variance_mm2"]["camera"])
    low, high = (0.9, 1.1) if calibrated_with_it else (0.35, 0.7)
    assert low * tilt < told < high * tilt
    edge, middle = np.abs(y) > 40, np.abs(y) < 10
    assert np.median(surface.sigma_mm[edge]) > 1.5 * np.median(surface.sigma_mm[middle])


@pytest.mark.slow
def test_what_lights_contradict_each_other_in_grows_with_the_misfit_of_the_material() -> None:
    """Two lobes on a part that is fitted with one."""
    scene = part("field-3", 64)
    share = np.full(scene.shape, 0.5, np.float32)
    metal = OpticalMaterial.metal("Cr", 0.09).mixed(OpticalMaterial.metal("Cr", 0.32), share)
    two_lobes = RenderedScene(scene.rig, scene.points_mm, scene.normals, metal)
    within, told = [], []
    for seen in (scene, two_lobes):
        truth = float(seen.points_mm[..., 2].mean())
        surface = reconstruct(
            "refine", pictures(seen), seen.rig.camera, seen.rig.lights,
            Options(height_mm=truth, height_sigma_mm=0.0, start="halfvector"),
        )  # fmt: skip
        height, _, mask = errors(surface, seen)
        within.append(np.mean(np.abs(height) < 2 * surface.sigma_mm[mask]))
        told.append(surface.summary["variance_mm2"]["pictures"])
    assert told[1] > 2 * told[0]
    assert min(within) > 0.85


@cache
def recorded(seed: int) -> Surface:
    """What one recording of the easy part gives."""
    scene = easy()
    options = Options(
        height_mm=float(scene.points_mm[..., 2].mean()), height_sigma_mm=1.0, start="halfvector"
    )
    return reconstruct("refine", pictures(scene, seed), scene.rig.camera, scene.rig.lights, options)


def test_repeatability_is_the_scatter_of_recordings_of_one_part() -> None:
    """By noise alone; what the model and the calibration get wrong is the same each time."""
    seen = [recorded(seed) for seed in range(4)]
    scatter = np.stack([s.height_mm - s.height_mm.mean() for s in seen]).std(axis=0, ddof=1)
    observed = float(np.sqrt(np.mean(np.square(scatter))))
    stated = seen[0].summary["repeatability_mm"]
    assert 0.7 < stated / observed < 1.4
    drawn = seen[0].repeats
    assert drawn is not None
    assert np.isfinite(drawn.change_mm[:, seen[0].mask]).all()
    assert stated < 0.5 * np.median(seen[0].sigma_mm)


def test_fewer_photons_make_it_less_sure() -> None:
    """Sigma follows the noise of the pictures; what the mean height does is told apart."""
    scene = easy()
    truth = float(scene.points_mm[..., 2].mean())
    bright = pictures(scene)
    rng = np.random.default_rng(1)
    noisy = type(bright)(
        bright.ids,
        bright.radiance + rng.normal(0, 0.05 * bright.radiance.max(), bright.radiance.shape).astype(
            np.float32
        ),
        bright.clipped, bright.noise_floor, bright.noise_gain,
    )  # fmt: skip
    surfaces = [recorded(0)] + [
        reconstruct(
            "refine", stack, scene.rig.camera, scene.rig.lights,
            Options(height_mm=truth, height_sigma_mm=prior, start="halfvector"),
        )
        for stack, prior in ((noisy, 1.0), (bright, 5.0))
    ]  # fmt: skip
    sigma = [np.nanmedian(surface.sigma_mm) for surface in surfaces]
    bend = [surface.summary["mean_height_bend_mm"] for surface in surfaces]
    noise = [surface.summary["variance_mm2"]["pictures"] for surface in surfaces]
    assert noise[1] > 6 * noise[0]
    assert sigma[1] > 1.3 * sigma[0]
    assert sigma[2] == pytest.approx(sigma[0], rel=1e-3)
    assert 3 < bend[2] / bend[0] < 7


def test_pixels_outside_the_mask_are_flagged_and_empty() -> None:
    scene = part("coin-2", 48, leds=24)
    mask = np.zeros((48, 48), bool)
    mask[12:36, 12:36] = True
    surface = reconstruct(
        "refine", pictures(scene), scene.rig.camera, scene.rig.lights,
        Options(height_mm=1.0, mask=mask, start="halfvector"),
    )  # fmt: skip
    assert not surface.mask[~mask].any()
    assert (surface.flags[~mask] == int(Flag.OUTSIDE)).all()
    assert np.isnan(surface.sigma_mm[~surface.mask]).all()
    assert np.isfinite(surface.sigma_mm[surface.mask]).all()


def test_what_may_lie_beyond_the_picture_is_a_cause_where_the_part_goes_on_there() -> None:
    """The problem is left as it was; a part that ends within the picture has no such cause."""
    scene, problem, u = pit()
    height_mm = float(scene.points_mm[..., 2].mean())
    metal = Material("ggx", 0.3, 0.3, ks=0.8)
    update_indirect(problem, u, metal)
    # The pit's own pictures: where others are misfit, what lies beyond is nothing beside that.
    root = np.sqrt(problem.render_rows(u, metal, 0, 64) + problem.pictures.epsilon)
    code = np.rint(np.minimum(root / problem.pictures.scale, LEVELS)).astype(np.uint16) << 2
    problem.pictures.code[:] = code
    state = State(u, metal, problem.evaluate(u, metal, HUBER, False).cost)
    given = problem.traced, problem.traced.copy()
    cut = estimate(problem, state, HUBER, MeanHeight(height_mm, 0.0))
    assert problem.traced is given[0]
    np.testing.assert_array_equal(*given)
    assert cut.shares["beyond the picture"] > 0
    problem.weight[[0, -1]] = problem.weight[:, [0, -1]] = 0
    whole = estimate(problem, state, HUBER, MeanHeight(height_mm, 0.0))
    assert "beyond the picture" not in whole.shares


def test_what_may_lie_beyond_the_picture_turns_walls_at_its_border_most() -> None:
    _, problem, u = pit()
    metal = Material("ggx", 0.3, 0.3, ks=0.8)
    update_indirect(problem, u, metal)
    state = State(u, metal)
    steps = beyond_steps(problem, state, np.random.default_rng(0))
    turns = np.mean([Spread(problem, state).of(step)[1] for step in steps], axis=0)
    rim = np.ones(turns.shape, dtype=bool)
    rim[4:-4, 4:-4] = False
    assert np.sqrt(turns[rim].mean()) > 5 * np.sqrt(turns[20:44, 20:44].mean())
