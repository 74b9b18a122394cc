"""A figure of inspection plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reconstruct.metrology.grid import HeightGrid


def peak_to_valley(grid: HeightGrid, settings: Mapping[str, Any]) -> float:
    """Highest minus lowest point, mm, without the outer `share` percent of the points.

    `rig` calls it again with the errors of the measurement added: their spread is its uncertainty.
    """
    share = float(settings.get("share", 0.0))
    low, high = np.nanpercentile(grid.z_mm, [share / 2, 100 - share / 2])
    return float(high - low)
