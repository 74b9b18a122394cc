"""The virtual camera: a sensor that looks at a `World` and integrates the light it logged.

Nobody tells it which LED it should see. It opens an exposure window when it is triggered (by the
host, by an edge on its line, or by its own clock), and a frame holds whatever shone within that
window. Triggers that come while it is busy are ignored. A frame for which no buffer is free is
lost: its id is missing from the sequence. The world's `Faults` add lost triggers and lost frames.

Noise is seeded by the world's seed, by what was lit, by the exposure, and by how often that has
been taken before; never by the time. Two runs of one plan with one seed are therefore identical
to the bit, and so is a resumed run once `replay` has told the camera what the first part took.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture import world as worlds
from capture.camera.base import CameraIdentity, CameraSettings, CameraState, Frame
from capture.camera.sensor import Sensor, expose
from capture.camera.timing import Timing, options_of
from capture.errors import DeviceError, DeviceTimeout
from capture.world import World

BITS = {
    "Mono8": 8,
    "Mono10": 10,
    "Mono10p": 10,
    "Mono10Packed": 10,
    "Mono12": 12,
    "Mono12p": 12,
    "Mono12Packed": 12,
    "Mono16": 16,
}

BOOT_US = 300_000  # of a camera that restarts
_STEADY = 0.9  # share of its window for which a light must shine to count as steady

# A take: exposure in µs, the LEDs that shone in the window, and whether all shone through it.
_Take = tuple[int, tuple[int, ...], bool]


@dataclass
class _History:
    """What happened to a world's camera since the world was made, however often it was opened."""

    taken: Counter[_Take] = field(default_factory=Counter)
    triggers: int = 0
    exposures: int = 0


_histories: weakref.WeakKeyDictionary[World, _History] = weakref.WeakKeyDictionary()


def replay(address: str, takes: Iterable[tuple[int, float, float]]) -> None:
    """Tell the world behind `address` what an interrupted run has already taken from it.

    `takes` holds (LED id, or 0 for a dark frame; exposure in µs; level) of each good frame on
    disk, so that the noise of a resumed run goes on where the first part left off.
    """
    counter = _histories.setdefault(worlds.find(address), _History()).taken
    for led, exposure_us, level in takes:
        lit = (led,) if led else ()
        counter[(round(exposure_us), lit, not led or level > _STEADY)] += 1


@dataclass(frozen=True)
class _Exposure:
    """A window that was, or is being, integrated."""

    frame_id: int
    number: int  # since the world was made
    start_us: int
    end_us: int
    ready_us: int
    exposure_us: float
    gain_db: float


