"""A board on a pty that speaks somebody's dialect."""

from __future__ import annotations

import os
import re
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Speak = Callable[[str], tuple[str, str]]  # what came so far -> what is left of it, what to answer


class Peer:
    """A board on a pty that answers by a function and keeps what it was sent.

    A real one boots when its port is opened, which a pty does not tell: one that `greets` sends its
    banner until it is spoken to, so that a program that opens it late need not wait in vain.
    """

    def __init__(self, speak: Speak, banner: str = "", greets: bool = False) -> None:
        self.heard = ""
        self._speak = speak
        self._banner = banner
        self._greets = greets
        self._stop = threading.Event()

    @contextmanager
    def plugged_in(self) -> Iterator[str]:
        near, far = os.openpty()
        tty.setraw(far)
        thread = threading.Thread(target=self._serve, args=(near,))
        thread.start()
        try:
            yield os.ttyname(far)
        finally:
            self._stop.set()
            thread.join()
            os.close(near)
            os.close(far)

    def _serve(self, near: int) -> None:
        pending = ""
        self._stop.wait(0.1)  # booting, since the port was opened
        os.write(near, self._banner.encode())
        while True:  # unplugged, it first hears what is on the wire
            alone = self._greets and not self.heard
            if not select.select([near], [], [], 0.1 if alone else 0.01)[0]:
                if self._stop.is_set():
                    return
                if alone:
                    os.write(near, self._banner.encode())
                continue
            data = os.read(near, 64).decode("latin-1")
            self.heard += data
            pending, answer = self._speak(pending + data)
            os.write(near, answer.encode("latin-1"))


def by_pattern(pattern: str, answer: Callable[[re.Match[str]], str]) -> Speak:
    def speak(text: str) -> tuple[str, str]:
        out, end = "", 0
        for found in re.finditer(pattern, text):
            out += answer(found)
            end = found.end()
        return text[end:], out

    return speak


def mode_step(found: re.Match[str]) -> str:
    if found[1] is None:
        return "OK: OFF\r\n"
    return f"OK: MODE {found[1]} STEP {found[2]}\r\n"


MODE_STEP = by_pattern(r"(?:N(\d+)_(\d+)|OFF)\n", mode_step)
