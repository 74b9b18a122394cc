"""Keeps a world going in a thread, for a rig that other programs talk to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from capture.world import SLICE_US, World

IDLE_S = 0.1  # longest sleep: whoever forgets to wake the pace is served a little late
HORIZON_US = 600_000_000  # a stepped clock does not go on to what lies farther off


@runtime_checkable
class PacedClock(Protocol):
    """A clock that a pace can wait by."""

    def now_us(self) -> int: ...
    def sleep_us(self, duration_us: float) -> None: ...
    def wait_s(self, due_us: int) -> float:
        """How long to wait, in real time, until an instant has come."""


class SteppedClock:
    """Time that goes on to the next instant at which something is due, and stands still else.

    What a host does takes no time. Two runs of one sequence of commands are alike to the µs.
    """

    def __init__(self) -> None:
        self._now_us = 0

    def now_us(self) -> int:
        return self._now_us

    def sleep_us(self, duration_us: float) -> None:
        """Nobody who waits lets time pass here."""

    def wait_s(self, due_us: int) -> float:
        """Go on to an instant that is not too far off."""
        if due_us - self._now_us > HORIZON_US:
            return IDLE_S
        self._now_us = max(self._now_us, due_us)
        return 0.0


class Pace:
    """Carries a world on by a clock while its context is open.

    Parameters
    ----------
    world : any; best with a clock that can tell how long to wait (`PacedClock`)
    busy : asked before time goes on; True holds it back (pictures are still being made)
    """

    def __init__(self, world: World, busy: Callable[[], bool] = lambda: False) -> None:
        self._world, self._busy = world, busy
        self._woken = threading.Event()
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="pace")

    def __enter__(self) -> Pace:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop = True
        self.wake()
        self._thread.join()

    def wake(self) -> None:
        """Something may be due earlier than it was."""
        self._woken.set()

    def _run(self) -> None:
        while not self._stop:
            self._woken.clear()
            self._world.settle()
            due_us = self._world.due_us()
            wait_s = IDLE_S if due_us is None or self._busy() else self._wait_s(due_us)
            if wait_s > 0:
                self._woken.wait(min(wait_s, IDLE_S))

    def _wait_s(self, due_us: int) -> float:
        clock = self._world.clock
        if isinstance(clock, PacedClock):
            return clock.wait_s(due_us)
        clock.sleep_us(min(due_us - clock.now_us(), SLICE_US))  # its time only passes in a sleep
        return 0.0
