"""A surface as people look at it: figures, a few lines of HTML, a labelled array.

matplotlib and xarray are asked for here alone, and need not be installed.
"""

from __future__ import annotations

import base64
import html
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from reconstruct.errors import RequestError

if TYPE_CHECKING:
    from reconstruct.surface import Surface

SHOWN_PX = 256  # of the picture in a notebook


def needed(module: str, for_what: str) -> Any:
    """An optional library; raises `RequestError` saying how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        name = module.partition(".")[0]
        raise RequestError(f"{for_what} needs {name}: pip install {name}") from None


def _extent(surface: Surface) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the field on the stage, mm."""
    points = surface.camera.points_at_height(_middle(surface))
    x, y = points[..., 0], points[..., 1]
    return float(x[:, 0].mean()), float(x[:, -1].mean()), float(y[-1].mean()), float(y[0].mean())


def _middle(surface: Surface) -> float:
    return float(np.nanmean(surface.height_mm)) if surface.mask.any() else 0.0


def plot(surface: Surface) -> Any:
    """A matplotlib figure: height, normals, uncertainty, over millimetres on the stage."""
    needed("matplotlib", "a plot of a surface")
    figures = importlib.import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
    extent = _extent(surface)
    shown = left.imshow(surface.height_mm, extent=extent, cmap="viridis")
    figure.colorbar(shown, ax=left, label="height z, mm")
    normals = np.nan_to_num((surface.normals + 1) / 2)
    middle.imshow(np.clip(normals, 0, 1), extent=extent)
    sigma = surface.sigma_mm
    finite = np.isfinite(sigma)
    top = float(np.quantile(sigma[finite], 0.99)) if finite.any() else 1.0
    shown = right.imshow(sigma, extent=extent, cmap="magma", vmin=0, vmax=top)
    figure.colorbar(shown, ax=right, label="one sigma of height, mm")
    for axes, title in ((left, "height"), (middle, "normals"), (right, "uncertainty")):
        axes.set(title=title, xlabel="x, mm")
    left.set_ylabel("y, mm")
    return figure


def to_xarray(surface: Surface) -> Any:
    """An `xarray.Dataset` of all maps over row and column, with x and y in mm as coordinates."""
    xarray = needed("xarray", "a labelled array")
    points = surface.camera.points_at_height(np.nan_to_num(surface.height_mm, nan=_middle(surface)))
    over = ("row", "column")
    return xarray.Dataset(
        {
            "height": (over, surface.height_mm, {"units": "mm", "long_name": "height z"}),
            "normal": ((*over, "axis"), surface.normals, {"long_name": "unit normal, world"}),
            "sigma": (over, surface.sigma_mm, {"units": "mm", "long_name": "one sigma of height"}),
            "normal_sigma": (over, surface.normal_sigma_deg, {"units": "degree"}),
            "flags": (over, surface.flags),
        },
        coords={
            "x": (over, points[..., 0], {"units": "mm"}),
            "y": (over, points[..., 1], {"units": "mm"}),
            "axis": ["x", "y", "z"],
        },
        attrs={"method": str(surface.summary.get("method", ""))},
    )


def to_html(surface: Surface) -> str:
    """A picture of the heights and a few figures, for notebooks; needs no further library."""
    import cv2

    step = max(1, -(-max(surface.height_mm.shape) // SHOWN_PX))
    z = surface.height_mm[::step, ::step]
    known = np.isfinite(z)
    low, high = (float(z[known].min()), float(z[known].max())) if known.any() else (0.0, 1.0)
    grey = np.where(known, (np.nan_to_num(z) - low) / max(high - low, 1e-9) * 255, 0)
    colour = cv2.applyColorMap(grey.astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    colour[~known] = 255
    picture = base64.b64encode(cv2.imencode(".png", colour)[1].tobytes()).decode()
    sigma = surface.sigma_mm[np.isfinite(surface.sigma_mm)]
    rows = {
        "method": surface.summary.get("method", ""),
        "picture": f"{surface.camera.width}×{surface.camera.height} px",
        "measured": f"{100 * surface.mask.mean():.1f} % of the picture",
        "height": f"{low:.3f} to {high:.3f} mm" if known.any() else "none",
        "one sigma": f"{float(np.median(sigma)):.3g} mm (median)" if sigma.size else "not stated",
        **{
            key: f"{value:.4g}" if isinstance(value, float) else value
            for key, value in surface.material.items()
            if isinstance(value, str | int | float)
        },
    }
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(key))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for key, value in rows.items()
        if value != ""
    )
    return (
        "<div style='display:flex;gap:1em;align-items:start'>"
        f"<img alt='heights' src='data:image/png;base64,{picture}'><table>{cells}</table></div>"
    )


def to_mesh(surface: Surface) -> Any:
    """A `trimesh.Trimesh` in mm, world frame, with normals."""
    from reconstruct.export.mesh import mesh_of

    trimesh = needed("trimesh", "a mesh")
    mesh = mesh_of(surface)
    return trimesh.Trimesh(mesh.vertices_mm, mesh.faces, vertex_normals=mesh.normals, process=False)
