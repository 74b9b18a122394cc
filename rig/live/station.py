"""Takes one picture after another under the LED that is chosen, for somebody who is aiming."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from capture.camera.base import Camera, CameraState, Frame
from capture.errors import CaptureError, DeviceError
from capture.leds.base import LedBoard
from rig.config import Config
from rig.live.picture import read

LONGEST_US = 2e6  # nobody aims by slower pictures


def software_triggered(config: Config) -> Config:
    """The same rig with the computer in the lead: somebody who aims picks one LED at a time."""
    camera = config.camera.model_copy(update={"trigger": "software"})
    return config.model_copy(update={"camera": camera})


@dataclass(frozen=True)
class Wish:
    """What the page asks for; LED 0 is dark."""

    led: int = 1
    level: float = 1.0
    exposure_us: float = 8000.0


class Station:
    """A thread that owns board and camera.

    The LED is on only while its picture is taken, so the hard limit of on-time on the board never
    trips and an LED is not cooked while somebody turns the focus ring.

    Parameters
    ----------
    state : what the camera said when it was configured: its limits of exposure
    asked : pixel format that was asked for
    warn : told once when another one is delivered
    """

    def __init__(
        self,
        board: LedBoard,
        camera: Camera,
        wish: Wish,
        state: CameraState | None = None,
        asked: str | None = None,
        warn: Callable[[str], None] = lambda line: None,
        max_rate_hz: float = 20.0,
    ):
        self._board = board
        self._camera = camera
        self._wish = wish
        self._limits_us = _limits_us(board, state)
        self._asked = asked
        self._warn = warn
        self._format_note = ""
        self._dark_of_us: float | None = None  # exposure of the dark picture
        self._black = 0.0
        self._period_s = 1.0 / max_rate_hz
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._count = 0
        self._fault: str | None = None
        self._exposure_us = wish.exposure_us
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="rig-live", daemon=True)

    def __enter__(self) -> Station:
        self._camera.arm()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)
        self._camera.disarm()

    def wish(self, **changes: Any) -> None:
        """Change LED, level or exposure; raises `ValueError` with a sentence when impossible."""
        wanted = Wish(**{**asdict(self._wish), **changes})
        count = self._board.identity.led_count
        if not 0 <= wanted.led <= count:
            raise ValueError(f"there is no LED {wanted.led}; this board has 1 to {count}")
        if not 0 <= wanted.level <= 1:
            raise ValueError(f"a level is between 0 and 1, not {wanted.level}")
        shortest_us, longest_us = self._limits_us
        if not shortest_us <= wanted.exposure_us <= longest_us:
            raise ValueError(
                f"an exposure is between {shortest_us:g} µs and {longest_us / 1000:g} ms here, "
                f"not {wanted.exposure_us / 1000:g} ms"
            )
        self._wish = wanted

    def state(self) -> dict[str, Any]:
        """JSON-able: what is asked, what the devices are, the figures of the last frame."""
        with self._changed:
            frame, fault, count, black = self._frame, self._fault, self._count, self._black
        return {
            "wish": asdict(self._wish),
            "exposure_us": self._exposure_us,
            "exposure_limits_us": list(self._limits_us),
            "led_count": self._board.identity.led_count,
            "board": f"{self._board.identity.name} {self._board.identity.serial}",
            "camera": f"{self._camera.identity.model} {self._camera.identity.serial}",
            "count": count,
            "fault": fault,
            "note": self._format_note,
            "reading": None if frame is None else asdict(read(frame, black)),
        }

    @property
    def exposure_us(self) -> float:
        """What the camera took."""
        return self._exposure_us

    def next_frame(self, after: int, timeout_s: float = 2.0) -> tuple[int, Frame | None]:
        """The newest frame once more than `after` were taken, with its running number."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > after, timeout=timeout_s)
            return self._count, self._frame

    def _loop(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                wish = self._wish
                if self._dark_of_us != wish.exposure_us:
                    black = float(np.median(self._take(replace(wish, led=0)).pixels))
                    self._dark_of_us = wish.exposure_us
                    with self._changed:
                        self._black = black
                frame = self._take(wish)
                self._compare_format(frame)
                with self._changed:
                    self._frame, self._fault = frame, None
                    self._count += 1
                    self._changed.notify_all()
            except (CaptureError, OSError) as error:
                with self._changed:
                    self._fault = str(error)
                if not isinstance(error, DeviceError):
                    return
                self._stopping.wait(0.5)
                self._start_over()
            self._stopping.wait(max(0.0, self._period_s - (time.monotonic() - started)))

    def _compare_format(self, frame: Frame) -> None:
        if self._asked in (None, frame.pixel_format) or self._format_note:
            return
        self._format_note = (
            f"{self._asked} was asked for, the camera delivers {frame.pixel_format}: set "
            "camera: pixel_format in rig.yaml to what it has"
        )
        self._warn(self._format_note)

    def _start_over(self) -> None:
        """Drop frames that may still come: the next one shall show the LED that is on."""
        with contextlib.suppress(CaptureError):
            self._camera.disarm()
            self._camera.arm()

    def _take(self, wish: Wish) -> Frame:
        if wish.exposure_us != self._exposure_us:
            self._exposure_us = self._camera.set_exposure(wish.exposure_us)
        try:
            if wish.led:
                self._board.on(wish.led, wish.level)
            self._camera.trigger()
            return self._camera.next_frame(2.0 + 2e-6 * wish.exposure_us)
        finally:
            self._board.off()


def _limits_us(board: LedBoard, state: CameraState | None) -> tuple[float, float]:
    """The exposures that the camera takes, no longer than the board keeps an LED on."""
    said = state.exposure_limits_us if state is not None else None
    shortest_us, longest_us = said or (1.0, LONGEST_US)
    allowed_us = min(LONGEST_US, 800.0 * (board.identity.max_on_ms or 5000))
    return max(shortest_us, 1.0), min(longest_us, allowed_us)
