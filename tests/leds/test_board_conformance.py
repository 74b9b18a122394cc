"""What every board that speaks our protocol does; docs/led-protocol.md in the form of tests."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from led_terminal import MAX_ON_MS, Bench, Terminal

from capture.leds import framing
from capture.leds import messages as msg
from capture.leds.base import Step
from capture.leds.rig_board import RigBoard


def test_says_who_it_is(terminal: Terminal) -> None:
    identity = msg.parse_reply(terminal.ask("ID"))
    assert isinstance(identity, msg.Identity)
    assert identity.leds == 96
    assert identity.max_on_ms == MAX_ON_MS
    assert identity.steps >= 100
    assert {"crc", "sequence", "camera-clocked"} <= set(identity.caps)


def test_echoes_the_led_it_lit(terminal: Terminal) -> None:
    assert terminal.ask("ON 3 500") == "ON 3 500"
    assert terminal.status().lit == 3
    assert terminal.status().state == "lit"


def test_lights_one_led_alone(terminal: Terminal) -> None:
    terminal.ask("ON 3")
    assert terminal.ask("ON 4") == "ON 4 1000"
    assert terminal.status().lit == 4


def test_goes_dark(terminal: Terminal) -> None:
    terminal.ask("ON 96")
    assert terminal.ask("OFF") == "OFF"
    assert terminal.status().lit == 0


@pytest.mark.parametrize("typed", [b"on 7\r", b"On 7\r\n", b"  ON   007  \n", b"\n\r\nON 7 1000\n"])
def test_takes_what_a_person_types(terminal: Terminal, typed: bytes) -> None:
    terminal.type(typed)
    assert terminal.line() == "ON 7 1000"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("HELLO", framing.UNKNOWN),
        ("ON", framing.SYNTAX),
        ("ON x", framing.SYNTAX),
        ("ON -1", framing.SYNTAX),
        ("ON 1 2 3", framing.SYNTAX),
        ("ON 0", framing.RANGE),
        ("ON 97", framing.RANGE),
        ("ON 4294967297", framing.RANGE),
        ("ON 1 1001", framing.RANGE),
        ("OFF 3", framing.SYNTAX),
        ("CRC MAYBE", framing.SYNTAX),
        ("PING 1 2", framing.SYNTAX),
        ("SEQ 0", framing.RANGE),
        ("SEQ 99999", framing.RANGE),
        ("STEP 0 1 1000 100", framing.SYNTAX),
        ("STEP 0 1 1000 100 100", framing.STATE),
        ("ARM", framing.SYNTAX),
        ("ARM BOARD", framing.STATE),
        ("RUN", framing.STATE),
        ("ON 3*0000", framing.CRC),
        ("ON 3*12", framing.CRC),
        ("X" * 300, framing.TOO_LONG),
    ],
)
def test_refuses(terminal: Terminal, line: str, code: int) -> None:
    terminal.ask("ON 5")
    assert terminal.error(line) == code


def test_goes_dark_on_an_error_and_says_so(terminal: Terminal) -> None:
    terminal.ask("ON 5")
    assert terminal.ask("HELLO") == "!STOP error"
    assert terminal.line().startswith("ERR 1 ")
    assert terminal.status().lit == 0


def test_answers_with_a_crc_when_asked_with_one(terminal: Terminal) -> None:
    terminal.say("ON 3 500", crc=True)
    assert terminal.raw() == framing.wrap("ON 3 500", crc=True)
    terminal.say("ON 3 500")
    assert terminal.raw() == b"ON 3 500\n"


def test_insists_on_the_crc_once_it_is_on(terminal: Terminal) -> None:
    assert terminal.ask("CRC ON") == "CRC ON"
    assert terminal.error("ON 3") == framing.CRC
    assert terminal.ask("ON 3", crc=True) == "ON 3 1000"
    terminal.type(framing.wrap("PING 1", crc=True).replace(b"\n", b"\r"))
    assert terminal.line() == "!STOP error"
    assert terminal.line().startswith("ERR 3 ")
    assert terminal.ask("CRC OFF") == "CRC OFF"  # the way out needs none
    assert terminal.ask("ON 3") == "ON 3 1000"


def test_watchdog_darkens_after_half_a_second_of_silence(terminal: Terminal) -> None:
    trips = terminal.status().watchdog
    terminal.ask("ON 3")
    assert terminal.line() == "!STOP watchdog"
    status = terminal.status()
    assert (status.lit, status.watchdog) == (0, trips + 1)


def test_garbage_does_not_keep_the_light_on(terminal: Terminal) -> None:
    terminal.ask("ON 3")
    for _ in range(8):
        time.sleep(0.1)
        terminal.type(b"\x55")
    assert terminal.line() == "!STOP watchdog"


def test_pings_keep_the_light_on_up_to_the_hard_limit(terminal: Terminal) -> None:
    terminal.ask("ON 3")
    start = time.monotonic()
    for token in range(1, 100):
        time.sleep(0.05)
        reply = terminal.ask(f"PING {token}")
        if reply == "!STOP on-time":
            break
        assert reply.startswith(f"PONG {token} ")
    assert 0.6 < time.monotonic() - start < 5
    terminal.line()  # the answer to the ping that crossed it
    assert terminal.status().faults == ("on-time",)
    assert terminal.error("ON 3") == framing.FAULT
    assert terminal.ask("OFF") == "OFF"
    assert terminal.ask("ON 3") == "ON 3 1000"


def test_relighting_does_not_stretch_the_hard_limit(terminal: Terminal) -> None:
    replies = []
    for _ in range(30):
        replies.append(terminal.ask("ON 3"))
        if replies[-1] == "!STOP on-time":
            return
        time.sleep(0.05)
    pytest.fail(f"still lit: {replies}")


def upload(
    terminal: Terminal, leds: list[int], settle_us: int = 100, exposure_us: int = 4000
) -> None:
    terminal.ask(f"SEQ {len(leds)}")
    for index, led in enumerate(leds):
        step = f"STEP {index} {led} 1000 {settle_us} {exposure_us}"
        assert terminal.ask(step) == step


def reports(terminal: Terminal, count: int) -> list[msg.Report]:
    found = []
    for _ in range(count):
        report = msg.parse_reply(terminal.line())
        assert isinstance(report, msg.Report), report
        found.append(report)
    return found


def test_runs_a_sequence_by_its_own_clock(terminal: Terminal) -> None:
    upload(terminal, [5, 0, 96])
    assert terminal.ask("ARM BOARD 10000") == "ARM BOARD 10000"
    assert terminal.status().state == "armed"
    assert terminal.ask("RUN") == "RUN"
    found = reports(terminal, 3)
    assert terminal.line() == "!DONE 3"
    assert [(r.index, r.led) for r in found] == [(0, 5), (1, 0), (2, 96)]
    for report in found:
        assert report.off_us - report.on_us >= 4100
    for one, next_one in itertools.pairwise(found):
        assert next_one.on_us - one.on_us >= 10000
    assert terminal.status().state == "idle"


def test_every_report_carries_a_crc(terminal: Terminal) -> None:
    upload(terminal, [5])
    terminal.ask("ARM BOARD")
    terminal.say("RUN")
    assert terminal.raw() == b"RUN\n"
    assert framing.unwrap(terminal.raw(), crc_required=True).checked
    assert terminal.raw() == framing.wrap("!DONE 1", crc=True)


def test_answers_while_it_runs_and_stops_when_told(terminal: Terminal) -> None:
    upload(terminal, [1, 2], exposure_us=300_000)
    terminal.ask("ARM BOARD")
    terminal.ask("RUN")
    assert terminal.status().state == "running"
    assert terminal.ask("PING 9").startswith("PONG 9 ")
    assert terminal.ask("ABORT") == "ABORT"
    assert terminal.status() == msg.Status(
        "idle", 0, (), terminal.status().temp, terminal.status().watchdog
    )
    assert terminal.error("RUN") == framing.STATE


def test_a_command_that_disturbs_a_running_sequence_ends_it(terminal: Terminal) -> None:
    upload(terminal, [1, 2], exposure_us=300_000)
    terminal.ask("ARM BOARD")
    terminal.ask("RUN")
    assert terminal.ask("ON 3") == "!STOP error"
    assert terminal.line().startswith(f"ERR {framing.STATE} ")
    assert terminal.status().lit == 0


def test_a_step_may_be_sent_again_but_none_skipped(terminal: Terminal) -> None:
    upload(terminal, [1, 2])
    assert terminal.ask("STEP 0 9 1000 1 1000") == "STEP 0 9 1000 1 1000"
    terminal.ask("ARM BOARD")
    terminal.ask("RUN")
    assert [r.led for r in reports(terminal, 2)] == [9, 2]
    terminal.line()
    terminal.ask("SEQ 3")
    terminal.ask("STEP 0 1 1000 1 1000")
    assert terminal.error("STEP 2 1 1000 1 1000") == framing.STATE
    assert terminal.error("ARM BOARD") == framing.STATE


def test_refuses_a_step_above_the_hard_limit(terminal: Terminal) -> None:
    terminal.ask("SEQ 1")
    assert terminal.error(f"STEP 0 1 1000 1 {MAX_ON_MS * 1000}") == framing.RANGE


def test_armed_but_silent_is_disarmed(terminal: Terminal) -> None:
    upload(terminal, [1])
    terminal.ask("ARM BOARD")
    assert terminal.line() == "!STOP watchdog"
    assert terminal.error("RUN") == framing.STATE


def test_the_camera_steps_it(terminal: Terminal, bench: Bench) -> None:
    upload(terminal, [4, 0, 8], settle_us=0, exposure_us=20_000)
    assert terminal.ask("ARM CAMERA") == "ARM CAMERA"
    assert terminal.status().lit == 0
    for index, led in enumerate((4, 0, 8)):
        bench.edge()
        (report,) = reports(terminal, 1)
        assert (report.index, report.led) == (index, led)
        assert report.off_us - report.on_us >= 19_000
    assert terminal.line() == "!DONE 3"
    bench.edge()  # nothing is armed any more
    assert terminal.status().lit == 0


def test_an_edge_cuts_the_step_before_short(terminal: Terminal, bench: Bench) -> None:
    upload(terminal, [4, 8], settle_us=0, exposure_us=400_000)
    terminal.ask("ARM CAMERA")
    bench.edge()
    time.sleep(0.05)
    bench.edge()
    (report,) = reports(terminal, 1)
    assert report.led == 4
    assert report.off_us - report.on_us < 400_000
    assert terminal.status().lit == 8


def test_closing_the_port_darkens(bench: Bench) -> None:
    terminal = Terminal(bench.port)
    terminal.ask("ON 3")
    terminal.ask("CRC ON")
    terminal.close()
    time.sleep(0.1)
    terminal = Terminal(bench.port)  # understands lines without CRC again
    try:
        assert terminal.status().lit == 0
    finally:
        terminal.close()


def test_the_driver_drives_it(bench: Bench) -> None:
    with RigBoard(bench.port) as board:
        board.on(12, 0.25)
        assert board.status().lit == 12
        time.sleep(0.7)  # the driver keeps the watchdog quiet
        assert board.status().lit == 12
        board.off()
        board.upload([Step(led, 1.0, 100, 2000) for led in range(1, 21)])
        board.arm(period_us=4000)
        board.run()
        assert [r.led for r in board.reports(2.0)] == list(range(1, 21))
        board.arm(camera_clocked=True)
        leds = []
        bench.edge()
        for report in board.reports(2.0):
            leds.append(report.led)
            if report.index < 19:
                bench.edge()
        assert leds == list(range(1, 21))
        assert board.status().watchdog_trips == 0


def test_waiting_for_a_slow_camera_keeps_the_watchdog_quiet(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy computer the thread that keeps the light on may never get its turn."""
    monkeypatch.setattr(RigBoard, "_keep_alive", lambda board: None)
    with RigBoard(bench.port) as board:
        board.upload([Step(led, 1.0, 100, 2000) for led in (1, 2)])
        board.arm(camera_clocked=True)
        camera = threading.Timer(0.7, bench.edge)
        camera.start()
        for report in board.reports(2.0):
            if report.index == 0:
                bench.edge()
        camera.join()
        assert board.status().watchdog_trips == 0


@pytest.mark.skipif(shutil.which("avr-g++") is None, reason="no compiler for AVR")
def test_the_core_of_the_firmware_compiles_for_an_arduino_mega(tmp_path: Path) -> None:
    firmware = Path(__file__).resolve().parents[2] / "examples" / "firmware"
    core = firmware / "rig_led_board" / "led_protocol.cpp"
    options = ["-std=c++11", "-Os", "-Wall", "-Wextra", "-Werror", "-mmcu=atmega2560"]
    subprocess.run(["avr-g++", *options, "-c", core, "-o", tmp_path / "core.o"], check=True)
