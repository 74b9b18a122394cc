"""The virtual GenICam camera: registers, triggers and exposures over a world of light.

It decides by the stamps of the world's clock, never by when a thread happens to run: an edge
carries the instant it rose at, an exposure is a window of the world's time, and its picture is made
when the world has passed the end of that window.
"""

from __future__ import annotations

from collections.abc import Callable

from capture.camera.pixels import bits_of, stored_bytes
from capture.camera.sensor import Sensor
from capture.gentl import wire
from capture.gentl.features import (
    CHUNKS,
    GAIN_STEP_DB,
    INPUTS,
    OLDER,
    OUTPUTS,
    Model,
    Value,
    features_of,
)
from capture.gentl.pictures import Exposure, Picture, Pictures
from capture.gentl.registers import Registers
from capture.gentl.wire import Refused
from capture.world import World

ACQUISITION_START, FRAME_START = 0, 1  # of TriggerSelector
BOOT_US = 300_000  # of a camera that restarts
EDGE_US = 50  # how long the board's trigger pulse lasts: its falling edge


class VirtualDevice:
    """One camera of the virtual rig. The world carries it on; it guards itself by the world's lock.

    Parameters
    ----------
    world : its light and its wires
    serial : its serial number
    model : how it differs from a faultless camera
    sensor : its constants
    deliver : takes what is finished; must not wait
    room : asked before it runs on freely: False while frames are taken too slowly
    gone : called when the camera has lost power
    """

    def __init__(
        self,
        world: World,
        serial: str,
        model: Model,
        sensor: Sensor,
        deliver: Callable[[Picture], None],
        room: Callable[[], bool] = lambda: True,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        self.world, self.serial, self.model, self.sensor = world, serial, model, sensor
        self.names = {"vendor": "rig", "model": "Virtual GenTL camera", "serial": serial}
        self._deliver, self._room, self._gone = deliver, room, gone
        self._older = OLDER if model.names == "older" else {}
        self.registers = Registers(
            features_of(model, world.scene.shape, self.names),
            self.names["model"],
            self._command,
            self._written,
            self._computed(),
        )
        self._lock = world.lock
        self._armed = False
        self._triggers = self._exposures = self._missed = 0
        self.epoch = 0  # counts its starts and stops
        self._next_id = 0
        self._left: int | None = None  # frames still to take, of a single or multi frame
        self._busy_until_us = -1
        self._free_next_us: float | None = None
        self._exposure_us = self._wanted_us = 8000.0
        self._seen_first = False
        self._pictures = Pictures(world, sensor)
        self.gone_until_us: int | None = None  # it restarts
        self._defaults()
        world.connect_trigger(self._line_edge)
        world.connect_device(self)

    def _name(self, feature: str) -> str:
        return self._older.get(feature, feature)

    def _defaults(self) -> None:
        registers = self.registers
        registers.reset()
        self._black = self.sensor.black_level
        for number, line in enumerate(("Line0", "Line1", "Line2")):
            if "LineMode" in registers:
                registers.put("LineMode", int(line in OUTPUTS), number)
        self._exposure_us = self._wanted_us = 8000.0

    def _computed(self) -> dict[str, Callable[[], Value]]:
        def resulting() -> float:
            return 1e6 / self._period_us()

        return {
            "PayloadSize": self.payload_bytes,
            self._older.get("ResultingFrameRate", "ResultingFrameRate"): resulting,
            "TriggerMissedCount": lambda: self._missed,
            self._older.get("BlackLevel", "BlackLevel"): self._black_counts,
        }

    @property
    def exposures(self) -> int:
        """How many it has begun since it was made."""
        return self._exposures

    # settings --------------------------------------------------------------------------------
    @property
    def pixel_format(self) -> str:
        return self.registers.entry("PixelFormat")

    def roi(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        x, y, width, height = (
            int(self.registers.number(name)) for name in ("OffsetX", "OffsetY", "Width", "Height")
        )
        return x, y, width, height

    def payload_bytes(self) -> int:
        """Bytes of a frame with its chunks."""
        _, _, width, height = self.roi()
        size = stored_bytes(self.pixel_format, width * height)
        return size + 8 * len(self._chunk_names())

    def largest_bytes(self) -> int:
        """Bytes of the largest frame that the camera can send."""
        height, width = self.world.scene.shape
        return 2 * width * height + 64

    def _chunk_names(self) -> list[str]:
        if not self.registers.number("ChunkModeActive"):
            return []
        return [
            name
            for name, number in CHUNKS.items()
            if self.registers.number("ChunkEnable", chosen=number)
        ]

    def _gain_db(self) -> float:
        value = self.registers.number(self._name("Gain"))
        return value * GAIN_STEP_DB if self.model.names == "older" else value

    def _shortest_period_us(self) -> float:
        return max(self._exposure_us, float(self.model.readout_us)) + 1.0

    def _period_us(self) -> float:
        shortest = self._shortest_period_us()
        if not self.registers.number(self._name("AcquisitionFrameRateEnable")):
            return shortest
        return max(shortest, 1e6 / self.registers.number(self._name("AcquisitionFrameRate"), 30.0))

    def _triggered(self) -> bool:
        return self.registers.entry("TriggerMode", FRAME_START, "Off") == "On"

    def _written(self, name: str) -> None:
        registers, model = self.registers, self.model
        if name == self._name("ExposureTime"):
            step = model.exposure_step_us
            taken = max(step, round(registers.number(name) / step) * step)
            registers.put(name, taken)
            self._wanted_us = taken
            if not (model.exposure_one_late and self._armed):
                self._exposure_us = taken
        elif name == self._name("BlackLevel"):
            self._black = registers.number(name) / (2 ** bits_of(self.pixel_format) - 1)
        elif name == "TriggerMode" and model.source_resets:
            registers.put("TriggerSource", 0)
        height, width = self.world.scene.shape
        if name in ("OffsetX", "Width") and sum(self.roi()[0:3:2]) > width:
            registers.put("OffsetX", width - self.roi()[2])
        if name in ("OffsetY", "Height") and sum(self.roi()[1:4:2]) > height:
            registers.put("OffsetY", height - self.roi()[3])

    # commands --------------------------------------------------------------------------------
    def _command(self, name: str) -> None:
        now = self.world.settle()
        if name == "AcquisitionStart":
            self.arm()
        elif name == "AcquisitionStop":
            self.disarm()
        elif name == "TriggerSoftware":
            self._trigger(now)
        elif name == "TimestampLatch":
            self.registers.put("TimestampLatchValue", self.device_ns(now))
        elif name == "DeviceReset":
            self.restart(now)

    def device_ns(self, world_us: int) -> int:
        """The camera's own clock, ns."""
        model = self.model
        drift = (model.clock_drift_ppm + self.world.faults.camera_drift_ppm) * 1e-6
        return round((world_us * (1 + drift) + model.clock_offset_us) * 1000)

    def arm(self) -> None:
        with self._lock:
            if self._armed:
                return
            self._armed = self.registers.streaming = True
            self.epoch += 1
            self._next_id = 0
            self._seen_first = False
            self._busy_until_us = -1
            self._exposure_us = self._wanted_us
            mode = self.registers.entry("AcquisitionMode")
            several = int(self.registers.number("AcquisitionFrameCount", 1))
            self._left = {"SingleFrame": 1, "MultiFrame": several}.get(mode)
            now = self.world.settle()
            self._free_next_us = None if self._triggered() else now + self.model.line_latency_us

    def disarm(self) -> None:
        with self._lock:
            if self._armed:
                self.epoch += 1
            self._armed = self.registers.streaming = False
            self._free_next_us = None

    def restart(self, at_us: int) -> None:
        """Lose power for a moment: the host has lost the camera, and it forgets its settings."""
        with self._lock:
            self.disarm()
            self._defaults()
            self.gone_until_us = at_us + BOOT_US
        self._gone()

    # triggers --------------------------------------------------------------------------------
    def _trigger(self, now_us: int) -> None:
        with self._lock:
            if not self._armed or self.registers.entry("TriggerSource", FRAME_START) != "Software":
                raise Refused(wire.ACCESS_DENIED, "no software trigger is awaited")
            self._edge(now_us + self.model.software_latency_us)

    def _line_edge(self, at_us: int) -> None:
        """A rising edge of the wire to Line0."""
        registers = self.registers
        if not self._armed or not self._triggered():
            return
        if registers.entry("TriggerSource", FRAME_START) != INPUTS[0]:
            return
        activation = registers.entry("TriggerActivation", FRAME_START, "RisingEdge")
        if activation != "FallingEdge":
            self._edge(at_us + self.model.line_latency_us)
        if activation != "RisingEdge":
            self._edge(at_us + self.model.line_latency_us + EDGE_US)

    def _edge(self, at_us: int) -> None:
        """A trigger that the camera is set to obey."""
        delay = self.registers.number(self._name("TriggerDelay"), 0.0, FRAME_START)
        number, self._triggers = self._triggers, self._triggers + 1
        first, self._seen_first = not self._seen_first, True
        if number in self.world.faults.lost_triggers or (first and self.model.first_trigger_lost):
            return
        epoch = self.epoch
        self.world.schedule(at_us + round(delay), lambda at: self._expose(at, epoch))

    def _expose(self, start_us: int, epoch: int) -> None:
        """Open a window at `start_us`, unless the sensor is busy then."""
        with self._lock:
            if not self._armed or self._left == 0 or epoch != self.epoch:
                return
            if start_us < self._busy_until_us:
                self._missed += 1
                return
            exposure_us = self._exposure_us
            self._exposure_us = self._wanted_us
            end_us = start_us + round(exposure_us)
            number, self._exposures = self._exposures, self._exposures + 1
            faults = self.world.faults
            busy = faults.slow_readouts.get(number, 0)
            self._busy_until_us = max(end_us, start_us + self.model.readout_us) + busy
            frame_id, self._next_id = self._next_id, self._next_id + 1
            if self._left is not None:
                self._left -= 1
            exposure = Exposure(
                frame_id,
                number,
                start_us,
                end_us,
                exposure_us,
                self._gain_db(),
                self._black,
                self.pixel_format,
                self.roi(),
                self.epoch,
            )
            ready_us = end_us + self.model.readout_us
            self.world.schedule(ready_us, lambda at: self._finish(exposure, at))
        if self.registers.entry("LineSource", 1) == "ExposureActive":
            # The board sees the rising edge: an inverted output rises where the exposure ends.
            inverted = bool(self.registers.number("LineInverter", 0, 1))
            self.world.pulse_exposure_active(end_us if inverted else start_us)

    def _black_counts(self) -> Value:
        """The black level in counts of the pixel format in force."""
        counts = self._black * (2 ** bits_of(self.pixel_format) - 1)
        return round(counts) if self.model.names == "older" else float(counts)

    # time ------------------------------------------------------------------------------------
    def due_us(self) -> int | None:
        """When it next does something of itself: begin an exposure, or be back after a restart."""
        if self.gone_until_us is not None:
            return self.gone_until_us
        if self._free_next_us is not None and self._room():
            return round(self._free_next_us)
        return None

    def act(self, due_us: int) -> None:
        """Do it."""
        if self.gone_until_us is not None:
            self.gone_until_us = None
        elif self._free_next_us is not None:
            self._free_next_us += self._period_us()
            self._expose(due_us, self.epoch)

    def _finish(self, exposure: Exposure, at_us: int) -> None:
        """It is read out; an exposure from before the camera was armed again is not wanted."""
        if not self._armed or exposure.epoch != self.epoch:
            return
        faults = self.world.faults
        if exposure.number in faults.camera_restarts:
            self.restart(at_us)
            return
        if exposure.number in faults.lost_frames:
            return
        self._deliver(self._pictures.of(exposure, self._chunk_names(), self.device_ns))
