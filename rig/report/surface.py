"""The report of one reconstructed surface: `report.html`, one file that opens offline."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.surface import Flag, Residual, Surface
from rig.report.page import asset, floats, write_page

MAP_SIZE = 640  # longest side of the maps in the page, px
MESH_SIZE = 360  # longest side of the mesh in the page, vertices

FLAGS = (
    (Flag.UNLIT, (124, 58, 237), "no usable signal; nothing is claimed"),
    (Flag.OUTSIDE, (120, 128, 140), "not part of the surface"),
    (Flag.EDGE, (217, 119, 6), "an edge or a wall narrower than a pixel; nothing is claimed"),
    (Flag.CLIPPED, (220, 38, 38), "most of its signal is clipped; a shorter exposure helps"),
    (Flag.SHADOWED, (30, 64, 175), "too few lights reach it"),
)


@dataclass(frozen=True)
class Figure:
    """A figure with its unit and, where known, its one-sigma uncertainty."""

    name: str
    value: float
    unit: str
    sigma: float | None = None


def shrink(values: NDArray[Any], longest: int) -> NDArray[np.float32]:
    """Average whole blocks of pixels, NaN left out, so that the longest side is at most `longest`.

    Parameters
    ----------
    values : (H, W) or (H, W, C)
    """
    step = max(1, -(-max(values.shape[:2]) // longest))
    rows, columns = values.shape[0] // step, values.shape[1] // step
    tail = values.shape[2:]
    blocks = np.asarray(values[: rows * step, : columns * step], dtype=np.float32)
    blocks = blocks.reshape(rows, step, columns, step, *tail)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a block without surface stays NaN
        return np.asarray(np.nanmean(blocks, axis=(1, 3)), dtype=np.float32)


def _median(values: NDArray[Any]) -> float:
    """Median of what is finite, NaN where nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _colours(colormap: int) -> list[int]:
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    table: list[int] = cv2.applyColorMap(ramp, colormap)[:, 0, ::-1].ravel().tolist()
    return table


def _diverging() -> list[int]:
    """Blue, white, red: the sign of a difference is seen, and zero is white."""
    t = np.linspace(-1, 1, 256)[:, None]
    blue, red, white = np.array([33, 102, 172]), np.array([178, 24, 43]), np.array([250, 250, 250])
    colours = white + np.abs(t) * (np.where(t < 0, blue, red) - white)
    table: list[int] = np.rint(colours).astype(int).ravel().tolist()
    return table


def _residual_data(residual: Residual) -> dict[str, Any]:
    captured = shrink(residual.captured, 300)
    rendered = shrink(residual.rendered, 300)
    difference = captured - rendered
    finite = np.isfinite(difference)
    level = float(np.mean(np.abs(captured[finite]))) if finite.any() else 1.0
    level = level or 1.0
    scale = float(np.quantile(np.abs(difference[finite]), 0.99)) if finite.any() else 1.0
    return {
        "led": residual.led,
        "width": captured.shape[1],
        "height": captured.shape[0],
        "captured": floats(captured),
        "rendered": floats(rendered),
        "difference": floats(difference),
        "scale": float(np.nanquantile(captured, 0.995)) or 1.0,
        "difference_scale": scale or level,
        "difference_percent": 100 * scale / level,
        "rms_percent": 100 * float(np.sqrt(np.mean(difference[finite] ** 2))) / level,
    }


def _outline(part: NDArray[np.bool_], step: int) -> list[list[float]]:
    """Borders of the part and of its holes on the map: x0, y0, x1, y1, … each; none if all is part.

    Contours run through the middles of border pixels.
    """
    if part.all() or not part.any():
        return []
    contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return [((c[:, 0] + 0.5) / step).round(2).ravel().tolist() for c in contours if len(c) > 3]


