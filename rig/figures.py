"""Figures of results as tables, and where results lie."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capture.claim import claim, is_there
from capture.errors import CaptureError
from intake.trees import read_json
from reconstruct.export.maps import write_tiff
from reconstruct.export.results import is_result
from rig.exits import UsageError
from rig.workspace import Workspace

if TYPE_CHECKING:  # a command that shows no such figures need not load what finds them
    from reconstruct.metrology.accuracy import Accuracy
    from reconstruct.metrology.compare import Comparison
    from reconstruct.metrology.grid import HeightGrid
    from reconstruct.metrology.measure import Measurement

UNITS_MM = {"mm": 1.0, "cm": 10.0, "inch": 25.4, "m": 1000.0}


def refuse_other_unit(own: HeightGrid, other: HeightGrid, name: str, unit: str | None) -> None:
    """Refuse a reference whose size is the part's but for a unit; raises `UsageError`."""
    from reconstruct.metrology.reading import MESHES

    if unit is not None or Path(name).suffix.lower() not in MESHES:
        return
    own_mm, other_mm = (max(g.z_mm.shape) * g.step_mm for g in (own, other))
    for word, factor in UNITS_MM.items():
        for there, ratio in ((word, factor), ("mm", 1 / factor)):
            if factor > 20 and abs(math.log(own_mm / other_mm / ratio)) < math.log(1.3):
                raise UsageError(
                    f"{name} is {other_mm:.4g} mm wide and the part {own_mm:.4g} mm: its numbers "
                    f"seem to be in {there}; say so with --unit {there}, or --unit mm to go on"
                )


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns of text, the first as wide as it needs."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def find_result(name: str, workspace: Path | None) -> Path:
    """The results folder of that path, or the one of the part of that name.

    Of several the newest that `rig run` made (it holds a verdict), else the newest of all.

    Raises
    ------
    UsageError
        saying what is there instead
    """
    folder = Path(name)
    if is_result(folder):
        return folder
    space = Workspace.at(workspace)
    if folder.is_dir() and not space.names_part(name):
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and is_result(path)]
        if len(inner) == 1:
            return inner[0]
        raise UsageError(f"{folder} holds no result: expected height.tif and summary.json there")
    if len(folder.parts) > 1:
        raise UsageError(f"there is no result at {folder}: name a folder of results, or a part")
    results = [
        path.parent
        for path in space.part(name).glob("**/summary.json")
        if is_result(path.parent) and not _is_hidden(path.relative_to(space.parts))
    ]
    if results:
        return max(results, key=_standing)
    raise UsageError(
        f"there is no result at {folder}, and part {name} has none: run 'rig reconstruct {name}'"
    )


def _standing(folder: Path) -> tuple[bool, str, str]:
    """What makes a result the one that is meant: made by `rig run`, then new.

    The times of files are not asked: those of a copied workspace are times of the copy.
    """
    made_by_run = (folder / "verdict.json").is_file()
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        summary = None
    date = summary.get("date") if isinstance(summary, dict) else None
    return made_by_run, str(date or ""), str(folder)


def which_result(name: str, workspace: Path | None) -> dict[str, str]:
    """Which result a name stands for: folder, method, date, maker; empty where it is none."""
    try:
        folder = find_result(name, workspace)
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (UsageError, CaptureError, OSError, ValueError):
        return {}  # a mesh or a map: it has been named
    unfit = summary.get("unfit_for_metrology")
    return {
        **({"unfit": str(unfit)} if unfit else {}),
        "folder": str(folder),
        "method": str(summary.get("method", "unknown method")),
        "date": str(summary.get("date", "no date")),
        "made_by": "rig run" if (folder / "verdict.json").is_file() else "rig reconstruct",
    }


def result_line(found: dict[str, str]) -> str:
    """The same for people."""
    line = f"{found['folder']}: {found['method']}, {found['date']}, made by {found['made_by']}"
    return f"{line}; unfit for metrology: {found['unfit']}" if found.get("unfit") else line


def _is_hidden(path: Path) -> bool:
    """Whether it is still being written."""
    return any(part.startswith(".") for part in path.parts)


def find_truth(folder: Path, name: str, workspace: Path | None) -> Path:
    """The ground truth that came with the recording of a result; raises `UsageError`."""
    from capture.errors import CaptureError
    from capture.reading import Recording

    for place in (folder, *folder.parents[:3]):
        if (place / "run.jsonl").is_file():
            path = Recording.open(place).truth_path
            if path is not None:
                return path
    try:
        path = Recording.open(Workspace.at(workspace).latest_run(name)).truth_path
    except (CaptureError, UsageError):
        path = None
    if path is None:
        raise UsageError(f"no ground truth came with {name}: name it with --truth truth.npz")
    return path


