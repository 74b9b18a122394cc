"""How the virtual camera behaves in time, and what its address may set."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl

from capture.camera.sensor import Sensor
from capture.errors import DeviceError


@dataclass(frozen=True)
class Timing:
    """How the virtual camera behaves in time; every field can be set in its address."""

    software_latency_us: int = 56
    line_latency_us: int = 8
    readout_us: int = 1500
    buffers: int = 64
    clock_offset_us: int = 5_000_000
    clock_drift_ppm: float = 12.0
    exposure_min_us: float = 20.0
    exposure_max_us: float = 10_000_000.0


def options_of(query: str, sensor: Sensor, timing: Timing) -> tuple[Sensor, Timing]:
    """The constants with what the query of an address sets; raises `DeviceError`."""
    for key, text in parse_qsl(query):
        owner = next(
            (part for part in (sensor, timing) if key in {f.name for f in fields(part)}), None
        )
        if owner is None:
            known = [f.name for part in (sensor, timing) for f in fields(part)]
            raise DeviceError(
                f"the virtual camera has no option '{key}': use one of {', '.join(known)}"
            )
        kind = type(getattr(owner, key))
        try:
            value = kind(text)
        except ValueError:
            raise DeviceError(
                f"option {key}={text} of the virtual camera is not a number"
            ) from None
        if isinstance(owner, Sensor):
            sensor = replace(owner, **{key: value})
        else:
            timing = replace(owner, **{key: value})
    return sensor, timing
