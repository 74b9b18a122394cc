"""First surfaces and first materials, from which the coarsest level descends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.integrate import integrate_normals, log_depth_at
from reconstruct.methods import Options, find
from reconstruct.refine.data import Pictures
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.solve import fit_material
from reconstruct.stack import Stack

Array = NDArray[np.float64]
ALPHAS = (0.08, 0.15, 0.25, 0.4)
# Rounds after which the best of these of each distribution is fitted on alone.
PROMISING_ROUNDS = 3
# About so many pixels along a side tell materials apart.
SAMPLED_SIDE = 32


def first_surface(
    name: str, problem: Problem, ids: NDArray[np.int64], lights: Lights, options: Options
) -> Array | None:
    """Log-depth at corners of a start: "halfvector", "flat" or "dpps".

    `ids` are the lights' of the problem's pictures; None if the network cannot run here.
    """
    if name == "flat":
        return log_depth_at(options.height_mm, problem.camera)
    if name == "dpps":
        return learned_surface(problem, ids, lights, options)
    return _surface_by(name, problem, ids, lights, options)


def _surface_by(
    method: str, problem: Problem, ids: NDArray[np.int64], lights: Lights, options: Options
) -> Array:
    """Log-depth at corners of the surface that a method finds in a level's pictures."""
    mask = problem.weight > 0 if options.mask is not None else None
    small = replace(options, mask=mask, uncertainty=False)
    surface = find(method)(as_stack(problem.pictures, ids), problem.camera, lights, small)
    return integrate_normals(surface.normals, problem.camera, options.height_mm, mask)


def learned_surface(
    problem: Problem, ids: NDArray[np.int64], lights: Lights, options: Options
) -> Array | None:
    """The network's surface as log-depth at corners.

    None where the options want no such start, or the network cannot run here.
    """
    if options.start not in ("auto", "dpps"):
        return None
    try:
        return _surface_by("dpps", problem, ids, lights, options)
    except Exception as error:  # among others a start is a help, never a condition
        if options.start == "dpps":
            raise
        options.say(f"no learned start: {error}")
        return None


def first_materials(problem: Problem, u: Array, loss: Loss) -> list[Material]:
    """The best material of each distribution on a surface, the better one first."""
    ranked = []
    with problem.sampled(SAMPLED_SIDE):
        for model in ("ggx", "beckmann"):
            for alpha in ALPHAS:
                ks = _specular_level(problem, u, model, alpha)
                first = Material(model, alpha, alpha, ks=ks)
                ranked.append(fit_material(problem, u, first, loss, PROMISING_ROUNDS))
        best: dict[str, Material] = {}
        for material, _ in sorted(ranked, key=lambda pair: pair[1]):
            best.setdefault(material.model, material)
        fitted = [fit_material(problem, u, material, loss) for material in best.values()]
    return [material for material, _ in sorted(fitted, key=lambda pair: pair[1])]


def _specular_level(problem: Problem, u: Array, model: str, alpha: float) -> float:
    """The level of the specular part alone that brings √-pictures closest to the captured ones."""
    inside = problem.weight > 0
    shown = np.sqrt(problem.own_light(u, Material(model, alpha, alpha))[inside])
    captured = problem.pictures.root()[inside]
    root = float(np.vdot(captured, shown)) / max(float(np.vdot(shown, shown)), 1e-12)
    return max(root**2, 1e-6)


def as_stack(pictures: Pictures, ids: NDArray[np.int64]) -> Stack:
    """Linear pictures again, for methods that read a stack (coarse levels only)."""
    radiance = (np.square(pictures.root()) - np.float32(pictures.epsilon)) * np.float32(
        pictures.reference
    )
    gain = (2 * pictures.noise) ** 2 * pictures.reference
    return Stack(
        ids,
        np.ascontiguousarray(np.moveaxis(radiance, -1, 0)),
        np.ascontiguousarray(np.moveaxis(pictures.clipped, -1, 0)),
        pictures.epsilon * gain * pictures.reference,
        gain,
    )
