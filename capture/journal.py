"""The files of a recording folder: names, the journal ``run.jsonl``, and checksums.

Everything here is plain text or bytes on disk; nothing knows about pictures or devices.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from capture.errors import DataError
from intake.errors import InputError, MissingError, told_as
from intake.files import read_bytes, read_text
from intake.trees import finite, numbers, parse_json, whole

FORMAT = "rig-recording/1"
JOURNAL = "run.jsonl"
SUMS = "SHA256SUMS"
FRAMES = "frames"
CALIBRATION = "calibration"
SNAPSHOT = "snapshot"
RESULTS = "results"
THINNED = "thinned.json"  # says that the pictures were given up by a rule
THINNED_FORMAT = "rig-thinned/1"
PART = ".part"
MAX_JOURNAL = 2**30


@dataclass(frozen=True)
class Entry:
    """One frame that is on disk.

    Attributes
    ----------
    index : place in the plan, from 0
    kind : ``light``, ``dark`` or ``repeat``
    led : LED from 1; 0 for a dark frame
    exposure : what divides the counts: ms for captured frames (gain included), or the relative
        exposure of an imported one
    file : path within the recording, with forward slashes
    sha256 : of that file
    verdict : ``good``, ``unproven`` or ``bad``: is this the picture that LED made?
    data : the whole line of the journal
    """

    index: int
    kind: str
    led: int
    exposure: float
    file: str
    sha256: str
    verdict: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Entry:
        """Read a ``frame`` line; raises `DataError` naming what it lacks."""
        try:
            file = str(data["file"])
            checked_name(file)
            return Entry(
                index=int(data["index"]),
                kind=str(data["kind"]),
                led=int(data["led"]),
                exposure=relative_exposure(data),
                file=file,
                sha256=str(data["sha256"]),
                verdict=str(data.get("verdict", "good")),
                data=data,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"a frame line of {JOURNAL} cannot be read: {error!r}") from error


def relative_exposure(data: Mapping[str, Any]) -> float:
    """What divides the counts of a frame: ``exposure`` if given, else ms times linear gain."""
    if data.get("exposure") is not None:
        value = float(data["exposure"])
    else:
        gain = 10.0 ** (float(data.get("gain_db") or 0.0) / 20.0)
        value = float(data["exposure_us"]) / 1000.0 * gain
    if not 1e-12 <= value <= 1e12:
        raise ValueError(f"exposure {value}")
    return value


def checked_name(name: str) -> PurePosixPath:
    """A path within a recording as a path object; raises `DataError` if it would leave it."""
    path = PurePosixPath(name)
    odd = "\\" in name or ":" in name or "\0" in name or any(ord(c) < 32 for c in name)
    if odd or path.is_absolute() or ".." in path.parts or not path.parts:
        raise DataError(f"'{name}' is not a path within a recording")
    return path


# the journal -----------------------------------------------------------------------------------


def dump_line(data: Mapping[str, Any]) -> bytes:
    """One line of the journal. NaN is no JSON and refused; a name that is no text gets a ``?``."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of a journal and the number of bytes they fill.

    A last line that is torn (the process or machine died while writing it) is left out; a broken
    line before it is damage.

    Raises
    ------
    DataError
        if the file is missing, is no journal or is damaged
    """
    try:
        raw = read_bytes(path, MAX_JOURNAL)
    except MissingError:
        raise DataError(f"{path.parent} is not a recording: it has no {JOURNAL}") from None
    except InputError as error:
        raise DataError(str(error)) from error
    lines: list[dict[str, Any]] = []
    used = 0
    for number, piece in enumerate(raw.splitlines(keepends=True), 1):
        complete = piece.endswith(b"\n")
        try:
            data = parse_json(piece, f"line {number}")
            if not isinstance(data, dict) or not isinstance(data.get("event"), str):
                raise InputError(f"line {number} tells no event")
        except InputError as error:
            if used + len(piece) == len(raw):
                break
            raise DataError(f"{path} is damaged at line {number} ({error})") from None
        if not complete:
            break
        with told_as(DataError):
            _check(data, f"{path} is damaged at line {number}:")
        lines.append(data)
        used += len(piece)
    if not lines or lines[0].get("event") != "start":
        raise DataError(f"{path} does not begin with a start line")
    if lines[0].get("format") != FORMAT:
        raise DataError(f"{path} has format '{lines[0].get('format')}', this rig reads {FORMAT}")
    return lines, used


# What a field holds where a line has it and it is not null: smallest and largest.
_WHOLE = {"index": (0, 10**7), "led": (0, 10**6), "sequence": (0, 10**9), "bits": (1, 16),
          "exit_status": (-1000, 1000), "attempt": (0, 10**6)}  # fmt: skip
_NUMBERS = {"gain_db": 400.0, "level": 1e6, "exposure_us": 1e15, "slack_us": 1e15,
            "timestamp_ns": 1e30, "board_us": 1e30, "echo": 1e9, "frame_id": 1e30,
            "black_level": 1e6}  # fmt: skip
_TEXTS = ("kind", "verdict", "reason", "file", "sha256", "time", "thumbnail")


def _check(line: dict[str, Any], said: str) -> None:
    """Raise `InputError` if a field that the program uses is not of its kind."""
    if line["event"] in ("frame", "verdict", "drop"):
        whole(line.get("index"), f"{said} index", 0, 10**7)
    for key, (low, high) in _WHOLE.items():
        if line.get(key) is not None:
            whole(line[key], f"{said} {key}", low, high)
    for key, largest in _NUMBERS.items():
        if line.get(key) is not None:
            finite(line[key], f"{said} {key}", -largest, largest)
    for key in _TEXTS:
        if not isinstance(line.get(key, ""), str):
            raise InputError(f"{said} {key} is no text")
    for shot in _list(line.get("test_shots"), f"{said} test_shots"):
        numbers(shot, (2,), f"{said} test_shots")
    _object(line.get("devices"), f"{said} devices")
    for key in ("floor", "gain"):
        if (value := _object(line.get("noise"), f"{said} noise").get(key)) is not None:
            finite(value, f"{said} noise {key}", 1e-15 if key == "floor" else 0, 1e6)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise InputError(f"{what} is no object")
    return value or {}


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | None):
        raise InputError(f"{what} is no list")
    return value or []


def lock_journal(stream: IO[bytes], path: Path) -> None:
    """Keep a second process from writing into the same recording."""
    try:
        import fcntl
    except ImportError:  # Windows: an open file cannot be renamed there, which is as good
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise DataError(
            f"{path.parent} is being written by another process: wait until it ends"
        ) from None


def entries_of(lines: list[dict[str, Any]]) -> dict[int, Entry]:
    """The frames of a journal by plan index.

    A frame taken again replaces the earlier one; a ``verdict`` line changes the verdict of the
    frame before it; a ``drop`` line takes the frame away.
    """
    frames: dict[int, dict[str, Any]] = {}
    for line in lines:
        event = line["event"]
        if event == "frame":
            frames[Entry.from_json(line).index] = line
        elif event == "verdict" and line.get("index") in frames:
            known = frames[line["index"]]
            frames[line["index"]] = {**known, **{k: line[k] for k in line if k != "event"}}
        elif event == "drop":
            frames.pop(line.get("index", -1), None)
    return {index: Entry.from_json(frames[index]) for index in sorted(frames)}


# files -----------------------------------------------------------------------------------------


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_within(folder: Path) -> Iterator[str]:
    """Every file of a recording, sorted, with forward slashes.

    The checksums are left out, and ``results/``, which comes later.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.name != SUMS and name.parts[0] != RESULTS:
            yield name.as_posix()


