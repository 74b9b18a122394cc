"""A whole recording as one HDF5 file, compressed, and the recording of it again.

The pictures are a NeXus ``NXdata`` (counts over frame, row, column), so that any program of that
world shows them. All other files of the recording lie under ``files`` as they are, byte by byte:
what comes back is the same recording, and its checksums say so.

The HDF5 library ends in a crash, or does not end, on some damaged files: such a file is read by a
process of its own, which has a bounded time and memory. It ends in a crash on a full disk as well:
nothing is begun where the recording would not fit as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from capture.claim import claim
from capture.errors import DataError
from capture.journal import JOURNAL, SUMS, checked_name, files_within
from capture.reading import Recording
from capture.recording import encode_tiff
from capture.verify import verify

FORMAT = "rig-recording-hdf5/1"
ENDINGS = (".h5", ".hdf5", ".nxs")
START_S, BYTES_PER_S = 6, 4e6  # of processor, to begin with and for what is read
MEMORY_BYTES = 4 * 2**30
MOST_FRAMES, MOST_PIXELS, MOST_FILE = 100_000, 2**28, 2**30


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError:
        raise DataError("recordings as HDF5 need h5py: pip install h5py") from None


def write_hdf5(recording: Recording, path: Path) -> Path:
    """Write a recording as one file.

    Raises
    ------
    DataError
        the file exists, the recording is damaged, the disk is too full, or h5py is not installed
    """
    h5py = _h5py()
    if path.exists():
        raise DataError(f"{path} exists already and is kept: name another --out")
    found = verify(recording.folder)
    if not found.sound:
        raise DataError(
            f"{recording.folder} is not sound ({found.problems[0]}): nothing is written"
        )
    names = [entry.file for entry in recording.entries]
    path.parent.mkdir(parents=True, exist_ok=True)
    size = sum((recording.folder / name).stat().st_size for name in files_within(recording.folder))
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise DataError(
            f"{path.parent.resolve()} has room for {free / 1e6:.1f} MB, and the recording has "
            f"{size / 1e6:.1f} MB: make room on that disk"
        )
    part = path.with_name(f".part-{path.name}")
    try:
        with h5py.File(part, "w") as file:
            file.attrs.update({"NX_class": "NXroot", "default": "entry", "format": FORMAT})
            entry = file.create_group("entry")
            entry.attrs.update({"NX_class": "NXentry", "default": "data"})
            data = entry.create_group("data")
            data.attrs.update({"NX_class": "NXdata", "signal": "counts", "axes": ["led", ".", "."]})
            shape = (len(names), *recording.shape)
            counts = data.create_dataset(
                "counts", shape, "<u2", chunks=(1, *recording.shape), compression="gzip",
                compression_opts=4, shuffle=True,
            )  # fmt: skip
            for place, frame in enumerate(recording.entries):
                counts[place] = recording.counts(frame)
            data["led"] = np.array([e.led for e in recording.entries], "<i4")
            data["exposure"] = np.array([e.exposure for e in recording.entries], "<f8")
            text = h5py.string_dtype()
            data.create_dataset("kind", data=[e.kind for e in recording.entries], dtype=text)
            data.create_dataset("file", data=names, dtype=text)
            kept = entry.create_group("files")
            kept.attrs["NX_class"] = "NXcollection"
            for name in (*files_within(recording.folder), SUMS):
                if name not in set(names):
                    raw = np.frombuffer((recording.folder / name).read_bytes(), np.uint8)
                    kept.create_dataset(
                        name.replace("/", "\\"), data=raw,
                        **({"compression": "gzip"} if raw.size else {}),
                    )  # fmt: skip
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def read_hdf5(path: Path, run: Path) -> Path:
    """Make the recording of a file that `write_hdf5` wrote.

    Raises
    ------
    DataError
        it is no such file, or what it holds is not the recording that its checksums name
    """
    _h5py()
    with claim(run) as claimed:
        command = [sys.executable, "-m", __name__, str(path), str(claimed.work / run.name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == DataError.exit_code:
            raise DataError(done.stderr.strip())
        if done.returncode != 0:
            raise DataError(f"{path} is damaged: the HDF5 library ends in a crash on it, or never")
        made = claimed.work / run.name
        found = verify(made)
        if not found.sound:
            raise DataError(f"{path} is damaged: {found.problems[0]}")
        return replace(claimed, work=made).publish()


def _restored(file: Any, source: str, folder: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise DataError(
            f"{source} has format {file.attrs.get('format')!r}; this program reads {FORMAT}"
        )
    data, kept = file["entry/data"], file["entry/files"]
    counts = data["counts"]
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in data["file"][()]]
    if counts.ndim != 3 or counts.dtype != np.dtype("<u2") or len(counts) != len(names):
        raise DataError(f"{source} holds no counts (frame, row, column) of 16 bits")
    if len(names) > MOST_FRAMES or counts.shape[1] * counts.shape[2] > MOST_PIXELS:
        raise DataError(f"{source} says that it holds {counts.shape}: too much to be a recording")
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        _write(folder, name, encode_tiff(np.ascontiguousarray(counts[place])))
    for name in kept:
        if kept[name].dtype != np.uint8 or kept[name].size > MOST_FILE:
            raise DataError(f"{source}: '{name}' is no file of a recording")
        _write(folder, name.replace("\\", "/"), kept[name][()].tobytes())
    if not (folder / JOURNAL).is_file():
        raise DataError(f"{source} lacks the {JOURNAL} of its recording")


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / checked_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _bound(size: int) -> None:
    """Bound this process where the system can."""
    with contextlib.suppress(ModuleNotFoundError, ValueError, OSError):
        resource = importlib.import_module("resource")
        seconds = START_S + int(size / BYTES_PER_S)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _read_apart(path: Path, folder: Path) -> None:
    """In the process of its own; raises `DataError`."""
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    _bound(path.stat().st_size)
    try:
        opened = _h5py().File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is no HDF5 file, or is damaged") from error
    kinds = (KeyError, TypeError, AttributeError, ValueError, OSError, RuntimeError, MemoryError)
    with opened as file:
        try:
            _restored(file, str(path), folder)
        except kinds as error:
            raise DataError(f"{path} holds no recording, or is damaged ({error})") from error


if __name__ == "__main__":
    try:
        _read_apart(Path(sys.argv[1]), Path(sys.argv[2]))
    except DataError as error:
        sys.stderr.write(str(error))
        sys.exit(DataError.exit_code)
