"""A clock of the virtual rig that nobody has to wait for."""

from __future__ import annotations

import threading


class PromptClock:
    """Time that passes only while somebody waits for the rig, and then at once.

    A `PatientClock` but for its pace, which no picture and no judgement depends on. A board's
    driver speaks in real time: an exposure of half a second would trip the board's watchdog.
    """

    def __init__(self) -> None:
        self._now_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        return self._now_us

    def sleep_us(self, duration_us: float) -> None:
        if duration_us > 0:
            with self._lock:
                self._now_us += max(1, round(duration_us))
