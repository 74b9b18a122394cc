"""The producer itself: the standard's functions and numbers, and what a sanitizer sees of it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from harvesters.core import Harvester
from hypothesis import given
from hypothesis import strategies as st
from rig_process import RigProcess, built, rig_process

from capture.camera import open_camera
from capture.camera.base import CameraSettings
from capture.camera.pixels import bits_of, decode
from capture.errors import DeviceError, DeviceTimeout
from capture.gentl.build import HERE, build_producer, c_compiler
from capture.gentl.description import address_of
from capture.gentl.features import Model, features_of, model_of
from capture.gentl.pack import CODES, encode
from capture.leds.base import Step
from capture.leds.board import open_board

SOURCES = HERE / "producer"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigProcess]:
    cameras = "readout_us=200;names=older,exposure_step_us=25,absent=BlackLevel+ChunkModeActive"
    with rig_process(tmp_path_factory.mktemp("rig"), camera=cameras) as process:
        yield process


def test_the_numbers_of_the_header_are_genicams() -> None:
    gentl = pytest.importorskip("genicam.gentl")
    known = {
        name: int(getattr(kind, name))
        for kind in (getattr(gentl, k) for k in dir(gentl) if k.endswith(("_LIST", "_IDS")))
        for name in dir(kind)
        if name.isupper()
    }
    text = re.sub(r"/\*.*?\*/", "", (SOURCES / "gentl.h").read_text(), flags=re.S)
    checked = 0
    for body in re.findall(r"enum \{(.*?)\};", text, flags=re.S):
        value = -1
        for entry in filter(None, (part.strip() for part in body.split(","))):
            name, _, number = (part.strip() for part in entry.partition("="))
            value = int(number) if number else value + 1
            if name in known:
                assert known[name] == value, name
                checked += 1
    assert checked > 150


def test_functions_that_do_nothing_say_so() -> None:
    library = ctypes.CDLL(str(built("producer")))
    for name in ("DSGetNumBufferParts", "DSAnnounceCompositeBuffer", "DSGetNumFlows"):
        assert getattr(library, name)() == -1003  # GC_ERR_NOT_IMPLEMENTED
    exported = subprocess.run(
        ["nm", "-D", "--defined-only", built("producer")], capture_output=True, text=True
    )
    names = re.findall(r" T (\w+)", exported.stdout)
    assert len(names) >= 60
    assert all(re.match(r"(GC|TL|IF|Dev|DS|Event)[A-Z]", name) for name in names)


def test_without_a_world_there_is_no_camera(tmp_path: Path) -> None:
    cti = tmp_path / "rig-virtual.cti"
    cti.write_bytes(built("producer").read_bytes())
    with pytest.raises(DeviceError, match="found none; is 'rig virtual-rig' running"):
        open_camera(f"{cti}#VC0001")


@given(st.sampled_from(sorted(CODES)), st.integers(1, 9), st.integers(1, 9), st.data())
def test_every_format_survives_the_way_to_the_consumer(
    name: str, height: int, width: int, data: st.DataObject
) -> None:
    top = 2 ** bits_of(name) - 1
    values = data.draw(
        st.lists(st.integers(0, top), min_size=height * width, max_size=height * width)
    )
    counts = np.array(values, np.uint16).reshape(height, width)
    np.testing.assert_array_equal(decode(encode(counts, name), name, height, width), counts)


@pytest.mark.parametrize("name", sorted(CODES))
def test_a_picture_in_each_format(name: str, rig: RigProcess) -> None:
    with open_camera(f"{rig.cti}#VC0001") as camera:
        settings = CameraSettings(pixel_format=name, exposure_us=300.0, roi=(8, 4, 24, 10))
        state = camera.configure(settings)
        assert (state.width, state.height) == (24, 10)
        camera.arm()
        camera.trigger()
        frame = camera.next_frame(2.0)
        assert frame.pixel_format == name
        assert frame.pixels.shape == (10, 24)
        assert abs(frame.pixels.mean() / 2**frame.bits - 0.004) < 0.004  # dark: the black level


def test_registers_bite_like_those_of_real_cameras(rig: RigProcess) -> None:
    with open_camera(f"{rig.cti}#VC0002") as camera:
        state = camera.configure(CameraSettings(pixel_format="Mono12", exposure_us=310.0))
        assert state.exposure_us == 300.0  # rounded to lines of its sensor
        assert any("took 300" in warning for warning in state.warnings)
        assert "ExposureTimeAbs" in state.nodes
        assert "ExposureTime" not in state.nodes
        assert state.black_level is None
        camera.arm()
        nodes = camera.nodes  # type: ignore[attr-defined]
        with pytest.raises(Exception, match=r"locked|writable|not writ"):
            nodes.get_node("Width").value = 32
        camera.disarm()
        with pytest.raises(Exception, match=r"(?i)range|max|greater"):
            nodes.get_node("Width").value = 6400


def test_single_and_multi_frame_end_by_themselves(rig: RigProcess) -> None:
    with open_camera(f"{rig.cti}#VC0001") as camera:
        camera.configure(CameraSettings(pixel_format="Mono8", exposure_us=300.0, trigger="free"))
        nodes = camera.nodes  # type: ignore[attr-defined]
        nodes.get_node("AcquisitionMode").value = "MultiFrame"
        nodes.get_node("AcquisitionFrameCount").value = 3
        camera.arm()
        assert [camera.next_frame(2.0).frame_id for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DeviceTimeout):
            camera.next_frame(0.1)


def test_timestamps_latch_to_the_clock_of_the_frames(rig: RigProcess) -> None:
    with open_camera(f"{rig.cti}#VC0001") as camera:
        camera.configure(CameraSettings(pixel_format="Mono8", exposure_us=300.0))
        nodes = camera.nodes  # type: ignore[attr-defined]
        camera.arm()

        def latched_ns() -> int:
            nodes.get_node("TimestampLatch").execute()
            return int(nodes.get_node("TimestampLatchValue").value)

        before = latched_ns()
        camera.trigger()
        stamp = camera.next_frame(2.0).timestamp_ns
        assert stamp is not None
        assert before <= stamp <= latched_ns()


def test_an_unread_camera_loses_frames_and_skips_their_ids(tmp_path: Path) -> None:
    with rig_process(tmp_path, camera="readout_us=200", clock="wall") as process:  # noqa: SIM117
        with open_camera(f"{process.cti}#VC0001") as camera:
            settings = CameraSettings(
                pixel_format="Mono8", exposure_us=300.0, trigger="free", frame_rate_hz=500.0
            )
            camera.configure(settings)
            camera.arm()
            first = camera.next_frame(2.0).frame_id
            while process.ask()["exposures"] < 120:
                pass
            camera.disarm()
            camera.arm()
            later = [camera.next_frame(2.0).frame_id for _ in range(3)]
            assert first == 0
            assert later[0] == 0  # ids begin anew with each arming
            exposures = process.ask()["exposures"]
            while process.ask()["exposures"] < exposures + 60:
                pass
            ids = [camera.next_frame(2.0).frame_id for _ in range(20)]
            assert max(np.diff(ids)) > 1


def test_two_cameras_on_one_line_by_activation_and_delay(rig: RigProcess) -> None:
    """The second one waits for the falling edge and then a period, and sees the next LED."""
    harvester = Harvester()
    harvester.add_file(rig.cti)
    harvester.update()
    rising, falling = (harvester.create({"serial_number": name}) for name in ("VC0001", "VC0002"))
    try:
        for camera in (rising, falling):
            nodes = camera.remote_device.node_map
            nodes.PixelFormat.value = "Mono8"
            nodes.OffsetX.value = nodes.OffsetY.value = 0
            nodes.Width.value, nodes.Height.value = nodes.Width.max, nodes.Height.max
            nodes.TriggerSelector.value = "FrameStart"
            nodes.TriggerMode.value = "On"
            nodes.TriggerSource.value = "Line0"
        rising.remote_device.node_map.ExposureTime.value = 300.0
        nodes.ExposureTimeAbs.value = 300.0
        nodes.TriggerActivation.value = "FallingEdge"
        nodes.TriggerDelayAbs.value = 2000.0
        rising.start()
        falling.start()
        with open_board(rig.port) as board:
            board.upload([Step(led, float(led > 0), 0, 400) for led in (1, 0, 2)])
            board.arm(period_us=2000)
            board.run()
            assert len(list(board.reports(10.0))) == 3
        stamps, means = np.zeros((2, 3), np.int64), np.zeros((2, 3))
        for row, camera in enumerate((rising, falling)):
            for column in range(3):
                with camera.fetch(timeout=10.0) as frame:
                    stamps[row, column] = frame.timestamp_ns
                    means[row, column] = frame.payload.components[0].data.mean()
    finally:
        for camera in (rising, falling):
            camera.destroy()
        harvester.reset()
    pulse_us, delay_us = 50, 2000
    np.testing.assert_allclose(stamps[1] - stamps[0], 1000 * (pulse_us + delay_us), atol=1000)
    assert means[0, 1] < 0.1 * means[0, 0]  # nothing was lit in the second step
    np.testing.assert_allclose(means[1, :2], means[0, 1:], rtol=0.2, atol=2)


def test_models_by_name() -> None:
    model = model_of("names=older, exposure_step_us=12.5, absent=Gain+BlackLevel, source_resets")
    assert model == Model("older", ("Gain", "BlackLevel"), 12.5, source_resets=True)
    with pytest.raises(ValueError, match="no 'colour': use one of absent, clock"):
        model_of("colour=1")
    with pytest.raises(ValueError, match="names are sfnc or older"):
        model_of("names=strange")


@pytest.mark.slow
def test_the_thread_sanitizer_reports_nothing(tmp_path: Path) -> None:
    """1,000 starts and 200 openings by a consumer with a thread of its own."""
    compiler = c_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    flags = ["-g", "-O1", "-fsanitize=thread"]
    program = tmp_path / "cycles"
    source = Path(__file__).with_name("cycles.c")
    command = [
        compiler,
        "-std=gnu11",
        *flags,
        f"-I{SOURCES}",
        "-o",
        program,
        source,
        "-ldl",
        "-pthread",
    ]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this compiler has no thread sanitizer")
    names = [
        feature.name
        for feature in features_of(
            Model(), (48, 64), dict.fromkeys(("vendor", "model", "serial"), "")
        )
    ]
    addresses = [
        hex(address_of(names.index(n)))
        for n in ("AcquisitionStart", "AcquisitionStop", "ExposureTime")
    ]
    with rig_process(tmp_path, camera="readout_us=200", clock="wall") as process:
        build_producer(tmp_path, *flags)
        run = [program, process.cti, "1000", "200", *addresses]
        if shutil.which("setarch"):  # the sanitizer wants addresses that are not shuffled
            run = ["setarch", os.uname().machine, "-R", *run]
        done = subprocess.run(run, capture_output=True, text=True, timeout=280)
    assert "ThreadSanitizer" not in done.stderr, done.stderr[:3000]
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 1000
