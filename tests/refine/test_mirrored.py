"""What slopes change in the places that mirror them."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_parts import pit

from reconstruct.optics.interreflection import Rays, indirect, scene_of
from reconstruct.optics.mirrored import Cost, by_mirrored_slopes
from reconstruct.refine.beyond import BEYOND_TRACED, continued
from reconstruct.refine.fit import HUBER
from reconstruct.refine.problem import Material
from reconstruct.refine.subpixel import Light
from reconstruct.refine.transport import (
    indirect_light,
    optics_material,
    table_lights,
    update_indirect,
)

METAL = Material("ggx", 0.25, 0.25, ks=0.8)


def test_light_that_places_send_on_changes_with_their_slopes_as_it_is_said_to() -> None:
    _, problem, u = pit()
    around = continued(problem, u, 1, BEYOND_TRACED)
    lights = table_lights(problem)
    metal, _ = optics_material(problem, METAL)
    p, q, turned = around.slopes()
    step = 0.01 * (1 + p * p + q * q)
    rng = np.random.default_rng(4)
    pull = np.broadcast_to(rng.normal(size=96).astype(np.float32), (*p.shape, 96)).copy()
    rays = Rays(32, bounces=1, seed=5)
    scene = scene_of(
        around.points, around.normals, around.camera, lights, metal, grid=999, rays=rays
    )
    turn = np.stack([turned(step, 0.0), turned(0.0, step)]) - turned(0.0, 0.0)
    cost = Cost(pull, np.ones_like(pull))
    by_p, by_q, pp, pq, qq = by_mirrored_slopes(scene, cost, turn, step)
    rows, columns = np.mgrid[0 : p.shape[0], 0 : p.shape[1]] / 15.0
    more_p, more_q = step * np.sin(rows), step * np.cos(columns + rows)

    def light(sign: float) -> np.ndarray:
        normals = turned(sign * more_p, sign * more_q)
        return indirect(
            around.points, normals, around.camera, lights, metal, grid=999, smooth=0.0,
            shown=around.normals, rays=rays,
        )  # fmt: skip

    change = 0.5 * np.moveaxis(light(1.0) - light(-1.0), 0, -1)
    expected = float((pull * change).sum())
    assert abs(float((by_p * more_p + by_q * more_q).sum()) - expected) < 0.1 * abs(expected)
    # The matrix bounds the change's square, and is one: no direction has less than nothing.
    bound = float((pp * more_p**2 + 2 * pq * more_p * more_q + qq * more_q**2).sum())
    assert float(np.square(change).sum()) < bound
    assert (pp * qq >= pq * pq * (1 - 1e-4)).all()


def test_traced_light_changes_with_the_slopes_of_the_place_it_leaves_as_it_is_said_to() -> None:
    _, problem, u = pit()
    count = len(problem.pictures)
    images, _ = indirect_light(problem, u, METAL, 256, seed=5, by_slopes=True)
    by_slopes = images[..., count : 3 * count].reshape(*problem.shape, 2, count)
    around = continued(problem, u, 1, BEYOND_TRACED)
    metal, scale = optics_material(problem, METAL)
    p, q, turned = around.slopes()
    step = 0.04 * (1 + p * p + q * q)
    size = 2 * around.inner(step[None])[0][..., None]
    for k, (more_p, more_q) in enumerate(((step, 0.0 * step), (0.0 * step, step))):
        ends = [
            indirect(
                around.points, around.normals, around.camera, table_lights(problem), metal,
                grid=999, smooth=0.0, rays=Rays(256, seed=6),
                shown=around.within(turned(sign * more_p, sign * more_q)),
            )
            for sign in (1, -1)
        ]  # fmt: skip
        change = scale * np.moveaxis(around.inner(ends[0] - ends[1]), 0, -1) / size
        said = by_slopes[:, :, k]
        # Of bands of rows: a pixel's own has the speckle of its few rays.
        bands = [x[1:-1].reshape(2, -1, count).sum(axis=1) for x in (said, change)]
        assert np.linalg.norm(bands[0] - bands[1]) < 0.1 * np.linalg.norm(bands[1])


def test_what_changes_elsewhere_is_part_of_cost_and_step() -> None:
    _, problem, u = pit()
    alone = problem.evaluate(u, METAL, HUBER, False)
    rng = np.random.default_rng(0)
    blocks = rng.normal(size=(7, *problem.shape))
    blocks[4:] = np.abs(blocks[4:])
    problem.mirrored = blocks
    here = problem.evaluate(u, METAL, HUBER, False)
    along = rng.normal(size=u.shape)
    size = 1e-5
    costs = []
    for sign in (-1, 1):
        both = problem.evaluate(u + sign * size * along, METAL, HUBER, False)
        costs.append(both.elsewhere)
        assert both.cost == both.loss.sum(dtype=np.float64) + both.elsewhere
    gradient = problem.gradient(here.sums) - problem.gradient(alone.sums)
    slope = (costs[1] - costs[0]) / (2 * size)
    assert abs(2 * float((gradient * along).sum()) - slope) < 1e-3 * abs(slope)
    np.testing.assert_allclose(here.sums[6:9] - alone.sums[6:9], blocks[4:], atol=0.05)


@pytest.mark.parametrize("by_slopes", [False, True])
def test_the_gradient_is_that_of_the_cost(by_slopes: bool) -> None:
    """Its weight, too, must not move with the surface: steps that fit better were refused."""
    _, problem, u = pit()
    update_indirect(problem, u, METAL, samples=32, by_slopes=by_slopes)
    along = np.random.default_rng(0).normal(size=u.shape)
    size = 1e-6
    costs = [
        problem.evaluate(u + sign * size * along, METAL, HUBER, False).cost for sign in (-1, 1)
    ]
    gradient = problem.gradient(problem.evaluate(u, METAL, HUBER, False).sums)
    slope = (costs[1] - costs[0]) / (2 * size)
    assert abs(2 * float((gradient * along).sum()) - slope) < 0.02 * abs(slope)


def test_light_that_is_gone_back_to_is_the_light_before() -> None:
    _, problem, u = pit()
    update_indirect(problem, u, METAL, samples=8)
    before, traced = Light.of(problem), problem.traced
    cost = problem.evaluate(u, METAL, HUBER, False).cost
    problem.mirroring, problem.finer = 0.7, 2
    problem.pictures.code[::2] &= 0xFF00
    update_indirect(problem, u, METAL, samples=8, by_slopes=True)
    before.restore(problem)
    assert problem.evaluate(u, METAL, HUBER, False).cost == cost
    update_indirect(problem, u, METAL, samples=8)
    np.testing.assert_array_equal(problem.traced, traced)
