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

MAX_FILES = 10_000
MAX_BYTES = 64 * 2**30
MAX_RATIO = 200  # pictures do not shrink further; zip bombs do


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The contents of a zip in a folder that exists until the context ends.

    If everything lies in one folder of the zip, that folder is given.

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
        children = [p for p in root.iterdir() if p.name != "__MACOSX"]
        yield children[0] if len(children) == 1 and children[0].is_dir() else root


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
        path = PurePosixPath(member.filename)
        odd = "\\" in member.filename or ":" in member.filename
        if odd or path.is_absolute() or ".." in path.parts:
            raise DataError(f"{archive} holds '{member.filename}', a path that leaves it: refused")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{archive} holds '{member.filename}', a link: refused")
        if member.flag_bits & 0x1:
            raise DataError(f"{archive} is encrypted: unpack it first")
    for member in members:
        if member.is_dir():
            continue
        target = root / PurePosixPath(member.filename)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for piece in member_pieces(zipped, member, str(archive)):
                file.write(piece)
