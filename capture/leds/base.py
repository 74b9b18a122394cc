"""What every LED board can do, whatever its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class BoardIdentity:
    """Who answered. `capabilities`: words such as ``sequence``, ``camera-clocked``, ``crc``."""

    name: str
    firmware: str
    serial: str
    led_count: int
    capabilities: frozenset[str] = field(default_factory=frozenset)
    max_on_ms: int | None = None  # hard limit of an LED's on-time, None if unknown


@dataclass(frozen=True)
class Step:
    """One step of an uploaded sequence: an LED (id from 1; 0 is dark), level 0..1, and times."""

    led: int
    level: float
    settle_us: int
    exposure_us: int


@dataclass(frozen=True)
class StepReport:
    """The board's word that step `index` lit `led`, from `on_us` to `off_us` of its own clock."""

    index: int
    led: int
    on_us: int
    off_us: int


@dataclass(frozen=True)
class BoardStatus:
    """Faults as words (empty: none), temperature in °C if measured, watchdog trips since boot."""

    faults: tuple[str, ...]
    temperature_c: float | None
    watchdog_trips: int
    lit: int  # LED that is on now, 0 if none


@runtime_checkable
class LedBoard(Protocol):
    """A board of LEDs. Every method raises `DeviceError`/`DeviceTimeout` when the board fails.

    Use as a context manager; leaving it turns all LEDs off whatever happened.
    """

    identity: BoardIdentity

    def __enter__(self) -> LedBoard: ...
    def __exit__(self, *exc: object) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def on(self, led: int, level: float = 1.0) -> None:
        """Light one LED alone (id from 1) and return when the board has echoed its index."""

    def off(self) -> None:
        """All LEDs off, confirmed."""

    def upload(self, steps: Sequence[Step]) -> None:
        """Store a sequence. Only with the capability ``sequence``."""

    def arm(self, camera_clocked: bool = False, period_us: int = 0) -> None:
        """Ready the uploaded sequence; camera-clocked: each rising edge steps to the next LED.

        Board-clocked, step k+1 begins when step k is over, and not before `period_us` after step
        k began: give the camera the time it needs between two triggers.
        """

    def run(self) -> None:
        """Start an armed, board-clocked sequence; the board pulses the camera's line itself."""

    def reports(self, timeout_s: float) -> Iterator[StepReport]:
        """Yield step reports as they come; raises `DeviceTimeout` when one is overdue."""

    def abort(self) -> None:
        """Stop a sequence; lights off."""

    def status(self) -> BoardStatus: ...
