"""Standard streams that may be closed, broken or of another code page: what is said may be lost,
what is done is not."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Any

# Nobody is at the other end: the reader has gone, or the terminal was closed.
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ENODEV)


class Unheard(io.FileIO):
    """A stream whose reader may go away; what he does not hear is dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not self.lost(error):
                raise
            return len(memoryview(data).cast("B"))

    def lost(self, error: OSError) -> bool:
        """Whether what could not be written is dropped for this reason."""
        return error.errno in _GONE


class UnheardErrors(Unheard):
    """The error output, which drops all that it cannot write: there is no other to say so, and a
    log on a full disk neither stops a measurement nor changes how the program ends."""

    def lost(self, error: OSError) -> bool:
        return True


def _shown(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file's name as they are; signs that the code page lacks as ``\\u2026``."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def mend_standard_streams() -> None:
    """Give the program three streams that it can use whatever it was started with.

    A closed one is opened on nothing: else the next file or serial port to be opened would take
    its number, and what is printed would go there.
    """
    codecs.register_error("rig", _shown)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _patient(1, sys.stdout, False)
    sys.stderr = _patient(2, sys.stderr, True)


def drop_output() -> None:
    """Whatever waits to be printed cannot be: let it go, so that the exit code stays ours."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _is(stream: Any, number: int) -> bool:
    """Whether a stream writes to that descriptor: one in memory, of who calls us, does not."""
    try:
        return bool(stream.fileno() == number)
    except (OSError, ValueError):
        return False


def _patient(number: int, before: Any, at_once: bool) -> Any:
    if before is not None and not _is(before, number):
        return before
    file = (UnheardErrors if number == 2 else Unheard)(number, "w", closefd=False)
    unbuffered = bool(getattr(before, "write_through", False))  # python -u
    stream: Any = file if unbuffered else io.BufferedWriter(file)
    return io.TextIOWrapper(
        stream,
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="rig",
        line_buffering=at_once or os.isatty(number),
        write_through=unbuffered,
    )
