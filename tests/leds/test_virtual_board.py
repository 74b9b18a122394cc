"""The driver against a virtual board that fails in every way it can."""

from __future__ import annotations

import time

import pytest

from capture.errors import DeviceError, DeviceTimeout
from capture.faults import Faults, SerialFault
from capture.leds.base import LedBoard, Step
from capture.leds.bench import BenchScene
from capture.leds.board import open_board
from capture.leds.virtual import board_of
from capture.world import LOG_LENGTH, World

STEPS = [Step(led, 1.0, 100, 2000) for led in range(1, 7)]


def lit_leds(world: World) -> list[int]:
    return [lit.led for lit in world.log()]


def assert_dark(world: World) -> None:
    assert all(lit.off_us is not None for lit in world.log())


def run(board: LedBoard) -> list[int]:
    board.arm()
    board.run()
    return [report.led for report in board.reports(1.0)]


def test_one_led_alone_and_dark_in_the_end(world: World, port: str) -> None:
    with open_board(port) as board:
        board.on(3)
        board.on(4, 0.5)
    log = world.log()
    assert [(lit.led, lit.level) for lit in log] == [(3, 1.0), (4, 0.5)]
    assert log[0].off_us == log[1].on_us
    assert_dark(world)


def test_dark_after_an_exception(world: World, port: str) -> None:
    def fail() -> None:
        with open_board(port) as board:
            board.on(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert_dark(world)


def test_opening_twice_is_refused(port: str) -> None:
    with open_board(port), pytest.raises(DeviceError, match="in use"):
        open_board(port)
    with open_board(port) as board:
        board.on(1)


def test_more_leds_than_the_board_has(port: str) -> None:
    with pytest.raises(DeviceError, match="has 96 LEDs, but 97"):
        open_board(port, led_count=97)
    with open_board(port) as board, pytest.raises(DeviceError, match="1 to 96"):
        board.on(97)


def test_unknown_ports_are_one_clear_sentence() -> None:
    with pytest.raises(DeviceError, match="no virtual rig named 'nobody'"):
        open_board("sim://nobody")
    with pytest.raises(DeviceError, match="rig devices"):
        open_board("/dev/does-not-exist")
    with pytest.raises(DeviceError, match="ffff:fffe:x"):
        open_board("ffff:fffe:x")


def test_the_sequence_pulses_the_camera_and_reports_true_times(world: World, port: str) -> None:
    world.faults = Faults(clock_offset_us=5_000_000, clock_drift_ppm=50.0)
    edges: list[int] = []
    world.connect_trigger(edges.append)
    with open_board(port) as board:
        board.upload(STEPS)
        board.arm(period_us=5000)
        board.run()
        reports = list(board.reports(1.0))
    log = world.log()
    assert [lit.led for lit in log] == [1, 2, 3, 4, 5, 6]
    for lit, edge, report in zip(log, edges, reports, strict=True):
        assert lit.off_us is not None
        assert abs(edge - lit.on_us - 100) <= 1
        assert abs(lit.off_us - lit.on_us - 2100) <= 2
        assert report.on_us - 5_000_000 == pytest.approx(lit.on_us * (1 + 50e-6), abs=2)
    assert log[1].on_us - log[0].on_us == pytest.approx(5000, abs=2)


@pytest.mark.parametrize("mode", ["board", "camera"])
@pytest.mark.parametrize("position", [0, 3])
def test_lost_and_late_edges(world: World, port: str, mode: str, position: int) -> None:
    edges: list[int] = []
    world.connect_trigger(edges.append)
    world.faults = Faults(lost_edges=frozenset({position}), late_edges={position + 1: 700})
    with open_board(port) as board:
        board.upload(STEPS)
        if mode == "board":
            assert run(board) == [1, 2, 3, 4, 5, 6]
            assert len(edges) == 5
            led = world.log()[position + 1]
            assert edges[position] - led.on_us == pytest.approx(800, abs=2)
            return
        board.arm(camera_clocked=True)
        pulses = []
        for _ in STEPS:
            pulses.append(world.clock.now_us())
            world.pulse_exposure_active(pulses[-1])
            time.sleep(0.004)
        board.abort()
    assert lit_leds(world) == [1, 2, 3, 4, 5]
    assert world.log()[position].on_us == pulses[position + 1] + 700


def test_leds_that_are_dead_stuck_swapped_or_coupled(world: World, port: str) -> None:
    world.faults = Faults(
        dead_leds=frozenset({1}),
        stuck_leds=frozenset({2}),
        swapped_leds=((3, 4),),
        coupled_leds=((5, 6),),
    )
    with open_board(port) as board:
        board.upload(STEPS)
        assert run(board) == [1, 2, 3, 4, 5, 6]  # the board believes that all is well
    assert lit_leds(world) == [2, 4, 3, 5, 6, 6]
    assert [lit.led for lit in world.log() if lit.off_us is None] == [2]


@pytest.mark.parametrize("direction", ["to-board", "to-host"])
@pytest.mark.parametrize("kind", ["drop", "duplicate", "garble"])
@pytest.mark.parametrize("after", range(0, 24, 3))
def test_damaged_bytes_are_repaired_or_told(
    world: World, port: str, kind: str, direction: str, after: int
) -> None:
    with open_board(port) as board:
        board.on(1)
        # The damage hits the exchange that comes next, or the one after it.
        so_far = board_of(world).byte_counts[direction]
        world.faults = Faults(serial=(SerialFault(kind, so_far + after, direction),))  # type: ignore[arg-type]
        for led in (21, 22, 23):
            try:
                board.on(led)
            except DeviceError:
                board.on(led)  # a retake
            assert [lit.led for lit in world.log() if lit.off_us is None] == [led]
    assert_dark(world)


@pytest.mark.parametrize("kind", ["drop", "duplicate", "garble"])
@pytest.mark.parametrize("after", range(0, 220, 20))
def test_a_damaged_report_voids_the_sequence(
    world: World, port: str, kind: str, after: int
) -> None:
    with open_board(port) as board:
        board.upload(STEPS)
        board.arm()
        so_far = board_of(world).byte_counts["to-host"]
        world.faults = Faults(serial=(SerialFault(kind, so_far + after, "to-host"),))  # type: ignore[arg-type]
        try:
            board.run()
            leds = [report.led for report in board.reports(1.0)]
        except DeviceError:
            leds = run(board)  # the retake is sound
        assert leds == [1, 2, 3, 4, 5, 6]
    assert_dark(world)


@pytest.mark.parametrize("boot_us", [0, 300_000])
def test_a_reset_in_a_frame_is_told_and_healed(world: World, port: str, boot_us: int) -> None:
    world.faults = Faults(reset_at_step=frozenset({1}), boot_us=boot_us)
    with open_board(port) as board:
        board.on(1)
        board.on(2)
        time.sleep(0.02)
        assert_dark(world)
        with pytest.raises(DeviceError):
            board.on(3)
        board.on(2)  # a retake, after a new handshake
        assert board.status().lit == 2


def test_a_reset_in_a_sequence_voids_it_and_the_retake_uploads_again(
    world: World, port: str
) -> None:
    world.faults = Faults(reset_at_step=frozenset({2}))
    with open_board(port) as board:
        board.upload(STEPS)
        with pytest.raises(DeviceError, match="void"):
            run(board)
        assert run(board) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("unplugged_us", [1000, 300_000])
def test_unplugged_in_a_frame_is_told_and_the_retake_reconnects(
    world: World, port: str, unplugged_us: int
) -> None:
    world.faults = Faults(unplug_at_step=frozenset({1}), unplugged_us=unplugged_us)
    with open_board(port) as board:
        board.on(1)
        board.on(2)
        time.sleep(0.02)
        with pytest.raises(DeviceError, match="LED 2 did not stay lit"):
            board.on(3)
        board.on(2)
        assert board.status().lit == 2


def test_unplugged_between_frames_goes_unnoticed(world: World, port: str) -> None:
    with open_board(port) as board:
        board.on(1)
        board.off()
        world.faults = Faults(unplug_at_us=(world.clock.now_us() + 1,), unplugged_us=100_000)
        time.sleep(0.02)
        board.on(2)
        assert board.status().lit == 2
    assert_dark(world)


def test_unplugged_in_a_sequence_voids_it(world: World, port: str) -> None:
    world.faults = Faults(unplug_at_step=frozenset({2}), unplugged_us=1000)
    with open_board(port) as board:
        board.upload(STEPS)
        with pytest.raises(DeviceError):
            run(board)
        assert run(board) == [1, 2, 3, 4, 5, 6]


def test_unplugged_for_good_is_one_clear_sentence(
    world: World, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capture.leds.link.REAPPEAR_S", 0.2)
    with open_board(port) as board:
        world.faults = Faults(unplug_at_us=(world.clock.now_us(),), unplugged_us=10**9)
        time.sleep(0.02)
        with pytest.raises(DeviceError, match="did not come back"):
            board.on(2)


def test_a_board_that_boots_slowly_is_waited_for(world: World, port: str) -> None:
    world.faults = Faults(reset_on_open=True, boot_us=700_000)
    with open_board(port) as board:
        board.on(2)
        assert board.status().lit == 2


def test_silence_is_a_timeout(world: World, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.leds.rig_board.BOOT_S", 0.3)
    world.faults = Faults(reset_on_open=True, boot_us=10**9)
    with pytest.raises(DeviceTimeout, match="speaks the LED protocol at 115200 baud"):
        open_board(port)


def test_reports_that_do_not_come_are_a_timeout(world: World, port: str) -> None:
    with open_board(port) as board:
        board.upload(STEPS)
        board.arm(camera_clocked=True)  # and no camera is there
        with pytest.raises(DeviceTimeout, match="no step report"):
            list(board.reports(0.1))
        assert board.status().lit == 0


def test_light_fades_as_the_board_warms_up(world: World, port: str) -> None:
    world.faults = Faults(power_loss_per_s=0.5)
    with open_board(port) as board:
        board.on(1)
        time.sleep(0.1)
        board.on(1)
    assert world.log()[1].level < world.log()[0].level < 1


def test_the_log_of_light_does_not_grow_for_ever() -> None:
    world = World(BenchScene(3))
    for k in range(LOG_LENGTH + 500):
        world.light(1 + k % 3, 1.0, 1000 * k)
        world.dark(None, 1000 * k + 400)
    last = 1000 * (LOG_LENGTH + 499)
    assert len(world.log()) == LOG_LENGTH
    assert world.log()[-1].on_us == last
    assert sum(world.lit(last - 2000, last + 1000).values()) == 3 * 400
