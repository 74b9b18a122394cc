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
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | OSError):
        return DATA
    return None
