"""Exit codes and the errors that lead to them.

| code | meaning |
|---|---|
| 0 | good |
| 1 | measured, and out of tolerance |
| 2 | usage: a wrong option, name or configuration |
| 3 | device: a board or camera is missing, silent or faulty |
| 4 | data: a file or recording is missing, damaged or not sufficient |
| 70 | unforeseen: a mistake of the program; a log holds the traceback |
| 130 | interrupted (another signal: 128 and its number) |
"""

from __future__ import annotations

import errno
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

GOOD, OUT_OF_TOLERANCE, USAGE, DEVICE, DATA, UNFORESEEN, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130
LOGS = "logs"


class UsageError(Exception):
    """What was asked cannot be done as asked; the message says what to type instead."""

    exit_code = USAGE


def exit_code(error: BaseException) -> int | None:
    """Exit code of a known error, or None for a programming error.

    Every error a user can cause carries an integer attribute `exit_code` (2, 3 or 4), so the
    rooms need not know the roof. 1 is a verdict and never an error's.
    """
    code = getattr(error, "exit_code", None)
    if code in (USAGE, DEVICE, DATA):
        return int(code)
    return DATA if isinstance(error, OSError) else None


def failure(error: BaseException, workspace: Path | None = None) -> tuple[int, str]:
    """Exit code and sentence of an error; the traceback of an unforeseen one goes into a log."""
    code = exit_code(error)
    if code is not None:
        return code, in_words(error)
    if _forgot_kernels(error):
        return UNFORESEEN, (
            "compiled kernels that an older version of rig left could not be read, and are removed "
            "now: start the command again; this once it takes a minute longer"
        )
    kind = type(error).__name__
    first = next(iter(str(error).splitlines()), "")
    what = f"{kind}: {first}" if first else kind
    log = keep_log(error, workspace)
    where = f"the traceback is in {log}" if log else "its traceback could not be written"
    return UNFORESEEN, f"something unforeseen went wrong ({what}): {where}; please report it"


def _forgot_kernels(error: BaseException) -> bool:
    """Whether an error came from reading Numba's cache of compiled kernels, which is then removed.

    Its index names the classes that kernels are called with by their modules, and is read before
    it is looked whether it is out of date: it cannot be where a newer version has moved a class.
    """
    read = [
        getattr(frame.f_locals.get("self"), "_index_path", None)
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "_load_index" and "numba" in frame.f_code.co_filename
    ]
    folders = [Path(path).parent for path in read if path is not None]
    if not folders:
        return False
    rooms = [
        Path(__file__).parents[1] / room for room in ("calib", "capture", "reconstruct", "rig")
    ]
    folders += [folder for room in rooms for folder in room.rglob("__pycache__")]
    try:
        for index in [index for folder in folders for index in folder.glob("*.nbi")]:
            index.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def keep_log(error: BaseException, workspace: Path | None = None) -> Path | None:
    """Write the traceback where there is room: the workspace, or else the user's own folders."""
    now = datetime.now(UTC)
    text = "\n".join(
        [
            f"{now.isoformat(timespec='seconds')}  {' '.join(sys.argv)}",
            f"Python {platform.python_version()} on {platform.platform()}",
            "".join(traceback.format_exception(error)),
        ]
    )
    data = text.encode("utf-8", "backslashreplace")
    name = f"rig-{now.strftime('%Y%m%dT%H%M%S%f')}-{os.getpid()}.log"
    for folder in _log_folders(workspace):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        except (OSError, RuntimeError):  # RuntimeError: nobody knows the user's home
            continue
        return folder / name
    return None


def _log_folders(workspace: Path | None) -> Iterator[Path]:
    if workspace is not None and (workspace / "rig.yaml").exists():
        yield workspace.absolute() / LOGS
    yield user_logs()
    yield Path(tempfile.gettempdir())


def user_logs() -> Path:
    """The user's own folder of logs."""
    state = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    home = os.path.expanduser("~")
    return Path(state) / "rig" if state else Path(home) / ".local" / "state" / "rig"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # how NumPy says that
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
    # What was read from a file, or is a file's name, does not steer the terminal.
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", _said(error))


def _said(error: BaseException) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        if isinstance(error, OSError) and _CUT_SHORT.fullmatch(str(error)):
            return "a file could be written in part only: make room on that disk"
        return str(error)
    what = error.filename2 or error.filename
    said = error.strerror if what is None else f"{what}: {error.strerror}"
    advice = _ADVICE.get(error.errno or 0)
    return f"{said}: {advice}" if advice else said
