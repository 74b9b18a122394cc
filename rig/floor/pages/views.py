"""What the pages show of a run: its folder's files beside the store's row."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from intake.errors import InputError
from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff
from rig.doctor import check_calibration
from rig.exits import UsageError
from rig.floor.plans.words import limits_in_words, measured_in_words
from rig.floor.scale import CERTIFICATES
from rig.floor.store.reading import VERDICT
from rig.floor.store.tables import Run
from rig.floor.store.words import run_to_json
from rig.workspace import Workspace

FILES = {
    "report.html": "text/html; charset=utf-8",
    "verdict.json": "application/json",
    "summary.json": "application/json",
    "surface.ply": "application/octet-stream",
    "height.tif": "image/tiff",
    "normals.tif": "image/tiff",
    "uncertainty.tif": "image/tiff",
    "deviation.tif": "image/tiff",
}


@dataclass(frozen=True)
class RunView:
    """A run for a page: the row, and the features as verdict.json holds them, with places."""

    run: Run
    folder: Path | None
    features: list[dict[str, Any]]
    maps: list[str]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [feature for feature in self.features if feature["verdict"] != "good"]


def view_of(run: Run, workspace: Workspace, rig: str) -> RunView:
    """A run and its folder, if it is one of this workspace and still there."""
    folder = workspace.folder / run.path if run.rig == rig else None
    if folder is None or not (folder / "summary.json").is_file():
        return RunView(run, None, _lined(run_to_json(run)["features"]), [])
    features: list[dict[str, Any]] = run_to_json(run)["features"]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        features = json.loads((folder / VERDICT).read_text(encoding="utf-8"))["features"]
    maps = ["height"]
    if (folder / "deviation.tif").is_file():
        maps.insert(0, "deviation")
    if _states_uncertainty(folder / "uncertainty.tif"):
        maps.append("sigma")
    return RunView(run, folder, _lined(features), maps)


def _states_uncertainty(path: Path) -> bool:
    """Whether a map of uncertainty holds any: not every method states one."""
    try:
        return bool(np.isfinite(read_tiff(path)).any())
    except (InputError, ReconstructError):  # a result without one is nothing special
        return False


def _lined(features: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**feature, "measured": measured_in_words(feature), "limits": limits_in_words(feature)}
        for feature in features
    ]


def file_of(view: RunView, name: str) -> tuple[Path, str]:
    """A file of a result and its media type; raises `UsageError` for any other."""
    if view.folder is None or name not in FILES or not (view.folder / name).is_file():
        raise UsageError(f"run {view.run.id} has no file {name}")
    return view.folder / name, FILES[name]


@dataclass(frozen=True)
class InstrumentView:
    """How the instrument stands: calibration, last check, certificates, unfinished recordings."""

    calibration: list[dict[str, str]]
    last_check: str
    certificates: list[dict[str, str]]
    unfinished: list[str]


def instrument_view(workspace: Workspace, config: Any) -> InstrumentView:
    checks = workspace.calibration / "checks"
    stamps = sorted(path.name for path in checks.iterdir()) if checks.is_dir() else []
    found = sorted((workspace.folder / CERTIFICATES).glob("*/certificate.json"), reverse=True)
    return InstrumentView(
        [
            {"name": finding.name, "state": finding.state, "text": finding.message,
             "advice": finding.advice, "days": _days(finding.message)}
            for finding in check_calibration(workspace, config)
        ],
        _readable(stamps[-1]) if stamps else "",
        [{"name": path.parent.name, "date": _readable(path.parent.name)} for path in found],
        [
            f"{part}/{run.name}"
            for part in workspace.part_names()
            for run in workspace.unfinished_runs(part)
        ],
    )  # fmt: skip


def _days(said: str) -> str:
    """How many days old a finding says that a file is; empty if it says something else."""
    found = re.match(r"is ([\d.]+) days old", said)
    return found[1] if found else ""


def _readable(stamp: str) -> str:
    try:
        when = datetime.strptime(stamp.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return stamp
    return f"{when:%Y-%m-%d %H:%M} UTC"
