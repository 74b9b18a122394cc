"""The virtual rig's world: one clock, one log of light, one pair of wires.

The virtual board writes into the log which LED was on when; the virtual camera integrates the log
over its own exposure window. Nothing tells the camera which LED it should see.

Threads and time. A device's thread wakes a little after the instant it meant to act at. So events
carry the instant they were meant for (`at_us`), and before the log is read up to an instant, every
device connected with `connect_device` is brought up to that instant. Listeners are called from
any thread, possibly from within `lit` and `electrons`: a listener notes the edge and returns; it
must not wait for a lock that is held around `lit` or `electrons`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capture.errors import DeviceError
from capture.faults import NONE, Faults

LOG_LENGTH = 10_000  # lightings kept: more than a picture can look back on
DISORDER_US = 1_000_000  # no event is told later than this after the instant it was meant for


class Scene(Protocol):
    """What the virtual camera looks at, given from outside."""

    shape: tuple[int, int]  # (H, W)
    led_count: int

    def irradiance(self, led: int) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs that LED `led` (from 1) at level 1 makes in each pixel."""

    def ambient(self) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs of room light."""


class Clock(Protocol):
    def now_us(self) -> int: ...
    def sleep_us(self, duration_us: float) -> None: ...


class WallClock:
    """Real time, in µs since the clock was made."""

    def __init__(self) -> None:
        self._start_ns = time.monotonic_ns()

    def now_us(self) -> int:
        return (time.monotonic_ns() - self._start_ns) // 1000

    def sleep_us(self, duration_us: float) -> None:
        if duration_us > 0:
            time.sleep(duration_us * 1e-6)


@dataclass
class Lit:
    """LED `led` shone at `level` from `on_us` to `off_us` (None: still on)."""

    led: int
    level: float
    on_us: int
    off_us: int | None


class World:
    """A scene, a clock, the log of light, and two wires (trigger line, exposure-active line).

    `faults` may be replaced at any time; the devices look at it when they act.
    """

    def __init__(
        self,
        scene: Scene,
        clock: Clock | None = None,
        seed: int = 0,
        faults: Faults = NONE,
    ) -> None:
        self.scene = scene
        self.clock: Clock = clock or WallClock()
        self.seed = seed
        self.faults = faults
        self.board: object = None  # the virtual board, once capture.leds.virtual has made it
        self._past: deque[Lit] = deque(maxlen=LOG_LENGTH)
        self._shining: list[Lit] = []
        self._lock = threading.Lock()
        self._on_trigger: list[Callable[[int], None]] = []
        self._on_exposure_active: list[Callable[[int], None]] = []
        self._devices: list[Callable[[int], None]] = []

    # devices ---------------------------------------------------------------------------------
    def connect_device(self, advance: Callable[[int], None]) -> None:
        """`advance(until_us)` makes the device do all it had to do up to that instant."""
        self._devices.append(advance)

    def disconnect(self, callback: Callable[[int], None]) -> None:
        """Forget a listener or device connected before."""
        for callbacks in (self._on_trigger, self._on_exposure_active, self._devices):
            if callback in callbacks:
                callbacks.remove(callback)

    def settle(self, until_us: int) -> None:
        """Bring every device up to `until_us`."""
        for advance in list(self._devices):
            advance(until_us)

    # light -----------------------------------------------------------------------------------
    def light(self, led: int, level: float, at_us: int | None = None) -> None:
        """An LED goes on (several may be on at once: that is a fault worth simulating)."""
        with self._lock:
            now = self.clock.now_us() if at_us is None else at_us
            self._shining.append(Lit(led, level, now, None))

    def dark(self, led: int | None = None, at_us: int | None = None) -> None:
        """LED `led` goes off; None: all of them."""
        with self._lock:
            now = self.clock.now_us() if at_us is None else at_us
            for lit in self._shining:
                if led in (None, lit.led):
                    lit.off_us = now
                    self._past.append(lit)
            self._shining = [lit for lit in self._shining if lit.off_us is None]

    def lit(self, start_us: int, end_us: int) -> dict[int, float]:
        """Level × µs that each LED shone within a window that lies in the past."""
        self.settle(end_us)
        total: dict[int, float] = {}
        with self._lock:
            for lit in itertools.chain(self._shining, reversed(self._past)):
                off = end_us if lit.off_us is None else lit.off_us
                if off < start_us - DISORDER_US:
                    break  # `_past` is in the order in which LEDs went off
                overlap = min(end_us, off) - max(start_us, lit.on_us)
                if overlap > 0:
                    total[lit.led] = total.get(lit.led, 0.0) + lit.level * overlap
        return total

    def log(self) -> list[Lit]:
        """A copy of the log of light (its last part), in the order the LEDs went on."""
        with self._lock:
            every = [replace(lit) for lit in itertools.chain(self._past, self._shining)]
        return sorted(every, key=lambda lit: lit.on_us)

    def electrons(self, start_us: int, end_us: int) -> NDArray[np.float32]:
        """(H, W) expected photo-electrons of an exposure window."""
        image = self.scene.ambient() * np.float32(end_us - start_us)
        for led, level_us in sorted(self.lit(start_us, end_us).items()):
            image = image + self.scene.irradiance(led) * np.float32(level_us)
        return image

    # wires -----------------------------------------------------------------------------------
    def connect_trigger(self, listener: Callable[[int], None]) -> None:
        """`listener(at_us)` is called at each rising edge of the camera's trigger line."""
        self._on_trigger.append(listener)

    def connect_exposure_active(self, listener: Callable[[int], None]) -> None:
        """`listener(at_us)` is called at each rising edge of the camera's exposure-active line."""
        self._on_exposure_active.append(listener)

    def pulse_trigger(self, at_us: int) -> None:
        for listener in list(self._on_trigger):
            listener(at_us)

    def pulse_exposure_active(self, at_us: int) -> None:
        for listener in list(self._on_exposure_active):
            listener(at_us)


_worlds: dict[str, World] = {}


def publish(name: str, world: World) -> None:
    """Make a world reachable as ``sim://name``, by the board's port and the camera's address."""
    _worlds[name] = world


def withdraw(name: str) -> None:
    """Forget a published world."""
    _worlds.pop(name, None)


def find(address: str) -> World:
    """The world behind ``sim://name``; raises `DeviceError` if nobody published it."""
    name = address.removeprefix("sim://").split("?")[0].strip("/")
    if name not in _worlds:
        known = ", ".join(sorted(_worlds)) or "none"
        raise DeviceError(f"no virtual rig named '{name}' is running (known: {known})")
    return _worlds[name]