def accuracy_table(found: Accuracy) -> str:
    """An accuracy for people."""

    def degrees(value: float | None) -> str:
        return "no true normals" if value is None else f"{value:.4f}°"

    rows = [
        ("pixels compared", f"{found.pixels} ({100 * found.coverage:.2f} % of the true surface)"),
        ("border left out", f"{found.border_px} px"),
        ("normals, mean error", degrees(found.normal_mean_deg)),
        ("normals, median error", degrees(found.normal_median_deg)),
        ("normals, 95 % below", degrees(found.normal_95_deg)),
    ]
    for name, error in (
        ("mean removed", found.mean_removed),
        ("plane removed", found.plane_removed),
        ("absolute", found.absolute),
    ):
        rows.append(
            (
                f"height, {name}",
                f"RMSE {error.rmse_mm:.5f} mm, MAE {error.mae_mm:.5f} mm, "
                f"max {error.max_mm:.4f} mm",
            )
        )
    rows.append(("height, offset", f"{found.offset_mm:+z.5f} mm"))
    if found.form_rmse_mm is not None:
        rows.append(
            (f"form, longer than {found.cutoff_mm:g} mm", f"RMSE {found.form_rmse_mm:.5f} mm")
        )
        rows.append(
            (f"texture, below {found.cutoff_mm:g} mm", f"RMSE {found.texture_rmse_mm:.5f} mm")
        )
    if found.within_one_sigma is not None:
        rows.append(
            (
                "uncertainty",
                f"median {found.sigma_median_mm:.5f} mm, "
                f"{100 * found.within_one_sigma:.0f} % of height errors, {found.within_of}, within "
                "one sigma",
            )
        )
    return table(rows)


def shape_of(
    name: str,
    workspace: Path | None,
    pitch_mm: float | None,
    border_mm: float,
    step_mm: float | None = None,
    unit: str | None = None,
) -> HeightGrid:
    """Heights of a file, results folder or part, without a border.

    Raises
    ------
    UsageError, ReconstructError
        if there is no such thing or it cannot be read
    """
    from scipy import ndimage

    from reconstruct.metrology.reading import read_shape

    path = Path(name)
    if not path.is_file():
        path = path if path.suffix and not path.exists() else find_result(name, workspace)
    if unit is not None and unit not in UNITS_MM:
        raise UsageError(f"there is no unit '{unit}': choose {', '.join(UNITS_MM)}")
    if pitch_mm is not None and not 0 < pitch_mm < np.inf:
        raise UsageError(f"a pitch of {pitch_mm:g} mm: expected a length above 0 mm")
    grid = read_shape(path, step_mm, pitch_mm, UNITS_MM[unit] if unit else None)
    if not 0 <= border_mm < np.inf:
        raise UsageError(f"a border of {border_mm:g} mm: expected 0 mm or more")
    points = int(np.ceil(border_mm / grid.step_mm)) if border_mm > 0 else 0
    if points:
        if 2 * points >= min(grid.z_mm.shape) - 8:
            raise UsageError(f"a border of {border_mm:g} mm leaves nothing of {name}")
        # Along the edges of what was measured, not of the grid around it.
        inner = ndimage.binary_erosion(grid.mask, np.ones((3, 3)), iterations=points)
        grid = grid.with_z(np.where(inner, grid.z_mm, np.nan))
    return grid


