"""Unpacking a zip somebody sent: only plain files, only below the folder, only so much."""

from __future__ import annotations

import contextlib
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from capture.errors import DataError
from intake.archives import member_pieces, open_zip
from intake.errors import told_as
from intake.files import open_file
from intake.names import is_picture

MAX_FILES = 10_000
MAX_BYTES = 64 * 2**30
MAX_RATIO = 200  # pictures do not shrink further; zip bombs do


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The contents of a zip in a folder that exists until the context ends.

    If its pictures lie in one folder of the zip, that folder is given.

    Raises
    ------
    DataError
        if it is no zip, is encrypted or damaged, holds links or names that leave it, or would
        unpack to far more than it is
    """
    with tempfile.TemporaryDirectory(prefix="rig-import-") as name:
        root = Path(name)
        with told_as(DataError), open_file(archive) as file, open_zip(file, str(archive)) as zipped:
            _extract(zipped, archive, root)
        folders = [p for p in root.iterdir() if p.name != "__MACOSX" and p.is_dir()]
        beside = any(is_picture(p) or p.suffix.lower() == ".lp" for p in root.iterdir())
        try:
            yield folders[0] if len(folders) == 1 and not beside else root
        except DataError as error:  # the folder is gone when this is read
            raise DataError(str(error).replace(str(root), str(archive))) from error


def _extract(zipped: zipfile.ZipFile, archive: Path, root: Path) -> None:
    members = zipped.infolist()
    packed = max(1, archive.stat().st_size)
    total = sum(member.file_size for member in members)
    if len(members) > MAX_FILES or total > MAX_BYTES or total > MAX_RATIO * packed + 2**20:
        raise DataError(
            f"{archive} would unpack to {total / 2**20:.0f} MB in {len(members)} files from "
            f"{packed / 2**20:.1f} MB: refused; unpack it yourself if you trust it"
        )
    for member in members:
        path = _path(member)
        if ":" in member.filename or path.is_absolute() or ".." in path.parts:
            raise DataError(f"{archive} holds '{member.filename}', a path that leaves it: refused")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{archive} holds '{member.filename}', a link: refused")
        if member.flag_bits & 0x1:
            raise DataError(f"{archive} is encrypted: unpack it first")
    for member in members:
        if member.is_dir() or member.filename.endswith("\\"):
            continue
        target = root / _path(member)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for piece in member_pieces(zipped, member, str(archive)):
                file.write(piece)


def _path(member: zipfile.ZipInfo) -> PurePosixPath:
    """Where a member goes; programs of old Windows write backslashes between folders."""
    return PurePosixPath(member.filename.replace("\\", "/"))
