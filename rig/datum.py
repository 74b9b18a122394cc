"""What is fitted out of a surface before it is given to an engineer, explicitly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reconstruct.surface import Surface
from rig.exits import UsageError

DATUMS = ("none", "stage", "plane")


def apply_datum(surface: Surface, datum: str) -> Surface:
    """The surface with its heights told from another datum.

    ``none`` and ``stage`` leave heights above the stage as they are; ``plane`` subtracts the
    least-squares plane z(x, y) of the valid points (heights only: normals stay in the world).

    Raises
    ------
    UsageError
        for another name, or if a plane cannot be fitted
    """
    if datum not in DATUMS:
        raise UsageError(f"there is no datum '{datum}': choose {', '.join(DATUMS)}")
    record: dict[str, Any] = {"kind": datum}
    if datum == "plane":
        points = surface.points_mm()[surface.mask]
        if len(points) < 3:
            raise UsageError("too few points for a plane as datum: use --datum stage")
        design = np.column_stack([points[:, 0], points[:, 1], np.ones(len(points))])
        coefficients, *_ = np.linalg.lstsq(design, points[:, 2], rcond=None)
        x, y = np.moveaxis(surface.points_mm()[..., :2], -1, 0)
        plane = coefficients[0] * x + coefficients[1] * y + coefficients[2]
        surface = replace(surface, height_mm=(surface.height_mm - plane).astype(np.float32))
        record |= {"plane": coefficients.tolist(), "meaning": "z = a x + b y + c, subtracted"}
    return replace(surface, summary={**surface.summary, "datum": record})
