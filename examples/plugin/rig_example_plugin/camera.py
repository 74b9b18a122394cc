"""A camera family: here one that shows the same picture for ever."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from capture.camera.base import CameraIdentity, CameraSettings, CameraState, Frame
from capture.errors import DeviceError, DeviceTimeout


class StillCamera:
    """``still://picture.png``: a camera that always sees this picture (12 bits)."""

    def __init__(self, address: str) -> None:
        self.path = Path(address.removeprefix("still://"))
        self.identity = CameraIdentity("example", "still", self.path.name, address)
        self.exposure_us = 8000.0
        self._numbers = itertools.count(1)
        self._due = 0

    def __enter__(self) -> StillCamera:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        picture = cv2.imread(str(self.path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if picture is None:
            raise DeviceError(f"there is no picture {self.path} for the still camera")
        scale = 4095 / np.iinfo(picture.dtype).max
        self.pixels = np.rint(picture * scale).astype(np.uint16)

    def close(self) -> None:
        self._due = 0

    def configure(self, settings: CameraSettings) -> CameraState:
        self.exposure_us = settings.exposure_us
        height, width = self.pixels.shape
        return CameraState(
            pixel_format="Mono12",
            width=width,
            height=height,
            exposure_us=settings.exposure_us,
            gain_db=settings.gain_db,
            black_level=0.0,
            trigger=settings.trigger,
            nodes={},
        )

    def set_exposure(self, exposure_us: float) -> float:
        self.exposure_us = exposure_us
        return exposure_us

    def arm(self) -> None:
        self._due = 0

    def trigger(self) -> None:
        self._due += 1

    def next_frame(self, timeout_s: float) -> Frame:
        if self._due == 0:
            raise DeviceTimeout(f"no frame came within {timeout_s:g} s: nothing triggered it")
        self._due -= 1
        return Frame(
            pixels=self.pixels,
            frame_id=next(self._numbers),
            timestamp_ns=time.monotonic_ns(),
            exposure_us=self.exposure_us,
            gain_db=0.0,
            pixel_format="Mono12",
            bits=12,
        )

    def disarm(self) -> None:
        self._due = 0
