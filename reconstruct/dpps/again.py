"""Samples as the second pass sees them: over the surface that the network itself found first.

Errors of a first pass sit where pictures say little, and are alike over a whole flank. Random
errors are not: a network that has only met those trusts the base too much where it is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from reconstruct.dpps.checkpoint import averaged
from reconstruct.dpps.encoding import UNIT_PX
from reconstruct.dpps.forward import Network
from reconstruct.dpps.predict import Estimate, joined
from reconstruct.dpps.samples import Sample
from reconstruct.dpps.view import view_of_sample
from reconstruct.nearest import filled_in

SCREEN, TOLERANCE = 0.003, 1e-2


class FirstPass:
    """The averaged network of a run, read again whenever the run has saved it."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.saved = 0
        self.model: Network | None = None

    def ready(self) -> bool:
        """Read the checkpoint if it is new; False before the first one."""
        if not self.checkpoint.exists():
            return False
        saved = self.checkpoint.stat().st_mtime_ns
        if saved != self.saved:
            self.model = Network(averaged(self.checkpoint)[0])
            self.saved = saved
        return True

    def estimate(self, sample: Sample) -> Estimate:
        """What the network says over the sample's base."""
        assert self.model is not None, "ask ready() first"
        said = self.model(sample.channels)
        scale = UNIT_PX * sample.pixel_angle
        return Estimate(
            np.moveaxis(said[:3], 0, -1).astype(np.float64),
            sample.base_log_depth + scale * said[3].astype(np.float64),
            np.exp(said[4]),
            scale * np.exp(said[5]),
        )

    def seen_again(self, sample: Sample, blur_px: float) -> Sample:
        """The same pictures over the surface found in them, blurred as a first pass is coarse."""
        view = view_of_sample(sample)
        found = joined(view, self.estimate(sample), SCREEN, TOLERANCE)
        base = gaussian_filter(filled_in(found, np.isfinite(found)), blur_px)
        return replace(
            sample,
            channels=view.channels(base),
            base_log_depth=base.astype(np.float32),
            delta=((sample.log_depth - base) / (UNIT_PX * sample.pixel_angle)).astype(np.float32),
        )
