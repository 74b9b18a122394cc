"""Figures of results as tables, and where results lie."""

from __future__ import annotations

from pathlib import Path

from reconstruct.export.results import is_result
from reconstruct.metrology.accuracy import Accuracy
from rig.exits import UsageError
from rig.workspace import Workspace


def table(rows: list[tuple[str, str]]) -> str:
    """Two columns of text, the first as wide as it needs."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def find_result(name: str, workspace: Path | None) -> Path:
    """The results folder of that path, or the newest one of the part of that name.

    Raises
    ------
    UsageError
        saying what is there instead
    """
    folder = Path(name)
    if is_result(folder):
        return folder
    if folder.is_dir() and not (Workspace.at(workspace).parts / name).is_dir():
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and is_result(path)]
        if len(inner) == 1:
            return inner[0]
        raise UsageError(f"{folder} holds no result: expected height.tif and summary.json there")
    space = Workspace.at(workspace)
    results = [
        path.parent
        for path in space.part(name).glob("**/summary.json")
        if is_result(path.parent) and not path.parent.name.startswith(".")
    ]
    if results:
        return max(results, key=lambda path: (path / "summary.json").stat().st_mtime_ns)
    raise UsageError(
        f"there is no result at {folder}, and part {name} has none: run 'rig reconstruct {name}'"
    )


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
                f"RMSE {error.rmse_mm:.5f} mm, MAE {error.mae_mm:.5f} mm, max {error.max_mm:.4f} mm",
            )
        )
    rows.append(("height, offset", f"{found.offset_mm:+.5f} mm"))
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
                f"{100 * found.within_one_sigma:.0f} % of errors within one sigma",
            )
        )
    return table(rows)
