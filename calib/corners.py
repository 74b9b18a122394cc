"""Corners of a chess pattern to a hundredth of a pixel, by a model of what a corner looks like.

Two edges cross at a corner. A picture of that is the same upside down: turned by half a turn about
the corner, dark falls on dark and bright on bright, whatever blur, saturation, ink that ran or
curve of brightness there is. So a model with the same symmetry, fitted over a patch of the same
symmetry, has its centre at the corner without a bias. The usual search for gradients at right
angles (``cornerSubPix``) weights what the window happens to hold and is off by 0.03 to 0.1 px.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]

PART_OF_SQUARE = 0.33
"""Half side of the patch, in squares: the next corner's edges stay outside."""
WIDEST_PX = 14.0
"""Half side of the patch at most: a lens bends the edges over longer ways."""
NARROWEST_PX = 2.5
CLEAR, CLEAR_OF_BLUR_PX = 0.125, 1.8
"""White that surrounds a marker, in squares, and how much of that its blur may reach."""
FARTHEST_PX = 1.5
"""By which the corner may move from where the detector had it."""
WORST_FIT = 0.12
"""Of bright less dark, root mean square: what fits worse is no corner, or has glare on it."""
STEPS, ENOUGH_PX = 25, 2e-4
BLUR_PX = 0.9
LEAST = 1e-9  # of a sum of squares over some hundred pixels: nothing, but no equation is singular


def refine_corners(
    image: NDArray[Any], pixels: Array, board: Array, square: float, *, markers: bool = False
) -> tuple[Array, NDArray[np.bool_]]:
    """Move the corners of a board to where a model of a corner fits the picture best.

    Parameters
    ----------
    image : (H, W) grey picture of any depth
    pixels : (n, 2) corners as a detector found them, column and row
    board : (n, 2) the same corners on the board
    square : side of a square, in the units of `board`
    markers : whether bright squares hold markers, whose pixels are left out then

    Returns
    -------
    (n, 2) corners, and (n,) where the model was fitted; elsewhere the detector's corner is kept

    Notes
    -----
    Model: mean + contrast · E(d₁/s) · E(d₂/s), mean and contrast each with a slope over the patch,
    d₁ and d₂ the distances to two lines through the corner, E the error function, s the blur. The
    point, two directions and s are found by damped Gauss-Newton; levels and slopes are linear.
    """
    done = np.zeros(len(pixels), dtype=bool)
    out = np.array(pixels, dtype=np.float64)
    if len(pixels) < 4:
        return out, done
    places = _local_axes(np.asarray(board, dtype=np.float64), out, square)
    if places is None:
        return out, done
    for k, axes in enumerate(places):
        found = _refined(image, out[k], axes, markers)
        if found is not None:
            out[k], done[k] = found, True
    return out, done


def _local_axes(board: Array, pixels: Array, square: float) -> Array | None:
    """(n, 2, 2) a square's sides in the picture at each corner, as columns, by a homography."""
    centred = (board - board.mean(axis=0)) / square
    offset, scale = pixels.mean(axis=0), max(float(pixels.std()), 1e-9)
    u, v = ((pixels - offset) / scale).T
    x, y = centred.T
    one, nil = np.ones_like(x), np.zeros_like(x)
    rows = np.vstack([
        np.column_stack([x, y, one, nil, nil, nil, -u * x, -u * y, -u]),
        np.column_stack([nil, nil, nil, x, y, one, -v * x, -v * y, -v]),
    ])  # fmt: skip
    size, vectors = np.linalg.svd(rows)[1:]
    if size[-2] < 1e-9 * size[0]:
        return None  # all corners on a line
    H = vectors[-1].reshape(3, 3)
    w = centred @ H[2, :2] + H[2, 2]
    if not np.all(w * np.sign(w.mean()) > 1e-9):
        return None
    at = np.stack([centred @ H[0, :2] + H[0, 2], centred @ H[1, :2] + H[1, 2]], axis=-1)
    return np.asarray(
        scale * (H[:2, :2] - (at / w[:, None])[:, :, None] * H[2, :2]) / w[:, None, None]
    )


