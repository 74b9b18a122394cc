"""What a result's folder says of itself, as a row of the store.

The row depends on the folder alone, so that a store made anew is equal to the one that was lost.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rig.workspace import Workspace

VERDICT, SUMMARY = "verdict.json", "summary.json"
NUMBERS = ("value", "sigma", "repeatability", "nominal", "lower", "upper")  # of a feature


def results_in(workspace: Workspace) -> list[Path]:
    """Folders of every result in a workspace, oldest run first."""
    return [
        summary.parent
        for run in workspace.all_runs()
        for summary in sorted(run.glob(f"results/*/{SUMMARY}"))
        if not summary.parent.name.startswith(".")
    ]


def row_of(
    result: Path, workspace: Workspace, rig: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Columns of `tables.Run` and of its features.

    Raises
    ------
    OSError, ValueError
        if a file cannot be read or is no JSON object
    """
    summary = _object(result / SUMMARY)
    verdict = _object(result / VERDICT) if (result / VERDICT).is_file() else {}
    run = result.parent.parent
    stamp = str(verdict.get("measured_at") or "")
    row = {
        "rig": rig,
        "path": result.relative_to(workspace.folder).as_posix(),
        "part": str(verdict.get("part") or summary.get("part") or run.parent.name),
        "part_type": str(verdict.get("part_type", "")),
        "operator": str(verdict.get("operator", "")),
        "batch": str(verdict.get("batch", "")),
        "measured_at": _when(stamp) or _named(run.name) or _when(str(summary.get("date", ""))),
        "verdict": str(verdict.get("verdict", "measured")),
        "exit_code": int(verdict.get("exit_code", 0)),
        "plan_hash": str((verdict.get("plan") or {}).get("hash", "")),
        "method": str(summary.get("method", "")),
        "version": str(summary.get("version", "")),
        "seconds": (verdict.get("seconds") or {}).get("total"),
        "figures": verdict.get("figures") or {},
        "deviation": {
            key: value
            for key, value in (verdict.get("deviation") or {}).items()
            if not isinstance(value, dict | list)
        },
        "notes": list(verdict.get("notes") or ()),
    }
    row["search"] = " ".join(str(row[key]) for key in ("part", "batch", "operator")).lower()
    if row["measured_at"] is None:
        row["measured_at"] = datetime(1970, 1, 1)
    features = [
        {
            "name": str(feature.get("name", "")),
            "kind": str(feature.get("kind", "")),
            "unit": str(feature.get("unit", "")),
            **{key: feature.get(key) for key in NUMBERS},
            "verdict": str(feature.get("verdict", "")),
            "reason": str(feature.get("reason", "")),
        }
        for feature in verdict.get("features") or ()
    ]
    return row, features


def _object(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds no JSON object")
    return data


def _when(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def _named(run: str) -> datetime | None:
    """The time in a run's name, as 20260131T235959Z or with -2 behind it."""
    try:
        return datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
