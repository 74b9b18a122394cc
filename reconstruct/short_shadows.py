"""Low steps, told by how much light their shadows take away.

The shadow of a step of a few tenths of a millimetre is as narrow as a pixel: no dark floor is
seen, and no edge of it. But along a line across the wall, lit ground above and lit floor beyond,
the light that is missing is as wide as the shadow, whatever lens and pixel blur: rise times tangent
of the light's angle. Over lights of many angles its growth is the rise. What is dark under all of
them, such as the wall's own face, is their common part.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.levels import Rise
from reconstruct.pieces import Pieces
from reconstruct.stack import Stack
from reconstruct.wall_edges import sampled

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

# Of a line across a wall: the floor and the ground above, as much as there is of two lengths each;
# either end, where the light that nothing takes away is read; and what blur may reach.
FLOORS_PX, ABOVES_PX, END_PX, BLUR_PX, STEP_PX = (10.0, 7.0), (5.0, 3.5), 2.0, 1.5, 0.5
MANY = 0.5  # of the lines with the shorter ground above, for those with the longer to be enough
ACROSS = 0.85  # cosine of azimuth between the light and the line
BORDER_PX = 1.0  # by which the border between pieces lies on the floor, typically
SIGNAL = 5.0  # noise that light at both ends must exceed
ALIKE = 2.0  # times by which light at both ends may differ
MOSTLY = 0.5  # of the samples that a shadow takes, for it to be there
LEAST_LINES, LEAST_LIGHTS, LEAST_SAMPLES, GROUPS = 6, 4, 40, 8
LEAST_TANGENTS = 0.8  # spread of the lights' tangents
# Of a rise, what its scatter does not show: over the many lines of large pictures scatter is next
# to nothing, and a wall that faces the lights was told as a step of two micrometres, seven sigmas.
FLOOR_MM, FLOOR_SHARE = 0.005, 0.015
# Standard errors of a rise that stands by itself, and of one where a border is seen as well and
# no edge of shadow tells how high it is.
SURE, LIKELY = 6.0, 3.0


class _Lines(NamedTuple):
    """Lines across a wall: pixels (n, T), t (T,) px, middles and normals (n, 2) in the world.

    `beyond_px`: (n,) how far the lower piece goes on about the floor's end of a line, at least.
    """

    y: Array
    x: Array
    t: Array
    middle: Array
    normal: Array
    pitch_mm: Array
    beyond_px: Array


def _lines(
    camera: Camera, field: Map, pieces: Pieces, upper: int, lower: int, level_mm: float,
    floor_px: float,
) -> _Lines:  # fmt: skip
    """Lines that begin on the lower piece and end on the upper one."""
    beside = cv2.dilate((pieces.nearest == lower).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rows, columns = np.nonzero((np.abs(field) < 0.75) & beside)
    down, right = np.gradient(cv2.GaussianBlur(field, (0, 0), 2.0))
    down, right = down[rows, columns], right[rows, columns]
    steep = np.hypot(down, right) + 1e-9
    t = np.arange(-floor_px, ABOVES_PX[0] + 1e-6, STEP_PX)
    along = (BORDER_PX - field[rows, columns])[:, None] + t
    y = rows[:, None] + along * (down / steep)[:, None]
    x = columns[:, None] + along * (right / steep)[:, None]
    height, width = field.shape
    row = np.clip(np.rint(y), 0, height - 1).astype(int)
    column = np.clip(np.rint(x), 0, width - 1).astype(int)
    labels = pieces.labels[row, column]
    clear = _within(pieces.region(upper))[row, column] > BLUR_PX
    whole, t = _whole(labels, clear, t, upper, lower)
    on_floor = np.flatnonzero(t <= END_PX - floor_px)
    y, x = y[whole, : len(t)], x[whole, : len(t)]
    ends_at = row[whole][:, on_floor], column[whole][:, on_floor]
    beyond_px = _within(pieces.nearest == lower)[ends_at].min(axis=1)
    places = np.stack([np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)], axis=-1)
    ends = [camera.points_at_height(level_mm, places[:, k])[:, :2] for k in (0, -1)]
    across = ends[1] - ends[0]
    length = np.linalg.norm(across, axis=1)
    normal = across / np.maximum(length, 1e-9)[:, None]
    middle = 0.5 * (ends[0] + ends[1])
    return _Lines(y, x, t, middle, normal, length / (len(t) - 1), beyond_px)


def _whole(labels: Any, clear: Mask, t: Array, upper: int, lower: int) -> tuple[Mask, Array]:
    """(n,) the lines whose ends lie on the two pieces, and t of what is read of them.

    On a narrow rim they are short: its other edge faces the light, and what shines there blur
    carries to ground that is not `clear` of it.
    """
    on_floor = (labels[:, t <= t[0] + END_PX] == lower).all(axis=1)

    def ending(above_px: float) -> Mask:
        above = (t >= above_px - END_PX) & (t <= above_px)
        on_ground = (labels[:, above] == upper).all(axis=1)
        return np.asarray(on_floor & on_ground & clear[:, t == above_px].all(axis=1))

    longer, shorter = (ending(above_px) for above_px in ABOVES_PX)
    if longer.sum() >= MANY * shorter.sum():
        return longer, t
    return shorter, t[t <= ABOVES_PX[1]]


def _within(region: Mask) -> Map:
    """(H, W) px to what is not of a region, or not in the picture."""
    padded = np.pad(region, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1])


def short_rise(
    stack: Stack, camera: Camera, lights: Lights, field: Map, pieces: Pieces,
    pair: tuple[int, int], level_mm: float, sure: float = SURE,
) -> Rise | None:  # fmt: skip
    """The rise of a low step between two pieces; None where too little tells it.

    Parameters
    ----------
    field : (H, W) signed distance to the border of the upper ground in px, positive inside
    pair : upper and lower piece; level_mm : height of the upper one
    sure : standard errors that it must have
    """
    for floor_px in FLOORS_PX:
        lines = _lines(camera, field, pieces, *pair, level_mm, floor_px)
        if len(lines.y) >= LEAST_LINES:
            most = (floor_px - END_PX - BLUR_PX) * float(np.median(lines.pitch_mm)) / STEP_PX
            found, narrow = _rise(stack, lights, lines, level_mm, most)
            if found is None and narrow:
                continue  # a shorter line ends farther from the other wall
            return found if found is not None and found.standard_errors > sure else None
    return None


def _rise(
    stack: Stack, lights: Lights, lines: _Lines, level_mm: float, most_mm: float
) -> tuple[Rise | None, bool]:
    """The growth of the missing light with the tangent, if no shadow is longer than `most_mm`.

    And whether it is too narrow a slot that keeps it from being told: a wall that faces the light
    mirrors it onto the floor before it, as far as its own shadow would reach.
    """
    t = lines.t
    floor, above = t <= t[0] + END_PX, t >= t[-1] - END_PX
    from_floor = (t - t[floor].mean()) / (t[above].mean() - t[floor].mean())
    trapezium = np.ones(len(t))
    trapezium[[0, -1]] = 0.5
    samples = []
    facing, dark = 0, 0  # samples of lights from the floor's side; and with the ground above dark
    for k, image in enumerate(stack.radiance):
        to_light = lights.position_mm[k, :2] - lines.middle
        along = (to_light * lines.normal).sum(axis=1)
        tangent = along / (lights.position_mm[k, 2] - level_mm)
        seen = sampled(image, lines.y, lines.x)
        low, high = seen[:, floor].mean(axis=1), seen[:, above].mean(axis=1)
        dimmer = np.minimum(low, high)
        noise = np.sqrt(stack.noise_floor + stack.noise_gain * np.maximum(dimmer, 0.0))
        across = along / np.linalg.norm(to_light, axis=1)
        lit_floor = (across < -ACROSS) & (low > SIGNAL * noise)
        facing += int(lit_floor.sum())
        dark += int((lit_floor & (ALIKE * high < low)).sum())
        good = across > ACROSS
        good &= (dimmer > SIGNAL * noise) & (np.maximum(low, high) < ALIKE * dimmer)
        if not good.any():
            continue
        growth = np.log(high[good] / low[good])
        lit = low[good, None] * np.exp(growth[:, None] * from_floor)
        missing = ((1.0 - seen[good] / lit) * trapezium).sum(axis=1) * lines.pitch_mm[good]
        line = np.flatnonzero(good)
        samples.append(np.stack([tangent[good], missing, line, np.full(len(line), k)]))
    if not samples or dark > MOSTLY * facing:  # it is the floor that casts a shadow
        return None, False
    tangent, missing, line, light = np.concatenate(samples, axis=1)
    if not _enough(tangent, light):
        return None, False
    rise, common = _line(tangent, missing)
    if rise * np.quantile(tangent, 0.95) + common > most_mm:
        return None, False
    at = line.astype(int)
    room_mm = (lines.beyond_px[at] - BLUR_PX) * lines.pitch_mm[at] / STEP_PX
    free = rise * tangent < room_mm
    if not free.all():
        tangent, missing, line, light = (part[free] for part in (tangent, missing, line, light))
        if not _enough(tangent, light):
            return None, True
        rise, common = _line(tangent, missing)
    spread = []
    for group in (line * GROUPS // len(lines.y), light % GROUPS):  # along the wall, over lights
        found = [
            _line(tangent[group != g], missing[group != g])[0]
            for g in np.unique(group)
            if np.ptp(tangent[group != g]) > 0.5 * LEAST_TANGENTS
        ]
        n = max(len(found), 1)
        spread.append(np.sqrt((n - 1) / n * np.square(np.array(found) - np.mean(found)).sum()))
    sigma = float(np.hypot(max(spread), FLOOR_MM + FLOOR_SHARE * abs(rise)))
    return Rise(float(rise), sigma, 0.0, float(len(tangent)), len(np.unique(light))), False


def _enough(tangent: Array, light: Array) -> bool:
    """Whether lights, samples and the spread of their tangents are enough to tell a growth."""
    counted = len(np.unique(light)) >= LEAST_LIGHTS and len(tangent) >= LEAST_SAMPLES
    return counted and bool(np.ptp(tangent) >= LEAST_TANGENTS)


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Slope and offset of a line, few of whose points are far off."""
    weight = np.ones_like(x)
    slope = offset = 0.0
    for _ in range(8):
        total = weight.sum()
        mx, my = (weight * x).sum() / total, (weight * y).sum() / total
        slope = (weight * (x - mx) * (y - my)).sum() / max((weight * (x - mx) ** 2).sum(), 1e-12)
        offset = my - slope * mx
        off = np.abs(y - slope * x - offset)
        weight = 1.0 / np.maximum(1.0, off / (1.5 * np.median(off) + 1e-9))
    return float(slope), float(offset)
