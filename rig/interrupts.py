"""Ctrl-C while a piece of work goes on: the first one asks, the second one interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from capture.leds.lights_off import end_with

ASKED = b"Stopping after this picture; Ctrl-C again to stop at once.\n"


@contextlib.contextmanager
def stop_on_interrupt(
    said: bytes = ASKED, patient: Callable[[], bool] = lambda: True
) -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C asks to stop after the current picture; the second interrupts at once.

    Parameters
    ----------
    said : printed at the first one
    patient : whether there is somebody to ask; if not, the first one interrupts

    What is given says whether to stop. Outside the main thread no signal arrives.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() or not patient():
            end_with(KeyboardInterrupt())
            return
        asked.set()
        # Not by print: the program may be in the middle of printing.
        with contextlib.suppress(OSError):
            os.write(2, said)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
