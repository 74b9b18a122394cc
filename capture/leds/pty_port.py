"""The virtual board behind a pseudo-terminal, so that any program can open it as a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading

from capture.errors import DeviceError
from capture.leds.virtual import Unplugged, VirtualBoard

try:
    import pty
    import tty
except ImportError:  # Windows has no pseudo-terminals
    pty = None  # type: ignore[assignment]

POLL_S = 0.02


class PtyPort:
    """Serves a board on a pty while the context is open; `name` is what to open.

    The far end sees a plugged-in board from its first open to its last close, each time anew.
    """

    name: str

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board
        self._stop = threading.Event()

    def __enter__(self) -> PtyPort:
        if pty is None:
            raise DeviceError(
                "this system has no pseudo-terminals: use port sim://rig, which works everywhere"
            )
        self._near, far = pty.openpty()
        tty.setraw(far)
        self.name = os.ttyname(far)
        os.close(far)  # so that a hang-up of the other program is seen
        self._thread = threading.Thread(target=self._serve, daemon=True, name="pty-board")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._near)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._near, select.POLLIN)
        while not self._stop.is_set():
            # Nobody has the far end open: hang-up is all that poll reports, at once.
            if any(event & select.POLLHUP for _, event in poll.poll(0)):
                self._stop.wait(POLL_S)
                continue
            try:
                self._board.plug_in()
            except Unplugged:
                self._stop.wait(POLL_S)
            else:
                self._converse(poll)

    def _converse(self, poll: select.poll) -> None:
        talker = threading.Thread(target=self._talk, daemon=True, name="pty-board-out")
        talker.start()
        try:
            while not self._stop.is_set():
                for _, event in poll.poll(POLL_S * 1000):
                    if event & select.POLLIN:
                        self._board.write(os.read(self._near, 4096))
                    elif event & select.POLLHUP:
                        return
        except OSError:
            return  # hung up, or the cable fell out
        finally:
            self._board.hang_up()
            talker.join()

    def _talk(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                data = self._board.read(4096, POLL_S)
                if data:
                    os.write(self._near, data)
