"""Bytes and text of a file, within bounds."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from intake.errors import InputError, MissingError

MAX_BYTES = 4 * 2**30
MAX_TEXT = 64 * 2**20

_WORDS = {
    errno.ELOOP: "it is a link that leads back to itself",
    errno.EACCES: "it may not be read by you",
    errno.EPERM: "it may not be read by you",
    errno.ENAMETOOLONG: "its name is too long",
}


def open_file(path: Path) -> BinaryIO:
    """A file opened to read bytes; a folder, device or pipe is refused without waiting for it.

    Raises
    ------
    MissingError
        if there is none
    InputError
        if it is no file or cannot be opened
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(
            f"there is no file {path}: see that it is there and spelled so"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if path.is_dir():  # Windows refuses to open one
            raise InputError(f"{path} is a folder: name a file") from None
        code = getattr(error, "errno", None) or 0
        why = _WORDS.get(code) or getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read: {why}") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path} is {kind}: name a file")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, largest: int = MAX_BYTES) -> bytes:
    """The contents of a file of at most `largest` bytes; raises `InputError`."""
    with open_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > largest:
            raise InputError(
                f"{path} holds {size / 2**20:.0f} MB, expected {largest / 2**20:.0f} MB or less"
            )
        try:
            return stream.read(size)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path, largest: int = MAX_TEXT, fallback: str | None = None) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark, or in UTF-16 with one.

    Parameters
    ----------
    fallback : encoding of files that are not UTF-8, where a format has such a tradition

    Raises
    ------
    InputError
        if it is no text, naming the line
    """
    return decoded(read_bytes(path, largest), str(path), fallback)


def decoded(data: bytes, source: str, fallback: str | None = None) -> str:
    """Bytes as text, as `read_text` does; `source` names them in messages."""
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        if fallback is not None and coding == "utf-8-sig":
            return data.decode(fallback)
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{source} is no UTF-8 text (byte {data[error.start]:#04x} in line {line}): "
            "save it as UTF-8"
        ) from None
