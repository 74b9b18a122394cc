"""Lights solved along with the surface, their calibration's covariance being the prior.

A light's error shows in its own pictures: a hundred lights hold the surface where it is, one is
out of step. So lights and surface take turns. With the surface held, each light has four unknowns,
its position and the logarithm of its power.

What a model leaves unexplained moves lights as well as their errors do, and it is not independent
from pixel to pixel. So pixels are gathered in blocks and the scatter of the blocks' gradients
tells how far a light's fit is to be trusted (the cluster-robust covariance of Liang and Zeger
1986). How large the errors of the lights are in units of their covariance is estimated from all
lights together (empirical Bayes, Efron and Morris 1973): lights that are right stay where they
are, and if they seem worse than their covariance allows, the model is blamed and not they.

A tilt of the surface looks like a turn of all lights, a common shift of them, or a brightness that
rises from one side to the other. Those are left to the calibration.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.refine.pixel import CLIPPED_BIT, SHADOW_BIT
from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.solve import State, gauss_newton

Array = NDArray[np.float64]
STEP_MM = 0.5  # of the differences that stand for derivatives
BLOCKS, MIN_BLOCKS = 8, 12  # along a side of the part, and how many a light has to shine on
MAX_ROWS = 256  # of pixels that are looked at, and as many columns
# Blocks share errors of the model too; their scatter tells this part of the variance.
BLOCK_SHARE = 0.5
MIN_LIGHTS = 16
ROUNDS = 2
# Errors of a variance below this, relative to what the calibration says, are none.
LEAST_SCALE = 0.15
# Standard deviations where the calibration names none.
POSITION_SIGMA_MM, POWER_SIGMA = 1.0, 0.01
LEAST_POWER_SIGMA = 1e-4


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the pictures say about each light's four unknowns, the surface held.

    Attributes
    ----------
    information : (N, 4, 4), zero for lights that hardly light the part
    right : (N, 4) right-hand side, the information times the step that the pictures ask for
    """

    information: Array
    right: Array

    @property
    def telling(self) -> NDArray[np.bool_]:
        """(N,) lights that the pictures say something about."""
        return np.einsum("nii->n", self.information) > 0

    def over(self, factor: float) -> Evidence:
        """The same with a variance larger by a factor."""
        return Evidence(self.information / factor, self.right / factor)


