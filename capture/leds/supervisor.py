"""A small process that puts the lights out when the program was killed.

A kill -9 lets a program do nothing more, and a board without a watchdog would stay lit. So a second
process holds the same port, waits for the end of a pipe that only the program holds, and then sends
what puts every LED out (decision 0102).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence

TIMES = 3  # the first may complete a line that the program was in the middle of
PAUSE_S = 0.1
FAREWELL = b"."


class Supervisor:
    """The hold on the process; nothing happens until `watch` starts it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def watch(self, handle: int | None, lines: Sequence[bytes]) -> None:
        """Begin to guard an open port; without a handle to pass on there is nothing to do."""
        self.dismiss()
        if handle is None or os.name != "posix":
            return
        there, self._pipe = os.pipe()
        command = [sys.executable, "-I", "-S", __file__, str(there), str(handle)]
        try:
            # A session of its own: what the terminal tells the program is not for this one.
            self._process = subprocess.Popen(
                [*command, *(line.hex() for line in lines)],
                pass_fds=(there, handle),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:  # no room for another process: the board is as safe as without
            os.close(self._pipe)
            self._pipe = -1
        finally:
            os.close(there)

    def dismiss(self) -> None:
        """End it; the lights are the program's own business again. May be called twice."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            with contextlib.suppress(OSError):
                os.write(pipe, FAREWELL)
            os.close(pipe)
        if process is not None:
            process.wait()


def guard(pipe: int, port: int, lines: Sequence[bytes]) -> None:
    """Wait for the program's farewell or its end; after an end without one put the lights out."""
    if os.read(pipe, 1) == FAREWELL:
        return
    for _ in range(TIMES):
        for line in lines:
            with contextlib.suppress(OSError):
                os.write(port, line)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    guard(int(sys.argv[1]), int(sys.argv[2]), [bytes.fromhex(text) for text in sys.argv[3:]])
