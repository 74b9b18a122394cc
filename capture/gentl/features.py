"""The features of the virtual GenICam camera: a table, from which its description is written.

Names, types and units follow the Standard Features Naming Convention (SFNC 2.7). A `Model` says how
a camera differs: names of an older convention, features that are missing, values rounded to steps,
and habits that real cameras have.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from capture.gentl.pack import CODES

Kind = Literal["integer", "float", "enumeration", "boolean", "command", "string"]
Value = int | float | str

REGISTERS = 0x1000  # address of the first register
STRIDE = 0x40  # bytes from one register to the next
TEXT_BYTES = 64
INPUTS, OUTPUTS = ("Line0", "Line2"), ("Line1",)
LINES = ("Line0", "Line1", "Line2")
CHUNKS = {"FrameID": 2, "Timestamp": 3, "ExposureTime": 4, "Gain": 5}  # and their ids


@dataclass(frozen=True)
class Model:
    """What kind of camera it is; every field can be given by name (`model_of`).

    names : ``sfnc``, or ``older``: ExposureTimeAbs, GainRaw and their like
    absent : features it does not have
    exposure_step_us : exposures are multiples of this (lines of its sensor)
    first_trigger_lost : it does not see the first trigger after it was armed
    exposure_one_late : a new exposure applies from the frame after the next
    source_resets : setting a trigger mode puts the trigger source back to its default
    stays_armed : what armed it may die; it stays armed until it is told to stop
    """

    names: str = "sfnc"
    absent: tuple[str, ...] = ()
    exposure_step_us: float = 1.0
    first_trigger_lost: bool = False
    exposure_one_late: bool = False
    source_resets: bool = False
    stays_armed: bool = True
    software_latency_us: int = 56
    line_latency_us: int = 8
    readout_us: int = 1500
    clock_offset_us: int = 5_000_000
    clock_drift_ppm: float = 12.0

    def __post_init__(self) -> None:
        if self.names not in ("sfnc", "older"):
            raise ValueError(f"names are sfnc or older, not {self.names}")
        if self.exposure_step_us <= 0:
            raise ValueError("exposure_step_us is above 0")


def model_of(text: str) -> Model:
    """A model from ``key=value,key=value``; raises `ValueError` that names what is known."""
    changes: dict[str, Any] = {}
    known = {field.name for field in fields(Model)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = part.partition("=")
        if key not in known:
            raise ValueError(f"a camera has no '{key}': use one of {', '.join(sorted(known))}")
        default = getattr(Model, key)
        if isinstance(default, bool):
            changes[key] = value.lower() in ("", "1", "true", "yes")
        elif isinstance(default, tuple):
            changes[key] = tuple(value.split("+"))
        else:
            try:
                changes[key] = type(default)(value)
            except ValueError as error:
                raise ValueError(f"{part}: {error}") from None
    return Model(**changes)


@dataclass(frozen=True)
class Feature:
    """One node with its register; `selector` names the feature that chooses among several."""

    name: str
    kind: Kind
    value: Value
    category: str
    writable: bool = True
    low: float | str = 0  # a number, or the feature that tells it
    high: float | str = 2**31
    step: int = 1
    unit: str = ""
    entries: tuple[tuple[str, int], ...] = ()
    selector: str = ""
    locked: bool = False  # while streaming


def _choices(*names: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, number) for number, name in enumerate(names))


def features_of(model: Model, shape: tuple[int, int], names: dict[str, str]) -> list[Feature]:
    """The features of a camera with a sensor of `shape` (H, W) that is called by `names`."""
    height, width = shape
    device, image, trigger = "DeviceControl", "ImageFormatControl", "AcquisitionControl"
    analog, lines, chunk = "AnalogControl", "DigitalIOControl", "ChunkDataControl"
    off_on = _choices("Off", "On")
    sources = (("Software", 0), *((line, 10 + int(line[-1])) for line in INPUTS))
    table = [
        Feature("DeviceVendorName", "string", names["vendor"], device, False),
        Feature("DeviceModelName", "string", names["model"], device, False),
        Feature("DeviceSerialNumber", "string", names["serial"], device, False),
        Feature("DeviceVersion", "string", "1.0.0", device, False),
        Feature("DeviceUserID", "string", names["serial"], device),
        Feature("DeviceTemperature", "float", 42.0, device, False, -50, 150, unit="C"),
        Feature("DeviceReset", "command", 0, device),
        Feature("TimestampLatch", "command", 0, device),
        Feature("TimestampLatchValue", "integer", 0, device, False, 0, 2**62, unit="ns"),
        Feature("TimestampReset", "command", 0, device),
        Feature("WidthMax", "integer", width, image, False),
        Feature("HeightMax", "integer", height, image, False),
        Feature("Width", "integer", width, image, True, 16, "WidthMax", 4, locked=True),
        Feature("Height", "integer", height, image, True, 2, "HeightMax", 2, locked=True),
        Feature("OffsetX", "integer", 0, image, True, 0, width - 16, 4, locked=True),
        Feature("OffsetY", "integer", 0, image, True, 0, height - 2, 2, locked=True),
        Feature(
            "PixelFormat",
            "enumeration",
            CODES["Mono8"],
            image,
            entries=tuple(CODES.items()),
            locked=True,
        ),
        Feature("PayloadSize", "integer", width * height, image, False),
        Feature(
            "AcquisitionMode",
            "enumeration",
            0,
            trigger,
            entries=_choices("Continuous", "SingleFrame", "MultiFrame"),
            locked=True,
        ),
        Feature("AcquisitionFrameCount", "integer", 1, trigger, True, 1, 65535, locked=True),
        Feature("AcquisitionStart", "command", 0, trigger),
        Feature("AcquisitionStop", "command", 0, trigger),
        Feature("AcquisitionFrameRateEnable", "boolean", 0, trigger),
        Feature("AcquisitionFrameRate", "float", 30.0, trigger, True, 0.1, 2000, unit="Hz"),
        Feature("ResultingFrameRate", "float", 30.0, trigger, False, 0, 1e6, unit="Hz"),
        Feature(
            "TriggerSelector",
            "enumeration",
            1,
            trigger,
            entries=_choices("AcquisitionStart", "FrameStart"),
        ),
        Feature(
            "TriggerMode", "enumeration", 0, trigger, entries=off_on, selector="TriggerSelector"
        ),
        Feature(
            "TriggerSource", "enumeration", 0, trigger, entries=sources, selector="TriggerSelector"
        ),
        Feature(
            "TriggerActivation",
            "enumeration",
            0,
            trigger,
            entries=_choices("RisingEdge", "FallingEdge", "AnyEdge"),
            selector="TriggerSelector",
        ),
        Feature(
            "TriggerDelay",
            "float",
            0.0,
            trigger,
            True,
            0,
            1e6,
            unit="us",
            selector="TriggerSelector",
        ),
        Feature("TriggerSoftware", "command", 0, trigger),
        Feature("TriggerMissedCount", "integer", 0, trigger, False, 0, 2**62),
        Feature("ExposureMode", "enumeration", 1, trigger, entries=_choices("Off", "Timed")),
        Feature("ExposureAuto", "enumeration", 0, trigger, entries=_choices("Off", "Once")),
        Feature("ExposureTime", "float", 8000.0, trigger, True, 20, 1e7, unit="us"),
        Feature("GainSelector", "enumeration", 0, analog, entries=_choices("All")),
        Feature("Gain", "float", 0.0, analog, True, 0, 24, unit="dB"),
        Feature("BlackLevel", "float", 0.0, analog, True, 0, 4096),
        Feature("LineSelector", "enumeration", 0, lines, entries=_choices(*LINES)),
        Feature(
            "LineMode",
            "enumeration",
            0,
            lines,
            False,
            entries=_choices("Input", "Output"),
            selector="LineSelector",
        ),
        Feature("LineInverter", "boolean", 0, lines, selector="LineSelector"),
        Feature(
            "LineSource",
            "enumeration",
            0,
            lines,
            entries=_choices("Off", "ExposureActive", "FrameTriggerWait"),
            selector="LineSelector",
        ),
        Feature("ChunkModeActive", "boolean", 0, chunk, locked=True),
        Feature(
            "ChunkSelector",
            "enumeration",
            CHUNKS["FrameID"],
            chunk,
            entries=tuple(CHUNKS.items()),
        ),
        Feature("ChunkEnable", "boolean", 0, chunk, selector="ChunkSelector", locked=True),
    ]
    table = [feature for feature in table if feature.name not in model.absent]
    return [_older(f) for f in table] if model.names == "older" else table


OLDER = {
    "ExposureTime": "ExposureTimeAbs",
    "Gain": "GainRaw",
    "BlackLevel": "BlackLevelRaw",
    "AcquisitionFrameRate": "AcquisitionFrameRateAbs",
    "AcquisitionFrameRateEnable": "AcquisitionFrameRateEnabled",
    "ResultingFrameRate": "ResultingFrameRateAbs",
    "TriggerDelay": "TriggerDelayAbs",
}
GAIN_STEP_DB = 0.0359  # of one count of GainRaw


def _older(feature: Feature) -> Feature:
    renamed = replace(feature, name=OLDER.get(feature.name, feature.name))
    if feature.name == "Gain":
        return replace(renamed, kind="integer", value=0, high=600, unit="")
    if feature.name == "BlackLevel":
        return replace(renamed, kind="integer", value=0, high=1023)
    return renamed
