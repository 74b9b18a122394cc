"""Lights off whatever happens: at exit, at every signal that can be caught.

A kill -9 cannot be caught: then the board's own watchdog darkens it, or `supervisor` where a board
has none (decision 0102).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


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


ONCE_MORE_S = 0.05

# signals ----------------------------------------------------------------------------------------
# What ends a program that does not catch it, but for Ctrl-C, faults of the program itself, and what
# the system lets nobody catch.
_DEADLY = (
    *("SIGHUP", "SIGQUIT", "SIGTERM", "SIGABRT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM"),
    *("SIGPROF", "SIGXCPU", "SIGPOLL", "SIGPWR", "SIGSTKFLT", "SIGBREAK"),
)


def _deadly() -> list[int]:
    """Their numbers on this system, where nobody has decided otherwise (``nohup`` has)."""
    named = [int(getattr(signal, name)) for name in _DEADLY if hasattr(signal, name)]
    first = getattr(signal, "SIGRTMIN", None)
    real_time = [] if first is None else range(int(first), int(signal.SIGRTMAX) + 1)
    known = signal.valid_signals()
    every = (number for number in (*named, *real_time) if number in known)
    return [number for number in every if signal.getsignal(number) is signal.SIG_DFL]


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """Within this context deadly signals end the program like Ctrl-C: contexts are left in order.

    So boards are darkened and closed, and the exit code is 128 and the signal's number. Ctrl-C
    raises `KeyboardInterrupt` even in a program that a shell started to ignore it. Ctrl-Z does
    nothing: an LED may be lit, and nobody would put it out. Without effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        end_with(SystemExit(128 + number))

    def interrupt(number: int, frame: FrameType | None) -> None:
        end_with(KeyboardInterrupt())

    before = {number: signal.signal(number, leave) for number in _deadly()}
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.default_int_handler):
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    if hasattr(signal, "SIGTSTP") and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
        before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, lambda number, frame: None)
    hook = sys.unraisablehook

    def lost(args: UnraisableHookArgs) -> None:
        """Once more in a moment, where C code swallowed it: a compiler's callback, a destructor."""
        if not isinstance(args.exc_value, SystemExit | KeyboardInterrupt):
            hook(args)
            return
        code = getattr(args.exc_value, "code", None)
        number = code - 128 if isinstance(code, int) and code > 128 else int(signal.SIGINT)
        again = threading.Timer(ONCE_MORE_S, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


_shields = 0
_waiting: BaseException | None = None


def end_with(error: BaseException) -> None:
    """Raise in the main thread, now or as soon as it is not darkening a board."""
    global _waiting
    if _shields:
        _waiting = error
    else:
        raise error


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Hold back what `exit_on_signals` would raise until the lights are off.

    Without effect outside the main thread, where signals do not arrive.
    """
    global _shields, _waiting
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _shields += 1
    try:
        yield
    finally:
        _shields -= 1
        error = _waiting
        if error is not None and not _shields:
            _waiting = None
            raise error


exit_on_sigterm = exit_on_signals  # its name when SIGTERM was all that it minded
