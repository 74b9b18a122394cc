"""Maps of a result as SVG: a picture with axes and a scale bar in mm, and where features lie."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff
from reconstruct.export.results import read_results
from reconstruct.metrology.grid import HeightGrid, grid_of
from rig.report.scales import Scale, scale_of
from rig.report.tiles import round_down

LONGEST = 420  # points along the longer side of a map
WIDTH = 640.0
LEFT, TOP, BOTTOM, RIGHT = 54.0, 14.0, 60.0, 96.0
INK = "#1b2430"
KINDS = ("height", "deviation", "sigma")
COLOURS = {
    "good": "#0a7d32", "out of tolerance": "#c00d1e", "in between": "#a35c00",
    "not sufficient": "#5b2a86",
}  # fmt: skip


At = Callable[[float, float], tuple[float, float]]  # mm to places in the drawing


@dataclass(frozen=True, eq=False)
class Drawn:
    """Values on a grid, in the unit named, and the scale of their colours."""

    grid: HeightGrid
    unit: str
    scale: Scale
    diverging: bool = False


def heights(grid: HeightGrid) -> Drawn:
    """Heights of a grid, mm."""
    return Drawn(thinned(grid), "mm", scale_of(grid.z_mm))


def deviations(grid: HeightGrid) -> Drawn:
    """Deviations of a grid (mm), drawn in µm: blue below, red above."""
    z = 1000 * grid.z_mm
    return Drawn(thinned(grid.with_z(z)), "µm", scale_of(z, 0.0025, 0.9975, symmetric=True), True)


def draw_map(result: Path, kind: str, features: Sequence[Mapping[str, Any]] = ()) -> str:
    """SVG of a result's height (mm), deviation or sigma (µm), with the features that have a place.

    Raises
    ------
    ReconstructError
        if the result has no such map
    """
    stamp = (result / "summary.json").stat().st_mtime_ns
    drawn, picture = _drawn(result, kind, stamp)
    return _svg(drawn, picture, features)


def draw(drawn: Drawn, features: Sequence[Mapping[str, Any]]) -> str:
    """SVG of values that are at hand."""
    return _svg(drawn, _picture(drawn), features)


@lru_cache(maxsize=48)
def _drawn(result: Path, kind: str, _: int) -> tuple[Drawn, str]:
    drawn = _values(result, kind)
    return drawn, _picture(drawn)


def _values(result: Path, kind: str) -> Drawn:
    if kind not in KINDS:
        raise ReconstructError(f"there is no map '{kind}': {', '.join(KINDS)}")
    if kind == "deviation":
        return deviations(_deviation(result))
    grid = grid_of(read_results(result))
    if not np.isfinite(grid.z_mm).any():
        raise ReconstructError("this result holds no measured point")
    if kind == "height":
        return heights(grid)
    if grid.sigma_mm is None or not np.isfinite(grid.sigma_mm[grid.mask]).any():
        raise ReconstructError("this result states no uncertainty")
    z = 1000 * np.where(grid.mask, grid.sigma_mm, np.nan)
    return Drawn(thinned(grid.with_z(z)), "µm", scale_of(z, 0.0, 0.98, from_zero=True))


def _deviation(result: Path) -> HeightGrid:
    path = result / "deviation.tif"
    try:
        place = json.loads((result / "verdict.json").read_text(encoding="utf-8"))["deviation"][
            "grid"
        ]
        z = np.asarray(read_tiff(path), dtype=np.float64)[::-1]
    except (OSError, ValueError, KeyError, TypeError):
        raise ReconstructError("this result has no map of deviations") from None
    return HeightGrid(z, place["step_mm"], place["x0_mm"], place["y0_mm"])


def thinned(grid: HeightGrid) -> HeightGrid:
    """Every so many points only, so that the longer side has at most `LONGEST`."""
    step = max(1, -(-max(grid.z_mm.shape) // LONGEST))
    sigma = None if grid.sigma_mm is None else grid.sigma_mm[::step, ::step]
    return HeightGrid(grid.z_mm[::step, ::step], grid.step_mm * step, grid.x0_mm, grid.y0_mm, sigma)


def _picture(drawn: Drawn) -> str:
    low, high = drawn.scale.low, drawn.scale.high
    share = (drawn.grid.z_mm - low) / (high - low)
    index = np.rint(255 * np.clip(np.nan_to_num(share), 0, 1)).astype(np.uint8)
    colours = _colours(drawn.diverging)[index]
    alpha = np.where(drawn.grid.mask, 255, 0).astype(np.uint8)
    pixels = np.dstack([colours, alpha])[::-1]  # y upwards
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    return base64.b64encode(data.tobytes()).decode("ascii")


def _colours(diverging: bool) -> NDArray[np.uint8]:
    """(256, 3) BGR."""
    if not diverging:
        ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
        return np.asarray(ramp[:, 0], dtype=np.uint8)
    t = np.linspace(-1, 1, 256)[:, None]
    blue, red, white = np.array([172, 102, 33]), np.array([43, 24, 178]), np.full(3, 250)
    table = np.rint(white + np.abs(t) * (np.where(t < 0, blue, red) - white))
    return np.asarray(table, dtype=np.uint8)


def _svg(drawn: Drawn, picture: str, features: Sequence[Mapping[str, Any]]) -> str:
    grid = drawn.grid
    rows, columns = grid.z_mm.shape
    scale = WIDTH / (columns * grid.step_mm)
    height = rows * grid.step_mm * scale
    x0, y1 = grid.x0_mm - grid.step_mm / 2, grid.y0_mm + (rows - 0.5) * grid.step_mm

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - x0) * scale, TOP + (y1 - y) * scale

    size = (LEFT + WIDTH + RIGHT, TOP + height + BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1b2430" role="img" '
        f'aria-label="map over x and y in mm, values in {drawn.unit}">',
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{height:.1f}" fill="#d4d8de"/>',
        f'<image x="{LEFT}" y="{TOP}" width="{WIDTH}" height="{height:.1f}" '
        f'preserveAspectRatio="none" image-rendering="pixelated" '
        f'href="data:image/png;base64,{picture}"/>',
    ]
    parts += [_border(grid, at), _axes(grid, at), _scale_bar(grid, scale, height)]
    parts += [_arrows(), _bar(drawn, height)]
    if said := drawn.scale.clipped(drawn.unit):
        parts.append(f'<text x="{LEFT}" y="{size[1] - 6:.1f}">{escape(said)}</text>')
    parts += [_outline(feature, number, at) for number, feature in enumerate(features, 1)]
    return "".join([*parts, "</svg>"])


def _border(grid: HeightGrid, at: At) -> str:
    """Where the measured surface ends; nothing where it fills the map."""
    if grid.mask.all() or not grid.mask.any():
        return ""
    rings, _ = cv2.findContours(grid.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    drawn = []
    for ring in rings:
        if len(ring) > 8:
            points = (at(grid.x_mm[c], grid.y_mm[r]) for c, r in ring[:, 0])
            drawn.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return f'<path d="{"".join(drawn)}" fill="none" stroke="{INK}" stroke-width="0.8"/>'


def _axes(grid: HeightGrid, at: At) -> str:
    rows, columns = grid.z_mm.shape
    x0, y0 = grid.x0_mm - grid.step_mm / 2, grid.y0_mm - grid.step_mm / 2
    x1, y1 = x0 + columns * grid.step_mm, y0 + rows * grid.step_mm
    left, bottom = at(x0, y0)
    parts = []
    for x in _ticks(x0, x1):
        px, _ = at(x, y0)
        parts.append(
            f'<path d="M{px:.1f} {bottom:.1f}v5" stroke="{INK}"/>'
            f'<text x="{px:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{_length(x)}</text>'
        )
    for y in _ticks(y0, y1):
        _, py = at(x0, y)
        parts.append(
            f'<path d="M{left - 5} {py:.1f}h5" stroke="{INK}"/>'
            f'<text x="{left - 8}" y="{py + 4:.1f}" text-anchor="end">{_length(y)}</text>'
        )
    parts.append(
        f'<text x="{LEFT + WIDTH:.1f}" y="{bottom + 34:.1f}" text-anchor="end">x, mm</text>'
        f'<text transform="translate(13 {TOP + 2}) rotate(-90)" text-anchor="end">y, mm</text>'
    )
    return "".join(parts)


def _scale_bar(grid: HeightGrid, scale: float, height: float) -> str:
    bar = round_down(grid.z_mm.shape[1] * grid.step_mm / 4)
    return (
        f'<rect x="{LEFT + 8}" y="{TOP + height - 26:.1f}" width="{bar * scale + 12:.1f}" '
        f'height="22" fill="#fff" opacity=".85"/>'
        f'<path d="M{LEFT + 14} {TOP + height - 9:.1f}h{bar * scale:.1f}" stroke="#000" '
        f'stroke-width="3"/><text x="{LEFT + 14}" y="{TOP + height - 13:.1f}">{bar:g} mm</text>'
    )


def _arrows() -> str:
    """Which way x and y go."""
    x, y = LEFT + WIDTH - 58, TOP + 54
    return (
        f'<rect x="{x - 10}" y="{y - 48}" width="62" height="58" fill="#fff" opacity=".85"/>'
        f'<path d="M{x} {y}h32m-6 -4l6 4l-6 4M{x} {y}v-32m-4 6l4 -6l4 6" fill="none" '
        f'stroke="#000" stroke-width="1.8"/>'
        f'<text x="{x + 38}" y="{y + 4}">x</text>'
        f'<text x="{x}" y="{y - 36}" text-anchor="middle">y</text>'
    )


def _length(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _bar(drawn: Drawn, height: float) -> str:
    """The scale of colours, with round numbers."""
    colours = _colours(drawn.diverging)
    scale = drawn.scale
    x = LEFT + WIDTH + 14
    count = 64
    each = height / count
    parts = []
    for k in range(count):
        b, g, r = (int(v) for v in colours[255 - k * 255 // (count - 1)])
        parts.append(
            f'<rect x="{x}" y="{TOP + k * each:.1f}" width="16" height="{each + 0.6:.1f}" '
            f'fill="rgb({r},{g},{b})"/>'
        )
    for tick in scale.ticks():
        y = TOP + height * (scale.high - tick) / (scale.high - scale.low)
        parts.append(
            f'<path d="M{x + 16} {y:.1f}h4" stroke="{INK}"/>'
            f'<text x="{x + 23}" y="{min(max(y + 4.5, TOP + 9), TOP + height):.1f}">'
            f"{scale.label(tick)}</text>"
        )
    return "".join([*parts, f'<text x="{x}" y="{TOP + height + 18:.1f}">{drawn.unit}</text>'])


def _outline(feature: Mapping[str, Any], number: int, at: At) -> str:
    colour = COLOURS.get(str(feature.get("verdict")), "#1b2430")
    width = 1.5 if feature.get("verdict") == "good" else 3.5
    drawn = []
    corners = [at(*corner) for corner in feature.get("place") or ()]
    if corners:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        drawn.append(f'<path d="{path}{"Z" if len(corners) > 2 else ""}"/>')
    for defect in feature.get("defects") or ():
        x, y = at(defect["x_mm"], defect["y_mm"])
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="12"/>')
    if not drawn:
        return ""
    x, y = (
        corners[0] if corners else at(feature["defects"][0]["x_mm"], feature["defects"][0]["y_mm"])
    )
    title = escape(f"{feature.get('name', '')}: {feature.get('verdict', '')}")
    return (
        f'<g fill="none" stroke="{colour}" stroke-width="{width}"><title>{title}</title>'
        + "".join(drawn)
        + f'</g><g font-weight="700"><circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="{colour}"/>'
        f'<text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="middle" fill="#fff">{number}</text></g>'
    )


def _ticks(low: float, high: float) -> list[float]:
    step = round_down((high - low) / 5)
    first = int(np.ceil(low / step - 1e-9))
    return [round(k * step, 9) for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]
