"""The virtual board behind a pseudo-terminal, so that any program can open it as a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from capture.errors import DeviceError
from capture.leds.virtual import Unplugged, VirtualBoard
from capture.pace import Pace

try:
    import pty
    import tty
except ImportError:  # Windows has no pseudo-terminals
    pty = None  # type: ignore[assignment]

POLL_S = 0.02


@contextlib.contextmanager
def linked(link: Path, port: str) -> Iterator[None]:
    """A name for a port that stays the same, while the context is open.

    Raises
    ------
    DeviceError : something else than a link lies there, or the link cannot be made.
    """
    if link.exists() and not link.is_symlink():
        raise DeviceError(f"{link} exists and is no link to a port: name another one")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(port)
    except OSError as error:
        raise DeviceError(f"the link {link} cannot be made: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if os.readlink(link) == port:  # and not that of a board started since
                link.unlink()


class PtyPort:
    """Serves a board on a pty while the context is open; `name` is what to open.

    The far end sees a plugged-in board from its first open to its last close, each time anew. The
    board's world is kept going from here, unless `moved` tells somebody else who does it when there
    is something to do.
    """

    name: str

    def __init__(self, board: VirtualBoard, moved: Callable[[], None] | None = None) -> None:
        self._board = board
        self._pace = Pace(board.world) if moved is None else None
        self._moved = moved or self._pace_wake
        self._stop = threading.Event()
        self._output = threading.Event()  # the board has something to say, or is unplugged

    def __enter__(self) -> PtyPort:
        if pty is None:
            raise DeviceError(
                "this system has no pseudo-terminals: use port sim://rig, which works everywhere"
            )
        self._near, far = pty.openpty()
        tty.setraw(far)
        self.name = os.ttyname(far)
        os.close(far)  # so that a hang-up of the other program is seen
        self._board.on_output = self._output.set
        if self._pace is not None:
            self._pace.__enter__()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="pty-board")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._output.set()
        self._thread.join()
        if self._pace is not None:
            self._pace.__exit__()
        os.close(self._near)

    def _pace_wake(self) -> None:
        if self._pace is not None:
            self._pace.wake()

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
        hung_up = threading.Event()
        talker = threading.Thread(
            target=self._talk, args=(hung_up,), daemon=True, name="pty-board-out"
        )
        talker.start()
        try:
            while not self._stop.is_set():
                for _, event in poll.poll(POLL_S * 1000):
                    if event & select.POLLIN:
                        self._board.write(os.read(self._near, 4096))
                        self._moved()
                    elif event & select.POLLHUP:
                        return
                self._board.waiting()  # raises when the cable has fallen out
        except OSError:
            return  # hung up, or the cable fell out
        finally:
            self._board.hang_up()
            self._moved()
            hung_up.set()
            self._output.set()
            talker.join()

    def _talk(self, hung_up: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while not hung_up.is_set():
                self._output.wait()
                self._output.clear()
                while data := self._board.read(self._board.waiting(), 0):
                    os.write(self._near, data)
