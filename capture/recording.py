"""Writing a recording: a folder that is whole, resumable and provable, or clearly unfinished.

While it is written the folder is called ``<run>.part``; when every frame is there its checksums
are written and it is renamed to ``<run>``. See ``docs/formats.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import shutil
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from capture.claim import claim
from capture.errors import DataError, PlanError, reason_of
from capture.journal import (
    CALIBRATION,
    FORMAT,
    FRAMES,
    JOURNAL,
    PART,
    SNAPSHOT,
    Entry,
    checked_name,
    dump_line,
    entries_of,
    lock_journal,
    read_journal,
    sha256,
    sync_file,
    sync_folder,
    write_atomically,
    write_sums,
)

Pixels = NDArray[np.uint16]
Snapshot = bytes | str | Path | Mapping[str, Any]


def frame_name(entry: Mapping[str, Any]) -> str:
    """File name of a frame, by its place in the plan, such as ``0005_led017.tif``."""
    subject = "dark" if entry["kind"] == "dark" else f"{entry['kind']}{int(entry['led']):03d}"
    return f"{int(entry['index']):04d}_{subject.replace('light', 'led')}.tif"


def encode_tiff(pixels: Pixels) -> bytes:
    """One uncompressed 16-bit grey TIFF, little-endian, the same bytes for the same pixels."""
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        byteorder="<",
        photometric="minisblack",
        metadata=None,
        software=None,
        rowsperstrip=pixels.shape[0],
    )
    return buffer.getvalue()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RecordingWriter:
    """Writes frames and their journal; every frame is on disk whole or not at all.

    A thread of its own writes, so that a camera need not wait for the disk; an error there (disk
    full) is raised by the next call. Use as a context manager: leaving it by an exception writes a
    stop line with the error and leaves ``<run>.part`` ready for `resume`.

    Examples
    --------
    >>> with RecordingWriter.create(run, start, snapshots) as writer:     # doctest: +SKIP
    ...     writer.append(frame.pixels, {"index": 0, "kind": "light", "led": 1,
    ...                                  "exposure_us": 8000.0, "verdict": "good"})
    ...     writer.finish()
    """

    def __init__(self, folder: Path, stream: BinaryIO, start: Mapping[str, Any]) -> None:
        self.folder = folder  # the .part folder
        self.start = dict(start)
        self.completed: dict[int, Entry] = {}
        self.damaged: list[str] = []  # what `resume` found and dropped, one sentence each
        self._journal = stream
        self._queue: queue.Queue[tuple[Pixels | None, dict[str, Any]] | None] = queue.Queue(16)
        self._unsynced: list[Path] = []
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    # making ----------------------------------------------------------------------------------
    @classmethod
    def create(
        cls,
        folder: Path,
        start: Mapping[str, Any],
        snapshots: Mapping[str, Snapshot] | None = None,
    ) -> RecordingWriter:
        """Begin a new recording.

        Parameters
        ----------
        folder : where the finished recording will be; its name with ``.part`` until then
        start : what is recorded about the run. ``plan`` and ``devices`` (JSON-able) identify it
            for `resume`; ``bits`` is the depth of the counts, ``full_scale`` and ``saturation``
            (counts) default to 2^bits − 1.
        snapshots : files to keep with it: contents, a JSON-able mapping, or a path (file or
            folder) to copy. Names begin with ``calibration/`` or land in ``snapshot/``.

        Raises
        ------
        DataError
            if the recording exists already, or an unfinished one of its name does
        """
        folder = Path(folder)
        part = folder.with_name(folder.name + PART)
        if folder.exists():
            raise DataError(f"{folder} exists already: nothing is overwritten")
        if part.exists():
            with contextlib.suppress(FileNotFoundError), (part / JOURNAL).open("rb") as other:
                lock_journal(other, part / JOURNAL)
            raise DataError(f"{part} is an unfinished recording: continue it with --resume")
        bits = int(start.get("bits", 16))
        full = 2**bits - 1
        line = {
            "event": "start",
            "format": FORMAT,
            "time": _now(),
            "full_scale": full,
            "saturation": full,
            **start,
            "bits": bits,
        }
        with claim(part) as claimed:  # it appears with its journal, so that it can be resumed
            (claimed.work / FRAMES).mkdir()
            for name, content in (snapshots or {}).items():
                _keep(claimed.work, name, content)
            (claimed.work / JOURNAL).write_bytes(dump_line(line))
            claimed.publish()
        stream = (part / JOURNAL).open("ab", buffering=0)
        lock_journal(stream, part / JOURNAL)
        return cls(part, stream, line)

    @classmethod
    def resume(cls, folder: Path, start: Mapping[str, Any] | None = None) -> RecordingWriter:
        """Continue an unfinished recording; `completed` then holds the frames that are sound.

        Frames whose file is missing or does not match its checksum are dropped (see `damaged`)
        and have to be taken again.

        Parameters
        ----------
        folder : the recording, with or without ``.part``
        start : as given to `create` now; its ``plan`` and ``devices`` must be the recorded ones

        Raises
        ------
        DataError
            if there is nothing to resume, it is damaged, or another process writes it
        PlanError
            if plan or devices differ
        """
        folder = Path(folder)
        part = folder if folder.name.endswith(PART) else folder.with_name(folder.name + PART)
        if not part.is_dir():
            done = part.with_name(part.name.removesuffix(PART))
            state = "is complete" if done.is_dir() else "does not exist"
            raise DataError(f"there is nothing to resume: {done} {state}")
        lines, used = read_journal(part / JOURNAL)
        for key in ("plan", "devices"):
            if start is not None and key in start:
                recorded, now = lines[0].get(key), json.loads(json.dumps(start[key]))
                if recorded != now:
                    raise PlanError(
                        f"{part} cannot be resumed: its {key} differ{'s' * (key == 'plan')} "
                        f"({_difference(recorded, now)}); start a new recording"
                    )
        stream = (part / JOURNAL).open("r+b", buffering=0)
        lock_journal(stream, part / JOURNAL)
        stream.truncate(used)  # a torn last line
        stream.seek(used)
        for leftover in part.rglob(".*.tmp"):
            leftover.unlink()
        writer = cls(part, stream, lines[0])
        if lines[-1]["event"] != "stop":
            writer.note("stop", {"exit_status": None, "reason": "ended without a word (killed?)"})
        for entry in entries_of(lines).values():
            path = part / entry.file
            if not path.is_file():
                why = f"{entry.file} is missing"
            elif sha256(path) != entry.sha256:
                why = f"{entry.file} is damaged"
            elif entry.verdict == "bad":
                why = f"{entry.file} was judged bad"
            else:
                writer.completed[entry.index] = entry
                continue
            writer.damaged.append(why)
            writer.note("drop", {"index": entry.index, "reason": why})
        writer.note("resume", {"completed": len(writer.completed), "dropped": writer.damaged})
        return writer

    # taking ----------------------------------------------------------------------------------
    def append(self, pixels: Pixels, entry: Mapping[str, Any]) -> None:
        """Add one frame.

        Parameters
        ----------
        pixels : (H, W) uint16 counts as the camera gave them; must not be changed afterwards
        entry : JSON-able; needs ``index``, ``kind`` (light, dark, repeat), ``led`` and
            ``exposure_us`` (or a relative ``exposure``); ``verdict`` is good, unproven or bad.
            The same index again replaces the earlier frame.

        Raises
        ------
        DataError
            if an earlier frame could not be written (disk full)
        """
        if pixels.ndim != 2 or pixels.dtype != np.uint16:
            raise ValueError(f"a frame is (H, W) uint16, not {pixels.shape} {pixels.dtype}")
        line = {"event": "frame", **entry, "file": f"{FRAMES}/{frame_name(entry)}"}
        Entry.from_json({**line, "sha256": ""})  # refuse what could not be read back
        dump_line(line)
        self._put(pixels, line)

    def judge(self, index: int, verdict: str, evidence: Mapping[str, Any]) -> None:
        """Change the verdict of a frame taken earlier (proofs that need the whole sequence)."""
        self._put(None, {"event": "verdict", "index": index, "verdict": verdict, **evidence})

    def note(self, event: str, data: Mapping[str, Any]) -> None:
        """Add a line that is no frame, such as a retry and its cause."""
        self._put(None, {"event": event, "time": _now(), **data})

    def flush(self) -> None:
        """Wait until everything is on disk; raises what went wrong there."""
        self._queue.join()
        self._raise()

    def finish(self, exit_status: int = 0, reason: str = "complete") -> Path:
        """End the recording and return its folder.

        With exit status 0 the checksums are written and ``.part`` falls; otherwise the folder
        keeps its name and can be resumed.
        """
        if self._closed:
            return self.folder
        if exit_status == 0:
            self.flush()
        stop = {"event": "stop", "time": _now(), "exit_status": exit_status, "reason": reason}
        self._queue.put((None, stop))  # also after a failure: the thread tries
        self._close()
        if exit_status != 0:
            return self.folder
        self._raise()
        done = self.folder.with_name(self.folder.name.removesuffix(PART))
        if done.exists():
            raise DataError(f"{done} exists already: the recording stays in {self.folder}")
        write_sums(self.folder, {e.file: e.sha256 for e in self.completed.values()})
        sync_folder(self.folder)
        os.rename(self.folder, done)
        sync_folder(done.parent)
        self.folder = done
        return done

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        if error is None:
            self.finish(4, "left without finish")
        elif isinstance(error, KeyboardInterrupt):
            self.finish(130, "interrupted")
        elif isinstance(error, SystemExit):
            self.finish(error.code if isinstance(error.code, int) else 1, "terminated")
        else:
            status = getattr(error, "exit_code", None)
            self.finish(
                status if isinstance(status, int) else 1, f"{type(error).__name__}: {error}"
            )

    # the writing thread ----------------------------------------------------------------------
    def _put(self, pixels: Pixels | None, line: dict[str, Any]) -> None:
        self._raise()
        if self._closed:
            raise ValueError("this recording is closed")
        self._queue.put((pixels, line))

    def _raise(self) -> None:
        if self._error is not None:
            error = self._error
            raise DataError(
                f"{self.folder} cannot be written: {reason_of(error)}; what is on disk is sound, "
                "make room and continue with --resume"
            ) from error

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            try:
                if item is None:
                    return
                # After a failure only the stop line is still tried.
                if self._error is None or item[1]["event"] == "stop":
                    self._write(*item)
                    if self._queue.empty():
                        self._sync()
            except BaseException as error:
                self._error = self._error or error
            finally:
                self._queue.task_done()

    def _write(self, pixels: Pixels | None, line: dict[str, Any]) -> None:
        if pixels is not None:
            data = encode_tiff(pixels)
            line["sha256"] = hashlib.sha256(data).hexdigest()
            write_atomically(self.folder / line["file"], data, durable=False)
            self._unsynced.append(self.folder / line["file"])
        position = self._journal.tell()
        data = dump_line(line)
        try:
            if self._journal.write(data) != len(data):
                raise OSError("the journal could only be written in part")
        except OSError:
            with contextlib.suppress(OSError):  # never leave half a line before the next
                self._journal.truncate(position)
                self._journal.seek(position)
            raise
        if pixels is not None:
            entry = Entry.from_json(line)
            self.completed[entry.index] = entry

    def _sync(self) -> None:
        """Make durable what was written since the last time: whenever the queue runs dry.

        So a slow disk makes fewer, larger commits and not a slower capture. A frame that a power
        cut tears does not match its checksum, and `resume` takes it again.
        """
        for path in self._unsynced:
            sync_file(path)
        self._unsynced.clear()
        os.fsync(self._journal.fileno())

    def _close(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._journal.close()


def is_resumable(part: Path) -> bool:
    """Whether a folder is a recording with a plan to go on with; an import, say, has none."""
    try:
        lines, _ = read_journal(part / JOURNAL)
    except (DataError, OSError):
        return False
    return "plan" in lines[0]


def _keep(part: Path, name: str, content: Snapshot) -> None:
    inner = checked_name(name)
    if inner.parts[0] not in (CALIBRATION, SNAPSHOT):
        inner = checked_name(f"{SNAPSHOT}/{name}")
    target = part / inner
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        if content.is_dir():
            shutil.copytree(content, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(content, target)
        return
    if isinstance(content, Mapping):
        content = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    write_atomically(target, data)


def _difference(recorded: Any, now: Any, path: str = "") -> str:
    """The first place where two JSON values differ, in words."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted(set(recorded) | set(now)):
            if recorded.get(key) != now.get(key):
                return _difference(recorded.get(key), now.get(key), f"{path}.{key}".strip("."))
    return f"{path or 'value'} was {json.dumps(recorded)[:60]}, is now {json.dumps(now)[:60]}"
