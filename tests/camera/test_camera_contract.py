"""What every camera does, over every backend that is here.

A camera of your own: ``RIG_TEST_CAMERA=path.cti#serial`` (or ``path.cti:serial``), with
``RIG_TEST_PIXEL_FORMAT`` if it has no Mono8. TLSimu comes with genicam 1.5.0; viky with genicam
1.6.0, whose ``viky.cti`` may also lie in a folder that ``RIG_TEST_PRODUCERS`` names.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from producer_process import Producer, producer_process

from capture.camera import open_camera
from capture.camera.base import Camera, CameraSettings, Frame
from capture.errors import DeviceError, DeviceTimeout
from capture.world import World, publish

_names = (f"contract-{n}" for n in itertools.count())


class Grey:
    shape = (48, 64)
    led_count = 1

    def irradiance(self, led: int) -> NDArray[np.float32]:
        return np.ones(self.shape, np.float32)

    def ambient(self) -> NDArray[np.float32]:
        return np.full(self.shape, 0.1, np.float32)


def producer(name: str) -> str:
    genicam = pytest.importorskip("genicam")
    folders = [Path(genicam.__file__).parent]
    folders += map(Path, filter(None, os.environ.get("RIG_TEST_PRODUCERS", "").split(os.pathsep)))
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        pytest.skip(f"{name} is not here: a folder in RIG_TEST_PRODUCERS may hold it")
    return str(found)


BACKENDS = ["virtual", "producer", "producer-older", "TLSimu", "viky", "own"]


@pytest.fixture(scope="module")
def our_producer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Producer]:
    """Two cameras behind our own producer: one as the standard names it, one of older names."""
    older = "names=older,exposure_step_us=25"
    with producer_process(tmp_path_factory.mktemp("producer"), "names=sfnc", older) as process:
        yield process


@pytest.fixture(params=BACKENDS)
def camera(request: pytest.FixtureRequest) -> Iterator[tuple[Camera, CameraSettings]]:
    settings = CameraSettings(pixel_format="Mono8", exposure_us=1000.0)
    if request.param == "virtual":
        name = next(_names)
        world = World(Grey(), seed=1)
        publish(name, world)
        address = f"sim://{name}"
    elif request.param.startswith("producer"):
        serial = "VC0002" if request.param.endswith("older") else "VC0001"
        address = f"{request.getfixturevalue('our_producer').cti}#{serial}"
    elif request.param == "TLSimu":
        address = f"{producer('TLSimu.cti')}#SN_InterfaceA_0"
    elif request.param == "viky":
        from capture.camera.genicam import list_cameras

        path = producer("viky.cti")
        address = list_cameras([path])[0].address
        settings = CameraSettings(pixel_format="Mono8", trigger="free")
    else:
        own = os.environ.get("RIG_TEST_CAMERA")
        if not own:
            pytest.skip("RIG_TEST_CAMERA names no camera")
        address = own if "#" in own else "#".join(own.rsplit(":", 1))
        settings = CameraSettings(
            pixel_format=os.environ.get("RIG_TEST_PIXEL_FORMAT", "Mono8"), exposure_us=1000.0
        )
    device = open_camera(address)
    try:
        yield device, settings
    finally:
        device.close()


def shoot(device: Camera, settings: CameraSettings) -> Frame:
    if settings.trigger == "software":
        device.trigger()
    return device.next_frame(2.0)


def test_state_and_frames_agree(camera: tuple[Camera, CameraSettings]) -> None:
    device, settings = camera
    assert isinstance(device, Camera)
    assert device.identity.serial
    state = device.configure(settings)
    assert state.trigger == settings.trigger
    assert {"Width", "PixelFormat"} <= set(state.nodes)
    if state.exposure_limits_us is not None and state.exposure_us is not None:
        shortest_us, longest_us = state.exposure_limits_us
        assert shortest_us <= state.exposure_us <= longest_us
    device.arm()
    frames = [shoot(device, settings) for _ in range(5)]
    device.disarm()
    for frame in frames:
        assert frame.pixels.shape == (state.height, state.width)
        assert frame.pixels.dtype == np.uint16
        assert frame.pixels.max() < 2**frame.bits
        assert frame.pixels.flags.owndata or frame.pixels.base is not None
    assert np.all(np.diff([frame.frame_id for frame in frames]) == 1)


def test_one_trigger_one_frame(camera: tuple[Camera, CameraSettings]) -> None:
    device, settings = camera
    if settings.trigger != "software":
        pytest.skip("this camera has no trigger")
    device.configure(settings)
    device.arm()
    with pytest.raises(DeviceTimeout):
        device.next_frame(0.1)
    first = shoot(device, settings)
    with pytest.raises(DeviceTimeout):
        device.next_frame(0.1)
    assert shoot(device, settings).frame_id == first.frame_id + 1


def test_pixels_outlive_the_driver_buffer(camera: tuple[Camera, CameraSettings]) -> None:
    device, settings = camera
    device.configure(settings)
    device.arm()
    first = shoot(device, settings)
    kept = first.pixels.copy()
    for _ in range(40):  # more than there are buffers
        shoot(device, settings)
    device.disarm()
    device.close()
    np.testing.assert_array_equal(first.pixels, kept)


def test_arm_again_after_disarm(camera: tuple[Camera, CameraSettings]) -> None:
    device, settings = camera
    device.configure(settings)
    for _ in range(3):
        device.arm()
        shoot(device, settings)
        device.disarm()
        device.configure(settings)


def test_closed_and_disarmed_cameras_say_so(camera: tuple[Camera, CameraSettings]) -> None:
    device, settings = camera
    device.configure(settings)
    with pytest.raises(DeviceError, match="not armed"):
        device.next_frame(0.1)
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="not open"):
        device.configure(settings)
    device.open()
    device.configure(settings)


def test_a_format_the_camera_lacks(camera: tuple[Camera, CameraSettings]) -> None:
    device, _ = camera
    with pytest.raises(DeviceError, match="Mono"):
        device.configure(CameraSettings(pixel_format="RGB8"))


def test_addresses_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    with pytest.raises(DeviceError, match="no camera address"):
        open_camera("/dev/video0")
    with pytest.raises(DeviceError, match=r"nowhere\.cti does not exist"):
        open_camera("/nowhere.cti#1")
    with pytest.raises(DeviceError, match="no GenTL producer is known"):
        open_camera("#1")
    path = producer("TLSimu.cti")
    with pytest.raises(DeviceError, match="no camera with serial number 77"):
        open_camera(f"{path}#77")
    with pytest.raises(DeviceError, match="name one by its serial number"):
        open_camera(path)


def test_producers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from capture.camera.genicam import list_cameras

    path = producer("TLSimu.cti")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(Path(path).parent))
    serials = [camera.serial for camera in list_cameras()]
    assert "SN_InterfaceA_0" in serials
    assert len(serials) == len(set(serials))
