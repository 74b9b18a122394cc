"""A virtual board's port as other programs see it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import serial

from capture.errors import DeviceError
from capture.faults import Faults
from capture.leds.bench import BenchScene
from capture.leds.board import open_board
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import VirtualBoard
from capture.world import World


def test_an_open_port_dies_with_the_cable_and_its_name_comes_back() -> None:
    """Even where the cable was out for a moment only, as a board on USB does it."""
    world = World(BenchScene(8))
    with PtyPort(VirtualBoard(world)) as port:
        with serial.Serial(port.name, timeout=10) as opened:
            opened.write(b"ON 3\n")
            assert opened.read_until(b"ON 3 1000\n").endswith(b"ON 3 1000\n")
            world.faults = Faults(unplug_at_us=(world.clock.now_us(),), unplugged_us=1)
            with pytest.raises(serial.SerialException):
                opened.read(1)
        while not Path(port.name).exists():  # a new terminal takes its name
            time.sleep(0.01)
        with open_board(port.name) as board:
            assert board.status().lit == 0
    assert not Path(port.name).is_symlink()


def test_a_name_that_something_else_has(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("notes")
    board = VirtualBoard(World(BenchScene(8)))
    with pytest.raises(DeviceError, match="exists and is no link to a port"):
        PtyPort(board, link=tmp_path / "board").__enter__()
    assert (tmp_path / "board").read_text() == "notes"
