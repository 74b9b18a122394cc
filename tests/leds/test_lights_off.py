"""However a program ends, its LEDs end dark; and a board is found again by what it is."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from dialect_peer import MODE_STEP, Peer

from capture.errors import DeviceError
from capture.leds import link
from capture.leds.bench import BenchScene
from capture.leds.board import exit_on_signals, open_board
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import VirtualBoard
from capture.world import World

PROGRAM = """
import sys, time
from capture.leds.board import exit_on_sigterm, open_board
with exit_on_sigterm(), open_board(sys.argv[1]) as board:
    board.on(7)
    print("lit", flush=True)
    time.sleep(30)
"""
CARELESS = """
import sys
from capture.leds.board import open_board
board = open_board(sys.argv[1])
board.on(7)
print("lit", flush=True)
"""


@contextlib.contextmanager
def on_a_pty() -> Iterator[tuple[World, str]]:
    world = World(BenchScene(96))
    with PtyPort(VirtualBoard(world)) as port:
        yield world, port.name


def dark_within(world: World, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while any(lit.off_us is None for lit in world.log()):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return bool(world.log())


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGINT, -signal.SIGINT),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_dark_after_a_signal(number: signal.Signals, status: int) -> None:
    with on_a_pty() as (world, port):
        command = [sys.executable, "-c", PROGRAM, port]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"lit\n"
            assert not dark_within(world, 0)
            process.send_signal(number)
            assert process.wait(10) == status
        assert dark_within(world, 2.0)


# boards of a dialect, without a watchdog ---------------------------------------------------------
# A shell that runs the tests in the background has them ignore SIGQUIT, nohup SIGHUP. A signal in
# the instant before a sleep does not wake it: Python looks for it after the sleep.
DIALECT = """
import signal, sys, time
from capture.leds.board import exit_on_signals, open_board
for one in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(one, signal.SIG_DFL)
with exit_on_signals(), open_board(sys.argv[1], dialect="mode-step", led_count=96) as board:
    board.on(7)
    print("lit", flush=True)
    for _ in range(300):
        time.sleep(0.1)
