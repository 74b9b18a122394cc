"""Takes one picture after another under the LED that is chosen, for somebody who is aiming."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from capture.camera.base import Camera, Frame
from capture.errors import CaptureError, DeviceError
from capture.leds.base import LedBoard
from rig.config import Config
from rig.live.picture import read


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
    """

    def __init__(self, board: LedBoard, camera: Camera, wish: Wish, max_rate_hz: float = 20.0):
        self._board = board
        self._camera = camera
        self._wish = wish
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
        longest_us = min(2e6, 800.0 * (self._board.identity.max_on_ms or 5000))
        if not 1 <= wanted.exposure_us <= longest_us:
            raise ValueError(
                f"an exposure is between 1 µs and {longest_us / 1000:g} ms here, "
                f"not {wanted.exposure_us / 1000:g} ms"
            )
        self._wish = wanted

    def state(self) -> dict[str, Any]:
        """JSON-able: what is asked, what the devices are, the figures of the last frame."""
        with self._changed:
            frame, fault, count = self._frame, self._fault, self._count
        return {
            "wish": asdict(self._wish),
            "exposure_us": self._exposure_us,
            "led_count": self._board.identity.led_count,
            "board": f"{self._board.identity.name} {self._board.identity.serial}",
            "camera": f"{self._camera.identity.model} {self._camera.identity.serial}",
            "count": count,
            "fault": fault,
            "reading": None if frame is None else asdict(read(frame)),
        }

    def next_frame(self, after: int, timeout_s: float = 2.0) -> tuple[int, Frame | None]:
        """The newest frame once more than `after` were taken, with its running number."""
        with self._changed:
            self._changed.wait_for(lambda: self._count > after, timeout=timeout_s)
            return self._count, self._frame

    def _loop(self) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                frame = self._take(self._wish)
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
