"""The virtual rig's world: one clock, one queue of events, one log of light, one pair of wires.

The virtual board writes into the log which LED was on when; the virtual camera integrates the log
over its own exposure window. Nothing tells the camera which LED it should see.

Order and time. What a device does carries the instant at which it is due on the world's clock, and
the world carries all of it out in the order of these instants (`settle`), whichever thread asks and
however late. Devices have no threads of their own: who waits for one of them (`wait`) keeps the
world going. So what a picture shows depends on the instants alone, never on the host's load.
"""

from __future__ import annotations

import heapq
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

SCHEME = "sim://"
LOG_LENGTH = 10_000  # lightings kept: more than a picture can look back on
DISORDER_US = 1_000_000  # no event is told later than this after the instant it was meant for
SLICE_US = 1000.0  # a wait looks this often at what other threads did
BEHIND_AT_MOST_S = 0.1  # real time that the host spent is made up for, up to this

Action = Callable[[int], None]  # told the instant, µs, at which it happens


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


class Device(Protocol):
    """What the world carries on. Both methods are called with the world's lock held."""

    def due_us(self) -> int | None:
        """The next instant at which it does something of itself; None: never."""

    def act(self, due_us: int) -> None:
        """Do it."""


class PatientClock:
    """Time that passes only while somebody waits for the rig, no faster than real time.

    A host that is busy, slow or stopped stops the clock: it misses no picture and trips no
    watchdog, and a recording comes out alike on any computer under any load. What the host did
    meanwhile shortens its wait, as the exposure of a camera goes on while a picture is written.
    """

    def __init__(self) -> None:
        self._now_us = 0
        self._start_s = time.monotonic()  # when it would have begun, had it never stopped
        self._lock = threading.Lock()

    def now_us(self) -> int:
        return self._now_us

    def sleep_us(self, duration_us: float) -> None:
        if duration_us <= 0:
            return
        with self._lock:
            until_us = self._now_us + max(1, round(duration_us))
            least_s = time.monotonic() - BEHIND_AT_MOST_S - self._now_us * 1e-6
            self._start_s = max(self._start_s, least_s)
            until_s = self._start_s + until_us * 1e-6
        time.sleep(max(0.0, until_s - time.monotonic()))
        with self._lock:
            self._now_us = max(self._now_us, until_us)


class WallClock:
    """Real time, in µs since the clock was made: for a rig that other programs talk to."""

    def __init__(self) -> None:
        self._start_ns = time.monotonic_ns()

    def now_us(self) -> int:
        return (time.monotonic_ns() - self._start_ns) // 1000

    def sleep_us(self, duration_us: float) -> None:
        if duration_us > 0:
            time.sleep(duration_us * 1e-6)

    def wait_s(self, due_us: int) -> float:
        """How long it is until an instant, s."""
        return (due_us - self.now_us()) * 1e-6


@dataclass
class Lit:
    """LED `led` shone at `level` from `on_us` to `off_us` (None: still on)."""

    led: int
    level: float
    on_us: int
    off_us: int | None


