"""What limits a measurement: each cause with the uncertainty that it brings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reconstruct.surface import Flag, Surface
from rig.report.scales import share_of
from rig.report.words import rounded, told_by

CAUSES = {
    "noise": ("noise of the pictures", "Longer exposures or more pictures lower it."),
    "model": (
        "what the fit's model leaves unexplained",
        "See the residuals: dirt, coating or a light that moved.",
    ),
    "lights": (
        "calibration of the lights",
        "Calibrate the lights with more places of the ball.",
    ),
    "camera": (
        "calibration of the camera",
        "Calibrate it with more views, some flat on the stage, and a larger board.",
    ),
    "pixel": (
        "relief within a pixel",
        "Steep walls and fine grooves need smaller pixels or a sharper lens.",
    ),
    "guessed places": (
        "places that show no highlight",
        "They leave open how high the rest lies: measure the part tilted as well and merge.",
    ),
    "inter-reflection": (
        "light from place to place of the part",
        "It stays: deep or glossy hollows light themselves.",
    ),
    "beyond the picture": (
        "surroundings outside the picture",
        "Show the whole part, or cover what shines beside it.",
    ),
}


def limits_of(surface: Surface) -> dict[str, Any]:
    """Causes, the greatest first, and sentences on what they mean.

    Each cause has ``um``, the root of its mean variance over the surface, and ``percent`` of the
    whole variance of shape; what all points of a piece have in common is told apart from it.
    """
    causes = _causes(surface)
    whole = sum(um**2 for _, um in causes)
    rows = [
        {
            "name": CAUSES.get(key, (key, ""))[0],
            "advice": CAUSES.get(key, (key, ""))[1],
            "um": um,
            "percent": 100 * um**2 / whole,
        }
        for key, um in sorted(causes, key=lambda cause: -cause[1])
        if whole > 0
    ]
    said = []
    if rows:
        first = rows[0]
        said.append(
            f"The {first['name']} limits this measurement most: it makes "
            f"{first['percent']:.0f} % of the variance of height. {first['advice']}"
            if not str(first["name"]).startswith("what")
            else f"{str(first['name']).capitalize()} limits this measurement most: it makes "
            f"{first['percent']:.0f} % of the variance of height. {first['advice']}"
        )
    else:
        said.append(f"The method {surface.summary.get('method', '')} splits no uncertainty.")
    said += _level(surface, math.sqrt(whole))
    said += _coverage(surface)
    return {"rows": rows, "said": said}


def _causes(surface: Surface) -> list[tuple[str, float]]:
    shares = surface.summary.get("variance_mm2")
    if not isinstance(shares, dict):
        return []
    told = {
        str(name): float(variance)
        for name, variance in shares.items()
        if isinstance(variance, int | float) and variance >= 0
    }
    fit = [told.pop(name) for name in ("pictures", "neighbours") if name in told]
    if fit:
        share = _share_of_noise(surface.summary, sum(fit))
        told = {"noise": sum(fit) * share, "model": sum(fit) * (1 - share), **told}
    return [(name, 1000 * math.sqrt(variance)) for name, variance in told.items()]


def _share_of_noise(summary: dict[str, Any], variance: float) -> float:
    """Share of noise in the variance that the pictures bring."""
    repeated = summary.get("repeatability_mm")
    if isinstance(repeated, int | float) and variance > 0:
        return min(1.0, float(repeated) ** 2 / variance)
    # The variance of the pictures' fit is scaled by all that the fit leaves, of which the sensor's
    # noise is one share.
    residual, noise = summary.get("residual"), summary.get("noise")
    return min(1.0, float(noise) / float(residual)) if residual and noise else 1.0


def _level(surface: Surface, shape_um: float) -> list[str]:
    """What all points of a surface, or of its pieces, have in common."""
    pieces = surface.summary.get("pieces") or []
    if pieces:
        told = [1000 * float(piece["sigma_mm"]) for piece in pieces]
        least, most = (rounded(um, significant=2) for um in (min(told), max(told)))
        span = f"{least} µm" if least == most else f"{least} to {most} µm"
        return [
            f"The level of each piece as a whole is known to {span}"
            + ("; steps and heights above the stage are no surer." if min(told) > shape_um else ".")
        ]
    told_as = surface.summary.get("height")
    if not isinstance(told_as, dict) or not isinstance(told_as.get("sigma_mm"), int | float):
        return []
    sigma = rounded(1000 * float(told_as["sigma_mm"]), significant=2)
    source = told_by(str(told_as.get("from", "unknown")))
    return [
        f"The height as a whole is sure to {sigma} µm ({source}); the shape does not depend on it "
        "to first order, and the figures above leave it out."
    ]


def _coverage(surface: Surface) -> list[str]:
    """How shadow and clipping limit it."""
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    mask = surface.mask & part
    said = []
    shadowed = (surface.flags & int(Flag.SHADOWED)) != 0
    dark, clear = mask & shadowed, mask & ~shadowed
    if dark.any() and clear.any():
        sentence = f"Shadow: {share_of(100 * dark.sum() / mask.sum())} of the surface is reached "
        sentence += "by too few lights"
        pair = [float(np.median(1000 * surface.sigma_mm[where])) for where in (dark, clear)]
        if all(np.isfinite(pair)):
            sentence += f"; its median sigma is {rounded(pair[0], significant=2)} µm, "
            sentence += f"elsewhere {rounded(pair[1], significant=2)} µm"
        said.append(sentence + ".")
    else:
        said.append("Shadow: enough lights reach the whole surface.")
    lost = part & ~surface.mask
    if part.any() and lost.any():
        said.append(
            f"No height is claimed on {share_of(100 * lost.sum() / part.sum())} of the part."
        )
    return said
