"""Where the program begins: ``rig`` and ``python -m rig``.

Loading the command line takes some tenths of a second. Ctrl-C within them ends the program as at
any other time, in a word and with exit code 130; Python alone would print where it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from types import FrameType


def _interrupted(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):  # a closed error output
        os.write(2, b"Interrupted.\n")
    os._exit(130)  # nothing is open yet, no light is on


# Work is shared out by threads of our own. Threads of OpenBLAS and OpenMP beside them spin while
# they wait for work, and spend processor time on nothing.
ONE_SET_OF_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
# glibc's names for two of its settings, and how many bytes each is given: pieces of up to so many
# come from one heap (the most that it takes), and of what is free at its end so many stay.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = (-3, 32 << 20), (-1, 256 << 20)


def keep_freed_memory() -> None:
    """Have the memory of one array serve the next one.

    By default the C library gives it back and asks for it again, page by page: a twentieth of the
    processor time of a reconstruction. Other C libraries have no such setting.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(*setting)


def main() -> None:
    """Load the command line and carry out what was typed."""
    for name, value in ONE_SET_OF_THREADS.items():
        os.environ.setdefault(name, value)
    keep_freed_memory()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # a command behind `nohup` or `&` ignores it
        signal.signal(signal.SIGINT, _interrupted)
    from rig.cli import main as carry_out

    signal.signal(signal.SIGINT, before)
    carry_out()


if __name__ == "__main__":
    main()
