"""What every camera can do, whatever its maker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Trigger = Literal["software", "line", "free"]


@dataclass(frozen=True)
class CameraIdentity:
    vendor: str
    model: str
    serial: str
    address: str


@dataclass(frozen=True)
class CameraSettings:
    """What is asked of the camera. `line` is the trigger input, `strobe_line` the exposure-active
    output (camera-clocked mode); None leaves that node alone. `strobe_inverted` turns that output
    round: an open collector with a pull-up falls where the exposure begins."""

    pixel_format: str = "Mono12"
    exposure_us: float = 8000.0
    gain_db: float = 0.0
    trigger: Trigger = "software"
    line: str | None = None
    strobe_line: str | None = None
    strobe_inverted: bool = False
    frame_rate_hz: float | None = None
    roi: tuple[int, int, int, int] | None = None  # x, y, width, height


@dataclass(frozen=True)
class CameraState:
    """What the camera really took, read back; `nodes` is the whole readable node map.

    `exposure_limits_us` are the shortest and the longest exposure that it takes, if it says so.
    """

    pixel_format: str
    width: int
    height: int
    exposure_us: float | None
    gain_db: float | None
    black_level: float | None
    trigger: Trigger
    nodes: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    exposure_limits_us: tuple[float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """One picture as delivered, pixels copied out of the driver's buffer.

    `pixels` is (H, W) uint16 holding the sensor's own counts (12-bit data: 0..4095).
    `bits` is the bit depth of those counts. `timestamp_ns` is the device's clock, None if it has
    none. `exposure_us` and `gain_db` are what the camera reported for this frame, if it does.
    """

    pixels: NDArray[np.uint16]
    frame_id: int
    timestamp_ns: int | None
    exposure_us: float | None
    gain_db: float | None
    pixel_format: str
    bits: int


@runtime_checkable
class Camera(Protocol):
    """A camera. Methods raise `DeviceError`/`DeviceTimeout`; leaving the context closes it."""

    identity: CameraIdentity

    def __enter__(self) -> Camera: ...
    def __exit__(self, *exc: object) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def configure(self, settings: CameraSettings) -> CameraState: ...
    def set_exposure(self, exposure_us: float) -> float:
        """Change the exposure, also while armed if the camera can; returns what it took."""

    def arm(self) -> None:
        """Start acquisition: from now on triggers (or the clock) make frames."""

    def trigger(self) -> None:
        """Software trigger."""

    def next_frame(self, timeout_s: float) -> Frame:
        """The next frame in order; raises `DeviceTimeout` after `timeout_s`."""

    def disarm(self) -> None: ...