class VirtualCamera:
    """A camera at address ``sim://name``; options as in ``sim://name?psf_sigma_px=0.6&buffers=4``.

    Parameters
    ----------
    address : ``sim://name`` of a published world; its query may set any field of `Sensor` and
        `Timing`.
    sensor, timing : the constants that the query starts from.

    Raises
    ------
    DeviceError : no such world, or an unknown option.
    """

    def __init__(
        self, address: str, sensor: Sensor | None = None, timing: Timing | None = None
    ) -> None:
        _, _, query = address.partition("?")
        self.address = address
        self.sensor, self.timing = options_of(query, sensor or Sensor(), timing or Timing())
        self.identity = CameraIdentity(
            vendor="rig",
            model="Virtual camera",
            serial=worlds.world_name(address),
            address=address,
        )
        self._world: World | None = None
        self._history = _History()
        self._settings = CameraSettings()
        self._armed = False
        self._under_way: list[_Exposure] = []
        self._queue: deque[_Exposure] = deque()  # ready, not yet fetched
        self._next_id = 0
        self._busy_until_us = -1
        self._free_since_us: int | None = None  # running freely since then
        self._free_count = 0
        self._last: NDArray[np.uint16] | None = None  # pixels of the frame before
        self._incomplete = 0  # frames of which a part was lost on the way, since the last one asked
        self._lost = False  # it has lost power since it was armed

    def __enter__(self) -> VirtualCamera:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        if self._world is None:
            self._world = worlds.find(self.address)
            self._history = _histories.setdefault(self._world, _History())
            self._world.connect_trigger(self._line_edge)
            self._world.connect_device(self)

    def close(self) -> None:
        self.disarm()
        if self._world is not None:
            self._world.disconnect(self._line_edge)
            self._world.disconnect(self)
            self._world = None

    def configure(self, settings: CameraSettings) -> CameraState:
        world = self._opened()
        if self._armed:
            raise DeviceError(f"camera {self.address} is armed: disarm it before configuring it")
        height, width = world.scene.shape
        if settings.pixel_format not in BITS:
            raise DeviceError(
                f"camera {self.address} has no pixel format '{settings.pixel_format}': "
                f"use one of {', '.join(BITS)}"
            )
        if settings.roi is not None:
            x, y, w, h = settings.roi
            if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
                raise DeviceError(
                    f"region {list(settings.roi)} does not fit into the camera's {width}×{height} "
                    "pixels: correct camera: roi in rig.yaml"
                )
            width, height = w, h
        self._settings = replace(settings, exposure_us=self._clamped(settings.exposure_us))
        self._last = None
        taken = self._settings
        nodes: dict[str, Any] = {
            "DeviceVendorName": self.identity.vendor,
            "DeviceModelName": self.identity.model,
            "DeviceSerialNumber": self.identity.serial,
            "Width": width,
            "Height": height,
            "PixelFormat": taken.pixel_format,
            "ExposureTime": taken.exposure_us,
            "Gain": taken.gain_db,
            "BlackLevel": self.sensor.black_level,
            "TriggerMode": "Off" if taken.trigger == "free" else "On",
            "TriggerSource": "Software" if taken.trigger == "software" else taken.line or "Line0",
            "AcquisitionFrameRate": self._frame_rate_hz(),
        }
        for part in (self.sensor, self.timing):
            nodes.update({f"Sim.{f.name}": getattr(part, f.name) for f in fields(part)})
        warnings: list[str] = []
        if taken.exposure_us != settings.exposure_us:
            warnings.append(
                f"asked for an exposure of {settings.exposure_us:g} µs, "
                f"the camera took {taken.exposure_us:g} µs"
            )
        wanted = settings.frame_rate_hz
        if wanted is not None and wanted > self._fastest_hz() * 1.001:
            warnings.append(
                f"asked for {wanted:g} frames/s, exposure and readout allow "
                f"{self._fastest_hz():.1f} frames/s"
            )
        return CameraState(
            pixel_format=taken.pixel_format,
            width=width,
            height=height,
            exposure_us=taken.exposure_us,
            gain_db=taken.gain_db,
            black_level=self.sensor.black_level * (2 ** BITS[taken.pixel_format] - 1),
            trigger=taken.trigger,
            nodes=nodes,
            warnings=tuple(warnings),
            exposure_limits_us=(self.timing.exposure_min_us, self.timing.exposure_max_us),
        )

    def set_exposure(self, exposure_us: float) -> float:
        self._opened()
        self._settings = replace(self._settings, exposure_us=self._clamped(exposure_us))
        return self._settings.exposure_us

    def arm(self) -> None:
        world = self._opened()
        if self._lost:
            world.wait(lambda: False, BOOT_US)  # until it is back; it is then set as it was
            self._lost = False
        with world.lock:
            now_us = world.settle()
            if self._armed:
                return
            self._under_way.clear()
            self._queue.clear()
            self._next_id = 0
            self._busy_until_us = -1
            self._armed = True
            if self._settings.trigger == "free":
                self._free_since_us = now_us + self.timing.line_latency_us
                self._free_count = 0

    def disarm(self) -> None:
        if self._world is None:
            return
        with self._world.lock:
            self._world.settle()
            self._armed = False
            self._free_since_us = None

    def trigger(self) -> None:
        world = self._opened()
        self._check_power()
        if not self._armed or self._settings.trigger != "software":
            raise DeviceError(
                f"camera {self.address} takes no software trigger now: "
                "configure trigger 'software' and arm it first"
            )
        with world.lock:
            now_us = world.settle()
            if self._sees_trigger(world):
                self._expose(now_us + self.timing.software_latency_us)

    def next_frame(self, timeout_s: float) -> Frame:
        world = self._opened()
        self._check_power()
        if not self._armed:
            raise DeviceError(f"camera {self.address} is not armed: no frame can come")
        self._incomplete = 0
        came = world.wait(lambda: bool(self._queue) or self._lost, timeout_s * 1e6)
        self._check_power()
        if not came:
            what = f"{self._incomplete} incomplete and no whole" if self._incomplete else "no"
            raise DeviceTimeout(
                f"{what} frame came from camera {self.address} within {timeout_s:g} s: "
                f"check its {'network link' if self._incomplete else 'trigger'}"
            )
        with world.lock:
            exposure = self._queue.popleft()
        return self._read_out(world, exposure)

    def _check_power(self) -> None:
        if self._lost:
            raise DeviceError(f"camera {self.address} was lost: it has restarted")

    def due_us(self) -> int | None:
        """When it begins its next exposure of itself."""
        if self._free_since_us is None:
            return None
        return self._free_since_us + round(self._free_count * 1e6 / self._frame_rate_hz())

    def act(self, due_us: int) -> None:
        """Begin it."""
        self._free_count += 1
        self._expose(due_us)

    # inside the camera -------------------------------------------------------------------------
    def _opened(self) -> World:
        if self._world is None:
            raise DeviceError(f"camera {self.address} is not open")
        return self._world

    def _clamped(self, exposure_us: float) -> float:
        return float(
            round(min(max(exposure_us, self.timing.exposure_min_us), self.timing.exposure_max_us))
        )

    def _fastest_hz(self) -> float:
        return 1e6 / (max(self._settings.exposure_us, float(self.timing.readout_us)) + 1.0)

    def _frame_rate_hz(self) -> float:
        return min(self._settings.frame_rate_hz or self._fastest_hz(), self._fastest_hz())

    def _line_edge(self, at_us: int) -> None:
        world = self._world
        if not self._armed or world is None or self._settings.trigger != "line":
            return
        if self._sees_trigger(world):
            self._expose(at_us + self.timing.line_latency_us)

    def _sees_trigger(self, world: World) -> bool:
        """Count a trigger; False if it is one that the faults of this rig swallow."""
        number, self._history.triggers = self._history.triggers, self._history.triggers + 1
        return number not in world.faults.lost_triggers

    def _expose(self, start_us: int) -> None:
        """Open a window at `start_us`, unless the sensor is busy then."""
        world, settings = self._opened(), self._settings
        if start_us < self._busy_until_us:
            return
        end_us = start_us + round(settings.exposure_us)
        number, self._history.exposures = self._history.exposures, self._history.exposures + 1
        self._busy_until_us = max(end_us, start_us + self.timing.readout_us)
        self._busy_until_us += world.faults.slow_readouts.get(number, 0)
        frame_id, self._next_id = self._next_id, self._next_id + 1
        world.pulse_exposure_active(start_us)
        kept = len(self._queue) + len(self._under_way)
        if kept < self.timing.buffers and number not in world.faults.lost_frames:
            exposure = _Exposure(
                frame_id,
                number,
                start_us,
                end_us,
                end_us + self.timing.readout_us,
                settings.exposure_us,
                settings.gain_db,
            )
            self._under_way.append(exposure)
            world.schedule(exposure.ready_us, lambda at_us: self._deliver(exposure))

    def _deliver(self, exposure: _Exposure) -> None:
        """It is read out; an exposure from before the camera was armed again is not wanted."""
        if exposure not in self._under_way:
            return
        self._under_way.remove(exposure)
        faults = self._opened().faults
        if exposure.number in faults.camera_restarts:
            self._armed, self._lost, self._free_since_us = False, True, None
            self._under_way.clear()
            self._queue.clear()
        elif exposure.number in faults.lost_packets:
            self._incomplete += 1
        else:
            self._queue.append(exposure)

    def _read_out(self, world: World, exposure: _Exposure) -> Frame:
        settings = self._settings
        bits = BITS[settings.pixel_format]
        if exposure.number in world.faults.stale_frames and self._last is not None:
            pixels = self._last.copy()
        else:
            pixels = expose(
                world.electrons(exposure.start_us, exposure.end_us),
                exposure.exposure_us,
                exposure.gain_db,
                bits,
                self.sensor,
                self._rng(world, exposure),
            )
            if settings.roi is not None:
                x, y, w, h = settings.roi
                pixels = np.ascontiguousarray(pixels[y : y + h, x : x + w])
        self._last = pixels
        drift_ppm = self.timing.clock_drift_ppm + world.faults.camera_drift_ppm
        device_us = exposure.start_us * (1 + drift_ppm * 1e-6)
        return Frame(
            pixels=pixels,
            frame_id=exposure.frame_id,
            timestamp_ns=round((device_us + self.timing.clock_offset_us) * 1000),
            exposure_us=exposure.exposure_us,
            gain_db=exposure.gain_db,
            pixel_format=settings.pixel_format,
            bits=bits,
        )

    def _rng(self, world: World, exposure: _Exposure) -> np.random.Generator:
        """A generator that depends on what was taken and how often, not on when."""
        window_us = exposure.end_us - exposure.start_us
        lit = world.lit(exposure.start_us, exposure.end_us)
        steady = all(level_us > _STEADY * window_us for level_us in lit.values())
        take: _Take = (window_us, tuple(sorted(lit)), steady)
        occurrence = self._history.taken[take]
        self._history.taken[take] += 1
        entropy = (world.seed, occurrence, window_us, int(steady), *take[1])
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
