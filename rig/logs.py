"""What ``--verbose`` shows and ``--log-file`` keeps of the rooms' loggers."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rig.exits import UsageError

DISTRIBUTION = "dpps-rig"
# What a library warns of (`py.warnings`) is for whoever reads a log, not for the user.
ROOMS = ("rig", "capture", "calib", "reconstruct", "intake", "py.warnings")
LOG = logging.getLogger("rig")


class Kept(logging.FileHandler):
    """The file of a log. Where its disk is full that is said once, and nothing else stops."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.setLevel(logging.CRITICAL + 1)
        why = error.strerror or error
        print(f"Note: the log {self.baseFilename} ends here: {why}", file=sys.stderr)


def program_version() -> str:
    """The version that is installed; of a bare checkout ``unknown``."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def begin(verbose: bool, log_file: Path | None, typed: Sequence[str]) -> None:
    """Listen to the rooms' loggers, for one command.

    Parameters
    ----------
    verbose : show what is done on the error output, one line each
    log_file : append everything to this file, with the time (UTC)
    typed : words of the command line

    Raises
    ------
    UsageError
        the file cannot be written
    """
    handlers: list[logging.Handler] = []
    if verbose:
        shown = logging.StreamHandler(sys.stderr)
        shown.setLevel(logging.INFO)
        shown.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        handlers.append(shown)
    if log_file is not None:
        try:
            kept = Kept(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(
                f"--log-file {log_file} cannot be written ({error.strerror}): name another"
            ) from error
        form = logging.Formatter(
            "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        form.converter = time.gmtime
        kept.setFormatter(form)
        handlers.append(kept)
    logging.captureWarnings(True)
    for room in ROOMS:
        logger = logging.getLogger(room)
        end_of(logger)
        # Without a listener of ours nothing is shown: what the user must read is printed.
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.DEBUG if handlers else logging.WARNING)
        for handler in handlers:
            logger.addHandler(handler)
    if handlers:  # what a command without a listener need not wait for
        LOG.info(
            "rig %s, Python %s on %s: rig %s",
            program_version(), platform.python_version(), platform.platform(), " ".join(typed),
        )  # fmt: skip


def end_of(logger: logging.Logger) -> None:
    """Take away what an earlier command of this process listened with."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
