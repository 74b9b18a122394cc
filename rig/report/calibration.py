"""``calibration.html``: the certificate of calibrated lights, in one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calib.certificate import Calibration
from calib.sphere import outline
from calib.views import SphereView
from rig.report.page import asset, write_page


def _ellipsoids(covariance: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """Half axes (mm, one sigma) and directions of error ellipsoids."""
    values, vectors = np.linalg.eigh(covariance)
    sigma = np.sqrt(np.maximum(values, 0))
    result = []
    for k in range(len(covariance)):
        axes = vectors[k]
        if np.linalg.det(axes) < 0:
            axes = axes * np.array([-1.0, 1.0, 1.0])
        result.append({"sigma_mm": sigma[k], "axes": axes.T})
    return result


def _rows(result: Calibration) -> list[dict[str, Any]]:
    lights = result.lights
    sigma = result.position_sigma_mm
    rows = []
    for k in range(len(lights)):
        mine = result.highlights.light == k
        used = mine & result.used
        error = result.residuals_px[used]
        rows.append(
            {
                "id": int(lights.ids[k]),
                "position_mm": lights.position_mm[k],
                "sigma_mm": sigma[k],
                "poses": int(used.sum()),
                "rejected": int(mine.sum() - used.sum()),
                "rms_px": float(np.sqrt(np.mean(error**2))) if len(error) else None,
                "power": lights.power[k] if result.power_sigma is not None else None,
                "power_sigma": None if result.power_sigma is None else result.power_sigma[k],
                "plate_rms": None if result.plate_rms is None else result.plate_rms[k],
                "axis_deg": _off_axis_deg(result, k) if result.power_sigma is not None else None,
                "note": result.weak.get(int(lights.ids[k]), ""),
            }
        )
    return rows


def _off_axis_deg(result: Calibration, k: int) -> float:
    """Angle between where an LED points and the stage centre."""
    position = result.lights.position_mm[k]
    cosine = -float(result.lights.axis[k] @ position) / float(np.linalg.norm(position))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _poses(result: Calibration, views: Sequence[SphereView]) -> list[dict[str, Any]]:
    camera = result.camera
    assert camera is not None
    angles = np.linspace(0, 2 * np.pi, 73)
    measured = {view.name: view for view in views}
    poses = []
    for place, name in enumerate(result.views):
        mine = result.highlights.sphere == place
        error = result.residuals_px[mine & result.used]
        ring = outline(camera, result.spheres_mm[place], result.radius_mm, angles)
        view = measured.get(name)
        poses.append(
            {
                "name": name,
                "centre_mm": result.spheres_mm[place],
                "outline": ring.round(2),
                "pixels": result.highlights.pixels[mine].round(3),
                "residuals": result.residuals_px[mine].round(4),
                "used": result.used[mine],
                "ids": result.lights.ids[result.highlights.light[mine]],
                "rms_px": float(np.sqrt(np.mean(error**2))) if len(error) else None,
                "held_out_px": (result.held_out_px or {}).get(name),
                "coverage": None if view is None else view.sphere.coverage,
                "outline_rms_px": None if view is None else view.sphere.rms_px,
            }
        )
    return poses


def write_calibration_report(
    result: Calibration,
    path: Path,
    *,
    views: Sequence[SphereView] = (),
    title: str = "Calibration of the lights",
) -> None:
    """Write the dome in 3-D with error ellipsoids, residuals, coverage and a table of LEDs."""
    lights, camera = result.lights, result.camera
    assert camera is not None
    covariance = lights.position_covariance()
    assert covariance is not None
    sigma = result.position_sigma_mm
    held = list((result.held_out_px or {}).values())
    tiles = [
        {"name": "lights", "value": f"{len(lights)} of {len(lights) + len(result.missing)}"},
        {"name": "position sigma, median", "value": f"{np.median(sigma):.2f} mm"},
        {"name": "position sigma, worst", "value": f"{sigma.max():.2f} mm"},
        {"name": "highlights", "value": f"{result.sigma_px:.3f} px"},
    ]
    if held:
        rms = float(np.sqrt(np.mean(np.square(held))))
        tiles.append({"name": "held-out pose", "value": f"{rms:.3f} px"})
    if result.power_sigma is not None:
        tiles.append(
            {"name": "power sigma, median", "value": f"{100 * np.median(result.power_sigma):.2f} %"}
        )
    data = {
        "title": title,
        "subtitle": f"{len(result.views)} places of a mirror ball of "
        f"{2 * result.radius_mm:g} mm · {lights.provenance.get('date', '')}",
        "tiles": tiles,
        "leds": _rows(result),
        "ellipsoids": _ellipsoids(covariance),
        "poses": _poses(result, views),
        "missing": {str(led): reason for led, reason in result.missing.items()},
        "radius_mm": result.radius_mm,
        "camera": {"width": camera.width, "height": camera.height, "centre_mm": camera.centre_mm},
        "provenance": lights.provenance,
    }
    write_page(
        path, title=title, body=asset("calibration.html"), script=asset("calibration.js"), data=data
    )
