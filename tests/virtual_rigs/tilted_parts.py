"""A part that was tilted and turned on the stage: the same surface as a height in its new place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.shapes.base import Shape

Field = NDArray[Any]


def tilted(shape: Shape, rotation: NDArray[Any], reach_mm: float = 60.0) -> Shape:
    """The shape turned about the origin.

    Parameters
    ----------
    rotation : (3, 3) from the part to where it lies now
    reach_mm : heights of the turned part lie within ± this

    Notes
    -----
    A vertical line is followed down to where it first meets the part, in steps, then by bisection:
    what hangs over is seen from above as a camera sees it.
    """
    R = np.asarray(rotation, dtype=float)

    def over(x: Field, y: Field, z: Field) -> Field:
        """Height of places over the part, along the part's own z."""
        u = R[0, 0] * x + R[1, 0] * y + R[2, 0] * z
        v = R[0, 1] * x + R[1, 1] * y + R[2, 1] * z
        return np.asarray(R[0, 2] * x + R[1, 2] * y + R[2, 2] * z - shape.height(u, v))

    def height(x: Field, y: Field) -> Field:
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        above, below = np.full(x.shape, reach_mm), np.full(x.shape, -reach_mm)
        going = np.ones(x.shape, bool)
        for level in np.linspace(reach_mm, -reach_mm, 61)[1:]:
            if not going.any():
                break
            met = np.zeros_like(going)
            met[going] = over(x[going], y[going], np.full(int(going.sum()), level)) <= 0
            below[met] = level
            going &= ~met
            above[going] = level
        for _ in range(26):
            middle = 0.5 * (above + below)
            free = over(x, y, middle) > 0
            above, below = np.where(free, middle, above), np.where(free, below, middle)
        return np.asarray(0.5 * (above + below))

    return replace(
        shape, name=f"{shape.name}, tilted", height=height, inside=None, lay=None,
        parameters=shape.parameters | {"rotation": R.tolist()},
    )  # fmt: skip
