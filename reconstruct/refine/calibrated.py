"""What the calibration of lights and camera leaves unsure of a surface."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.integrate import image_coordinates
from reconstruct.refine.problem import Loss, Problem
from reconstruct.refine.solve import Linearised, State

Array = NDArray[np.float64]
DRAWS = 4


def wrong_lights(lights: Lights, rng: np.random.Generator) -> Iterator[tuple[list[Lights], float]]:
    """Lights as they may be in place of the calibrated, in groups, each with a factor.

    The mean square of a group's changes of the surface, times the square of the factor, is its
    variance: of what each light is wrong in alone, and of what all are wrong in together. The
    first averages out over a hundred lights, a scale that all share does not.
    """
    if lights.covariance is not None:
        yield [_drawn(lights, lights.covariance, rng) for _ in range(DRAWS)], 1.0
    if lights.common_steps is not None:
        steps = lights.common_steps
        moved = [replace(lights, position_mm=lights.position_mm + step) for step in steps]
        yield moved, float(np.sqrt(len(moved)))


def _drawn(lights: Lights, covariance: Array, rng: np.random.Generator) -> Lights:
    """Lights with each its own error."""
    position, axis = lights.position_mm.copy(), lights.axis.copy()
    for k in range(len(lights)):
        moved = rng.multivariate_normal(np.zeros(6), covariance[k], method="eigh")
        position[k] += moved[:3]
        axis[k] += moved[3:]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    return replace(lights, position_mm=position, axis=axis)


def lights_seen_by(lights: Lights, before: Camera, after: Camera) -> Lights:
    """The lights as a calibration would have found them with another camera.

    Lights with a covariance were calibrated by a mirror ball that the camera saw. They keep their
    place in the picture's frame: turned and shifted with the camera, their distance along its axis
    going with the focal length, as that of the ball does. Others do not know of the camera.
    """
    if lights.covariance is None:
        return lights
    seen = lights.position_mm @ before.R.T + before.t
    seen[:, 2] *= (after.K[0, 0] + after.K[1, 1]) / (before.K[0, 0] + before.K[1, 1])
    return replace(
        lights,
        position_mm=(seen - after.t) @ after.R,
        axis=lights.axis @ before.R.T @ after.R,
    )


def steps_of_one_sigma(covariance: Array) -> Array:
    """(k, n) independent steps that make up a covariance: its scaled eigenvectors."""
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    unit = np.where(sigma > 0, sigma, 1.0)
    values, vectors = np.linalg.eigh(covariance / unit[:, None] / unit)
    told = values > 1e-9 * max(values.max(), 1e-30)
    return np.asarray((vectors[:, told] * np.sqrt(values[told])).T * sigma)


def camera_changes(
    problem: Problem, state: State, loss: Loss, lin: Linearised
) -> Iterator[tuple[Array, Problem]]:
    """For each of the camera's independent errors: the step of log-depth, and the problem by it.

    With another camera the same log-depth is another surface, turned with the stage's normal.
    """
    camera = problem.camera
    assert camera.covariance is not None
    before = problem.gradient(problem.evaluate(state.u, state.material, loss, False).sums)
    for step in steps_of_one_sigma(camera.covariance):
        by = copy(problem)
        by.camera = camera.moved(step)
        by.xy, by.jacobians = image_coordinates(by.camera)
        by.lights = lights_seen_by(problem.lights, camera, by.camera)
        moved = by.evaluate(state.u, state.material, loss, False)
        right = before - by.gradient(moved.sums)
        yield lin.solve(right), by
