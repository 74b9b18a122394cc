"""Exit codes and the errors that lead to them.

| code | meaning |
|---|---|
| 0 | good |
| 1 | measured, and out of tolerance |
| 2 | usage: a wrong option, name or configuration |
| 3 | device: a board or camera is missing, silent or faulty |
| 4 | data: a file or recording is missing, damaged or not sufficient |
| 130 | interrupted |
"""

from __future__ import annotations

import errno

GOOD, OUT_OF_TOLERANCE, USAGE, DEVICE, DATA, INTERRUPTED = 0, 1, 2, 3, 4, 130


class UsageError(Exception):
    """What was asked cannot be done as asked; the message says what to type instead."""

    exit_code = USAGE


def exit_code(error: BaseException) -> int | None:
    """Exit code of a known error, or None for a programming error.

    Every error a user can cause carries an integer attribute `exit_code` (2, 3 or 4), so the
    rooms need not know the roof.
    """
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code
    return DATA if isinstance(error, OSError) else None


_ADVICE = {
    errno.EACCES: "get the right to it, or choose another place",
    errno.EPERM: "get the right to it, or choose another place",
    errno.EROFS: "it can only be read there: choose another place, such as another --workspace",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
    errno.ENOTDIR: "a folder is expected where a file is",
    errno.EISDIR: "a file is expected where a folder is",
    errno.ENOENT: "see that it is there and spelled so",
    errno.EEXIST: "nothing is overwritten: move it away, or choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def in_words(error: BaseException) -> str:
    """What to print for a known error: its message, or what the system refused and what to do."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    what = error.filename2 or error.filename
    said = error.strerror if what is None else f"{what}: {error.strerror}"
    advice = _ADVICE.get(error.errno or 0)
    return f"{said}: {advice}" if advice else said
