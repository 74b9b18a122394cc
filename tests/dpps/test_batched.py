"""Training pairs made many at a time are those made one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import TINY, rows

from reconstruct.dpps.again import FirstPass
from reconstruct.dpps.batched import TOGETHER, packed, pairs
from reconstruct.dpps.batched_fusion import fused_depth
from reconstruct.dpps.drawing import Ask, scene_of
from reconstruct.dpps.forward import Network
from reconstruct.dpps.fusion import fuse
from reconstruct.dpps.network import network_of
from reconstruct.dpps.samples import draw
from reconstruct.dpps.train import Processes, Trainer
from reconstruct.dpps.weights import read_weights

SEEDS = range(12)
ASK = Ask(size=32, zoom=0.4)


def in_order(scenes) -> list[int]:
    """Scenes in the order of a batch."""
    return sorted(range(len(scenes)), key=lambda i: len(scenes[i].lights["power"]))


def test_pairs_are_those_drawn_one_by_one() -> None:
    scenes = [scene_of(seed, ASK) for seed in SEEDS]
    facts = [(scene.beckmann, scene.sensor.clips, scene.rays > 0) for scene in scenes]
    assert len({f[0] for f in facts}) == len({f[1] for f in facts}) == 2
    assert len({f[2] for f in facts}) == 2
    x, y = pairs(packed(scenes, [0.0] * len(scenes)))
    for i, seed in enumerate(in_order(scenes)):
        sample = draw(seed, ASK)
        gap = np.abs(x[i].numpy() - sample.channels)
        # single precision now and then turns a value over a step of the sensor, or a ray
        assert gap.mean() < 1e-4
        assert np.quantile(gap, 0.99) < 2e-3
        np.testing.assert_allclose(y[i].numpy(), sample.target(), atol=1e-6)


def test_many_scenes_are_made_in_parts() -> None:
    ask = replace(ASK, size=16, lights=8)
    scenes = [scene_of(seed, ask) for seed in range(TOGETHER + 3)]
    x, y = pairs(packed(scenes, [0.0] * len(scenes)))
    assert len(x) == len(y) == len(scenes)
    sample = draw(TOGETHER + 2, ask)
    assert np.abs(x[-1].numpy() - sample.channels).mean() < 1e-4


def test_surfaces_found_first_are_those_of_the_first_pass() -> None:
    weights = read_weights()
    model = network_of(weights)
    first = FirstPass(Path("unused"))
    first.model = Network(weights)
    seeds = range(4)
    scenes = [scene_of(seed, ASK) for seed in seeds]
    blurs_px = [0.8, 0.8, 0.0, 0.8]
    x, y = pairs(packed(scenes, blurs_px), model)
    for i, seed in enumerate(in_order(scenes)):
        sample = draw(seed, ASK, keep_radiance=True)
        if blurs_px[seed]:
            sample = first.seen_again(sample, blurs_px[seed])
        gap = np.abs(y[i, 3].numpy() - sample.delta)[sample.mask]
        # solved to a hundredth of the change that the network asks for
        assert gap.mean() < 0.05 * np.abs(sample.delta[sample.mask]).mean() + 1e-6
        assert np.abs(x[i].numpy() - sample.channels)[:, sample.mask].mean() < 5e-3


def test_fusion_in_a_batch_solves_the_same_equations() -> None:
    rng = np.random.default_rng(0)
    slopes = rng.normal(0, 0.02, (2, 16, 24, 2))
    guess = rng.normal(6, 0.02, (2, 16, 24))
    weight = rng.uniform(0.3, 2, (2, 16, 24))
    mask = np.ones((2, 16, 24), dtype=bool)
    mask[1, :5, :9] = False
    found = fused_depth(
        (torch.from_numpy(slopes[..., 0]).float(), torch.from_numpy(slopes[..., 1]).float()),
        torch.from_numpy(guess).float(), torch.from_numpy(mask), torch.from_numpy(weight).float(),
    ).numpy()  # fmt: skip
    for i in range(2):
        wanted = fuse(slopes[i], guess[i], mask[i], 0.003, weight[i], 1e-8)
        np.testing.assert_allclose(found[i][mask[i]], wanted[mask[i]], atol=2e-4)


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("again", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_a_device_that_makes_the_pairs_learns_the_same(tmp_path, again: float) -> None:
    losses = {}
    for makes_pairs in (False, True):
        config = replace(
            TINY, out=str(tmp_path / str(makes_pairs)), again=again, checkpoint_minutes=0.0
        )
        run = Trainer(config, Processes())
        assert run.makes_pairs == torch.cuda.is_available()
        run.makes_pairs = makes_pairs
        run.run(say=lambda _: None)
        losses[makes_pairs] = [float(r["loss"]) for r in rows(Path(config.out))]
    # The two round at other places: 0.0020 apart on one machine, 0.0021 on another like it.
    assert losses[True] == pytest.approx(losses[False], abs=3e-3)
