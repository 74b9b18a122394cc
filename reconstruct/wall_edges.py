"""Where the top of a wall ends, to a part of a pixel.

Under a light from behind a wall its face and the floor at its foot are dark, and the ground above
it is lit. Along a line across the wall the share of a pixel that is lit is then the share that the
upper ground covers, whatever lens and pixel blur: its integral tells where the ground ends.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.stack import Stack

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
Places = NDArray[np.int64]

# Lines across a wall begin in its shadow and end on the ground above. The border that pieces meet
# at lies up to three pixels too far down, so that the lit side is the longer one.
DARK_PX, LIT_PX = 2.5, 4.0
STEP_PX = 0.5
DARK_END_PX, LIT_END_PX, TREND_PX = 0.5, 1.0, 2.0  # of a line's ends, where light is read
DARK = 0.2  # of the light above, at the foot of a wall that casts a shadow
SIGNAL = 8.0  # noise that the light above must exceed
LEAST_LIGHTS = 3
LEAST_SHARE = 0.5  # of the border that shadows must tell
SMOOTH_PX = 3.0  # along the wall


def sampled(image: Map, rows: Array, columns: Array) -> Map:
    if rows.size == 0:  # OpenCV takes no empty places
        return np.zeros(rows.shape, np.float32)
    return np.asarray(
        cv2.remap(image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
                  borderMode=cv2.BORDER_REPLICATE)
    )  # fmt: skip


def _lit_ends(stack: Stack, y: Array, x: Array, t: Array, falling: bool) -> tuple[Array, Mask]:
    """Where light ends along lines from dark to lit (n, T), and which lines shadows tell it on.

    Parameters
    ----------
    t : (T,) px along the lines
    falling : the light above falls off towards a wall that faces away from it; follow it there
    """
    low, high = t <= -DARK_PX + DARK_END_PX, t >= LIT_PX - LIT_END_PX
    lit = np.flatnonzero(t >= LIT_PX - TREND_PX) if falling else np.flatnonzero(high)
    trend = np.column_stack([np.ones(len(lit)), t[lit]])[:, : 2 if falling else 1]
    fit = np.linalg.pinv(trend)
    total, lights = np.zeros(y.shape), np.zeros(len(y), int)
    level = np.zeros((len(y), 2))
    for image in stack.radiance:
        seen = sampled(image, y, x)
        floor, above = seen[:, low].mean(axis=1), seen[:, high].mean(axis=1)
        noise = np.sqrt(stack.noise_floor + stack.noise_gain * np.maximum(above, 0.0))
        tells = (floor < DARK * above) & (above > SIGNAL * noise)
        total[tells] += seen[tells] - floor[tells, None]
        level[tells, : trend.shape[1]] += seen[tells][:, lit] @ fit.T
        level[tells, 0] -= floor[tells]
        lights += tells
    told = lights >= LEAST_LIGHTS
    whole = level[:, :1] + level[:, 1:] * np.maximum(t, 0.0)
    share = total / np.where(told[:, None], whole, 1.0)
    # Trapezium: the ends are 0 and 1.
    integral = STEP_PX * (share.sum(axis=1) - 0.5 * (share[:, 0] + share[:, -1]))
    return LIT_PX - integral, told


def wall_offsets(stack: Stack, field: Map, border: Mask) -> tuple[Places, Places, Array]:
    """How far inside a region's border the lit ground ends.

    Parameters
    ----------
    field : (H, W) signed distance to the border of the upper ground in px, positive inside
    border : (H, W) bool, pixels at the border

    Returns
    -------
    rows, columns : (n,) of the border's pixels where shadows tell it
    offset : (n,) px, positive where the ground ends before the border
    """
    rows, columns = np.nonzero(border)
    down, right = np.gradient(cv2.GaussianBlur(field, (0, 0), 2.0))
    down, right = down[rows, columns], right[rows, columns]
    steep = np.hypot(down, right) + 1e-9
    t = np.arange(-DARK_PX, LIT_PX + 1e-6, STEP_PX)
    offset, told = np.zeros(len(rows)), np.ones(len(rows), bool)
    for falling in (False, True):  # first roughly, then about where it ends
        along = (offset - field[rows, columns])[:, None] + t
        y = rows[:, None] + along * (down / steep)[:, None]
        x = columns[:, None] + along * (right / steep)[:, None]
        more, told = _lit_ends(stack, y, x, t, falling)
        offset = offset + np.where(told, np.clip(more, -DARK_PX, LIT_PX), 0.0)
    return rows[told], columns[told], offset[told]


def along_border(rows: Places, columns: Places, offset: Array, shape: tuple[int, int]) -> Map:
    """(H, W) each pixel's offset: that of the border's nearest place, smoothed along the wall."""
    apart2 = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    smooth = np.empty(len(offset))
    for i, near in enumerate(apart2 <= SMOOTH_PX**2):
        smooth[i] = np.median(offset[near])
    free = np.ones(shape, np.uint8)
    free[rows, columns] = 0
    _, labels = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5,
                                                labelType=cv2.DIST_LABEL_PIXEL)  # fmt: skip
    value = np.zeros(labels.max() + 1)
    value[labels[rows, columns]] = smooth
    return np.asarray(cv2.GaussianBlur(value[labels].astype(np.float32), (0, 0), 1.0))


def top_field(stack: Stack, field: Map, lower: Mask) -> Map | None:
    """Signed distance to where lit ground ends above a lower piece; None where too little tells it.

    Parameters
    ----------
    field : (H, W) signed distance to the border of the upper ground, px
    lower : (H, W) bool, pixels nearest to the lower piece
    """
    beside = cv2.dilate(lower.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    border = (np.abs(field) < 0.75) & beside
    rows, columns, offset = wall_offsets(stack, field, border)
    if len(rows) <= LEAST_SHARE * border.sum():
        return None
    ends = along_border(rows, columns, offset, (field.shape[0], field.shape[1]))
    return np.asarray(np.subtract(field, ends), np.float32)
