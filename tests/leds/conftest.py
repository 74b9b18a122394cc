"""Boards to talk to: the virtual one behind sim:// and a pty, and the compiled firmware."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from led_terminal import MAX_ON_MS, Bench, Terminal

from capture import world as worlds
from capture.leds.bench import BenchScene
from capture.leds.firmware import BoardModel
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import VirtualBoard

FIRMWARE = Path(__file__).resolve().parents[2] / "examples" / "firmware"
_names = itertools.count()


@pytest.fixture(scope="session")
def firmware_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = tmp_path_factory.mktemp("firmware") / "board"
    sources = [FIRMWARE / "pc" / "main.cpp", FIRMWARE / "rig_led_board" / "led_protocol.cpp"]
    options = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-O1"]
    subprocess.run([compiler, *options, "-o", program, *sources], check=True)
    return program


@pytest.fixture
def world() -> Iterator[worlds.World]:
    """A published world; its name is in `port`."""
    name = f"leds{next(_names)}"
    world = worlds.World(BenchScene(96), clock=worlds.WallClock())
    worlds.publish(name, world)
    world.name = name  # type: ignore[attr-defined]
    yield world
    worlds.withdraw(name)


@pytest.fixture
def port(world: worlds.World) -> str:
    return f"sim://{world.name}"  # type: ignore[attr-defined]


@pytest.fixture(params=["sim", "pty", "firmware"])
def bench(request: pytest.FixtureRequest, world: worlds.World, port: str) -> Iterator[Bench]:
    def pulse() -> None:
        world.pulse_exposure_active(world.clock.now_us())

    if request.param == "firmware":
        program = request.getfixturevalue("firmware_program")
        with subprocess.Popen([program, str(MAX_ON_MS)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                name = process.stdout.readline().decode().strip()
                yield Bench(name, lambda: os.kill(process.pid, signal.SIGUSR1))
            finally:
                process.kill()
        return
    board = VirtualBoard(world, BoardModel(max_on_ms=MAX_ON_MS))
    world.board = board
    if request.param == "sim":
        yield Bench(port, pulse)
    else:
        with PtyPort(board) as pty:
            yield Bench(pty.name, pulse)


@pytest.fixture
def terminal(bench: Bench) -> Iterator[Terminal]:
    terminal = Terminal(bench.port)
    yield terminal
    terminal.close()