def _edges(used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Block limits over the rows or columns that hold a part."""
    inside = np.flatnonzero(used)
    return np.linspace(inside[0], inside[-1] + 1, BLOCKS + 1).astype(np.int64)


def normal_equations(problem: Problem, state: State, loss: Loss) -> tuple[Array, Array]:
    """Normal matrices (B, N, 4, 4) and right-hand sides (B, N, 4) of blocks of pixels.

    No picture knows of another light, so the derivatives are differences of renderings with all
    lights moved at once. Large pictures are looked at in every k-th row and column.
    """
    epsilon = np.float32(problem.pictures.epsilon)
    lights = problem.lights
    renderers = [problem]
    for axis in np.eye(3):
        there = copy(problem)
        there.lights = replace(lights, position_mm=lights.position_mm + STEP_MM * axis)
        renderers.append(there)
    inside = problem.weight > 0
    rows, columns = (_edges(np.asarray(inside.any(axis=axis))) for axis in (1, 0))
    row_step = max(1, (rows[-1] - rows[0]) // MAX_ROWS)
    column_step = max(1, (columns[-1] - columns[0]) // MAX_ROWS)
    matrix = np.zeros((BLOCKS, BLOCKS, len(lights), 4, 4))
    right = np.zeros((BLOCKS, BLOCKS, len(lights), 4))
    for block, (first, last) in enumerate(pairwise(rows)):
        for row in range(first, last, row_step):
            roots = [
                np.sqrt(
                    np.maximum(there.render_rows(state.u, state.material, row, row + 1)[0], 0)
                    + epsilon
                )
                for there in renderers
            ]
            model, code = roots[0], problem.pictures.code[row]
            residual = model - (code >> 2).astype(np.float32) * np.float32(problem.pictures.scale)
            good = ((code & (CLIPPED_BIT | SHADOW_BIT)) == 0) & inside[row, :, None]
            weight = good * loss.weight(residual)
            slopes = [(moved - model) / np.float32(STEP_MM) for moved in roots[1:]]
            # d√(M + ε) / d ln power
            slopes.append((np.square(model) - epsilon) / (2 * model))
            jacobian = np.stack(slopes, axis=-1)
            for across, (left, end) in enumerate(pairwise(columns)):
                part = slice(left, end, column_step)
                weighted = (jacobian[part] * weight[part, :, None]).transpose(1, 2, 0)
                J = jacobian[part].transpose(1, 0, 2)
                matrix[block, across] += weighted @ J
                right[block, across] -= (weighted @ residual[part].T[..., None])[..., 0]
    return matrix.reshape(-1, *matrix.shape[2:]), right.reshape(-1, *right.shape[2:])


def evidence(matrix: Array, right: Array) -> Evidence:
    """Information of each light with its variance from the scatter of blocks.

    With M the sum of the blocks' matrices and V the covariance of the summed gradient, the
    least-squares step has the covariance M⁻¹ V M⁻¹ (Liang and Zeger 1986).
    """
    total, pull = matrix.sum(axis=0), right.sum(axis=0)
    scale = 1 / np.sqrt(np.maximum(np.einsum("nii->ni", total), 1e-30))
    M = total * scale[:, :, None] * scale[:, None, :]
    step = np.linalg.solve(M + 1e-5 * np.eye(4), (pull * scale)[..., None])[..., 0] * scale
    rest = (right - np.einsum("bnij,nj->bni", matrix, step)) * scale
    count = np.count_nonzero(np.einsum("bnii->bn", matrix) > 0, axis=0)
    V = np.einsum("bni,bnj->nij", rest, rest)
    V *= (count / np.maximum(count - 4, 1) / BLOCK_SHARE)[:, None, None]
    V += (1e-6 * np.einsum("nii->n", V) + 1e-30)[:, None, None] * np.eye(4)
    solved = np.linalg.solve(V, M)
    told = (count >= MIN_BLOCKS)[:, None]
    information = (M @ solved) / (scale[:, :, None] * scale[:, None, :])
    asked = np.einsum("nji,nj->ni", solved, pull * scale) / scale
    return Evidence(np.where(told[..., None], information, 0.0), np.where(told, asked, 0.0))


def _smooth_fields(position_mm: Array) -> Array:
    """(N, 10) orthonormal: what changes from light to light as a quadratic of position."""
    x, y, z = (position_mm / np.abs(position_mm).max()).T
    fields = [np.ones_like(x), x, y, z, x * x, y * y, x * y, x * z, y * z, z * z]
    return np.asarray(np.linalg.qr(np.column_stack(fields))[0])


def _indistinct(position_mm: Array, unit: Array) -> Array:
    """(4N, 8) orthonormal changes of all lights that a tilt or rise of the surface looks like."""
    fields = np.zeros((8, len(position_mm), 4))
    fields[:4] = np.eye(4)[:, None]  # shifts
    fields[4:6, :, :3] = np.cross(np.eye(3)[:2, None], position_mm)  # turns
    fields[6:, :, 3] = position_mm[:, :2].T  # ramps
    return np.asarray(np.linalg.qr((fields / unit).reshape(8, -1).T)[0])


def _most_likely(
    covariance: Any, offset: Array, freedom: float, bounds: tuple[float, float]
) -> float:
    """Factor of a covariance, by maximum likelihood of offsets (N, 4)."""

    from scipy.optimize import minimize_scalar  # takes 0.1 s to load

    def surprise(log_factor: float) -> float:
        C = covariance(np.exp(log_factor))
        squares = np.einsum("ni,ni->", offset, np.linalg.solve(C, offset[..., None])[..., 0])
        return float(np.linalg.slogdet(C)[1].sum() + squares / freedom)

    return float(np.exp(minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def error_scale(found: Evidence, prior: Array, offset: Array, smooth: Array) -> tuple[float, float]:
    """How large the lights' errors are, and how much more the model errs than blocks tell.

    What is smooth from light to light is left aside: errors of the model are, errors of single
    lights hardly.

    Parameters
    ----------
    prior : (N, 4, 4) covariance of the lights by their calibration
    offset : (N, 4) where the lights are now, from their calibration
    smooth : (N, K) orthonormal

    Returns
    -------
    variance of the errors in units of `prior`, at most 1, and factor on the pictures' variance
    """
    told = found.telling
    information = found.information[told]
    information = information + 1e-9 * np.einsum("nii->n", information)[:, None, None] * np.eye(4)
    spread = np.linalg.inv(information)
    asked = np.zeros_like(offset)
    asked[told] = offset[told] + np.einsum("nij,nj->ni", spread, found.right[told])
    asked -= smooth @ (smooth.T @ asked)
    asked, known = asked[told], prior[told]
    freedom = 1 - smooth.shape[1] / len(offset)
    scale = _most_likely(lambda f: f * known + spread, asked, freedom, (-8.0, 4.0))
    if scale <= 1:
        return scale, 1.0
    return 1.0, _most_likely(lambda f: known + f * spread, asked, freedom, (0.0, 8.0))


def prior_covariance(lights: Lights) -> Array:
    """(N, 4, 4) of position in mm and log power, without the shift that all lights share."""
    prior = np.zeros((len(lights), 4, 4))
    own = lights.covariance
    prior[:, :3, :3] = POSITION_SIGMA_MM**2 * np.eye(3) if own is None else own[:, :3, :3]
    prior[:, :3, :3] += 1e-6 * np.eye(3)
    power = np.full(len(lights), POWER_SIGMA) if lights.power_sigma is None else lights.power_sigma
    prior[:, 3, 3] = np.square(np.maximum(power, LEAST_POWER_SIGMA))
    return prior


def with_lights(
    problem: Problem, state: State, loss: Loss, calibrated: Lights, height_mm: float
) -> tuple[State, dict[str, Any]]:
    """Lights and surface in turns; both stay if the lights are as good as exact.

    Returns
    -------
    the state, and what there is to tell: the errors' size in units of the calibration's sigma, how
    far the lights moved, whether that was kept
    """
    notes: dict[str, Any] = {"kept": False}
    if len(calibrated) < MIN_LIGHTS:
        notes["reason"] = (
            f"fewer than {MIN_LIGHTS} lights do not hold a surface against one of them"
        )
        return state, notes
    before = state
    before.cost = problem.evaluate(state.u, state.material, loss, False).cost
    prior = prior_covariance(calibrated)
    smooth = _smooth_fields(calibrated.position_mm)
    unit = np.sqrt(np.einsum("nii->ni", prior).mean(axis=0))
    unit[:3] = unit[:3].mean()
    fixed = _indistinct(calibrated.position_mm, unit)
    offset = np.zeros((len(calibrated), 4))
    for _ in range(ROUNDS):
        found = evidence(*normal_equations(problem, state, loss))
        if np.count_nonzero(found.telling) < MIN_LIGHTS:
            notes["reason"] = f"fewer than {MIN_LIGHTS} lights light the part"
            break
        scale, excess = error_scale(found, prior, offset, smooth)
        notes["error_in_sigmas"], notes["model_error"] = float(np.sqrt(scale)), excess
        if scale < LEAST_SCALE:
            notes["reason"] = "the lights are as good as exact"
            break
        found = found.over(excess)
        tied = np.linalg.inv(scale * prior)
        total = found.information + tied
        pull = found.right - np.einsum("nij,nj->ni", tied, offset)
        offset = offset + np.linalg.solve(total, pull[..., None])[..., 0]
        in_sigmas = (offset / unit).ravel()
        offset = (in_sigmas - fixed @ (fixed.T @ in_sigmas)).reshape(offset.shape) * unit
        problem.lights = replace(
            calibrated,
            position_mm=calibrated.position_mm + offset[:, :3],
            power=calibrated.power * np.exp(offset[:, 3]),
        )
        state = gauss_newton(problem, state, loss, height_mm, 4)
    else:
        notes["kept"] = state.cost <= before.cost
    distance = np.linalg.norm(offset[:, :3], axis=1)
    notes["moved_rms_mm"] = float(np.sqrt(np.mean(distance**2)))
    notes["moved_most_mm"] = float(distance.max())
    notes["power_rms"] = float(np.std(offset[:, 3]))
    notes["cost_ratio"] = state.cost / before.cost
    if not notes["kept"]:
        problem.lights, state = calibrated, before
    return state, notes