def _flag_data(flags: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Shares are of the part; that of what is not part, of the picture."""
    part = flags[(flags & int(Flag.OUTSIDE)) == 0]
    return [
        {
            "bit": int(flag),
            "name": str(flag.name).lower(),
            "colour": colour,
            "percent": 100
            * float(
                np.mean(
                    ((flags if flag == Flag.OUTSIDE or not part.size else part) & int(flag)) != 0
                )
            ),
            "meaning": meaning,
        }
        for flag, colour, meaning in FLAGS
    ]


def _mesh_data(surface: Surface, points: NDArray[Any]) -> dict[str, Any]:
    position = shrink(points, MESH_SIZE)
    present = np.isfinite(position[..., 2])
    low = np.nanmin(position[present], axis=0) if present.any() else np.zeros(3)
    high = np.nanmax(position[present], axis=0) if present.any() else np.ones(3)
    return {
        "width": position.shape[1],
        "height": position.shape[0],
        "position_mm": floats(position),
        "normal": floats(np.nan_to_num(shrink(surface.normals, MESH_SIZE))),
        "height_mm": floats(position[..., 2]),
        "sigma_um": floats(1000 * shrink(surface.sigma_mm, MESH_SIZE)),
        "centre_mm": (low + high) / 2,
        "extent_mm": float(max(high - low)),
    }


def _level(piece: Mapping[str, Any]) -> Figure:
    """The level of one piece, with what told it."""
    x, y = piece["centre_mm"]
    name = f"level of piece {piece['piece']} at ({x:.1f}, {y:.1f}) mm, told by {piece['told_by']}"
    return Figure(name, round(float(piece["level_mm"]), 6), "mm", float(piece["sigma_mm"]))


def write_surface_report(
    surface: Surface,
    path: Path,
    *,
    title: str,
    figures: Sequence[Figure] = (),
    residuals: Sequence[Residual] = (),
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a surface as one self-contained HTML file.

    Parameters
    ----------
    figures : shown with units and uncertainty below the ones every surface has
    residuals : pictures of the lights explained worst, in the order to show
    provenance : everything needed to say where the result came from; the surface's own summary
        and material are added
    """
    points = surface.points_mm()
    mask = surface.mask
    sigma_um = 1000 * np.where(mask, surface.sigma_mm, np.nan)
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    whole = bool(part.all() or not part.any())
    share = 100 * float(mask.mean() if whole else mask[part].mean())
    of_what = "the picture" if whole else "the part"
    own = [Figure("surface measured", share, f"% of {of_what}")]
    tiles = [{"name": f"of {of_what} measured", "value": f"{share:.1f} %"}]
    if mask.any():
        z = surface.height_mm[mask]
        height_sigma = _median(sigma_um[mask])
        normal_sigma = _median(surface.normal_sigma_deg[mask])
        own += [
            Figure("mean height", round(float(z.mean()), 6), "mm"),
            Figure("lowest point", float(z.min()), "mm"),
            Figure("highest point", float(z.max()), "mm"),
            Figure("pixel on the surface", 1000 * surface.camera.pixel_mm(float(z.mean())), "µm"),
        ]
        tiles += [{"name": "highest to lowest", "value": f"{np.ptp(z):.3f} mm"}]
        # Not every method states an uncertainty.
        if np.isfinite(height_sigma):
            own.append(Figure("height sigma, median", height_sigma, "µm"))
            tiles.append({"name": "median height sigma", "value": f"{height_sigma:.1f} µm"})
        if np.isfinite(normal_sigma):
            own.append(Figure("normal sigma, median", normal_sigma, "°"))
            tiles.append({"name": "median normal sigma", "value": f"{normal_sigma:.3f}°"})
    own += [_level(piece) for piece in surface.summary.get("pieces", [])]
    height = shrink(np.where(mask, surface.height_mm, np.nan), MAP_SIZE)
    step = max(1, -(-max(surface.height_mm.shape) // MAP_SIZE))
    data = {
        "title": title,
        "subtitle": " · ".join(
            [
                f"method {surface.summary.get('method', 'unknown')}",
                f"{surface.camera.width} × {surface.camera.height} px",
                *([str(surface.summary["date"])] if "date" in surface.summary else []),
            ]
        ),
        "tiles": tiles,
        "figures": [vars(figure) for figure in [*own, *figures]],
        "map": {
            "width": height.shape[1],
            "height": height.shape[0],
            "height_mm": floats(height),
            "sigma_um": floats(shrink(sigma_um, MAP_SIZE)),
            "x_mm": floats(shrink(points[..., 0], MAP_SIZE)),
            "y_mm": floats(shrink(points[..., 1], MAP_SIZE)),
            "outline": _outline(part, step),
            "absolute": "pieces" in surface.summary,
            "flags": floats(surface.flags[::step, ::step][: height.shape[0], : height.shape[1]]),
        },
        "mesh": _mesh_data(surface, points),
        "flags": _flag_data(surface.flags),
        "residuals": [_residual_data(residual) for residual in residuals],
        "provenance": {
            **(provenance or {}),
            "material": surface.material,
            "summary": surface.summary,
        },
        "viridis": _colours(cv2.COLORMAP_VIRIDIS),
        "magma": _colours(cv2.COLORMAP_MAGMA),
        "grey": np.repeat(np.arange(256), 3),
        "diverging": _diverging(),
    }
    write_page(path, title=title, body=asset("surface.html"), script=asset("surface.js"), data=data)
