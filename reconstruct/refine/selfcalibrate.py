"""Lights solved along with the surface, their calibration's covariance being the prior.

A light's error shows in its own pictures: a hundred lights hold the surface where it is, one is
out of step. So lights and surface take turns. With the surface held, each light has four unknowns,
its position and the logarithm of its power; the rendered pictures' derivatives are differences of
renderings with all lights moved at once, since no picture knows of another light.

What all lights share (a common shift, a common scale) the surface would follow; it is left to the
calibration: the mean change is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.refine.pixel import CLIPPED_BIT, SHADOW_BIT
from reconstruct.refine.problem import Loss, Problem, light_table
from reconstruct.refine.solve import State, gauss_newton

Array = NDArray[np.float64]
STEP_MM = 0.5
# Residuals of neighbouring pixels share their cause: so many count as one against the prior.
CORRELATED = 300.0
POWER_SIGMA = 0.01
BAND_ROWS = 32
# Rounds of lights and surface in turns, the share of the cost that they must leave at most.
ROUNDS, GAIN = 3, 1.0


@dataclass(frozen=True, eq=False)
class LightStep:
    """One step of the lights: changes of position (N, 3) mm and log power (N,), and what remains
    unsure of the positions, (N, 3, 3) mm²."""

    position_mm: Array
    log_power: Array
    covariance: Array


def _moved(lights: Lights, shift_mm: Array) -> Lights:
    return replace(lights, position_mm=lights.position_mm + shift_mm)


def normal_equations(
    problem: Problem, state: State, loss: Loss
) -> tuple[NDArray[np.float64], NDArray[np.float64], Array, Array]:
    """Per light: (N, 4, 4) matrix, (N, 4) right-hand side, robust sum of squares, count."""
    count = len(problem.lights)
    reference = problem.pictures.reference
    epsilon = np.float32(problem.pictures.epsilon)
    tables = [problem.table] + [
        light_table(_moved(problem.lights, STEP_MM * axis), reference) for axis in np.eye(3)
    ]
    matrix, right = np.zeros((count, 4, 4)), np.zeros((count, 4))
    squares, seen = np.zeros(count), np.zeros(count)
    kept = problem.table
    try:
        for first in range(0, problem.shape[0], BAND_ROWS):
            last = min(first + BAND_ROWS, problem.shape[0])
            roots = []
            for table in tables:
                problem.table = table
                image = problem.render_rows(state.u, state.material, first, last)
                roots.append(np.sqrt(np.maximum(image, 0) + epsilon))
            model, code = roots[0], problem.pictures.code[first:last]
            captured = (code >> 2).astype(np.float32) * np.float32(problem.pictures.scale)
            residual = model - captured
            good = ((code & (CLIPPED_BIT | SHADOW_BIT)) == 0) & (
                problem.weight[first:last, :, None] > 0
            )
            weight = good / np.square(1 + np.square(residual / np.float32(loss.width)))
            columns = [(moved - model) / np.float32(STEP_MM) for moved in roots[1:]]
            # d√(M + ε) / d ln power
            columns.append((np.square(model) - epsilon) / (2 * model))
            jacobian = np.stack(columns, axis=-1)
            matrix += np.einsum("rcn,rcni,rcnj->nij", weight, jacobian, jacobian, optimize=True)
            right -= np.einsum("rcn,rcni,rcn->ni", weight, jacobian, residual, optimize=True)
            squares += np.einsum("rcn,rcn,rcn->n", weight, residual, residual, optimize=True)
            seen += weight.sum(axis=(0, 1))
    finally:
        problem.table = kept
    return matrix, right, squares, seen


def light_step(problem: Problem, state: State, loss: Loss, calibrated: Lights) -> LightStep:
    """One Gauss-Newton step of all lights, the surface held.

    Parameters
    ----------
    calibrated : the lights as calibrated; their covariance is the prior, without one 1 mm is
    """
    matrix, right, squares, seen = normal_equations(problem, state, loss)
    variance = squares / np.maximum(seen, 1.0) * CORRELATED
    matrix /= variance[:, None, None]
    right /= variance[:, None]
    prior = np.zeros_like(matrix)
    known = calibrated.covariance
    for k in range(len(calibrated)):
        own = known[k, :3, :3] if known is not None else np.eye(3)
        prior[k, :3, :3] = np.linalg.inv(own + 1e-6 * np.eye(3))
        prior[k, 3, 3] = POWER_SIGMA**-2
    now = problem.lights
    offset = np.column_stack(
        [now.position_mm - calibrated.position_mm, np.log(now.power / calibrated.power)]
    )
    total = matrix + prior
    step = np.linalg.solve(total, (right - np.einsum("nij,nj->ni", prior, offset))[..., None])[
        ..., 0
    ]
    after = offset + step
    after -= after.mean(axis=0)
    step = after - offset
    remaining = np.linalg.inv(total)[:, :3, :3]
    return LightStep(step[:, :3], step[:, 3], np.asarray(remaining, dtype=np.float64))


def solve_lights(problem: Problem, state: State, loss: Loss, calibrated: Lights) -> float:
    """Move the problem's lights by one step; returns the RMS move in mm."""
    step = light_step(problem, state, loss, calibrated)
    lights = problem.lights
    covariance = lights.covariance
    if covariance is not None:
        covariance = covariance.copy()
        covariance[:, :3, :3] = step.covariance
    problem.lights = replace(
        lights,
        position_mm=lights.position_mm + step.position_mm,
        power=lights.power * np.exp(step.log_power),
        covariance=covariance,
    )
    problem.table = light_table(problem.lights, problem.pictures.reference)
    return float(np.sqrt(np.mean(np.square(step.position_mm).sum(axis=1))))


def with_lights(
    problem: Problem, state: State, loss: Loss, calibrated: Lights, height_mm: float
) -> tuple[State, dict[str, Any]]:
    """Lights and surface in turns, where that explains the pictures better.

    Returns the state and what there is to tell: how far the lights moved, whether that was kept.
    """
    before, table = state, problem.table
    before.cost = problem.evaluate(state.u, state.material, loss, False).cost
    for _ in range(ROUNDS):
        solve_lights(problem, state, loss, calibrated)
        state = gauss_newton(
            problem, State(state.u, state.material), loss, height_mm, 4,
            pcg_iterations=30, stop=3e-3,
        )  # fmt: skip
    moved = np.linalg.norm(problem.lights.position_mm - calibrated.position_mm, axis=1)
    notes = {
        "moved_rms_mm": float(np.sqrt(np.mean(moved**2))),
        "moved_most_mm": float(moved.max()),
        "power_rms": float(np.std(np.log(problem.lights.power / calibrated.power))),
        "cost_ratio": state.cost / before.cost,
        "kept": state.cost <= GAIN * before.cost,
    }
    if not notes["kept"]:
        problem.lights, problem.table = calibrated, table
        state = before
    return state, notes
