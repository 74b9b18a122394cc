"""Configuring a camera, on node maps that behave as cameras do: clamp, refuse, keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from capture.camera.base import CameraSettings
from capture.camera.configure import configure
from capture.errors import DeviceError


@dataclass
class IFloat:
    value: Any
    min: float = 0.0
    max: float = 1e9
    unit: str = ""
    access: int = 4

    def get_access_mode(self) -> int:
        return self.access


@dataclass
class IInteger(IFloat):
    inc: int = 1


@dataclass
class IBoolean:
    value: bool
    access: int = 4

    def get_access_mode(self) -> int:
        return self.access


@dataclass
class Entry:
    symbolic: str


class IEnumeration:
    def __init__(self, value: str, *symbolics: str, access: int = 4) -> None:
        self._value, self.symbolics, self.access = value, (value, *symbolics), access
        self.entries = [Entry(symbolic) for symbolic in self.symbolics]

    @property
    def value(self) -> str:
        return self._value

    @value.setter
    def value(self, wanted: str) -> None:
        if wanted not in self.symbolics:
            raise RuntimeError("not an entry")
        self._value = wanted

    def get_access_mode(self) -> int:
        return self.access


class ICommand:
    def get_access_mode(self) -> int:
        return 2


class ICategory:
    def get_access_mode(self) -> int:
        return 3


@dataclass
class Nodes:
    nodes: dict[str, Any] = field(default_factory=dict)

    def has_node(self, name: str) -> bool:
        return name in self.nodes

    def get_node(self, name: str) -> Any:
        return self.nodes[name]

    def __getitem__(self, name: str) -> Any:
        return self.nodes[name].value


def machine_vision_camera(**changes: Any) -> Nodes:
    nodes: dict[str, Any] = {
        "Width": IInteger(1000, 8, 1000),
        "Height": IInteger(500, 8, 500),
        "PixelFormat": IEnumeration("Mono8", "Mono12", "Mono12p"),
        "ExposureMode": IEnumeration("TriggerWidth", "Timed"),
        "ExposureAuto": IEnumeration("Continuous", "Off", "Once"),
        "ExposureTime": IFloat(5.0, 10.0, 1e6, "us"),
        "GainSelector": IEnumeration("DigitalAll", "AnalogAll", "All"),
        "GainAuto": IEnumeration("Continuous", "Off"),
        "Gain": IFloat(7.0, 0.0, 24.0, "dB"),
        "BlackLevel": IFloat(1.5),
        "BalanceWhiteAuto": IEnumeration("Continuous", "Off"),
        "GammaEnable": IBoolean(True),
        "Gamma": IFloat(0.7, 0.25, 4.0),
        "LUTEnable": IBoolean(True),
        "SharpeningEnable": IBoolean(True),
        "BinningHorizontal": IInteger(2, 1, 4),
        "BinningVertical": IInteger(2, 1, 4),
        "TriggerSelector": IEnumeration("AcquisitionStart", "FrameStart"),
        "TriggerMode": IEnumeration("Off", "On"),
        "TriggerSource": IEnumeration("Line0", "Line1", "Software"),
        "TriggerActivation": IEnumeration("FallingEdge", "RisingEdge"),
        "TriggerDelay": IFloat(25.0),
        "TriggerSoftware": ICommand(),
        "LineSelector": IEnumeration("Line0", "Line1", "Line2"),
        "LineMode": IEnumeration("Input", "Output"),
        "LineSource": IEnumeration("Off", "ExposureActive"),
        "LineInverter": IBoolean(True),
        "AcquisitionFrameRateEnable": IBoolean(True),
        "AcquisitionFrameRate": IFloat(10.0, 1.0, 75.0),
        "DeviceLinkThroughputLimit": IInteger(30_000_000, 0, 400_000_000),
        "GevSCPSPacketSize": IInteger(1500, 0, 9000),
    }
    return Nodes({**nodes, **changes})


SETTINGS = CameraSettings(pixel_format="Mono12", exposure_us=8000.0)


def test_everything_automatic_or_bent_is_off() -> None:
    nodes = machine_vision_camera()
    state = configure(nodes, SETTINGS, nodes.nodes)
    off = ("ExposureAuto", "GainAuto", "BalanceWhiteAuto")
    assert [nodes[name] for name in off] == ["Off"] * 3
    assert not any(nodes[name] for name in ("GammaEnable", "LUTEnable", "SharpeningEnable"))
    assert [nodes[n] for n in ("Gamma", "BinningHorizontal", "BinningVertical")] == [1.0, 1, 1]
    assert nodes["ExposureMode"] == "Timed"
    assert (nodes["ExposureTime"], nodes["Gain"], nodes["TriggerDelay"]) == (8000.0, 0.0, 0.0)
    assert (nodes["TriggerSelector"], nodes["TriggerMode"]) == ("FrameStart", "On")
    assert nodes["TriggerSource"] == "Software"
    assert nodes["AcquisitionFrameRateEnable"] is False
    assert state.warnings == ()
    assert (state.pixel_format, state.exposure_us, state.gain_db) == ("Mono12", 8000.0, 0.0)
    assert state.black_level == 1.5
    assert state.nodes["PixelFormat"] == "Mono12"
    assert "TriggerSoftware" not in state.nodes


def test_what_cannot_be_switched_off_is_said() -> None:
    nodes = machine_vision_camera(
        LUTEnable=IBoolean(True, access=3), GainAuto=IEnumeration("Continuous", "Once")
    )
    warnings = configure(nodes, SETTINGS).warnings
    assert any("LUTEnable" in w and "linear" in w for w in warnings)
    assert any("GainAuto" in w for w in warnings)


def test_the_truth_is_read_back() -> None:
    nodes = machine_vision_camera(ExposureTime=IFloat(5.0, 10.0, 4000.0, "us"))
    state = configure(nodes, SETTINGS)
    assert state.exposure_us == 4000.0
    assert any("8000" in w and "4000" in w for w in state.warnings)


def test_line_trigger_and_strobe() -> None:
    nodes = machine_vision_camera()
    configure(nodes, replace(SETTINGS, trigger="line", line="Line1"))
    assert (nodes["TriggerSource"], nodes["TriggerActivation"]) == ("Line1", "RisingEdge")
    assert (nodes["LineSelector"], nodes["LineMode"]) == ("Line1", "Input")
    configure(nodes, replace(SETTINGS, trigger="free", strobe_line="Line2", frame_rate_hz=20.0))
    assert nodes["TriggerMode"] == "Off"
    assert (nodes["LineSelector"], nodes["LineMode"]) == ("Line2", "Output")
    assert nodes["LineSource"] == "ExposureActive"
    assert nodes["LineInverter"] is False
    assert nodes["AcquisitionFrameRateEnable"] is True
    assert nodes["AcquisitionFrameRate"] == 20.0


def test_an_open_collector_is_turned_round() -> None:
    asked = replace(SETTINGS, trigger="free", strobe_line="Line2", strobe_inverted=True)
    nodes = machine_vision_camera()
    configure(nodes, asked)
    assert nodes["LineInverter"] is True
    polarity = IEnumeration("Normal", "Invert")
    older = machine_vision_camera(LineInverter=ICategory(), SyncOutPolarity=polarity)
    configure(older, asked)
    assert polarity.value == "Invert"
    fixed = machine_vision_camera(LineInverter=ICategory())
    configure(fixed, replace(asked, strobe_inverted=False))
    with pytest.raises(DeviceError, match="by a transistor"):
        configure(fixed, asked)


def test_an_unknown_line_is_refused_with_those_there_are() -> None:
    with pytest.raises(DeviceError, match="Line0, Line1, Software"):
        configure(machine_vision_camera(), replace(SETTINGS, trigger="line", line="Opto7"))
    with pytest.raises(DeviceError, match="Line0, Line1, Line2"):
        configure(machine_vision_camera(), replace(SETTINGS, trigger="free", strobe_line="Opto7"))


def test_a_link_too_slow_is_said() -> None:
    nodes = machine_vision_camera()
    state = configure(nodes, replace(SETTINGS, trigger="free", frame_rate_hz=60.0))
    assert any("60.0 MB/s" in w and "30.0 MB/s" in w for w in state.warnings)
    assert any("1500 bytes" in w for w in state.warnings)


def test_raw_gain_and_raw_exposure_of_old_cameras() -> None:
    nodes = machine_vision_camera(
        Gain=ICategory(),
        GainRaw=IInteger(300, 36, 512),
        ExposureTimeRaw=IInteger(10, 1, 4095),
        ExposureTimeBaseAbs=IFloat(20.0),
    )
    del nodes.nodes["ExposureTime"]
    state = configure(nodes, SETTINGS)
    assert (nodes["GainRaw"], state.gain_db) == (36, None)
    assert (nodes["ExposureTimeRaw"], state.exposure_us) == (400, 8000.0)


def test_a_camera_without_software_trigger_says_what_to_do() -> None:
    nodes = machine_vision_camera()
    del nodes.nodes["TriggerSoftware"]
    with pytest.raises(DeviceError, match="trigger line"):
        configure(nodes, SETTINGS)
    del nodes.nodes["TriggerMode"]
    with pytest.raises(DeviceError, match="run freely"):
        configure(nodes, SETTINGS)


def test_a_region_that_does_not_fit_is_refused() -> None:
    nodes = machine_vision_camera(OffsetX=IInteger(0, 0, 900), OffsetY=IInteger(0, 0, 400))
    configure(nodes, replace(SETTINGS, roi=(16, 8, 640, 480)))
    assert [nodes[n] for n in ("OffsetX", "OffsetY", "Width", "Height")] == [16, 8, 640, 480]
    fixed = machine_vision_camera(Width=IInteger(1000, 1000, 1000, access=3))
    with pytest.raises(DeviceError, match="Width 640"):
        configure(fixed, replace(SETTINGS, roi=(0, 0, 640, 480)))


def test_a_colour_camera_is_refused_with_advice() -> None:
    nodes = machine_vision_camera(PixelFormat=IEnumeration("BayerRG8", "RGB8"))
    with pytest.raises(DeviceError, match="monochrome"):
        configure(nodes, SETTINGS)
