"""Which lights a result explains worst: their pictures beside what the result renders to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.lights import Lights
from reconstruct.optics.interreflection import indirect, upsampled
from reconstruct.optics.material import Lobe, Material, circular_lay, index_of_reflectance
from reconstruct.optics.render import render
from reconstruct.stack import Stack
from reconstruct.surface import Surface
from rig.report.surface import Residual, shrink

LONGEST = 256  # px; residuals are looked at, not measured from
ROWS = 64


def rendered_material(fitted: dict[str, Any]) -> tuple[Material, float] | None:
    """The material of a result's summary for the renderer, and the level of its pictures.

    None if the method fitted no microfacet material.
    """
    if "alpha" not in fitted or "ks" not in fitted:
        return None
    level = max(float(fitted["ks"]), 1e-12)
    reflectance = float(np.clip(level, 0.2, 0.98))
    n, k = index_of_reflectance(reflectance)
    alpha, across = float(fitted["alpha"]), float(fitted.get("alpha_across", fitted["alpha"]))
    lobe = Lobe(alpha, None if across == alpha else across, n, k, 1.0, fitted.get("model", "ggx"))
    kind, angle, x, y = fitted.get("brush", (0.0, 0.0, 0.0, 0.0))
    tangents = circular_lay((x, y)) if kind == 1 else np.array([np.cos(angle), np.sin(angle), 0.0])
    diffuse = float(np.clip(float(fitted.get("kd", 0.0)) * reflectance / level, 0.0, 0.95))
    return Material((lobe,), diffuse, tangents), level / reflectance


def worst_residuals(
    surface: Surface, stack: Stack, lights: Lights, count: int = 4
) -> list[Residual]:
    """The lights whose pictures differ most from the rendered result, worst first.

    One factor, the same for all lights, brings the rendered pictures to the level of the captured
    ones, so that powers that are off show. Clipped pixels are left out.

    Parameters
    ----------
    stack, lights : what the surface was made from; lights for every picture
    """
    found = rendered_material(surface.material)
    if found is None or not surface.mask.any():
        return []
    material, _ = found
    step = max(1, -(-max(surface.height_mm.shape) // LONGEST))
    camera = surface.camera if step == 1 else surface.camera.binned(step)
    points, normals = shrink(surface.points_mm(), LONGEST), shrink(surface.normals, LONGEST)
    place = {int(led): k for k, led in enumerate(lights.ids)}
    chosen = lights.select(np.array([place[int(led)] for led in stack.ids]))
    captured = _small(stack, step)
    rendered = render(points, normals, camera, chosen, material)
    bounced = indirect(points, normals, camera, chosen, material)
    rendered += upsampled(bounced, rendered.shape[1:])
    rendered[:, ~np.isfinite(points[..., 2])] = np.nan
    good = np.isfinite(captured) & np.isfinite(rendered)
    # Square roots weigh dim and bright places alike, and one light gone wrong moves little.
    ratio = np.sqrt(np.maximum(captured[good], 0)) @ np.sqrt(np.maximum(rendered[good], 0))
    scale = (ratio / max(float(rendered[good].clip(0).sum()), 1e-30)) ** 2
    rendered *= np.float32(scale)
    error = np.where(good, np.square(captured - rendered), np.nan)
    level = np.where(good, np.square(captured), np.nan)
    share = np.nansum(error, axis=(1, 2)) / np.maximum(np.nansum(level, axis=(1, 2)), 1e-30)
    order = np.argsort(-share, kind="stable")[:count]
    return [
        Residual(int(stack.ids[k]), np.where(good[k], captured[k], np.nan), rendered[k])
        for k in order
    ]


def _small(stack: Stack, step: int) -> NDArray[np.float32]:
    """(N, h, w) pictures averaged over blocks, NaN where a pixel clipped; read band by band."""
    bands = []
    height, width = stack.shape
    rows = height // step * step
    deep = max(1, ROWS // step) * step
    for first in range(0, rows, deep):
        radiance, clipped = stack.band(slice(first, min(first + deep, rows)))
        values = np.where(clipped, np.nan, radiance)[:, :, : width // step * step]
        shape = (len(values), values.shape[1] // step, step, -1, step)
        bands.append(values.reshape(shape).mean(axis=(2, 4)))
    return np.concatenate(bands, axis=1).astype(np.float32)