def thinned_on(folder: Path) -> str | None:
    """When the pictures of a recording were given up by a rule; None if they were not.

    Raises
    ------
    DataError
        if the file that should say so cannot be read
    """
    try:
        said = parse_json(read_bytes(folder / THINNED, MAX_JOURNAL), THINNED)
        if not isinstance(said, dict) or said.get("format") != THINNED_FORMAT:
            raise InputError(f"{THINNED} is not of the format {THINNED_FORMAT}")
    except MissingError:
        return None
    except InputError as error:
        raise DataError(str(error)) from error
    return str(said.get("date", "an unknown day"))


def write_atomically(path: Path, data: bytes, durable: bool = True) -> None:
    """Put a file on disk whole or not at all: temporary file, flush, rename.

    Not `durable`: whole for every process, but a power cut may tear it until `sync_file`.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sync_file(path: Path) -> None:
    """Make a file's contents durable; a file that is gone was replaced and needs none."""
    with contextlib.suppress(FileNotFoundError), path.open("rb+") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename within a folder durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write SHA256SUMS over every file, as ``sha256sum -c`` reads it; `known` saves hashing."""
    sums = known or {}
    text = "".join(
        f"{sums.get(name) or sha256(folder / name)}  {name}\n" for name in files_within(folder)
    )
    write_atomically(folder / SUMS, text.encode())


def read_sums(folder: Path) -> dict[str, str]:
    """File name to SHA-256; raises `DataError` on a line that is none."""
    sums: dict[str, str] = {}
    path = folder / SUMS
    with told_as(DataError):
        text = read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap:
            raise DataError(f"{path} is damaged at line {number}")
        sums[str(checked_name(name))] = digest
    return sums
