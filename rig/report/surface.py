"""The report of one reconstructed surface: `report.html`, one file that opens offline."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.surface import Flag, Residual, Surface
from rig.report.figures import figures_of, pieces_of, steps_of, tiles_of
from rig.report.limits import limits_of
from rig.report.page import asset, floats, write_page
from rig.report.scales import scale_of, share_of
from rig.report.tiles import (
    TILE,
    Codes,
    Coding,
    flags_halved,
    halved,
    levels_of,
    linear,
    logarithmic,
    round_down,
    text,
    tiles,
)
from rig.report.words import Figure, moment, origin

SCRIPTS = ("tiles.js", "mapview.js", "profiles.js", "notes.js", "view3d.js", "surface.js")
RAY_NODES = 65  # along each side: between them a ray errs by less than a micrometre
RESIDUAL_PX = 300  # longest side of the pictures of residuals
NORMAL_QUANTUM = 5e-4  # of a unit normal's x and y: 0.03°
FINEST_MM = 1e-5  # no quantum of height is below it

FLAGS = (
    (Flag.UNLIT, (124, 58, 237), "no usable signal; nothing is claimed"),
    (Flag.OUTSIDE, (120, 128, 140), "not part of the surface"),
    (Flag.EDGE, (217, 119, 6), "an edge or a wall narrower than a pixel; nothing is claimed"),
    (Flag.CLIPPED, (220, 38, 38), "most of its signal is clipped; a shorter exposure helps"),
    (Flag.SHADOWED, (30, 64, 175), "too few lights reach it"),
)


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
    residuals : pictures of the lights that the fit explains worst
    provenance : everything needed to say where the result came from; the surface's own summary
        and material are added
    """
    summary = surface.summary
    size = f"{surface.camera.width} × {surface.camera.height} px"
    when = [moment(str(summary["date"]))] if "date" in summary else []
    pyramids = _pyramids(surface)
    shown = [*figures_of(surface), *figures]
    data = {
        "title": title,
        "subtitle": " · ".join([f"method {summary.get('method', 'unknown')}", size, *when]),
        "id": _identity(surface, title),
        "said": f"{size}, {title}",
        "unfit": summary.get("unfit_for_metrology"),
        "tiles": tiles_of(surface),
        "figures": [
            {"name": figure.name, "text": str(figure), "given": figure.given} for figure in shown
        ],
        "map": _map_data(surface, pyramids),
        "outline": _outline(surface),
        "flags": _flag_data(surface.flags),
        "pieces": pieces_of(summary),
        "steps": steps_of(summary),
        "limits": limits_of(surface),
        "residuals": sorted(
            (_residual_data(residual) for residual in residuals),
            key=lambda row: -float(row["rms_percent"]),
        ),
        "residual_note": _residual_note(summary),
        "origin": origin(summary, surface.camera.shape),
        "provenance": {**(provenance or {}), "material": surface.material, "summary": summary},
        "viridis": _colours(cv2.COLORMAP_VIRIDIS),
        "magma": _colours(cv2.COLORMAP_MAGMA),
        "diverging": _diverging(),
    }
    write_page(
        path,
        title=title,
        body=asset("surface.html"),
        script="\n".join(asset(name) for name in SCRIPTS),
        data=data,
        blobs=_blobs(pyramids),
    )


# maps ------------------------------------------------------------------------------------------
Pyramids = dict[str, tuple[Coding, list[Codes]]]


def _pyramids(surface: Surface) -> Pyramids:
    """Coded levels of each map, the full one first; of the normals the coarsest alone."""
    mask = surface.mask
    levels = levels_of(mask.shape)
    height = [np.where(mask, surface.height_mm, np.float32(np.nan))]
    sigma = [np.where(mask, np.float32(1000) * surface.sigma_mm, np.float32(np.nan))]
    flags = [surface.flags]
    normals = [surface.normals[..., k] for k in (0, 1)]
    for _ in range(levels - 1):
        height.append(halved(height[-1]))
        sigma.append(halved(sigma[-1]))
        flags.append(flags_halved(flags[-1]))
        normals = [halved(values) for values in normals]
    coding = linear(height[0], _height_quantum(surface))
    sigmas = logarithmic(sigma[0])
    plain = Coding("linear", 0.0, 1.0)
    made = {
        "height": (coding, [coding.codes(values) for values in height]),
        "sigma": (sigmas, [sigmas.codes(values) for values in sigma]),
        "flags": (plain, [values.astype(np.int32) + 1 for values in flags]),
    }
    unit = Coding("linear", -1.0, NORMAL_QUANTUM)
    empty = np.zeros((0, 0), np.int32)
    for name, values in zip(("nx", "ny"), normals, strict=True):
        made[name] = (unit, [empty] * (levels - 1) + [unit.codes(values)])
    return made