def _patch(
    image: NDArray[Any], corner: Array, axes: Array, markers: bool
) -> tuple[Array, Array, float] | None:
    """Offsets (m, 2) and values (m,) of the pixels about a corner, and the patch's half side.

    Pixels come in pairs opposite each other about the pixel nearest the corner.
    """
    sides = np.linalg.norm(axes, axis=0)
    if not np.all(np.isfinite(axes)) or abs(np.linalg.det(axes)) < 0.2 * sides.prod():
        return None
    reach = float(min(PART_OF_SQUARE * sides.min(), WIDEST_PX))
    if reach < NARROWEST_PX:
        return None
    middle = np.rint(corner).astype(int)
    whole = int(np.ceil(reach))
    left, top = middle - whole
    right, bottom = middle + whole + 1
    height, width = image.shape
    if left < 0 or top < 0 or right > width or bottom > height:
        return None
    columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    from_middle = np.stack([columns - middle[0], rows - middle[1]], axis=-1).reshape(-1, 2)
    inside = np.hypot(*from_middle.T) <= reach
    seen = image[top:bottom, left:right].reshape(-1).astype(np.float64)
    if markers:
        inside &= ~_may_hold_marker((from_middle + middle - corner) @ np.linalg.inv(axes).T, seen,
                                    CLEAR - CLEAR_OF_BLUR_PX / sides.min())  # fmt: skip
    around = np.stack([columns, rows], axis=-1).reshape(-1, 2)[inside] - corner
    return around, seen[inside], reach


def _may_hold_marker(squares: Array, seen: Array, clear: float) -> NDArray[np.bool_]:
    """Whether pixels at places (m, 2), in squares from the corner, are of a marker in the bright.

    Which two of the four squares about the corner are bright is seen beside the edges.
    """
    from_edge = np.abs(squares).min(axis=-1)
    first = squares.prod(axis=-1) > 0
    beside = from_edge <= max(clear, 0.06)
    if not (beside & first).any() or not (beside & ~first).any():
        return np.zeros(len(seen), dtype=bool)
    bright = first == bool(seen[beside & first].mean() > seen[beside & ~first].mean())
    return np.asarray(bright & (from_edge > clear))


def _refined(image: NDArray[Any], corner: Array, axes: Array, markers: bool) -> Array | None:
    patch = _patch(image, corner, axes, markers)
    if patch is None:
        return None
    offset, seen, reach = patch
    angles = np.arctan2(axes[1], axes[0])
    state = np.array([0.0, 0.0, *angles, BLUR_PX])
    levels, model, slopes = _fitted(offset, seen, state, reach)
    cost, damping = float(np.sum((model - seen) ** 2)), 1e-3
    for _ in range(STEPS):
        # The levels follow each step of the others: Kaufman's variable projection.
        products = slopes.T @ slopes
        shared = np.linalg.solve(products[5:, 5:] + LEAST * np.eye(6), products[5:, :5])
        normal = products[:5, :5] - products[:5, 5:] @ shared
        pull = (slopes[:, :5] - slopes[:, 5:] @ shared).T @ (seen - model)
        step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal)), pull, rcond=None)[0]
        trial = state + np.clip(step, -0.5, 0.5)
        trial[4] = np.clip(trial[4], 0.2, reach)
        new = _fitted(offset, seen, trial, reach)
        value = float(np.sum((new[1] - seen) ** 2))
        if value > cost:
            damping *= 10
            if damping > 1e4:
                break
            continue
        moved = float(np.abs(trial - state)[:2].max())
        state, cost, damping = trial, value, max(damping / 10, 1e-9)
        levels, model, slopes = new
        if moved < ENOUGH_PX:
            break
    scatter = np.sqrt(cost / max(1, len(seen) - 11))
    contrast = abs(levels[3])
    turned = np.abs(np.sin(state[2:4] - angles))
    good = (
        scatter < WORST_FIT * 2 * contrast
        and np.hypot(*state[:2]) < FARTHEST_PX
        and turned.max() < 0.5
        and state[4] < 0.6 * reach
    )
    return corner + state[:2] if good else None


def _fitted(offset: Array, seen: Array, state: Array, reach: float) -> tuple[Array, Array, Array]:
    """Best levels (6,), the model (m,), and its derivatives (m, 11): state, then levels."""
    x, y = offset[:, 0] - state[0], offset[:, 1] - state[1]
    s = state[4]
    steps, slopes = [], []
    for angle in state[2:4]:
        c, n = np.cos(angle), np.sin(angle)
        d, along = n * x - c * y, c * x + n * y
        bell = np.exp(-0.5 * (d / s) ** 2) * np.sqrt(2 / np.pi) / s
        steps.append(erf(d / (np.sqrt(2) * s)))
        slopes.append((-n * bell, c * bell, along * bell, -d / s * bell))
    both = steps[0] * steps[1]
    ground = np.column_stack([np.ones_like(x), offset / reach])
    linear = np.hstack([ground, ground * both[:, None]])
    levels = np.linalg.solve(linear.T @ linear + LEAST * np.eye(6), linear.T @ seen)
    contrast = ground @ levels[3:]
    f = [contrast * steps[1] * slope for slope in slopes[0]]
    g = [contrast * steps[0] * slope for slope in slopes[1]]
    by_state = [f[0] + g[0], f[1] + g[1], f[2], g[2], f[3] + g[3]]
    return levels, linear @ levels, np.column_stack([*by_state, linear])
