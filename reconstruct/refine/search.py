"""Search over slopes: pixels that descent left in a wrong valley.

On a shiny wall or groove the lobe is narrow: from a slope that is 20° off no picture tells which
way to go, and descent stays there. Where the loss is far above the noise all normals on a grid
are tried, each pixel by itself. Those that explain their pixel much better are put in, the surface
is integrated anew, and it is kept if descent from there ends lower.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.integrate import at_mean_height, integrate_slopes, slopes
from reconstruct.refine.problem import MODELS, Loss, Material, Problem
from reconstruct.refine.solve import State, gauss_newton
from reconstruct.refine.transport import update_shadows

Array = NDArray[np.float64]
# Losses above this many times the noise's are worth a search, in at most this share of the part.
ABOVE_NOISE, MOST = 4.0, 0.15
# A found normal must leave at most this share of the pixel's loss; fewer pixels are left alone.
BETTER, FEWEST = 0.5, 5e-4
STEEPEST_DEG, SPACING_DEG = 66.0, 7.5
TURNS, GAIN = 3, 0.98


def normals_to_try(steepest_deg: float = STEEPEST_DEG, spacing_deg: float = SPACING_DEG) -> Array:
    """(C, 3) unit normals towards the camera (camera frame), evenly spaced on rings."""
    found = [np.array([[0.0, 0.0, -1.0]])]
    for tilt in np.radians(np.arange(spacing_deg, steepest_deg + 1e-6, spacing_deg)):
        count = max(6, round(2 * np.pi * np.sin(tilt) / np.radians(spacing_deg)))
        turn = 2 * np.pi * np.arange(count) / count
        found.append(
            np.column_stack(
                [
                    np.sin(tilt) * np.cos(turn),
                    np.sin(tilt) * np.sin(turn),
                    np.full(count, -np.cos(tilt)),
                ]
            )
        )
    return np.concatenate(found)


def best_normals(
    problem: Problem, u: Array, material: Material, loss: Loss, wanted: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.float32]]:
    """(3, H, W) normals of least loss (camera frame) and that loss, where wanted."""
    best = np.zeros((3, *problem.shape))
    least = np.full(problem.shape, np.inf, np.float32)
    vector = material.vector().astype(np.float32)
    brush = np.asarray(material.brush, np.float64)
    normals = normals_to_try()
    # Half of many lights tells valleys apart as well.
    some = slice(None, None, 2 if len(problem.pictures) >= 64 else 1)
    table, flat, indirect, code = (
        np.ascontiguousarray(every[..., some])
        for every in (problem.table, problem.flat, problem.indirect, problem.pictures.code)
    )

    def rows(band: tuple[int, int]) -> None:
        problem.kernel.search_rows(
            band[0], band[1], u, problem.xy, problem.jacobians, problem.rotation, problem.centre,
            table, flat, float(problem.flat_step), indirect,
            float(problem.indirect_step), code, problem.pictures.scale,
            problem.pictures.epsilon, problem.weight, vector, MODELS[material.model], brush,
            loss.code, loss.width, problem.doubt, problem.local, wanted, normals,
            float(np.radians(SPACING_DEG)), best, least,
        )  # fmt: skip

    with ThreadPoolExecutor(problem.lanes) as pool:
        list(pool.map(rows, problem.bands()))
    return best, least * np.float32(len(problem.pictures) / table.shape[1])


def searched(problem: Problem, state: State, loss: Loss, height_mm: float) -> tuple[State, float]:
    """The state after searches, and the share of pixels that changed their valley."""
    noise = problem.pictures.noise**2 * len(problem.pictures)
    inside = problem.weight > 0
    changed = 0.0
    for _ in range(TURNS):
        system = problem.evaluate(state.u, state.material, loss, False)
        limit = ABOVE_NOISE * noise
        limit = max(limit, float(np.quantile(system.loss[inside], 1.0 - MOST)))
        wanted = inside & (system.loss > limit)
        if wanted.sum() < FEWEST * inside.sum():
            break
        normals, least = best_normals(problem, state.u, state.material, loss, wanted)
        moved = wanted & (least < BETTER * system.loss)
        if moved.sum() < FEWEST * inside.sum():
            break
        x, y = problem.xy
        facing = -(normals[2] + x * normals[0] + y * normals[1])
        facing = np.where(moved, facing, 1.0)
        p, q = slopes(state.u, problem.jacobians)
        p = np.where(moved, normals[0] / facing, p)
        q = np.where(moved, normals[1] / facing, q)
        u = integrate_slopes(
            p, q, problem.weight, problem.jacobians, start=state.u, workers=problem.threads
        )
        u = at_mean_height(u + state.u.mean(), height_mm, problem.camera, problem.xy, inside)
        shadows = problem.pictures.code.copy()
        update_shadows(problem, u)
        trial = gauss_newton(problem, replace(state, u=u), loss, height_mm, 6)
        if trial.cost > GAIN * system.cost:
            problem.pictures.code[:] = shadows
            break
        changed = max(changed, float(moved.sum() / inside.sum()))
        state = trial
    return state, changed
