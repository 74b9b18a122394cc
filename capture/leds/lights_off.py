"""Lights off whatever happens: at exit and at SIGTERM; after a kill -9 the watchdog does it."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Protocol


class Closable(Protocol):
    def close(self) -> None: ...


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def remember(board: Closable) -> None:
    """Close this board when the interpreter ends, unless it is forgotten before."""
    _open.add(board)


def forget(board: Closable) -> None:
    _open.discard(board)


@atexit.register
def _close_all() -> None:
    for board in list(_open):
        board.close()


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Within this context SIGTERM ends the program like Ctrl-C does: contexts are left in order.

    So boards are darkened and closed. Without effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
