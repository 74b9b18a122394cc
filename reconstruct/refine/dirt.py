"""Material that varies from place to place: dirt, oxide, wear.

Where one material for the whole part leaves much of the pictures unexplained, each place gets its
own level of the specular part, its own diffuse part and its own roughness. Their normal equations,
the slopes of each pixel eliminated, are summed over a small window, so that neighbours share what
they know, and are solved place by place; the surface is then fitted again with the maps held.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.refine import kernel
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.solve import State, gauss_newton

Array = NDArray[np.float64]
# Window (px) over which places share their equations.
WINDOW_PX = 1.0
# A place is odd if its loss is this many times the median and its own material takes this share.
ODD, TAKES = 6.0, 0.3
# Least share of the picture that odd places cover. Large pictures are looked at in bands of so many
# rows first, and everywhere if these hold that much of it.
LEAST, BAND_ROWS, ENOUGH = 1e-3, 8, 0.5
# Priors on ln(ks), kd / F0 and ln(α) against what no light tells.
PRIOR_LN_KS, PRIOR_KD, PRIOR_LN_ALPHA = 2.0, 0.5, 1.0
# Nearly quadratic, so that what is far off still counts.
DETECT, FIT = Loss("huber", 1.0), Loss("huber", 0.1)
LOWEST, HIGHEST = -6.0, 1.0
LN_ALPHA = 1.5  # farthest from the part's


def local_equations(
    problem: Problem, u: Array, material: Material, loss: Loss
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normal equations (9, H, W) of (ln ks, kd, ln α) and loss (H, W) of each pixel."""
    terms = np.empty((9, *problem.shape), np.float32)
    per_pixel = np.empty(problem.shape, np.float32)
    given = problem.inputs(material, loss)

    def rows(band: tuple[int, int]) -> None:
        kernel.local_rows(band, u, *given, terms, per_pixel)

    problem.mapped(rows, problem.bands())
    return terms, per_pixel


def odd_places(problem: Problem, u: Array, material: Material) -> NDArray[np.bool_] | None:
    """(H, W) where a material of their own explains much of what is left; None if nowhere.

    All of the part where that holds at the typical place: its roughness varies. Looked for in bands
    of rows first, in every row only if these show some.
    """
    some = _some_rows(problem.shape)
    if not some.all():
        with problem.counting(some):
            if _odd_places(problem, u, material, ENOUGH * LEAST * some.mean()) is None:
                return None
    return _odd_places(problem, u, material, LEAST)


def _some_rows(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, 1) bands of rows that follow each other as closely as the least odd place is high."""
    period = max(BAND_ROWS, round((LEAST * shape[0] * shape[1]) ** 0.5))
    return np.arange(shape[0])[:, None] % period < BAND_ROWS


def _odd_places(
    problem: Problem, u: Array, material: Material, least: float
) -> NDArray[np.bool_] | None:
    """The same of the places that count, if patches cover that share of the picture."""
    terms, per_pixel = local_equations(problem, u, material, DETECT)
    inside = problem.weight > 0
    if not inside.any():
        return None
    typical = float(np.median(per_pixel[inside]))
    local = _window(terms)
    gained = 0.5 * (local[:3] * _solved(local, material, per_pixel)).sum(axis=0)
    level = cv2.GaussianBlur(per_pixel, (0, 0), WINDOW_PX)
    explained = gained > TAKES * level
    if np.median(explained[inside]) > 0:
        return inside
    # Single pixels and lines are edges of the part, seen through the lens.
    odd = inside & (level > ODD * typical) & explained
    patches = cv2.morphologyEx(odd.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if patches.mean() < least:
        return None
    grown = cv2.dilate(patches, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    return np.asarray(grown.astype(bool) & inside)


def with_own_places(
    problem: Problem, state: State, loss: Loss, height_mm: float, gain: float
) -> tuple[State, NDArray[np.bool_] | None]:
    """The state, and (H, W) where places have a material of their own (`Problem.local`), if any."""
    where = odd_places(problem, state.u, state.material)
    if where is None:
        return state, None
    before = problem.evaluate(state.u, state.material, loss, False).cost
    single = state
    for turn in range(4):
        for _ in range(3 if turn == 0 else 1):
            update_local(problem, state.u, state.material, where)
        state = gauss_newton(problem, state, loss, height_mm, 3)
        if turn == 0 and state.cost > gain * before:
            problem.local = np.zeros((3, 1, 1), np.float32)
            return single, None
    return state, where


def update_local(problem: Problem, u: Array, material: Material, where: NDArray[np.bool_]) -> None:
    """One Gauss-Newton step of the maps of ln(ks) and kd in `problem.local`."""
    problem.look()
    terms, per_pixel = local_equations(problem, u, material, FIT)
    step = _solved(_window(terms), material, per_pixel)
    if problem.local.shape[1] == 1:
        problem.local = np.zeros((3, *problem.shape), np.float32)
    ks = problem.local[0] + np.clip(step[0], -1.0, 1.0)
    kd = problem.local[1] + np.clip(step[1], -0.5 * material.ks, 0.5 * material.ks)
    ln_alpha = problem.local[2] + np.clip(step[2], -0.3, 0.3)
    problem.local[0] = np.where(where, np.clip(ks, LOWEST, HIGHEST), 0.0)
    problem.local[1] = np.where(where, np.maximum(kd, -material.kd), 0.0)
    problem.local[2] = np.where(where, np.clip(ln_alpha, -LN_ALPHA, LN_ALPHA), 0.0)


def _window(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(term, (0, 0), WINDOW_PX) for term in terms])


def _solved(
    terms: NDArray[np.float32], material: Material, per_pixel: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Steps (3, H, W) of ln(ks), kd and ln(α), damped where the pictures say nothing."""
    noise = float(np.median(per_pixel[per_pixel > 0])) if (per_pixel > 0).any() else 1e-9
    priors = (PRIOR_LN_KS, PRIOR_KD * max(material.ks, 1e-9), PRIOR_LN_ALPHA)
    s, d, a, ss, sd, sa, dd, da, aa = terms
    ss, dd, aa = (
        square * 1.001 + noise / prior**2
        for square, prior in zip((ss, dd, aa), priors, strict=True)
    )
    # Elimination by hand: a matrix for each pixel would take as much memory as the pictures.
    by_d, by_a = sd / ss, sa / ss
    dd, da, aa = dd - by_d * sd, da - by_d * sa, aa - by_a * sa
    d, a = d - by_d * s, a - by_a * s
    by_a = da / dd
    ln_alpha = (a - by_a * d) / (aa - by_a * da)
    kd = (d - da * ln_alpha) / dd
    return np.stack([(s - sd * kd - sa * ln_alpha) / ss, kd, ln_alpha])
