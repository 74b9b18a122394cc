"""Control charts of a feature over the parts in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rig.exits import UsageError
from rig.floor.store.tables import Feature, Run
from rig.floor.study.spc import individuals, means_and_ranges


def chart_of(series: Sequence[tuple[Run, Feature]], size: int = 1) -> dict[str, Any] | None:
    """Both charts of a series (oldest first) and the runs behind their points; None: too few.

    Parameters
    ----------
    size : of subgroups; 1 charts individual values
    """
    values = np.array([feature.value for _, feature in series], dtype=np.float64)
    try:
        upper, lower = individuals(values) if size == 1 else means_and_ranges(values, size)
    except UsageError:
        return None
    runs = [run for run, _ in series][size - 1 :: size][: len(upper.values)]
    return {
        "upper": upper.to_json(),
        "lower": lower.to_json(),
        "runs": [run.id for run in runs],
        "parts": [run.part for run in runs],
        "times": [run.measured_at.timestamp() for run in runs],
        "limits": [series[-1][1].lower, series[-1][1].upper],
    }
