"""The virtual camera: physics, time, buffers, and pictures that repeat to the bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from capture.camera.base import CameraSettings, Frame
from capture.camera.sensor import Sensor, expose
from capture.camera.virtual import VirtualCamera, replay
from capture.errors import DeviceError, DeviceTimeout
from capture.faults import Faults
from capture.world import World, publish

_names = (f"virtual-camera-{n}" for n in itertools.count())


class Flat:
    """Every pixel alike; LED k gives k × 0.5 electrons per µs."""

    shape = (40, 60)
    led_count = 8

    def irradiance(self, led: int) -> NDArray[np.float32]:
        return np.full(self.shape, 0.5 * led, np.float32)

    def ambient(self) -> NDArray[np.float32]:
        return np.zeros(self.shape, np.float32)


class StepClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.us = 1000.0

    def now_us(self) -> int:
        return int(self.us)

    def sleep_us(self, duration_us: float) -> None:
        self.us += max(duration_us, 0.0)


def make_world(**options: object) -> tuple[World, str]:
    world = World(Flat(), clock=StepClock(), **options)  # type: ignore[arg-type]
    name = next(_names)
    publish(name, world)
    return world, f"sim://{name}"


def take(world: World, camera: VirtualCamera, led: int) -> Frame:
    """Light an LED, trigger, fetch, all dark; led 0 stays dark."""
    if led:
        world.light(led, 1.0)
    world.clock.sleep_us(137.0)
    camera.trigger()
    frame = camera.next_frame(1.0)
    world.dark()
    world.clock.sleep_us(500.0)
    return frame


SETTINGS = CameraSettings(exposure_us=2000.0)


def test_mean_and_variance_follow_the_sensor() -> None:
    sensor = Sensor(full_well_e=12_000, read_noise_e=3, dark_current_e_per_s=0, black_level=0.004)
    electrons = np.full((400, 500), 4000.0, np.float32)
    counts = expose(electrons, 1e4, 0.0, 12, sensor, np.random.default_rng(1)).astype(float)
    dn_per_e = 4095 / 12_000
    assert counts.mean() == pytest.approx(4000 * dn_per_e + 0.004 * 4095, abs=0.3)
    assert counts.var() == pytest.approx((4000 + 9) * dn_per_e**2 + 1 / 12, rel=0.02)


def test_few_electrons_are_poisson_and_gain_multiplies() -> None:
    sensor = Sensor(read_noise_e=0, dark_current_e_per_s=0, full_well_e=4095, black_level=0)
    electrons = np.full((400, 500), 2.0, np.float32)
    counts = expose(electrons, 1.0, 0.0, 12, sensor, np.random.default_rng(1))
    assert np.mean(counts == 0) == pytest.approx(np.exp(-2), abs=0.005)
    doubled = expose(electrons, 1.0, 20 * np.log10(2), 12, sensor, np.random.default_rng(1))
    np.testing.assert_array_equal(doubled, 2 * counts)


def test_full_well_clips_before_the_gain() -> None:
    sensor = Sensor(full_well_e=1000, read_noise_e=0, black_level=0.0)
    electrons = np.full((8, 8), 5000.0, np.float32)
    counts = expose(electrons, 1.0, -20 * np.log10(2), 12, sensor, np.random.default_rng(1))
    assert np.all(np.abs(counts.astype(int) - 2048) <= 1)


def test_blur_keeps_the_light() -> None:
    sensor = Sensor(psf_sigma_px=1.0, read_noise_e=0, dark_current_e_per_s=0, black_level=0)
    electrons = np.zeros((41, 41), np.float32)
    electrons[20, 20] = 11_000
    counts = expose(electrons, 1.0, 0.0, 16, sensor, np.random.default_rng(1))
    assert counts[20, 20] < 0.2 * counts.sum()
    assert counts.sum() / 65535 * 12_000 == pytest.approx(11_000, rel=0.05)


def test_a_frame_holds_what_shone_in_its_window() -> None:
    world, address = make_world()
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        means = [float(take(world, camera, led).pixels.mean()) for led in (0, 1, 2)]
    per_led = 0.5 * 2000 / 12_000 * 4095
    assert means == pytest.approx([16.4, 16.4 + per_led, 16.4 + 2 * per_led], abs=2.0)


def test_light_that_comes_late_gives_a_dim_frame() -> None:
    world, address = make_world()
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        camera.trigger()
        start_us = world.clock.now_us() + camera.timing.software_latency_us
        world.light(4, 1.0, at_us=start_us + 1500)
        dim = camera.next_frame(1.0)
    assert dim.pixels.mean() == pytest.approx(16.4 + 4 * 0.5 * 500 / 12_000 * 4095, abs=2.0)


def test_same_seed_same_pictures_whatever_the_time() -> None:
    stacks = []
    for pause_us in (0.0, 12_345.0):
        world, address = make_world(seed=7)
        with VirtualCamera(address) as camera:
            camera.configure(SETTINGS)
            camera.arm()
            frames = []
            for led in (0, 1, 2, 1, 0):
                world.clock.sleep_us(pause_us)
                frames.append(take(world, camera, led).pixels)
        stacks.append(np.stack(frames))
    np.testing.assert_array_equal(stacks[0], stacks[1])
    assert np.any(stacks[0][1] != stacks[0][3]), "a repeated picture has fresh noise"


def test_replay_resumes_to_the_bit() -> None:
    order = (0, 1, 2, 1, 0)
    whole: list[NDArray[np.uint16]] = []
    world, address = make_world(seed=7)
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        whole = [take(world, camera, led).pixels for led in order]
    world, address = make_world(seed=7)
    replay(address, [(led, SETTINGS.exposure_us, 1.0) for led in order[:3]])
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        rest = [take(world, camera, led).pixels for led in order[3:]]
    np.testing.assert_array_equal(np.stack(whole[3:]), np.stack(rest))


def test_triggers_while_busy_are_ignored() -> None:
    world, address = make_world()
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        camera.trigger()
        camera.trigger()
        assert camera.next_frame(1.0).frame_id == 0
        with pytest.raises(DeviceTimeout):
            camera.next_frame(0.05)
        assert take(world, camera, 1).frame_id == 1, "an ignored trigger leaves no gap"


def test_frames_nobody_fetches_are_lost_with_a_gap() -> None:
    world, address = make_world()
    with VirtualCamera(f"{address}?buffers=2") as camera:
        camera.configure(SETTINGS)
        camera.arm()
        for _ in range(4):
            camera.trigger()
            world.clock.sleep_us(5000)
        ids = [camera.next_frame(0.1).frame_id for _ in range(2)]
        assert [*ids, take(world, camera, 1).frame_id] == [0, 1, 4]


def test_lost_frames_leave_a_gap_and_lost_triggers_none() -> None:
    world, address = make_world(
        faults=Faults(lost_frames=frozenset({1}), lost_triggers=frozenset({3}))
    )
    with VirtualCamera(address) as camera:
        camera.configure(SETTINGS)
        camera.arm()
        ids: list[int | None] = []
        for _ in range(5):
            try:
                ids.append(take(world, camera, 1).frame_id)
            except DeviceTimeout:
                ids.append(None)
    assert ids == [0, None, 2, None, 3]


def test_line_trigger_and_exposure_active_edges() -> None:
    world, address = make_world()
    edges: list[int] = []
    world.connect_exposure_active(edges.append)
    with VirtualCamera(address) as camera:
        camera.configure(replace(SETTINGS, trigger="line", line="Line1"))
        camera.arm()
        for k in range(3):
            world.pulse_trigger(10_000 * (k + 1))
        stamps = [camera.next_frame(1.0).timestamp_ns for _ in range(3)]
        latency_us = camera.timing.line_latency_us
    assert edges == [10_000 * k + latency_us for k in (1, 2, 3)]
    assert None not in stamps
    steps = np.diff(np.array(stamps, dtype=float)) / 1e7
    np.testing.assert_allclose(steps, 1 + 12e-6, atol=1e-6)
    world.pulse_trigger(90_000)  # a closed camera hears nothing
    assert len(edges) == 3


def test_region_of_interest_and_formats() -> None:
    _, address = make_world()
    with VirtualCamera(address) as camera:
        state = camera.configure(replace(SETTINGS, roi=(10, 5, 20, 8), pixel_format="Mono8"))
        assert (state.width, state.height) == (20, 8)
        camera.arm()
        camera.trigger()
        frame = camera.next_frame(1.0)
        assert (frame.pixels.shape, frame.pixels.dtype, frame.bits) == ((8, 20), np.uint16, 8)
        camera.disarm()
        with pytest.raises(DeviceError, match="does not fit"):
            camera.configure(replace(SETTINGS, roi=(50, 0, 20, 8)))
        with pytest.raises(DeviceError, match="BayerRG8"):
            camera.configure(replace(SETTINGS, pixel_format="BayerRG8"))


def test_unknown_world_and_unknown_option() -> None:
    with pytest.raises(DeviceError, match="no virtual rig"):
        VirtualCamera("sim://nobody-published-this").open()
    with pytest.raises(DeviceError, match="psf_sigma_px"):
        VirtualCamera("sim://x?psf=1")


def test_faster_than_the_readout_is_warned_of() -> None:
    _, address = make_world()
    with VirtualCamera(address) as camera:
        state = camera.configure(replace(SETTINGS, exposure_us=1.0, frame_rate_hz=2000.0))
        assert state.exposure_us == camera.timing.exposure_min_us
        assert len(state.warnings) == 2