"""
CATCHABLE = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM]


@pytest.mark.parametrize("number", [*CATCHABLE, signal.SIGUSR1, signal.SIGRTMIN, signal.SIGKILL])
def test_a_board_without_a_watchdog_is_dark_after_a_signal(number: int) -> None:
    peer = Peer(MODE_STEP, banner="READY\r\n", greets=True)
    with peer.plugged_in() as port:
        command = [sys.executable, "-c", DIALECT, port]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"lit\n"
            heard = len(peer.heard)
            process.send_signal(number)
            status = process.wait(20)
        end = time.monotonic() + 20
        while "OFF\n" not in peer.heard[heard:] and time.monotonic() < end:
            time.sleep(0.01)
        assert "OFF\n" in peer.heard[heard:]
    expected = -number if number in (signal.SIGKILL, signal.SIGINT) else 128 + number
    assert status == expected


def test_nobody_watches_a_board_that_was_closed() -> None:
    peer = Peer(MODE_STEP, banner="READY\r\n")
    with peer.plugged_in() as port:
        with open_board(port, dialect="mode-step", led_count=96) as board:
            process = board._supervisor._process  # type: ignore[attr-defined]
            assert process.poll() is None
        assert process.poll() == 0
        assert peer.heard == "OFF\nOFF\n"


def test_a_second_signal_does_not_keep_the_lights_on(world: World, port: str) -> None:
    """It comes while the first one's is being answered: it waits until the board is dark."""
    board = open_board(port)
    board.on(7)
    exchange = board._exchange  # type: ignore[attr-defined]

    def struck(*arguments: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return exchange(*arguments)

    board._exchange = struck  # type: ignore[attr-defined]
    with exit_on_signals(), pytest.raises(SystemExit):
        board.close()
    assert dark_within(world, 0)


# A compiler asks Python back from C, which prints what Python raises there and goes on.
SWALLOWED = """
import ctypes, os, signal, sys, threading
from capture.leds.lights_off import exit_on_signals

@ctypes.CFUNCTYPE(None)
def asked():
    os.kill(os.getpid(), int(sys.argv[1]))
    for _ in range(1000):
        pass

with exit_on_signals():
    asked()
    threading.Event().wait(60)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_within_a_callback_from_c_still_ends_the_program(number: int, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED, str(int(number))], capture_output=True, text=True,
        timeout=30,
    )  # fmt: skip
    assert "ignored" not in done.stderr
    assert done.returncode in (status, -number)
    assert ("KeyboardInterrupt" in done.stderr) == (number == signal.SIGINT)


def test_dark_after_a_careless_program() -> None:
    with on_a_pty() as (world, port):
        subprocess.run([sys.executable, "-c", CARELESS, port], check=True, capture_output=True)
        assert dark_within(world, 2.0)


def test_dark_when_the_host_hangs(world: World, port: str) -> None:
    board = open_board(port)
    board.on(7)
    board._stop.set()  # type: ignore[attr-defined]  # as if its process were stopped
    assert dark_within(world, 5.0)
    with pytest.raises(DeviceError, match=r"did not stay lit.*watchdog"):
        board.on(8)
    board.close()


# ports ---------------------------------------------------------------------------------------
def usb(device: str, serial: str = "A1") -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=0x2341, pid=0x0043, serial_number=serial)


def plug(monkeypatch: pytest.MonkeyPatch, *ports: SimpleNamespace) -> None:
    monkeypatch.setattr(link.list_ports, "comports", lambda: list(ports))


def test_a_port_is_found_by_usb_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    with on_a_pty() as (_, port):
        plug(monkeypatch, usb("/dev/other", "B2"), usb(port))
        with open_board("2341:0043:A1") as board:
            board.on(3)
        with pytest.raises(DeviceError, match="fits several ports"):
            open_board("2341:0043")
        with pytest.raises(DeviceError, match="2341:0043:C3 is plugged in"):
            open_board("2341:0043:C3")


@pytest.mark.parametrize("by_identity", [True, False])
def test_a_replugged_board_is_found_under_its_new_name(
    monkeypatch: pytest.MonkeyPatch, by_identity: bool
) -> None:
    world = World(BenchScene(96))
    with contextlib.ExitStack() as first, on_a_pty() as (new_world, new_port):
        port = first.enter_context(PtyPort(VirtualBoard(world))).name
        plug(monkeypatch, usb(port))
        with open_board("2341:0043:A1" if by_identity else port) as board:
            board.on(3)
            board.off()
            first.close()
            plug(monkeypatch, usb(new_port))
            board.on(4)
            assert [lit.led for lit in new_world.log()] == [4]


def test_another_board_on_the_port_is_not_taken_for_ours(world: World, port: str) -> None:
    from capture.faults import Faults
    from capture.leds.firmware import BoardModel

    with open_board(port) as board:
        board.on(3)
        board.off()
        world.board._model = BoardModel(serial="V0002")  # type: ignore[attr-defined]
        world.faults = Faults(unplug_at_us=(world.clock.now_us(),), unplugged_us=1000)
        time.sleep(0.02)
        with pytest.raises(DeviceError, match=r"another board answers.*V0002.*V0001"):
            board.on(4)


def test_the_command_serves_a_board_until_it_is_told_to_stop(tmp_path: Path) -> None:
    link = tmp_path / "virtual" / "board"
    link.parent.mkdir()
    link.symlink_to("/dev/pts/left-by-a-crash")
    command = [sys.executable, "-m", "rig", "virtual-board", "--leds", "12"]
    command += ["--link", str(link)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().decode().strip() == str(link)
        with open_board(str(link)) as board:
            assert board.identity.led_count == 12
            board.on(12)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert not link.is_symlink()
