"""Thins old recordings by the rule in ``rig.yaml``: the pictures go, everything else stays."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from capture.journal import THINNED, THINNED_FORMAT
from rig.config import StoreSection
from rig.exits import UsageError
from rig.floor.store.reading import VERDICT, _named
from rig.workspace import Workspace


@dataclass(frozen=True)
class Thinned:
    """A recording without its pictures."""

    run: Path
    bytes: int


def prune(
    workspace: Workspace, rule: StoreSection, *, dry_run: bool = False, now: datetime | None = None
) -> list[Thinned]:
    """Remove the pictures of recordings that the rule gives up; returns which.

    A recording is kept whole if it is younger than ``thin_after_days``, among the newest
    ``keep_newest`` of its part, has no result yet, or (``keep_not_good``) has a result that is not
    good. Results, calibration, journal and ``snapshot/`` always stay.

    Raises
    ------
    UsageError
        if there is no rule
    """
    if rule.thin_after_days is None:
        raise UsageError(
            "rig.yaml has no rule to thin recordings by: write store: thin_after_days, such as 365"
        )
    before = (now or datetime.now(UTC)).replace(tzinfo=None) - timedelta(days=rule.thin_after_days)
    done = []
    for part in workspace.part_names():
        for run in workspace.runs(part)[: -rule.keep_newest]:
            frames = run / "frames"
            when = _named(run.name)
            if when is None or when >= before or not frames.is_dir():
                continue
            verdicts = [_verdict(path) for path in run.glob(f"results/*/{VERDICT}")]
            if not verdicts or (rule.keep_not_good and set(verdicts) - {"good", "measured"}):
                continue
            size = sum(path.stat().st_size for path in frames.iterdir())
            if not dry_run:
                _thin(run, frames, size, rule)
            done.append(Thinned(run, size))
    return done


def _verdict(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable"


def _thin(run: Path, frames: Path, size: int, rule: StoreSection) -> None:
    said = {
        "format": THINNED_FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bytes": size,
        "rule": rule.model_dump(exclude={"url"}),
    }
    temporary = run / f".{THINNED}"
    temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, run / THINNED)  # says so before the first picture is gone
    shutil.rmtree(frames)
