"""The virtual board behind a pseudo-terminal, so that any program can open it as a serial port."""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
import threading
from collections.abc import Callable
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


class PtyPort:
    """Serves a board on a pty while the context is open; `name` is what to open.

    The far end sees a plugged-in board from its first open to its last close, each time anew. When
    the cable falls out the open port is dead for good and `name` is gone until the cable is back,
    as with a board on USB. The board's world is kept going from here, unless `moved` tells somebody
    else who does it when there is something to do.

    Parameters
    ----------
    link : what `name` shall be; None: a name of its own in the folder for temporary files

    Raises
    ------
    DeviceError : something else than a link lies at `link`, or it cannot be made.
    """

    def __init__(
        self,
        board: VirtualBoard,
        moved: Callable[[], None] | None = None,
        link: Path | None = None,
    ) -> None:
        self._board = board
        self._pace = Pace(board.world) if moved is None else None
        self._moved = moved or self._pace_wake
        self._stop = threading.Event()
        self._output = threading.Event()  # the board has something to say, or is unplugged
        self._link = link
        self._context = contextlib.ExitStack()
        self._terminal = ""  # behind the link
        self._near: int | None = None  # our end of it; None while the cable is out

    @property
    def name(self) -> str:
        """The port."""
        return str(self._link)

    def __enter__(self) -> PtyPort:
        if pty is None:
            raise DeviceError(
                "this system has no pseudo-terminals: use port sim://rig, which works everywhere"
            )
        with contextlib.ExitStack() as context:
            if self._link is None:
                folder = tempfile.TemporaryDirectory(prefix="rig-board-")
                self._link = Path(context.enter_context(folder)) / "board"
            elif self._link.exists() and not self._link.is_symlink():
                raise DeviceError(f"{self._link} exists and is no link to a port: name another one")
            context.callback(self._take_away)
            try:
                self._link.parent.mkdir(parents=True, exist_ok=True)
                self._put_there()
            except OSError as error:
                why = error.strerror
                raise DeviceError(f"the link {self._link} cannot be made: {why}") from None
            self._board.on_output = self._output.set
            if self._pace is not None:
                context.enter_context(self._pace)
            self._thread = threading.Thread(target=self._serve, daemon=True, name="pty-board")
            self._thread.start()
            self._context = context.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._output.set()
        self._thread.join()
        self._context.close()

    def _pace_wake(self) -> None:
        if self._pace is not None:
            self._pace.wake()

    # the cable -------------------------------------------------------------------------------
    def _put_there(self) -> None:
        """A new terminal, and the name for it."""
        assert self._link is not None
        self._near, far = pty.openpty()
        tty.setraw(far)
        self._terminal = os.ttyname(far)
        os.close(far)  # so that a hang-up of the other program is seen
        half = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        half.symlink_to(self._terminal)
        half.replace(self._link)

    def _take_away(self) -> None:
        """Name and terminal are gone: whoever has it open meets errors."""
        assert self._link is not None
        near, self._near = self._near, None
        with contextlib.suppress(OSError):
            if os.readlink(self._link) == self._terminal:  # and not that of a board started since
                self._link.unlink()
        if near is not None:
            os.close(near)

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._board.is_out:
                self._take_away()
                self._stop.wait(POLL_S)
            elif self._near is None:
                self._put_there()
            else:
                self._attend(self._near)

    def _attend(self, near: int) -> None:
        """To whoever opens the port, until it is closed or the cable falls out."""
        poll = select.poll()
        poll.register(near, select.POLLIN)
        # Nobody has the far end open: hang-up is all that poll reports, at once.
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self._stop.wait(POLL_S)
            return
        try:
            self._board.plug_in()
            self._converse(near, poll)
        except Unplugged:
            self._take_away()  # even where the cable is back by now

    def _converse(self, near: int, poll: select.poll) -> None:
        """Carry bytes both ways until the port is closed; raises `Unplugged`."""
        hung_up = threading.Event()
        talker = threading.Thread(
            target=self._talk, args=(near, hung_up), daemon=True, name="pty-board-out"
        )
        talker.start()
        try:
            while not self._stop.is_set():
                for _, event in poll.poll(POLL_S * 1000):
                    if event & select.POLLIN:
                        self._board.write(os.read(near, 4096))
                        self._moved()
                    elif event & select.POLLHUP:
                        return
                self._board.waiting()  # raises when the cable has fallen out
        except Unplugged:
            raise
        except OSError:
            return  # closed while it was read
        finally:
            self._board.hang_up()
            self._moved()
            hung_up.set()
            self._output.set()
            talker.join()

    def _talk(self, near: int, hung_up: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while not hung_up.is_set():
                self._output.wait()
                self._output.clear()
                while data := self._board.read(self._board.waiting(), 0):
                    os.write(near, data)
