"""What the driver makes of a link that loses, cuts and pads: an acquirer that misbehaves on cue."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from capture.camera.genicam import GenICamCamera
from capture.errors import DataError, DeviceError, DeviceTimeout


class Buffer:
    """A filled buffer; its memory is zeroed when it is handed back, as harvesters does."""

    def __init__(self, data: bytes, height: int, width: int, **picture: Any) -> None:
        self.memory = bytearray(data)
        self.module = SimpleNamespace(raw_buffer=self.memory, frame_id=7)
        component = SimpleNamespace(
            **{
                "data_format": "Mono8",
                "height": height,
                "width": width,
                "data_offset": 0,
                "x_padding": 0,
                **picture,
            }
        )
        self.payload = SimpleNamespace(components=[component])

    def __enter__(self) -> Buffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType
    ) -> None:
        self.memory[:] = bytes(len(self.memory))


class Acquirer:
    def __init__(self, *events: Callable[[float], Buffer | None]) -> None:
        self.events = list(events)
        nodes = SimpleNamespace(has_node=lambda name: False)
        self.remote_device = SimpleNamespace(node_map=nodes)

    def is_acquiring(self) -> bool:
        return True

    def try_fetch(self, timeout: float) -> Buffer | None:
        return (self.events.pop(0) if self.events else silence)(timeout)


def silence(timeout: float) -> None:
    time.sleep(timeout)


def incomplete(timeout: float) -> None:
    """harvesters drops an incomplete buffer and returns early, with nothing."""


def unplugged(timeout: float) -> None:
    raise RuntimeError("GenTL exception: device lost")


def camera_with(*events: Callable[[float], Buffer | None]) -> GenICamCamera:
    camera = GenICamCamera("42")
    camera._acquirer = Acquirer(*events)
    return camera


def test_an_incomplete_frame_does_not_end_the_wait() -> None:
    buffer = Buffer(bytes(range(6)), 2, 3)
    frame = camera_with(incomplete, lambda _: buffer).next_frame(1.0)
    assert frame.pixels.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (frame.frame_id, frame.timestamp_ns, frame.bits) == (7, None, 8)


def test_a_timeout_says_whether_frames_came_incomplete() -> None:
    with pytest.raises(DeviceTimeout, match=r"no frame came from camera 42.*trigger"):
        camera_with().next_frame(0.05)
    with pytest.raises(DeviceTimeout, match=r"1 incomplete and no whole frame.*network link"):
        camera_with(incomplete).next_frame(0.05)


def test_a_lost_device_is_one_sentence() -> None:
    with pytest.raises(DeviceError, match=r"camera 42 failed.*device lost"):
        camera_with(unplugged).next_frame(0.05)


def test_padding_at_the_end_of_lines_is_left_out() -> None:
    data = bytes([1, 2, 3, 0, 9, 9, 4, 5, 6, 0, 9, 9])
    buffer = Buffer(data, 2, 2, data_format="Mono12", x_padding=2)
    frame = camera_with(lambda _: buffer).next_frame(1.0)
    assert frame.pixels.tolist() == [[0x201, 0x003], [0x504, 0x006]]


def test_a_picture_cut_short_is_refused() -> None:
    with pytest.raises(DataError, match="cut short"):
        camera_with(lambda _: Buffer(bytes(5), 2, 3)).next_frame(1.0)


def test_a_frame_without_picture_is_refused() -> None:
    buffer = Buffer(b"", 0, 0)
    buffer.payload.components.clear()
    with pytest.raises(DeviceError, match="without a picture"):
        camera_with(lambda _: buffer).next_frame(1.0)


def test_a_bracket_of_a_camera_without_exposure_is_refused() -> None:
    camera = camera_with()
    assert camera.set_exposure(500.0) == 500.0
    assert camera.set_exposure(500.0) == 500.0
    with pytest.raises(DeviceError, match="one exposure instead of a bracket"):
        camera.set_exposure(2000.0)


def test_rig_devices_without_a_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    from rig.cli import app

    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    result = CliRunner().invoke(app, ["devices"])
    assert result.exit_code == 0
    assert "Serial ports" in result.output
    assert "no GenTL producer known" in result.output


def test_rig_devices_lists_the_cameras_of_a_producer() -> None:
    from pathlib import Path

    from rig.cli import app

    genicam = pytest.importorskip("genicam")
    path = Path(genicam.__file__).parent / "TLSimu.cti"
    if not path.is_file():
        pytest.skip("TLSimu.cti comes with genicam 1.5.0")
    result = CliRunner().invoke(app, ["devices", "--cti", str(path)])
    assert f"{path}#SN_InterfaceA_0" in result.output
    assert np.count_nonzero([line.count("TLSimuMono") for line in result.output.splitlines()]) == 2
