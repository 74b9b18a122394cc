"""Where the top of a wall ends, to a part of a pixel.

Under a light from behind a wall its face and the floor at its foot are dark, and the ground above
it is lit; so is no chamfer of 45° that a light lower than that falls on from behind. Along a line
across the wall the share of a pixel that is lit is then the share that the upper ground covers,
whatever lens and pixel blur: where it is a half, the ground ends. A chamfer of the part's outer
edge also mirrors the stage, which is lit alike under all lights: there the share is what grows with
the light on the ground above, by least squares over the lights. The field of a wall is made of such
ends, as lines on either side of each corner, not of pixels: the distance to a border of pixels is a
quarter of a pixel too small, and a corner of it is round.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.nearest import nearest_known
from reconstruct.stack import Stack

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

# Lines across a wall begin in its shadow and end on the ground above. The border that pieces meet
# at lies up to three pixels too far down, so that the lit side is the longer one.
DARK_PX, LIT_PX = 2.5, 4.0
STEP_PX = 0.5
DARK_END_PX, LIT_END_PX, TREND_PX = 0.5, 1.0, 2.0  # of a line's ends, where light is read
MOST_LOOKS, STILL_PX = 6, 0.05  # along each line, until its middle lies where light ends
BEHIND = 0.7  # tangent of the light's angle, across the wall
DARK = 0.2  # of the light above, at the foot of a wall that casts a shadow
BRIGHTER = 1.5  # than the light above, before it along a line
SIGNAL = 4.0  # noise that the light above must exceed
LEAST_LIGHTS = 3
LEAST_SHARE = 0.5  # of the border that shadows must tell
ALONG_PX, ALIKE = 5.0, 0.9  # ends about one, and cosine of their normals, that agree on a curve
REACH_PX = 3.5  # from where the upper ground is sure
CORNER_PX = 4.0  # about a corner, where lines across the wall mean little


class _Lines(NamedTuple):
    """Lines across a wall, one for each pixel of its border.

    Attributes
    ----------
    places, normal : (n, 2) rows and columns where field is 0, and unit steps to the upper ground
    tangent : (N, n) of each light's angle, across the wall, positive from behind
    """

    places: Array
    normal: Array
    tangent: Array


def sampled(image: Map, rows: Array, columns: Array) -> Map:
    if rows.size == 0:  # OpenCV takes no empty places
        return np.zeros(rows.shape, np.float32)
    return np.asarray(
        cv2.remap(image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
                  borderMode=cv2.BORDER_REPLICATE)
    )  # fmt: skip


def _lines(camera: Camera, lights: Lights, field: Map, border: Mask, level_mm: float) -> _Lines:
    rows, columns = np.nonzero(border)
    normal = np.stack(np.gradient(cv2.GaussianBlur(field, (0, 0), 2.0)), axis=-1)[rows, columns]
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
    places = np.column_stack([rows, columns]) - field[rows, columns, None] * normal
    points, inner = (
        camera.points_at_height(level_mm, at[:, ::-1]) for at in (places, places + LIT_PX * normal)
    )
    inward = (inner - points)[:, :2]
    inward /= np.linalg.norm(inward, axis=1, keepdims=True) + 1e-9
    to_light = lights.position_mm[:, None] - points
    tangent = (to_light[..., :2] * inward).sum(axis=-1) / np.maximum(to_light[..., 2], 1e-6)
    return _Lines(places.astype(float), normal.astype(float), tangent)


def _lit_ends(
    stack: Stack, lines: _Lines, offset: Array, falling: bool, mirrors_nothing: float
) -> tuple[Array, Mask]:
    """Where light ends along lines, px, and which lines shadows tell it on.

    Parameters
    ----------
    offset : (n,) px along the lines where they are looked at
    falling : the light above falls off towards a wall that faces away from it; follow it there
    mirrors_nothing : see `top_field`
    """
    t = np.arange(-DARK_PX, LIT_PX + 1e-6, STEP_PX)
    low, high = t <= -DARK_PX + DARK_END_PX, t >= LIT_PX - LIT_END_PX
    along = lines.places[:, None] + (offset[:, None] + t)[..., None] * lines.normal[:, None]
    lit = np.flatnonzero(t >= LIT_PX - TREND_PX) if falling else np.flatnonzero(high)
    trend = np.column_stack([np.ones_like(t), np.maximum(t, 0.0)])[:, : 2 if falling else 1]
    # Sums over lights, less the floor: light along the line, its share of that above, and so on.
    total, relative = np.zeros((2, *along.shape[:2]))
    above_total, inverse = np.zeros((2, len(offset)))
    lights = np.zeros(len(offset), int)
    for image, tangent in zip(stack.radiance, lines.tangent, strict=True):
        behind = np.flatnonzero(tangent > BEHIND)
        seen = sampled(image, along[behind, :, 0], along[behind, :, 1])
        floor, above = seen[:, low].mean(axis=1), seen[:, high].mean(axis=1)
        noise = np.sqrt(stack.noise_floor + stack.noise_gain * np.maximum(above, 0.0))
        tells = (floor < DARK * above) & (above > SIGNAL * noise)
        # Where light falls off again, a shadow of something else lies on the ground above.
        tells &= seen[:, ~high].max(axis=1) < BRIGHTER * above
        behind, floor = behind[tells], floor[tells]
        seen, above = seen[tells] - floor[:, None], above[tells] - floor
        total[behind] += seen
        relative[behind] += seen / above[:, None]
        above_total[behind] += above
        inverse[behind] += 1.0 / above
        lights[behind] += 1
    told = lights >= LEAST_LIGHTS
    # Weighted by 1 / above, as shot noise has it.
    n, every = np.maximum(lights, 1), np.where(told, above_total, 1.0)
    glow = np.where(told, n / (inverse + mirrors_nothing * n / every), 0.0)
    grows = (total - glow[:, None] * relative) / (1.0 - glow * n / every)[:, None]
    whole = total[:, lit] @ np.linalg.pinv(trend[lit]).T @ trend.T
    share = grows / np.where(told[:, None], whole, 1.0)
    last = len(t) - 1 - (share[:, ::-1] < 0.5).argmax(axis=1)  # that is not half lit
    told &= (last < len(t) - 1) & (share[:, 0] < 0.5)
    last = np.minimum(last, len(t) - 2)
    each = np.arange(len(t))[None] == last[:, None]
    before, after = share[each], share[:, 1:][each[:, :-1]]
    return t[last] + STEP_PX * (0.5 - before) / np.maximum(after - before, 1e-6), told


def wall_ends(
    stack: Stack, lines: _Lines, mirrors_nothing: float, chamfer_px: float
) -> tuple[Array, Mask]:
    """(n,) px along lines across a wall where the upper ground ends, and where that is told."""
    offset, told = np.zeros(len(lines.places)), np.zeros(len(lines.places), bool)
    low = lines._replace(tangent=np.where(lines.tangent > 1.0, lines.tangent, 0.0))
    for _ in range(int(chamfer_px / LIT_PX)):  # lines that end on a chamfer, on to the ground above
        told |= _lit_ends(stack, low, offset, False, mirrors_nothing)[1]
        offset = np.where(told, offset, offset + LIT_PX)
    offset[~told] = 0.0
    for look in range(MOST_LOOKS):  # first roughly, then about where it ends
        more, told = _lit_ends(stack, lines, offset, look > 0, mirrors_nothing)
        more = np.where(told, np.clip(more, -DARK_PX, LIT_PX), 0.0)
        offset = offset + more
        # Across a chamfer of several pixels a line must be moved more than once.
        if look > 0 and (not told.any() or np.median(np.abs(more[told])) < STILL_PX):
            break
    return offset, told


def _on_curves(ends: Array, normal: Array) -> tuple[Array, Array, Mask]:
    """Ends and their normals, each by a parabola through the ends about it; False at corners."""
    from scipy.spatial import cKDTree  # a tenth of a second to load, and most parts have no walls

    count = len(ends)
    pairs = cKDTree(ends).query_pairs(ALONG_PX, output_type="ndarray").T
    one, other = np.concatenate([pairs, pairs[::-1], np.tile(np.arange(count), (2, 1))], axis=1)
    apart = ends[other] - ends[one]
    cosine = (normal[one] * normal[other]).sum(axis=1)
    corner = ((apart**2).sum(axis=1) < CORNER_PX**2) & (cosine <= ALIKE)
    straight = np.bincount(one[corner], minlength=count) == 0
    one, apart = one[cosine > ALIKE], apart[cosine > ALIKE]
    across = (apart * normal[one]).sum(axis=1)
    aside = np.stack([-normal[:, 1], normal[:, 0]], axis=-1)
    along = (apart * aside[one]).sum(axis=1)
    first, last = np.zeros(count), np.zeros(count)
    np.minimum.at(first, one, along)
    np.maximum.at(last, one, along)
    long = np.flatnonzero(last - first >= ALONG_PX)
    sums = np.stack([np.bincount(one, along**k, count) for k in range(5)], axis=-1)[long]
    right = np.stack([np.bincount(one, along**k * across, count) for k in range(3)], axis=-1)[long]
    matrix = np.stack([sums[:, k : k + 3] for k in range(3)], axis=1)
    # Two ends alone determine no parabola: then it is the flattest one through them.
    curve = (np.linalg.pinv(matrix, rcond=1e-9, hermitian=True) @ right[..., None])[..., 0]
    places, turned = ends.copy(), normal.copy()
    places[long] += curve[:, :1] * normal[long]
    tilted = normal[long] - curve[:, 1:2] * aside[long]
    turned[long] = tilted / np.linalg.norm(tilted, axis=1, keepdims=True)
    return places, turned, straight


def top_field(
    stack: Stack, camera: Camera, lights: Lights, field: Map, upper: Mask, lower: Mask,
    level_mm: float, mirrors_nothing: float = np.inf, chamfer_mm: float = 0.0,
) -> Map | None:  # fmt: skip
    """Signed distance to where lit ground ends above a lower piece; None where too little tells it.

    Parameters
    ----------
    field : (H, W) signed distance to the border of the upper ground, px, positive inside
    upper : (H, W) bool, the upper ground, where it is sure
    lower : (H, W) bool, pixels nearest to the lower piece
    level_mm : height of the wall, roughly
    mirrors_nothing : how many lights' worth it is known that the wall mirrors nothing that is lit
        alike under all lights
    chamfer_mm : how wide a chamfer may lie before the ground above
    """
    near = cv2.dilate(lower.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    border = np.abs(field) < 0.75
    beside = near[border]
    if not beside.any():
        return None
    lines = _lines(camera, lights, field, border, level_mm)
    chamfer_px = chamfer_mm / camera.pixel_mm(level_mm)
    offset, told = wall_ends(stack, lines, mirrors_nothing, chamfer_px)
    ends = lines.places + offset[:, None] * lines.normal
    apart = cv2.distanceTransform((~upper).astype(np.uint8), cv2.DIST_L2, 5)
    # Else a strip of other ground lies between, and it is the strip that ends there.
    told &= sampled(apart, ends[:, 0], ends[:, 1]).ravel() < REACH_PX
    if told[beside].mean() <= LEAST_SHARE:
        return None
    # Borders to ground that lies higher stay where they are.
    offset[~told] = np.where(beside[~told], np.median(offset[told]), 0.0)
    ends = lines.places + offset[:, None] * lines.normal
    places, normal, straight = _on_curves(ends, lines.normal)
    if straight.mean() < LEAST_SHARE:
        straight[:] = True  # all is corners, such as a boss of few pixels
    number = np.full(field.shape, -1)
    number[border] = np.where(straight, np.arange(len(straight)), -1)
    at = number.ravel()[nearest_known(number >= 0)]
    beyond = np.moveaxis(np.indices(field.shape), 0, -1) - places[at]
    return np.asarray((beyond * normal[at]).sum(axis=-1), np.float32)