def _blobs(pyramids: Pyramids) -> Iterator[tuple[str, str]]:
    """Tiles of the overviews first: with them the page can be used."""
    for name, (_, levels) in pyramids.items():
        last = len(levels) - 1
        yield f"{name}-{last}-0-0", text(levels[last])
    for name, (_, levels) in pyramids.items():
        yield from tiles(name, levels[:-1])


def _height_quantum(surface: Surface) -> float:
    """Below a quarter of the least sigma and half of what the normals say of a neighbour, mm."""
    mask = surface.mask
    found = surface.sigma_mm[mask & (surface.sigma_mm > 0)]
    turned = surface.normal_sigma_deg[mask & (surface.normal_sigma_deg > 0)]
    if not found.size:
        reach = float(np.ptp(surface.height_mm[mask])) if mask.any() else 1.0
        return round_down(max(reach / 2**18, FINEST_MM))
    quantum = float(found.min()) / 4
    if turned.size:
        pixel = surface.camera.pixel_mm(float(surface.height_mm[mask].mean()))
        quantum = min(quantum, pixel * float(np.radians(np.median(turned))) / 2)
    return round_down(max(quantum, FINEST_MM))


def _map_data(surface: Surface, pyramids: Pyramids) -> dict[str, Any]:
    mask = surface.mask
    mean = float(surface.height_mm[mask].mean()) if mask.any() else 0.0
    sigma = 1000 * surface.sigma_mm[mask]
    pixel = surface.camera.pixel_mm(mean)
    slope = np.abs(surface.normals[mask][:: max(1, int(mask.sum()) // 50_000), :2])
    usual = float(np.nanmedian(slope)) if slope.size else 0.1
    heights = scale_of(surface.height_mm)
    sigmas = scale_of(sigma, 0.0, 0.98, from_zero=True)
    return {
        "width": surface.camera.width,
        "height": surface.camera.height,
        "tile": TILE,
        "levels": levels_of(mask.shape),
        "part": _part_box(surface),
        "mean_mm": mean,
        "pixel_mm": pixel,
        "relief": 0.15 / max(usual, 1e-4),
        "absolute": "pieces" in surface.summary,
        "sigma_known": bool(np.isfinite(sigma).any()),
        "rays": _rays(surface),
        "scales": {"height": heights.to_json("mm"), "sigma": sigmas.to_json("µm")},
        "codings": {name: coding.to_json() for name, (coding, _) in pyramids.items()},
    }


def _part_box(surface: Surface) -> list[float]:
    """Left, top, right, bottom of the part in the picture, px, with a little room."""
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    height, width = part.shape
    if not part.any():
        return [0, 0, width, height]
    columns, rows = np.flatnonzero(part.any(axis=0)), np.flatnonzero(part.any(axis=1))
    room = 0.06 * max(columns[-1] - columns[0], rows[-1] - rows[0])
    return [
        max(0.0, columns[0] - room),
        max(0.0, rows[0] - room),
        min(float(width), columns[-1] + 1 + room),
        min(float(height), rows[-1] + 1 + room),
    ]


def _rays(surface: Surface) -> dict[str, Any]:
    """World x and y at height 0 and their change per mm of height, on nodes over the picture."""
    camera = surface.camera
    columns, rows = (min(RAY_NODES, size + 1) for size in (camera.width, camera.height))
    u, v = (
        np.linspace(-0.5, size - 0.5, count)
        for size, count in ((camera.width, columns), (camera.height, rows))
    )
    directions = camera.rays(np.stack(np.meshgrid(u, v), axis=-1))
    per_mm = directions[..., :2] / directions[..., 2:]
    ground = camera.centre_mm[:2] - per_mm * camera.centre_mm[2]
    return {
        "columns": columns,
        "rows": rows,
        "u0": -0.5,
        "v0": -0.5,
        "du": u[1] - u[0],
        "dv": v[1] - v[0],
        "x0": floats(ground[..., 0]),
        "y0": floats(ground[..., 1]),
        "dx": floats(per_mm[..., 0]),
        "dy": floats(per_mm[..., 1]),
    }


def _outline(surface: Surface) -> list[Any]:
    """The part's outline, polygons in px; none where the part fills the picture."""
    part = ((surface.flags & int(Flag.OUTSIDE)) == 0).astype(np.uint8)
    if part.all() or not part.any():
        return []
    rings, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    fine = max(part.shape) / 700
    long = [ring for ring in rings if len(ring) >= max(12, max(part.shape) // 40)]
    return [cv2.approxPolyDP(ring, fine, True)[:, 0].tolist() for ring in long]


# colours, flags, residuals ----------------------------------------------------------------------
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


def _flag_data(flags: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Shares are of the part; that of what is not part, of the picture."""
    part = flags[(flags & int(Flag.OUTSIDE)) == 0]

    def share(flag: Flag) -> str:
        among = flags if flag == Flag.OUTSIDE or not part.size else part
        return share_of(100 * float(np.mean((among & int(flag)) != 0)))

    return [
        {
            "bit": int(flag),
            "name": str(flag.name).lower(),
            "colour": colour,
            "share": share(flag),
            "meaning": meaning,
        }
        for flag, colour, meaning in FLAGS
    ]


def shrink(values: NDArray[Any], longest: int) -> NDArray[np.float32]:
    """Average whole blocks of pixels, NaN left out, so that the longest side is at most `longest`.

    Parameters
    ----------
    values : (H, W)
    """
    step = max(1, -(-max(values.shape) // longest))
    if step == 1:
        return np.asarray(values, dtype=np.float32)
    rows, columns = values.shape[0] // step, values.shape[1] // step
    blocks = np.asarray(values[: rows * step, : columns * step], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a block without surface stays NaN
        means = np.nanmean(blocks.reshape(rows, step, columns, step), axis=(1, 3))
    return np.asarray(means, dtype=np.float32)


def _residual_data(residual: Residual) -> dict[str, Any]:
    captured = shrink(residual.captured, RESIDUAL_PX)
    rendered = shrink(residual.rendered, RESIDUAL_PX)
    difference = captured - rendered
    finite = np.isfinite(difference)
    level = float(np.mean(np.abs(captured[finite]))) if finite.any() else 1.0
    level = level or 1.0
    reach = float(np.quantile(np.abs(difference[finite]), 0.99)) if finite.any() else 1.0
    bright = float(np.nanquantile(captured, 0.995)) if finite.any() else 1.0
    rms = 100 * float(np.sqrt(np.mean(difference[finite] ** 2))) / level if finite.any() else 0.0
    scale, difference_scale = bright or 1.0, reach or level
    return {
        "led": residual.led,
        "width": captured.shape[1],
        "height": captured.shape[0],
        "captured": _picture(np.clip(captured, 0, scale), scale / 250),
        "rendered": _picture(np.clip(rendered, 0, scale), scale / 250),
        "difference": _picture(
            np.clip(difference, -difference_scale, difference_scale), difference_scale / 125
        ),
        "scale": scale,
        "difference_scale": difference_scale,
        "rms_percent": rms,
        "said": f"LED {residual.led}: RMS difference {rms:.3g} % of the picture's mean; colours "
        f"end at ± {100 * difference_scale / level:.2g} %",
    }


def _picture(values: NDArray[np.float32], quantum: float) -> dict[str, Any]:
    """To be looked at: as many levels as a screen has."""
    coding = linear(values, quantum)
    return {"coding": coding.to_json(), "tile": text(coding.codes(values))}


def _residual_note(summary: Mapping[str, Any]) -> str:
    note = (
        "Captured, rendered from the fit, and their difference (blue: captured is darker, red: "
        "brighter)."
    )
    residual, noise = summary.get("residual"), summary.get("noise")
    if residual and noise:
        note += (
            f" Over all pictures the fit leaves {float(residual) / float(noise):.2f} times "
            "the variance that the sensor's noise alone would leave."
        )
    return note


def _identity(surface: Surface, title: str) -> str:
    """Tells this result from others: what readers put into the page is kept under it."""
    known = [title, *(str(surface.summary.get(key)) for key in ("part", "recording", "date"))]
    return hashlib.sha256("\0".join(known).encode("utf-8", "backslashreplace")).hexdigest()[:16]