def numbers(text: str, option: str, counts: tuple[int, ...]) -> tuple[float, ...]:
    """Numbers separated by commas; raises `UsageError` if there are not as many as expected."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not np.all(np.isfinite(values)):
        wanted = " or ".join(str(count) for count in counts)
        raise UsageError(f"{option} is '{text}': expected {wanted} numbers with commas, in mm")
    return values


def comparison_table(found: Comparison, passed: bool) -> str:
    """A comparison for people."""
    rows = [
        ("aligned", found.alignment),
        ("points", f"{np.count_nonzero(found.deviation.mask)} ({100 * found.overlap:.1f} %)"),
        ("deviation, mean", f"{found.mean_mm:+z.5f} mm"),
        ("deviation, RMS", f"{found.rms_mm:.5f} mm"),
        ("deviation, 95 % below", f"{found.p95_mm:.5f} mm"),
        ("deviation, largest", f"{found.max_mm:.5f} mm"),
    ]
    rows += [("not determined", f"{motion}: held") for motion in found.undetermined]
    if found.within is not None:
        verdict = "PASS" if passed else "FAIL"
        share = f"{100 * found.within:.3f} % within ±{found.tolerance_mm:g} mm"
        rows.append(("verdict", f"{verdict}: {share}"))
    return table(rows)


def write_comparison(found: Comparison, report: dict[str, Any], folder: Path) -> None:
    """Write ``deviation.tif`` (mm, on the measured grid, y downwards) and ``comparison.json``."""
    if is_there(folder):
        raise UsageError(f"{folder} exists already: choose another --out")
    with claim(folder) as claimed:
        write_tiff(claimed.work / "deviation.tif", found.deviation.z_mm[::-1], "deviation, mm")
        text = json.dumps(report, indent=1)
        (claimed.work / "comparison.json").write_text(text + "\n", encoding="utf-8")
        claimed.publish()


def measurement_table(found: Measurement) -> str:
    """A measurement for people: the chain it went through, then the figures."""
    recipe = found.recipe
    form = ", ".join(
        f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in found.form.parameters.items()
        if not isinstance(value, list)
    )
    rows = [
        ("form removed", f"{found.form.kind}{': ' if form else ''}{form}"),
        ("cut-off", f"{recipe.cutoff_mm:g} mm" if recipe.cutoff_mm else "none"),
        ("S-filter", f"{recipe.short_mm:g} mm" if recipe.short_mm else "none"),
        ("points", f"{np.count_nonzero(found.surface.mask)}, {found.surface.step_mm:.4g} mm apart"),
    ]
    if found.correlation_mm is not None:
        rows.append(("errors correlated over", f"{found.correlation_mm:.3g} mm"))
    if found.edges_mm is not None:
        places = ", ".join(f"{edge:.2f}" for edge in found.edges_mm)
        rows.append(("edges of the step", f"{len(found.edges_mm)}, at {places} mm"))
    for parameter in found.parameters:
        unit = f" {parameter.unit}" if parameter.unit else ""
        rows.append((parameter.name, f"{with_sigma(parameter.value, parameter.sigma)}{unit}"))
    return table(rows)


def levels_of(
    name: str, workspace: Path | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Levels of the pieces of a result, and the steps between them that told these levels.

    As its summary lists them; none for other surfaces.
    """
    path = Path(name)
    if path.is_file():
        return [], []
    path = path if path.suffix and not path.exists() else find_result(name, workspace)
    summary = path / "summary.json" if path.is_dir() else path.parent / "summary.json"
    if not summary.is_file():
        return [], []
    data = read_json(summary)
    listed = (data.get(key) if isinstance(data, dict) else None for key in ("pieces", "steps"))
    pieces, steps = ([item for item in each or [] if isinstance(item, dict)] for each in listed)
    return pieces, steps


def levels_table(levels: list[dict[str, Any]], steps: list[dict[str, Any]] | None = None) -> str:
    """Levels of pieces for people, where each lies and what told it, and the steps between them."""
    rows = []
    for piece in levels:
        x, y = piece["centre_mm"]
        rows.append((
            f"piece {piece['piece']} at ({x:.1f}, {y:.1f}) mm",
            f"{with_sigma(piece['level_mm'], piece['sigma_mm'])} mm, told by {piece['told_by']}",
        ))  # fmt: skip
    for step in steps or []:
        over = f"piece {step['lower']}" if step["lower"] else "the stage"
        rows.append((
            f"step from {over} to piece {step['upper']}",
            f"{with_sigma(step['mm'], step['sigma_mm'])} mm, told by {step['told_by']} "
            f"under {step['lights']} lights",
        ))  # fmt: skip
    return table([("levels above the stage", ""), *rows])


def with_sigma(value: float, sigma: float | None) -> str:
    """``9330 ± 120``: the uncertainty with two digits, the value with as many as that leaves."""
    if sigma is None or not sigma > 0 or not math.isfinite(sigma):
        return f"{value:z.5g}"
    sigma = float(f"{sigma:.1e}")  # two digits: 0.0996 becomes 0.10
    places = 1 - math.floor(math.log10(sigma))
    shown = max(places, 0)
    return f"{round(value, places):z.{shown}f} ± {sigma:.{shown}f}"
