"""The folder a rig works in: ``rig.yaml``, ``calibration/`` and ``parts/<part>/<run>/``."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from capture.claim import clear_dead
from capture.errors import PlanError
from capture.journal import JOURNAL
from capture.recording import is_resumable
from rig.config import NAME
from rig.exits import UsageError

MAX_PART_NAME = 100
RESULTS = "results"  # folder of a run's results
EMPTY_STAGE = "empty-stage"  # the part's name in recordings of the stage alone
PART_SUFFIX = ".part"  # a run that is not finished
# Windows refuses these as file names, with any extension.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def check_part_name(name: str) -> str:
    """The name, if it can be a folder on any system; raises `PlanError` saying what is wrong."""

    def refuse(why: str) -> PlanError:
        return PlanError(f"'{name}' cannot name a part: {why}; use letters, digits, - and _")

    if not name.strip():
        raise PlanError("a part needs a name, such as --part A12")
    if len(name) > MAX_PART_NAME:
        raise PlanError(
            f"a part name of {len(name)} characters is too long: at most {MAX_PART_NAME}"
        )
    if name.startswith("."):
        raise refuse("it begins with a dot")
    separators = [c for c in name if c in '/\\:*?"<>|']
    if separators:
        raise refuse(f"it contains {separators[0]}")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        raise refuse("it contains an invisible character")
    if len(name.encode()) > 255:
        raise refuse("it takes more than the 255 bytes a file system allows")
    if name != name.strip() or name.endswith("."):
        raise refuse("it begins or ends with a space, or ends with a dot")
    if name.split(".")[0].lower() in _DEVICES:
        raise refuse("Windows keeps that name for a device")
    return name


def new_folder(folder: Path) -> Path:
    """Make a folder of that name, with -2, -3 … where it is taken already."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    number, name = 1, folder
    while True:
        try:
            name.mkdir()
            return name
        except FileExistsError:
            number += 1
            name = folder.with_name(f"{folder.name}-{number}")


@dataclass(frozen=True)
class Workspace:
    """A folder and where things lie in it. Nothing is made before it is needed."""

    folder: Path

    @staticmethod
    def at(folder: Path | None) -> Workspace:
        """The workspace in a folder (None: the current one); raises `UsageError` if it is none."""
        try:
            folder = (folder or Path()).resolve()
        except (RuntimeError, ValueError):  # a link to itself; a zero byte in the name
            raise UsageError(f"{folder} leads nowhere: name another --workspace") from None
        if folder.is_file():
            raise UsageError(f"{folder} is a file: name a folder with --workspace")
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}: make it, or name another --workspace")
        return Workspace(folder)

    @property
    def config_file(self) -> Path:
        return self.folder / NAME

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration"

    @property
    def parts(self) -> Path:
        return self.folder / "parts"

    def part(self, name: str) -> Path:
        """Folder of a part's runs; raises `PlanError` for a name that cannot be one."""
        return self.parts / check_part_name(name)

    def new_run(self, part: str, now: datetime | None = None) -> Path:
        """Where the next run of a part goes: UTC time as 20260131T235959Z, made unique."""
        stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.part(part)
        names = [stamp, *(f"{stamp}-{n}" for n in range(2, 1000))]
        for name in names:
            if not (folder / name).exists() and not (folder / (name + PART_SUFFIX)).exists():
                return folder / name
        raise UsageError(f"{folder} already holds {len(names)} runs of this second")

    def clear_dead(self, part: str) -> None:
        """Finish or remove what killed commands left of a calibration, or of a part."""
        clear_dead(self.calibration)
        clear_dead(self.part(part))  # a recording that had its place when its writer was killed
        for run in self._folders(part):
            clear_dead(run / RESULTS)

    def runs(self, part: str) -> list[Path]:
        """Finished runs of a part, oldest first."""
        return [run for run in self._folders(part) if run.suffix != PART_SUFFIX]

    def unfinished_runs(self, part: str) -> list[Path]:
        """Final paths of runs that still lie in ``<run>.part``, oldest first."""
        return [
            run.with_suffix("")
            for run in self._folders(part)
            if run.suffix == PART_SUFFIX and not run.with_suffix("").exists()
        ]

    def resumable_runs(self, part: str) -> list[Path]:
        """Those of the unfinished runs that can be gone on with, oldest first."""
        return [
            run
            for run in self.unfinished_runs(part)
            if is_resumable(run.with_name(run.name + PART_SUFFIX))
        ]

    def names_part(self, name: str) -> bool:
        """Whether a name stands for a part that has a folder, and for no path."""
        return len(Path(name).parts) == 1 and (self.parts / name).is_dir()

    def recording(self, name: str) -> Path:
        """Folder of a recording: given itself, or the newest run of the part of that name.

        Raises `UsageError` saying what there is instead.
        """
        folder = Path(name)
        if (folder / JOURNAL).is_file():
            return folder
        if folder.is_dir() and not self.names_part(name):
            raise UsageError(
                f"{folder} holds no recording: name a folder with a {JOURNAL}, or bring pictures "
                f"in with 'rig import {folder} --part NAME'"
            )
        if len(folder.parts) > 1:
            raise UsageError(f"there is no folder {folder}: name a recording's folder, or a part")
        return self.latest_run(name)

    def latest_run(self, part: str) -> Path:
        """The newest finished run; raises `UsageError` saying what there is instead."""
        runs = self.runs(part)
        if runs:
            return runs[-1]
        if self.resumable_runs(part):
            raise UsageError(
                f"part {part} has no finished run: finish it with "
                f"'rig capture --part {part} --resume'"
            )
        if self.unfinished_runs(part):
            raise UsageError(
                f"part {part} has no finished run, and 'rig capture --part {part} --resume' "
                "cannot finish what was begun: capture or import it again"
            )
        known = ", ".join(self.part_names()[:10]) or "none"
        raise UsageError(f"there is no recording of part {part} in {self.parts} (parts: {known})")

    def part_names(self) -> list[str]:
        """Parts that have a folder, sorted."""
        if not self.parts.is_dir():
            return []
        return sorted(p.name for p in self.parts.iterdir() if p.is_dir() and p.name[0] != ".")

    def all_runs(self) -> list[Path]:
        """Finished runs of all parts, oldest first (by the time in their names)."""
        runs = [run for part in self.part_names() for run in self.runs(part)]
        return sorted(runs, key=lambda run: (_order(run), run.parent.name))

    def _folders(self, part: str) -> list[Path]:
        folder = self.part(part)
        if not folder.is_dir():
            return []
        return sorted((p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."), key=_order)


def _order(run: Path) -> tuple[str, int]:
    stamp, _, number = run.name.removesuffix(PART_SUFFIX).partition("-")
    return stamp, int(number) if number.isdigit() else 1
