"""The figures that every surface has, as a reader wants them: rounded, inputs marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconstruct.surface import Flag, Surface
from rig.report.words import Figure, rounded, told_by


def figures_of(surface: Surface) -> list[Figure]:
    """How much is measured, how high it lies, how sure it is."""
    mask = surface.mask
    share, of_what = measured(surface)
    figures = [Figure("surface measured", share, f"% of {of_what}")]
    if not mask.any():
        return figures
    z = surface.height_mm[mask]
    mean = float(z.mean())
    sigma, given = _height_told(surface.summary)
    figures.append(Figure("mean height", mean, "mm", sigma, given))
    for name, index in (("lowest point", int(z.argmin())), ("highest point", int(z.argmax()))):
        own = float(surface.sigma_mm[mask][index])
        figures.append(Figure(f"{name}, from the mean", float(z[index]) - mean, "mm", _known(own)))
    figures.append(Figure("pixel on the surface", 1000 * surface.camera.pixel_mm(mean), "µm"))
    # Not every method states an uncertainty.
    for name, values, unit in (
        ("height sigma, median", 1000 * surface.sigma_mm[mask], "µm"),
        ("normal sigma, median", surface.normal_sigma_deg[mask], "°"),
    ):
        middle = _median(values)
        if np.isfinite(middle):
            figures.append(Figure(name, middle, unit, significant=2))
    return figures


def tiles_of(surface: Surface) -> list[dict[str, str]]:
    """The few figures that stand at the top."""
    share, of_what = measured(surface)
    tiles = [{"name": f"of {of_what} measured", "value": f"{share:.1f} %"}]
    mask = surface.mask
    if not mask.any():
        return tiles
    z = surface.height_mm[mask]
    height_sigma = _median(1000 * surface.sigma_mm[mask])
    normal_sigma = _median(surface.normal_sigma_deg[mask])
    ends = surface.sigma_mm[mask][[int(z.argmin()), int(z.argmax())]]
    tiles.append(
        {
            "name": "highest to lowest",
            "value": f"{rounded(float(np.ptp(z)), _known(float(np.hypot(*ends))))} mm",
        }
    )
    if np.isfinite(height_sigma):
        tiles.append(
            {"name": "median height sigma", "value": f"{rounded(height_sigma, significant=2)} µm"}
        )
    if np.isfinite(normal_sigma):
        tiles.append(
            {"name": "median normal sigma", "value": f"{rounded(normal_sigma, significant=2)}°"}
        )
    return tiles


def measured(surface: Surface) -> tuple[float, str]:
    """Share of pixels with a height, percent, and of what: the part, or the whole picture."""
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    whole = bool(part.all() or not part.any())
    mask = surface.mask
    return 100 * float(mask.mean() if whole else mask[part].mean()), (
        "the picture" if whole else "the part"
    )


def pieces_of(summary: Mapping[str, Any]) -> list[list[str]]:
    """Rows of the pieces: number, middle, area, level, what told it."""
    return [
        [
            str(piece["piece"]),
            "{:.1f}, {:.1f}".format(*piece["centre_mm"]).replace("-", "−"),
            rounded(float(piece["area_mm2"]), significant=3) if "area_mm2" in piece else "",
            rounded(float(piece["level_mm"]), float(piece["sigma_mm"])),
            _told(piece),
        ]
        for piece in summary.get("pieces") or []
    ]


def steps_of(summary: Mapping[str, Any]) -> list[list[str]]:
    """Rows of the steps: from, to, how high, what told it."""
    return [
        [
            _piece(step["lower"]),
            _piece(step["upper"]),
            rounded(float(step["mm"]), float(step["sigma_mm"])),
            _told(step),
        ]
        for step in summary.get("steps") or []
    ]


def _piece(number: int) -> str:
    return f"piece {number}" if number else "stage"


def _told(row: Mapping[str, Any]) -> str:
    source = str(row.get("told_by", ""))
    if source == "shadow" and row.get("lights"):
        return f"its shadow under {row['lights']} lights"
    return {"prior": "given, not measured", "nothing": "nothing: it is not known"}.get(
        source, source
    )


def _height_told(summary: Mapping[str, Any]) -> tuple[float | None, str]:
    """Sigma of the height as a whole, and who gave it; no name where it was measured."""
    told = summary.get("height")
    if not isinstance(told, Mapping):
        return None, ""
    source = str(told.get("from", "unknown"))
    sigma = told.get("sigma_mm")
    return (
        float(sigma) if isinstance(sigma, int | float) else None,
        "" if source in ("shadow", "nearness") else f"input: {told_by(source)}",
    )


def _known(sigma: float) -> float | None:
    return sigma if np.isfinite(sigma) and sigma > 0 else None


def _median(values: NDArray[Any]) -> float:
    """Median of what is finite, NaN where nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")
