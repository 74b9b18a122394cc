"""Lay: whether and how a surface's finish runs in one direction.

Brushed and ground metal scatters wide across its marks and narrow along them, turned metal
likewise about its axis. The direction is no entry of the material vector (the residual has
several valleys in it); a few directions are tried at a held surface, the best one is narrowed
down, and it is kept only where it explains the pictures much better than no direction does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.integrate import centre_values
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.solve import State, fit_material, gauss_newton

Array = NDArray[np.float64]
STRAIGHT, CIRCLES = 0, 1
# On a flat surface, marks at 90° more are the same material with its widths exchanged.
ANGLES = np.radians(np.arange(0.0, 90.0, 15.0))
# The lay must leave at most this share of the residual, or this before it is narrowed down.
GAIN, PROMISING = 0.7, 0.9
SAMPLED_SIDE = 64


def _middle(problem: Problem, u: Array) -> tuple[float, float]:
    """World x, y (mm) of the middle of the part in the picture."""
    rows, columns = np.nonzero(problem.weight > 0)
    r, c = int(np.median(rows)), int(np.median(columns))
    depth = np.exp(centre_values(u)[r, c])
    ray = np.array([problem.xy[0, r, c], problem.xy[1, r, c], 1.0]) * depth
    point = (ray - problem.camera.t) @ problem.camera.R
    return float(point[0]), float(point[1])


def find_lay(problem: Problem, u: Array, material: Material, loss: Loss) -> Material | None:
    """The anisotropic material that explains the pictures much better at this surface, if any."""
    a = material.alpha_x
    with problem.sampled(SAMPLED_SIDE):
        _, without = fit_material(problem, u, material, loss, 3)
        lays = [(STRAIGHT, float(angle), 0.0, 0.0) for angle in ANGLES]
        lays.append((CIRCLES, 0.0, *_middle(problem, u)))
        tried = []
        for lay in lays:
            first = replace(material, anisotropic=True, alpha_x=0.7 * a, alpha_y=1.4 * a, brush=lay)
            found, cost = fit_material(problem, u, first, loss, 5)
            tried.append((cost, found))
    cost, best = min(tried, key=lambda pair: pair[0])
    if cost > PROMISING * without:
        return None
    best, cost = min(
        (narrowed(problem, u, lay, loss) for lay in _either_side(best)), key=lambda pair: pair[1]
    )
    return best if cost < GAIN * without else None


def with_lay(problem: Problem, state: State, loss: Loss, height_mm: float) -> State:
    """The state with its lay narrowed down, or with one that averaged pixels hid."""
    if state.material.anisotropic:
        material, _ = narrowed(problem, state.u, state.material, loss, 0.2)
    else:
        found = find_lay(problem, state.u, state.material, loss)
        if found is None:
            return state
        material = found
    return gauss_newton(problem, replace(state, material=material), loss, height_mm, 3)


def _either_side(material: Material) -> list[Material]:
    """The material, and with straight marks also the one that is the same on a flat surface only.

    The tangent is a horizontal direction, projected into the surface. On a slope the direction
    across it then is not the projection of the horizontal direction across: that is the tangent of
    the second material. A belt that moves in a plane leaves marks in parallel planes, so it is the
    direction *across* the marks that is projected; what lies along a pattern is the other case.
    """
    kind, angle, x, y = material.brush
    if kind != STRAIGHT:
        return [material]
    across = (kind, angle + np.pi / 2, x, y)
    turned = replace(material, alpha_x=material.alpha_y, alpha_y=material.alpha_x, brush=across)
    return [material, turned]


def narrowed(
    problem: Problem, u: Array, material: Material, loss: Loss, span: float = 1.0
) -> tuple[Material, float]:
    """The direction (or centre) near the material's that explains the pictures best.

    Parameters
    ----------
    span : 1 searches 15° to both sides, or about 10 mm; less searches closer
    """
    from scipy.optimize import minimize, minimize_scalar  # 0.1 s to load, for brushed parts

    kind, angle, x, y = material.brush

    def fitted(brush: tuple[float, float, float, float]) -> tuple[Material, float]:
        return fit_material(problem, u, replace(material, brush=brush), loss, 3)

    with problem.sampled(SAMPLED_SIDE):
        if kind == CIRCLES:
            centre = minimize(
                lambda at: fitted((kind, angle, float(at[0]), float(at[1])))[1],
                (x, y), method="Nelder-Mead",
                options={
                    "initial_simplex": np.array([(0, 0), (6, 0), (0, 6)]) * span + (x, y),
                    "maxfev": 24, "xatol": 0.05 * span, "fatol": 0.0,
                },
            ).x  # fmt: skip
            lay = (kind, angle, float(centre[0]), float(centre[1]))
        else:
            half = float(np.radians(15.0)) * span
            found = minimize_scalar(
                lambda at: fitted((kind, float(at), x, y))[1],
                bounds=(angle - half, angle + half), method="bounded",
                options={"xatol": 0.01 * half, "maxiter": 16},
            )  # fmt: skip
            lay = (kind, float(found.x), x, y)
        before, after = fitted(material.brush), fitted(lay)
    return after if after[1] < before[1] else before
