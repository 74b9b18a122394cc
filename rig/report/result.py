"""The report beside a result: figures, true errors where the truth is known, worst residuals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconstruct.metrology.accuracy import Accuracy, Truth, evaluate
from reconstruct.surface import Surface
from rig.report.surface import write_surface_report
from rig.report.words import Figure

REPORT = "report.html"


def true_errors(accuracy: Accuracy) -> list[Figure]:
    """Figures of a comparison with the truth."""
    height, plane = accuracy.mean_removed, accuracy.plane_removed
    figures = [
        Figure("true height error, RMS, mean removed", 1000 * height.rmse_mm, "µm"),
        Figure("true height error, RMS, plane removed", 1000 * plane.rmse_mm, "µm"),
        Figure("true height error, largest, mean removed", 1000 * height.max_mm, "µm"),
    ]
    if accuracy.within_of == "absolute":
        error = accuracy.absolute.rmse_mm
        figures.append(Figure("true height error, RMS, absolute", 1000 * error, "µm"))
    if accuracy.normal_mean_deg is not None:
        figures.append(Figure("true error of normals, mean", accuracy.normal_mean_deg, "°"))
    if accuracy.normal_median_deg is not None:
        figures.append(Figure("true error of normals, median", accuracy.normal_median_deg, "°"))
    if accuracy.within_one_sigma is not None:
        share = 100 * accuracy.within_one_sigma
        name = f"true height errors, {accuracy.within_of}, within one sigma"
        figures.append(Figure(name, share, "%"))
    return figures


def write_result_report(
    surface: Surface,
    folder: Path,
    *,
    title: str,
    truth: Path | None = None,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write ``report.html`` into a results folder and return its path.

    Parameters
    ----------
    truth : truth.npz of the part, for its true errors
    """
    figures: list[Figure] = []
    if truth is not None and surface.mask.any():
        figures = true_errors(evaluate(surface, Truth.read(truth), border_px=0, cutoff_mm=None))
    path = folder / REPORT
    write_surface_report(
        surface,
        path,
        title=title,
        figures=figures,
        residuals=surface.residuals,
        provenance=provenance,
    )
    return path
