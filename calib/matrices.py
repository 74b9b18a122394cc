"""What a camera's matrices can be: refused, with the likely reason, if not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError

Array = NDArray[np.float64]

ORTHONORMAL = 5e-3
"""By which R may differ from a rotation: files keep a few digits only."""
WIDEST, LONGEST = 0.2, 1000.0
"""Focal lengths, in widths of the picture: 136° of view, and all but parallel rays."""


def refuse_matrices(K: Array, R: Array, width: int, height: int, source: str) -> None:
    """Refuse intrinsics and a rotation that no camera has; raises `CalibrationError`."""
    low = float(np.abs(K[2, :2]).max())
    if low > 1e-6 * abs(K[0, 0]) and low > np.abs(K[:2, 2]).max():
        raise CalibrationError(
            f"{source}: K has its principal point in the last row, as Matlab writes it: transpose "
            "it to [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
        )
    upright = np.allclose(K[2], [0, 0, 1], atol=1e-6) and abs(K[1, 0]) < 1e-6 * abs(K[1, 1])
    if not upright or not (K[0, 0] > 0 and K[1, 1] > 0):
        raise CalibrationError(
            f"{source}: K is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx and fy above 0"
        )
    if not 0.5 < K[0, 0] / K[1, 1] < 2:
        raise CalibrationError(
            f"{source}: fx {K[0, 0]:.5g} and fy {K[1, 1]:.5g} px differ by more than pixels do"
        )
    if not WIDEST * max(width, height) < K[0, 0] < LONGEST * max(width, height):
        raise CalibrationError(
            f"{source}: the focal length is {K[0, 0]:.5g} px for a picture {width} px wide: K is "
            "in pixels, not in mm"
        )
    if not (-0.5 <= K[0, 2] <= width - 0.5 and -0.5 <= K[1, 2] <= height - 0.5):
        raise CalibrationError(
            f"{source}: the principal point ({K[0, 2]:.1f}, {K[1, 2]:.1f}) lies outside the "
            f"picture of {width}×{height} px: is K that of another size of picture, or in mm?"
        )
    error = float(np.abs(R @ R.T - np.eye(3)).max())
    if error > ORTHONORMAL:
        raise CalibrationError(
            f"{source}: R_world_to_camera is no rotation (R Rᵀ differs from 1 by {error:.2g})"
        )
    if np.linalg.det(R) < 0:
        raise CalibrationError(
            f"{source}: R_world_to_camera mirrors (its determinant is −1): the world is "
            "right-handed with y up in the picture, the camera's y points down; is a sign lost?"
        )
