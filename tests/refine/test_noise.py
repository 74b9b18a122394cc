"""What noise alone leaves of a fit is known before anything is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from reconstruct.refine.data import binned, encode
from reconstruct.stack import Stack


@pytest.mark.parametrize("electrons", [20_000, 2_000_000])  # of one exposure, and of many merged
def test_the_roots_vary_by_the_noise_stated(electrons: int) -> None:
    """A shiny part is dark under most lights: there read noise counts, not photons."""
    rng = np.random.default_rng(1)
    read = 5.0
    truth = electrons * rng.uniform(0, 1, (24, 1, 1)) ** 12 * np.ones((1, 64, 64))
    taken = rng.poisson(truth) + read * rng.standard_normal(truth.shape)
    clipped = np.zeros(truth.shape, bool)

    stack = Stack(np.arange(1, 25), taken.astype(np.float32), clipped, read**2, 1.0)
    noisy = encode(stack)
    roots = np.sqrt(np.moveaxis(truth, 0, -1) / noisy.reference + noisy.epsilon)
    stated = noisy.dim * noisy.noise**2
    assert np.mean((noisy.root() - roots) ** 2) == pytest.approx(stated, rel=0.05)
    coarse = binned(noisy, 4)
    assert coarse.dim * coarse.noise**2 == pytest.approx(stated / 16)