class World:
    """A scene, a clock, the log of light, and two wires (trigger line, exposure-active line).

    `faults` may be replaced at any time; the devices look at it when they act. Thread-safe.

    Parameters
    ----------
    scene : what the camera looks at
    clock : default a `PatientClock`
    seed : of the camera's noise
    faults : what is wrong with the rig
    """

    def __init__(
        self,
        scene: Scene,
        clock: Clock | None = None,
        seed: int = 0,
        faults: Faults = NONE,
    ) -> None:
        self.scene = scene
        self.clock: Clock = clock or PatientClock()
        self.seed = seed
        self.faults = faults
        self.board: object = None  # the virtual board, once capture.leds.virtual has made it
        self.lock = threading.RLock()  # devices guard themselves with it
        self._past: deque[Lit] = deque(maxlen=LOG_LENGTH)
        self._shining: list[Lit] = []
        self._on_trigger: list[Action] = []
        self._on_exposure_active: list[Action] = []
        self._devices: list[Device] = []
        self._events: list[tuple[int, int, Action]] = []  # a heap: instant, number, what happens
        self._numbers = itertools.count()
        self._settled_us = self.clock.now_us()
        self._settling = False

    # time ------------------------------------------------------------------------------------
    def connect_device(self, device: Device) -> None:
        """From now on the world carries this device on."""
        with self.lock:
            self._devices.append(device)

    def disconnect(self, what: Action | Device) -> None:
        """Forget a listener or device connected before."""
        with self.lock:
            for known in (self._on_trigger, self._on_exposure_active, self._devices):
                if what in known:
                    known.remove(what)  # type: ignore[arg-type]

    def schedule(self, at_us: int, action: Action) -> None:
        """`action(at_us)` will happen at that instant; at once if it is past."""
        with self.lock:
            heapq.heappush(self._events, (at_us, next(self._numbers), action))

    def due_us(self) -> int | None:
        """The next instant at which anything happens of itself; None: never."""
        with self.lock:
            times = [event[0] for event in self._events[:1]]
            times += [due for device in self._devices if (due := device.due_us()) is not None]
            return min(times, default=None)

    def settle(self, until_us: int | None = None) -> int:
        """Carry everything out that is due up to an instant (None: now), in order; returns it.

        The instant never lies before one already settled.
        """
        with self.lock:
            wanted_us = self.clock.now_us() if until_us is None else until_us
            if self._settling:  # a device asks from within an event
                return self._settled_us
            until = max(self._settled_us, wanted_us)
            self._settling = True
            try:
                while (due := self.due_us()) is not None and due <= until:
                    self._settled_us = max(self._settled_us, due)
                    self._happen(due)
                self._settled_us = until
            finally:
                self._settling = False
            return until

    def _happen(self, due_us: int) -> None:
        if self._events and self._events[0][0] == due_us:
            heapq.heappop(self._events)[2](due_us)
        else:
            next(d for d in self._devices if d.due_us() == due_us).act(due_us)

    def wait(self, ready: Callable[[], bool], timeout_us: float) -> bool:
        """Let time pass until something is ready; False if it is not within the timeout.

        `ready` is asked with the world's lock held.
        """
        deadline_us = self.settle() + timeout_us
        while True:
            with self.lock:
                now_us = self.settle()
                if ready():
                    return True
                if now_us >= deadline_us:
                    return False
                due_us = self.due_us()
                next_us = deadline_us if due_us is None else min(deadline_us, due_us)
            self.clock.sleep_us(max(1.0, min(next_us - now_us, SLICE_US)))

    # light -----------------------------------------------------------------------------------
    def light(self, led: int, level: float, at_us: int | None = None) -> None:
        """An LED goes on (several may be on at once: that is a fault worth simulating)."""
        with self.lock:
            now = self.settle() if at_us is None else at_us
            self._shining.append(Lit(led, level, now, None))

    def dark(self, led: int | None = None, at_us: int | None = None) -> None:
        """LED `led` goes off; None: all of them."""
        with self.lock:
            now = self.settle() if at_us is None else at_us
            for lit in self._shining:
                if led in (None, lit.led):
                    lit.off_us = now
                    self._past.append(lit)
            self._shining = [lit for lit in self._shining if lit.off_us is None]

    def lit(self, start_us: int, end_us: int) -> dict[int, float]:
        """Level × µs that each LED shone within a window that lies in the past."""
        total: dict[int, float] = {}
        with self.lock:
            self.settle(end_us)
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
        with self.lock:
            self.settle()
            every = [replace(lit) for lit in itertools.chain(self._past, self._shining)]
        return sorted(every, key=lambda lit: lit.on_us)

    def electrons(self, start_us: int, end_us: int) -> NDArray[np.float32]:
        """(H, W) expected photo-electrons of an exposure window."""
        image = self.scene.ambient() * np.float32(end_us - start_us)
        for led, level_us in sorted(self.lit(start_us, end_us).items()):
            image = image + self.scene.irradiance(led) * np.float32(level_us)
        return image

    # wires -----------------------------------------------------------------------------------
    def connect_trigger(self, listener: Action) -> None:
        """`listener(at_us)` is called at each rising edge of the camera's trigger line."""
        with self.lock:
            self._on_trigger.append(listener)

    def connect_exposure_active(self, listener: Action) -> None:
        """`listener(at_us)` is called at each rising edge of the camera's exposure-active line."""
        with self.lock:
            self._on_exposure_active.append(listener)

    def pulse_trigger(self, at_us: int) -> None:
        """The trigger line rises at that instant."""
        self.schedule(at_us, lambda at: _tell(self._on_trigger, at))
        self.settle()

    def pulse_exposure_active(self, at_us: int) -> None:
        """The exposure-active line rises at that instant."""
        self.schedule(at_us, lambda at: _tell(self._on_exposure_active, at))
        self.settle()


def _tell(listeners: list[Action], at_us: int) -> None:
    for listener in list(listeners):
        listener(at_us)


_worlds: dict[str, World] = {}


def is_simulated(address: str) -> bool:
    """Whether a board's port or a camera's address is that of a world: ``sim://name``."""
    return address.startswith(SCHEME)


def world_name(address: str) -> str:
    """The name of the world in ``sim://name?options``."""
    return address.removeprefix(SCHEME).split("?")[0].strip("/")


def publish(name: str, world: World) -> None:
    """Make a world reachable as ``sim://name``, by the board's port and the camera's address."""
    _worlds[name] = world


def withdraw(name: str) -> None:
    """Forget a published world."""
    _worlds.pop(name, None)


def find(address: str) -> World:
    """The world behind ``sim://name``; raises `DeviceError` if nobody published it."""
    name = world_name(address)
    if name not in _worlds:
        known = ", ".join(sorted(_worlds)) or "none"
        raise DeviceError(f"no virtual rig named '{name}' is running (known: {known})")
    return _worlds[name]
