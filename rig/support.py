"""A support bundle: what somebody needs to help from afar, in one zip without pictures."""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from rig.doctor import Finding
from rig.exits import LOGS, UsageError, user_logs
from rig.logs import program_version
from rig.workspace import Workspace

MOST_LOGS = 20
NEWEST_RUNS = 3
MOST_BYTES = 20 * 2**20  # of a text file
_PASSWORD = re.compile(r"(://[^:/@\s]+:)[^@\s]+@")
_SECRET = re.compile(r"(?im)^(\s*(?:password|token|secret|key)\w*\s*:\s*)\S.*$")
_IMAGES = ("thumbnail",)  # fields of the journal that hold a picture


def write_bundle(
    workspace: Workspace, findings: Sequence[Finding], path: Path, pictures: bool = False
) -> Path:
    """Write the zip.

    It holds what the doctor found, versions of packages, rig.yaml (passwords blotted out), the
    calibration in force, logs, and of the newest runs journal, snapshots, summaries and verdicts.

    Parameters
    ----------
    findings : of the doctor
    path : of the zip; must not exist
    pictures : also the frames of the newest run

    Raises
    ------
    UsageError
        the file exists already
    """
    if path.exists():
        raise UsageError(f"{path} exists already and is kept: name another --bundle")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in _texts(workspace, findings):
            bundle.writestr(name, text)
        for name, file in _logs(workspace):
            bundle.writestr(f"logs/{name}", _cleaned(file))
        runs = workspace.all_runs()[-NEWEST_RUNS:]
        for run in runs:
            for name, text in _of_run(run):
                bundle.writestr(f"runs/{run.parent.name}/{run.name}/{name}", text)
        if pictures and runs:
            for frame in sorted((runs[-1] / "frames").glob("*.tif")):
                bundle.write(frame, f"runs/{runs[-1].parent.name}/{runs[-1].name}/{frame.name}")
    return path


def _texts(workspace: Workspace, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    lines = [f"{f.state:<5} {f.name}: {f.message}" + (f" -> {f.advice}" if f.advice else "")
             for f in findings]  # fmt: skip
    yield "doctor.txt", "\n".join(lines) + "\n"
    about = {
        "rig": program_version(),
        "python": sys.version,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": {
            str(d.metadata["Name"]): d.version for d in distributions() if d.metadata["Name"]
        },
    }
    yield "system.json", json.dumps(about, indent=1, sort_keys=True) + "\n"
    if workspace.config_file.is_file():
        yield "rig.yaml", _cleaned(workspace.config_file)
    for file in sorted(workspace.calibration.glob("*.json")):
        yield f"calibration/{file.name}", _cleaned(file)
    recordings = [
        {"part": run.parent.name, "run": run.name, "results": len(list(run.glob("results/*")))}
        for run in workspace.all_runs()
    ]
    yield "recordings.json", json.dumps(recordings, indent=1) + "\n"


def _logs(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    found: dict[str, Path] = {}
    for folder in (workspace.folder / LOGS, user_logs()):
        if folder.is_dir():
            found |= {file.name: file for file in folder.glob("*.log")}
    newest = sorted(found.values(), key=lambda file: file.stat().st_mtime)[-MOST_LOGS:]
    yield from ((file.name, file) for file in newest)


def _of_run(run: Path) -> Iterator[tuple[str, str]]:
    journal = run / "run.jsonl"
    if journal.is_file():
        yield "run.jsonl", "".join(_without_pictures(journal))
    for file in sorted((run / "snapshot").glob("*")):
        if file.suffix in (".json", ".yaml", ".xml", ".txt"):
            yield f"snapshot/{file.name}", _cleaned(file)
    for result in sorted(run.glob("results/*")):
        for name in ("summary.json", "verdict.json"):
            if (result / name).is_file():
                yield f"results/{result.name}/{name}", _cleaned(result / name)


def _without_pictures(journal: Path) -> Iterator[str]:
    for line in _read(journal).splitlines():
        try:
            data: Any = json.loads(line)
        except ValueError:
            continue  # torn
        if isinstance(data, dict):
            kept = {key: value for key, value in data.items() if key not in _IMAGES}
            yield json.dumps(kept, ensure_ascii=False) + "\n"


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES).decode("utf-8", "replace")


def _cleaned(file: Path) -> str:
    """A text without what nobody else should read."""
    return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1***@", _read(file)))
