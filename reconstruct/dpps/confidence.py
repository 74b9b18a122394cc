"""Make predicted errors honest: scale them to the errors met on held-out parts.

The heads learn the expected error of a single pass. What is given out is a joined surface of two
passes, whose errors are smaller. One factor for height and one for normals, measured on validation
parts with all that is drawn in training, is written with the weights.
"""

from __future__ import annotations

import numpy as np

from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.predict import Network, predict_view
from reconstruct.dpps.samples import draw
from reconstruct.dpps.view import view_of_sample

ASK = Ask(size=128, rig="mixed", zoom=0.0)


def sigma_scales(model: Network, count: int = 24) -> dict[str, float]:
    """Factors from the heads' expected errors to one sigma: RMS error over RMS prediction,
    the median over parts; "height_sigma" and "normal_sigma"."""
    height, tilt = [], []
    for seed in range(count):
        sample = draw(seed, ASK, "validation", keep_radiance=True)
        view, mask = view_of_sample(sample), sample.mask
        log_depth, guess = predict_view(model, view, sample.base_log_depth.astype(np.float64))
        error = (log_depth - sample.log_depth)[mask]
        height.append(float(error.std() / np.sqrt((guess.depth_error[mask] ** 2).mean())))
        cosine = np.clip((view.normals(log_depth) * sample.normals).sum(-1)[mask], -1, 1)
        rms = np.sqrt((np.arccos(cosine) ** 2).mean())
        tilt.append(float(rms / np.sqrt((guess.normal_error[mask] ** 2).mean())))
    return {
        "height_sigma": round(float(np.median(height)), 4),
        "normal_sigma": round(float(np.median(tilt)), 4),
    }
