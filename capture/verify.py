"""Checking a recording: is every file there, unharmed, and what it says it is?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from capture.errors import CaptureError, DataError, reason_of
from capture.journal import (
    FRAMES,
    JOURNAL,
    PART,
    SUMS,
    THINNED,
    entries_of,
    files_within,
    read_journal,
    read_sums,
    sha256,
    thinned_on,
)
from capture.plan import Plan
from capture.reading import Recording


@dataclass(frozen=True)
class Verification:
    """What was found: `problems` make a recording bad, `remarks` do not.

    `given_up` pictures were removed by a rule (``rig store prune``) at the time `thinned`; None if
    the recording was never thinned. `frames` counts the pictures that were taken.
    """

    folder: Path
    files: int
    frames: int
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    thinned: str | None = None
    given_up: int = 0

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(folder: Path) -> Verification:
    """Check every file of a recording against its checksums, its journal and its plan.

    Raises
    ------
    DataError
        if the folder is no recording at all
    """
    folder = Path(folder)
    if not folder.is_dir():
        part = folder.with_name(folder.name + PART)
        if not part.is_dir():
            raise DataError(f"there is no recording at {folder}")
        folder = part
    if not (folder / JOURNAL).is_file() and not (folder / SUMS).is_file():
        raise DataError(f"{folder} is not a recording: it has neither {JOURNAL} nor {SUMS}")
    problems: list[str] = []
    remarks: list[str] = []
    finished = not folder.name.endswith(PART)
    listed: dict[str, str] = {}
    if finished:
        if not (folder / SUMS).is_file():
            problems.append(f"{SUMS} is missing")
        else:
            try:
                listed = read_sums(folder)
            except DataError as error:
                problems.append(str(error))
    else:
        problems.append("the recording is not finished: continue it with --resume")
    thinned = None
    try:
        thinned = thinned_on(folder)
    except DataError as error:
        problems.append(str(error))
    actual: dict[str, str] = {}
    present = list(files_within(folder))
    for name in present:
        try:
            actual[name] = sha256(folder / name)
        except OSError as error:
            problems.append(f"{name} cannot be read: {reason_of(error)}")
    for name, digest in listed.items():
        if name not in present:
            if not (thinned and name.startswith(f"{FRAMES}/")):
                problems.append(f"{name} is missing")
        elif name in actual and actual[name] != digest:
            problems.append(f"{name} is damaged: its checksum differs")
    if listed:
        for name in present:
            if name in listed or name == THINNED:
                continue
            if _of_file_manager(name):
                remarks.append(f"{name} is of a file manager, not of the recording")
            else:
                problems.append(f"{name} does not belong here")
    frames = given_up = 0
    try:
        lines, _ = read_journal(folder / JOURNAL)
        entries = entries_of(lines)
        frames = len(entries)
        recording = Recording(folder, lines)
        if finished and recording.exit_status != 0:
            problems.append(f"{JOURNAL} has no stop line with exit status 0")
        bad_before = {problem.split(" ")[0] for problem in problems}
        for entry in entries.values():
            if entry.file in bad_before:
                continue
            if entry.file not in present and thinned:
                given_up += 1
            elif entry.file not in present:
                problems.append(f"{entry.file} is missing")
            elif actual.get(entry.file) != entry.sha256:
                problems.append(f"{entry.file} is damaged: the journal has another checksum")
            elif entry.verdict == "bad":
                problems.append(f"{entry.file} was judged bad")
            else:
                try:
                    if not thinned:  # its size is known from the first picture of all
                        recording.counts(entry, slice(0, 1))
                except DataError as error:
                    if not any(name in str(error) for name in bad_before):  # told already
                        problems.append(str(error))
                if entry.verdict == "unproven":
                    why = entry.data.get("reason") or "its LED could not be proven"
                    remarks.append(f"{entry.file} is unproven: {why}")
        problems.extend(_missing(recording, set(entries)))
    except CaptureError as error:
        problems.append(str(error))
    each_once = tuple(dict.fromkeys(problems))
    return Verification(folder, len(present), frames, each_once, tuple(remarks), thinned, given_up)


def open_unharmed(folder: Path) -> Recording:
    """Open a recording, or raise `DataError` if a picture is not the one that was recorded."""
    recording = Recording.open(folder)
    thinned = thinned_on(recording.folder)
    for entry in recording.entries:
        path = recording.folder / entry.file
        if not path.is_file() and thinned:
            raise DataError(
                f"the pictures of {recording.folder} were given up on {thinned} by the rule in "
                "rig.yaml: its results stay, but nothing can be computed from it anew"
            )
        if not path.is_file():
            raise DataError(f"{path} is missing: restore it from a copy, or capture again")
        if sha256(path) != entry.sha256:
            raise DataError(
                f"{path} is damaged, its checksum differs: restore it from a copy, or capture "
                "again; 'rig verify' checks every file"
            )
    return recording


def _of_file_manager(name: str) -> bool:
    """What Finder and Explorer leave in every folder that is looked at."""
    last = name.rpartition("/")[2]
    return last in (".DS_Store", "Thumbs.db", "desktop.ini") or last.startswith("._")


def _missing(recording: Recording, taken: set[int]) -> list[str]:
    """Pictures the plan asks for that are not there (a damaged plan is a problem as well)."""
    plan = recording.start.get("plan")
    if not isinstance(plan, dict) or not str(plan.get("format", "")).startswith("rig-plan/"):
        return []
    shots = Plan.from_json(plan).shots()
    if recording.folder.name.endswith(PART):  # most may be missing, and nobody promised them
        waiting = sum(shot.index not in taken for shot in shots)
        return [f"{waiting} of {len(shots)} pictures are still to be taken"] if waiting else []
    return [f"frame {s.index} ({s.name}) is missing" for s in shots if s.index not in taken]
