"""Joint Gauss-Newton over the surface and the material, one step after another.

The unknowns of a step are log-depth at all corners and a few numbers of material; the sparse
surface block and the dense border are solved together by conjugate gradients, which eliminates
the surface from the material's equations as a Schur complement would, without forming it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reconstruct.integrate import at_mean_height
from reconstruct.linear import (
    CosinePreconditioner,
    assemble,
    conjugate_gradients,
    corner_gradient,
    multiply,
)
from reconstruct.refine.problem import Loss, Material, Problem, System

Array = NDArray[np.float64]

# Prior means and deviations of the material's vector: only what pictures leave open is decided
# by them (Fresnel's rise at small angles, above all).
PRIOR_MEAN = np.array([0.0, 0.0, 0.0, 0.4, 0.0, 0.0])
PRIOR_SIGMA = np.array([np.inf, np.inf, np.inf, 0.5, np.inf, 0.01])
# Residuals of neighbouring pixels go together; that many count as one against a prior.
CORRELATED = 1000.0
# Damping of the step relative to the mean matrix: slopes of dark pixels, a membrane, twist.
FLOOR, SMOOTH, TWIST = 1e-2, 1e-3, 0.1
# Levenberg-Marquardt damping that descents begin with.
FIRST_DAMPING = 1e-3
# Of few pixels the fit goes on until its slowest modes rest, pieces' levels and bends of the whole;
# meanwhile slopes are held by a share of the mean weight, or dark places would wander. Where its
# first step promises little, that step is all.
SETTLED_ROUNDS, SETTLED_GAIN, SETTLED_RESTS, HELD = 40, 1e-4, 1e-3, 1e-3
SAMPLED_SIDE = 64  # so many pixels squared tell the mean weight


@dataclass(eq=False)
class Linearised:
    """The sparse surface block of one evaluation, ready to be solved with."""

    problem: Problem
    stencil: Array
    precondition: CosinePreconditioner
    pin: Array
    pin_weight: float

    def apply(self, x: Array) -> Array:
        out = np.empty_like(x)
        multiply(self.stencil, x, out)
        out += (self.pin_weight * float(np.vdot(self.pin, x))) * self.pin
        return out

    def solve(self, right: Array) -> Array:
        """The step for a right side, to one per cent: drawn errors ask for no more."""
        return conjugate_gradients(self.apply, right, self.precondition, 1e-2, 80)


def linearise(
    problem: Problem, system: System, damping: float = 0.0, firmness: float = 1.0
) -> Linearised:
    """Assemble Aᵀ H A; the mean of the surface is pinned, since its height is an input.

    `firmness` scales the damping of slopes that pictures say little about.
    """
    height, width = problem.shape
    sums, jacobians = system.sums, problem.jacobians
    inside = max(float(problem.weight.mean()), 1e-6)
    pp, qq = float(sums[6].mean()) / inside, float(sums[8].mean()) / inside
    uu = float(sums[3].mean()) / inside
    j = jacobians
    k_cc = pp * float((j[0] ** 2).mean()) + qq * float((j[2] ** 2).mean())
    k_rr = pp * float((j[1] ** 2).mean()) + qq * float((j[3] ** 2).mean())
    # These damp the step; the gradient does not know of them, so they leave no bias.
    floor = firmness * FLOOR * 0.5 * (pp + qq)
    smooth = firmness * SMOOTH * 0.5 * (k_cc + k_rr)
    twist = TWIST * 0.5 * (k_cc + k_rr)
    stencil = np.empty((5, height + 1, width + 1))
    assemble(sums, jacobians, damping, smooth, twist, floor, stencil)
    pin = np.zeros((height + 1, width + 1))
    ones = np.zeros((3, height, width), np.float32)
    ones[0] = problem.weight
    corner_gradient(ones, jacobians, pin)
    pin /= np.linalg.norm(pin)
    pin_weight = 1e4 * uu + 1e-3 * (k_cc + k_rr)
    precondition = CosinePreconditioner.of(
        stencil, (k_cc, k_rr), smooth, twist, uu, pin_weight, problem.threads
    )
    return Linearised(problem, stencil, precondition, pin, pin_weight)


def material_equations(
    system: System, material: Material, count: float
) -> tuple[NDArray[np.int64], Array, Array, NDArray[np.bool_]]:
    """Normal equations of the material with its prior.

    Returns
    -------
    entries of its vector that are solved for, their matrix and right side, and which of them a
    bound takes out of the step
    """
    free = np.array([0, 1, 2, 3, 4, 5] if material.anisotropic else [0, 2, 3, 4, 5])
    vector = material.vector()
    prior = system.cost / max(count, 1.0) * CORRELATED / np.square(PRIOR_SIGMA)
    right = -(system.material_gradient + prior * (vector - PRIOR_MEAN))[free]
    matrix = (system.material_matrix + np.diag(prior))[np.ix_(free, free)]
    held = (vector[free] <= 0.0) & (right < 0.0) & (free >= 3) & (free <= 4)
    return free, matrix, right, held


def material_vector(material: Material, free: NDArray[np.int64], values: NDArray) -> Array:
    """A step of the whole vector; both widths of an isotropic material move alike."""
    step = np.zeros(len(PRIOR_MEAN))
    step[free] = values
    if not material.anisotropic:
        step[1] = step[0]
    return step


def joint_step(
    problem: Problem,
    system: System,
    material: Material,
    damping: float,
    iterations: int = 60,
    firmness: float = 1.0,
) -> tuple[Array, Array, float]:
    """Gauss-Newton step of (log-depth at corners, material vector), and what it promises.

    That is by how much the quadratic model of the cost falls.
    """
    lin = linearise(problem, system, damping, firmness)
    free, matrix, right_m, held = material_equations(system, material, problem.count)
    k = len(free)
    shape = lin.pin.shape
    right_u = -problem.gradient(system.sums)
    matrix = matrix + np.diag((1e-6 + damping) * np.diag(matrix) + 1e-12)
    assert system.cross is not None
    border = np.zeros((k, *shape))
    for row, entry in enumerate(free):
        corner_gradient(
            np.ascontiguousarray(system.cross[:, entry]), problem.jacobians, border[row]
        )
    size = int(np.prod(shape))
    border = border.reshape(k, size)
    matrix[held] = 0.0
    matrix[:, held] = 0.0
    matrix[held, held] = 1.0
    right_m = np.where(held, 0.0, right_m)
    border = border * ~held[:, None]
    inverse = np.linalg.inv(matrix)

    def apply(x: Array) -> Array:
        u, m = x[:size], x[size:]
        out = np.empty_like(x)
        out[:size] = lin.apply(u.reshape(shape)).ravel() + m @ border
        out[size:] = matrix @ m + border @ u
        return out

    def precondition(x: Array) -> Array:
        out = np.empty_like(x)
        out[:size] = lin.precondition(x[:size].reshape(shape)).ravel()
        out[size:] = inverse @ x[size:]
        return out

    right = np.concatenate([right_u.ravel(), right_m])
    x = conjugate_gradients(apply, right, precondition, 1e-2, iterations)
    step_m = material_vector(material, free, x[size:])
    return x[:size].reshape(shape), step_m, float(np.vdot(right, x))


def material_step(system: System, material: Material, count: float) -> Array:
    """Gauss-Newton step of the material alone, the surface held."""
    free, matrix, right, held = material_equations(system, material, count)
    keep = ~held
    matrix = matrix[np.ix_(keep, keep)]
    matrix = matrix + np.diag(1e-4 * np.diag(matrix) + 1e-12)
    return material_vector(material, free[keep], np.linalg.solve(matrix, right[keep]))


@dataclass(eq=False)
class State:
    """Where the fit stands; `lens_blur_px` is the blur that its pictures were freed of."""

    u: Array
    material: Material
    cost: float = np.inf
    lens_blur_px: float = 0.0


def fit_material(
    problem: Problem, u: Array, material: Material, loss: Loss, rounds: int = 8
) -> tuple[Material, float]:
    """The material that explains a given surface best, and its cost."""
    best, cost = material, np.inf
    current = material
    for _ in range(rounds):
        problem.look()
        system = problem.evaluate(u, current, loss)
        if system.cost < cost:
            gain = (cost - system.cost) / system.cost
            best, cost = current, system.cost
            if gain < 1e-3:
                break
        elif system.cost > 1.5 * cost:
            break
        current = current.moved(material_step(system, current, problem.count))
    return best, cost


def gauss_newton(
    problem: Problem,
    state: State,
    loss: Loss,
    height_mm: float,
    rounds: int,
    stop: float = 3e-3,
    pcg_iterations: int = 30,
    firmness: float = 1.0,
    rests: float = 0.0,
) -> State:
    """Damped joint Gauss-Newton until the cost falls by less than `stop`, relative.

    The last step is one that promises less than that, or the first one if it promises less than
    `rests`. It is taken unseen: to look at all pictures once more costs twenty times what a step
    costs. The cost is then the promised one.
    """
    mask = problem.weight > 0
    damping = FIRST_DAMPING
    u, material = state.u, state.material
    system = problem.evaluate(u, material, loss)
    cost = system.cost
    for turn in range(rounds):
        problem.look()
        step_u, step_m, promised = joint_step(
            problem, system, material, damping, iterations=pcg_iterations, firmness=firmness
        )
        least = max(stop, rests) if turn == 0 else stop
        if promised < least * cost and damping <= FIRST_DAMPING:  # no step was refused
            u = at_mean_height(u + step_u, height_mm, problem.camera, problem.xy, mask)
            material, cost = material.moved(step_m), cost - promised
            break
        accepted = False
        for shorter in (1.0, 0.3, 0.1):
            trial_u = at_mean_height(
                u + shorter * step_u, height_mm, problem.camera, problem.xy, mask
            )
            trial_m = material.moved(shorter * step_m)
            trial = problem.evaluate(trial_u, trial_m, loss)
            if trial.cost < cost:
                accepted = True
                break
        if not accepted:
            damping *= 30.0
            if damping > 10.0:
                break
            continue
        gain = (cost - trial.cost) / trial.cost
        u, material, system, cost = trial_u, trial_m, trial, trial.cost
        damping = max(damping * (0.3 if shorter == 1.0 else 3.0), 1e-5)
        if gain < stop and shorter == 1.0:
            break
    return replace(state, u=u, material=material, cost=cost)


def settled(problem: Problem, state: State, loss: Loss, height_mm: float) -> State:
    """On to the end of the descent."""
    with problem.sampled(SAMPLED_SIDE):
        sums = problem.evaluate(state.u, state.material, loss, False).sums[:, problem.weight > 0]
    with problem.holding(state.u, HELD * 0.5 * float((sums[6] + sums[8]).mean())):
        return gauss_newton(
            problem, state, loss, height_mm, SETTLED_ROUNDS, stop=SETTLED_GAIN, pcg_iterations=200,
            rests=SETTLED_RESTS,
        )  # fmt: skip
