"""Makes the pictures of the virtual GenICam camera: what an exposure saw, as bytes with chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture.camera.pixels import bits_of, stored_bytes
from capture.camera.sensor import Sensor, expose
from capture.gentl.features import CHUNKS
from capture.gentl.pack import CODES, encode
from capture.gentl.wire import FrameHeader
from capture.world import World


@dataclass(frozen=True)
class Exposure:
    """A window that was, or is being, integrated, with the settings it was begun with."""

    frame_id: int
    number: int  # since the camera was made
    start_us: int
    end_us: int
    exposure_us: float
    gain_db: float
    black: float
    pixel_format: str
    roi: tuple[int, int, int, int]
    epoch: int


@dataclass(frozen=True)
class Picture:
    """A finished frame, before it is put into shared memory."""

    header: Callable[[int, int, bool], FrameHeader]  # from slot, offset and patience
    key: tuple[object, ...]  # what a prepared picture is known by
    make: Callable[[], NDArray[np.uint8]]
    epoch: int


class Pictures:
    """Of one camera, in the order of its exposures.

    Parameters
    ----------
    world : its light and its faults
    sensor : its constants
    """

    def __init__(self, world: World, sensor: Sensor) -> None:
        self._world, self._sensor = world, sensor
        self._last: NDArray[np.uint8] | None = None  # bytes of the frame before

    def of(
        self, exposure: Exposure, chunk_names: Sequence[str], device_ns: Callable[[int], int]
    ) -> Picture:
        """The picture of an exposure that has ended; its pixels are made when they are asked for.

        Parameters
        ----------
        chunk_names : the chunks that go with it
        device_ns : the camera's own clock at an instant of the world's, ns
        """
        faults = self._world.faults
        x, y, width, height = exposure.roi
        size = stored_bytes(exposure.pixel_format, width * height)
        filled = size // 2 if exposure.number in faults.lost_packets else size
        timestamp_ns = device_ns(exposure.start_us)
        chunks = tuple((CHUNKS[n], _chunk(n, exposure, timestamp_ns)) for n in chunk_names)
        stale = exposure.number in faults.stale_frames

        def header(slot: int, offset: int, patient: bool) -> FrameHeader:
            return FrameHeader(
                exposure.frame_id,
                timestamp_ns,
                offset,
                size,
                filled,
                CODES[exposure.pixel_format],
                width,
                height,
                x,
                y,
                slot,
                exposure.epoch,
                patient,
                chunks,
            )

        def make() -> NDArray[np.uint8]:
            if stale and self._last is not None and self._last.size == size:
                return self._last
            self._last = encode(self._pixels(exposure), exposure.pixel_format)
            return self._last

        lit = self._world.lit(exposure.start_us, exposure.end_us)
        key = (
            tuple(sorted(lit.items())),
            exposure.exposure_us,
            exposure.gain_db,
            exposure.black,
            exposure.pixel_format,
            exposure.roi,
        )
        return Picture(header, key, make, exposure.epoch)

    def _pixels(self, exposure: Exposure) -> NDArray[np.uint16]:
        x, y, width, height = exposure.roi
        electrons = self._world.electrons(exposure.start_us, exposure.end_us)
        lit = sorted(self._world.lit(exposure.start_us, exposure.end_us))
        entropy = (
            self._world.seed,
            round(exposure.exposure_us),
            exposure.epoch,
            exposure.frame_id,
            *lit,
        )
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))
        sensor = Sensor(**{**vars(self._sensor), "black_level": exposure.black})
        window = np.ascontiguousarray(electrons[y : y + height, x : x + width])
        return expose(
            window,
            exposure.exposure_us,
            exposure.gain_db,
            bits_of(exposure.pixel_format),
            sensor,
            rng,
        )


def _chunk(name: str, exposure: Exposure, timestamp_ns: int) -> bytes:
    if name == "FrameID":
        return exposure.frame_id.to_bytes(8, "little")
    if name == "Timestamp":
        return timestamp_ns.to_bytes(8, "little")
    value = exposure.exposure_us if name == "ExposureTime" else exposure.gain_db
    return np.float64(value).tobytes()
