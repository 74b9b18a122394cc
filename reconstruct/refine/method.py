"""`refine`: a surface and a material such that rendering them gives the pictures."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.errors import Stopped
from reconstruct.integrate import pixel_heights
from reconstruct.methods import Options
from reconstruct.refine.fit import FINAL
from reconstruct.refine.refinement import Refinement
from reconstruct.refine.residuals import worst_residuals
from reconstruct.refine.uncertainty import estimate
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Surface


def refine(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """Fit rendered to captured pictures; the surface with the lowest robust residual."""
    started = time.perf_counter()
    run = Refinement(stack, camera, lights, options)
    problem, state = run.run()
    mask = problem.weight > 0
    flags = np.where(mask, 0, int(Flag.OUTSIDE)).astype(np.uint8)
    sigma_mm = np.full(problem.shape, np.nan, np.float32)
    sigma_deg = sigma_mm.copy()
    sure = repeats = None
    if options.uncertainty:
        try:
            with run.stage("uncertainty", 0.9):
                sure = estimate(problem, state, FINAL, run.mean, run.claims)
        except Stopped:  # the surface is whole, its uncertainty unknown
            run.notes["stopped"] = True
    height = pixel_heights(problem.height_mm(state.u), mask).astype(np.float32)
    normals = problem.normals(state.u).astype(np.float32)
    if sure is not None:
        flags = sure.flags
        mask = mask & ((flags & int(Flag.UNLIT)) == 0)
        sigma_mm[mask], sigma_deg[mask] = sure.height_mm[mask], sure.normal_deg[mask]
        run.notes["variance_mm2"] = sure.shares
        run.notes["mean_height_bend_mm"] = sure.mean_height_bend_mm
        run.notes["repeatability_mm"] = sure.repeatability_mm
        repeats = sure.repeats
    height[~mask] = np.nan
    normals[~mask] = np.nan
    m = state.material
    seconds = {name: stage["seconds"] for name, stage in run.stages.items()}
    seconds["solve"] = time.perf_counter() - started
    summary = {
        "method": "refine",
        "lights": len(stack),
        "height_mm": run.mean.mm,
        "height_sigma_mm": run.mean.sigma_mm,
        "residual": state.cost / problem.count,
        "noise": run.noise_cost(problem),
        "refine": {"config": asdict(options.refine), "stages": run.stages},
        "seconds": seconds,
        **run.notes,
    }
    material = {
        "model": m.model, "alpha": m.alpha_x, "alpha_across": m.alpha_y, "ks": m.ks,
        "fresnel_rise": m.g, "kd": m.kd, "offset": m.offset, "brush": list(m.brush),
    }  # fmt: skip
    captured = problem.pictures.code if run.captured is None else run.captured
    misfit = None
    if options.mask is not None:  # it tells pieces of a part apart
        misfit = np.where(mask, run.losses(problem, state), np.float32(np.nan))
    worst = worst_residuals(problem, state, run.ids, captured)
    return Surface(
        camera, height, normals, sigma_mm, sigma_deg, flags, material, summary, worst, repeats,
        misfit,
    )  # fmt: skip
