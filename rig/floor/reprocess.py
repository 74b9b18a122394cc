"""Reconstructs recordings anew on many workers: progress, resume, a table of what changed."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconstruct.errors import ReconstructError
from rig.exits import UsageError, failure
from rig.reconstructing import Request, refuse_nonsense, run_reconstruction
from rig.workspace import Workspace

FORMAT = "rig-reprocess/1"


@dataclass(frozen=True)
class Change:
    """What a recording came to before and now; `error` is a sentence where it failed."""

    run: str
    result: str = ""
    before: dict[str, float] | None = None
    after: dict[str, float] | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **vars(self)}


def runs_of(patterns: Sequence[str], workspace: Workspace) -> list[Path]:
    """Recordings behind names and patterns: of parts, of folders of parts, of runs themselves.

    Raises
    ------
    UsageError
        for a pattern that names none
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        here = [Path(p) for p in sorted(glob.glob(str(workspace.folder / pattern)))]
        here = here or [Path(p) for p in sorted(glob.glob(pattern))]
        runs = [
            journal.parent
            for place in here
            for journal in sorted((*place.glob("run.jsonl"), *place.glob("*/run.jsonl")))
            if not journal.parent.name.endswith(".part")
        ]
        if not runs:
            raise UsageError(f"'{pattern}' names no recording: write 'parts/*' or a part's folder")
        found |= dict.fromkeys(run.resolve() for run in runs)
    return list(found)


def figures_of(result: Path) -> dict[str, float]:
    """Figures of a result that are compared."""
    from reconstruct.export.results import read_results
    from rig.measure_part import figures_of as measured_figures

    return measured_figures(read_results(result))


def _figures_of_newest(results: Sequence[Path]) -> dict[str, float] | None:
    """Figures of the newest result that can be read: a damaged one is no reason not to go on."""
    for result in reversed(results):
        try:
            return figures_of(result)
        except ReconstructError:
            continue
    return None


def reprocess_one(run: str, request: dict[str, Any], tag: str) -> dict[str, Any]:
    """Reconstruct one recording anew; runs in a worker, perhaps on another machine.

    A result that carries the tag already is not made again.
    """
    folder = Path(run)
    results = sorted(p.parent for p in folder.glob("results/*/summary.json"))
    done = next((r for r in results if (r / f"reprocess-{tag}.json").is_file()), None)
    earlier = [r for r in results if not list(r.glob("reprocess-*.json"))]
    before = None
    try:
        before = _figures_of_newest(earlier)
        if done is None:
            _, done = run_reconstruction(Request(run, **request), lambda line: None)
            (done / f"reprocess-{tag}.json").write_text(
                json.dumps({"format": FORMAT, "tag": tag}) + "\n", encoding="utf-8"
            )
        return Change(run, str(done), before, figures_of(done)).to_json()
    except Exception as error:
        return Change(run, before=before, error=failure(error)[1]).to_json()


def refuse_tag(tag: str) -> None:
    """Raise `UsageError` for a tag that cannot be part of a file's name."""
    if not re.fullmatch(r"[\w.+-]{1,100}", tag):
        raise UsageError(f"--tag '{tag}' cannot name a reprocessing: use letters, digits, - and _")


def reprocess(
    runs: Sequence[Path],
    request: dict[str, Any],
    tag: str,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int, dict[str, Any]], None] = lambda done, total, change: None,
) -> Iterator[dict[str, Any]]:
    """Reconstruct recordings with Dask's distributed; changes come as they are ready.

    Parameters
    ----------
    request : fields of `rig.reconstructing.Request` besides name and out
    tag : names this reprocessing: begun again with the same tag, it goes on
    scheduler : address of a cluster that sees the same folders; None: processes of this machine

    Raises
    ------
    UsageError
        if the tag cannot be part of a file's name, distributed is not installed, or the scheduler
        does not answer
    """
    refuse_tag(tag)
    refuse_nonsense(Request("", **request))
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError:
        raise UsageError("rig reprocess needs Dask: pip install 'dpps-rig[cluster]'") from None
    total = len(runs)
    try:
        cluster = None
        if scheduler is None:
            cluster = LocalCluster(
                n_workers=workers or None, threads_per_worker=1, dashboard_address=None
            )
        client = Client(cluster or scheduler, timeout="10s")
    except (OSError, TimeoutError) as error:
        raise UsageError(
            f"the scheduler {scheduler} does not answer ({error}): start it with 'dask scheduler'"
        ) from None
    try:
        futures = [client.submit(reprocess_one, str(run), request, tag, pure=False) for run in runs]
        for done, (_, change) in enumerate(as_completed(futures, with_results=True), 1):
            progress(done, total, change)
            yield change
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def changes_table(changes: Sequence[dict[str, Any]], workspace: Workspace) -> str:
    """What changed, one recording a line."""
    names = ("measured_percent", "mean_height_mm", "height_range_mm", "sigma_median_mm")
    lines = [f"{'recording':<44}" + "".join(f"{name:>22}" for name in names)]
    for change in sorted(changes, key=lambda c: c["run"]):
        run = Path(change["run"])
        inside = run.is_relative_to(workspace.folder)
        label = str(run.relative_to(workspace.folder)) if inside else str(run)
        if change["error"]:
            lines.append(f"{label:<44}  failed: {change['error']}")
            continue
        cells = []
        for name in names:
            new = (change["after"] or {}).get(name)
            old = (change["before"] or {}).get(name)
            text = "–" if new is None else f"{new:.4f}"
            if new is not None and old is not None:
                text += f" ({new - old:+z.4f})"
            cells.append(f"{text:>22}")
        lines.append(f"{label:<44}{''.join(cells)}")
    return "\n".join(lines)
