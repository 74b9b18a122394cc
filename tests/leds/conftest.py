"""Boards to talk to: the virtual one behind sim:// and a pty, and the compiled firmware."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from led_terminal import MAX_ON_MS, Bench, Terminal

from capture import world as worlds
from capture.gentl.build import build_firmware, cxx_compiler
from capture.leds import native
from capture.leds.bench import BenchScene
from capture.leds.firmware import BoardModel
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import VirtualBoard

FIRMWARE = Path(__file__).resolve().parents[2] / "examples" / "firmware"
_names = itertools.count()


_CORE = FIRMWARE / "rig_led_board"
_RP2040 = FIRMWARE / "rp2040"


def _compiled(folder: Path, *arguments: str | Path) -> Path:
    """A board as a program of this machine; skips where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = folder / "board"
    options = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread"]
    core = _CORE / "led_protocol.cpp"
    subprocess.run([compiler, *options, "-o", program, core, *arguments], check=True)
    return program


@pytest.fixture(scope="session")
def firmware_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _compiled(tmp_path_factory.mktemp("firmware"), FIRMWARE / "pc" / "main.cpp")


@pytest.fixture(scope="session")
def rp2040_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The RP2040's firmware over a small fake of its SDK."""
    return _compiled(
        tmp_path_factory.mktemp("rp2040"),
        f"-DRIG_MAX_ON_MS={MAX_ON_MS}",
        f"-I{_CORE}",
        f"-I{_RP2040 / 'fake'}",
        _RP2040 / "rig_rp2040.cpp",
        _RP2040 / "fake" / "sdk.cpp",
    )


@pytest.fixture(scope="session")
def native_library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reference firmware as the virtual rig loads it."""
    if cxx_compiler() is None:
        pytest.skip("no C++ compiler")
    return native.load(build_firmware(tmp_path_factory.mktemp("native")))


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


@pytest.fixture(params=["sim", "pty", "native", "firmware", "rp2040"])
def bench(request: pytest.FixtureRequest, world: worlds.World, port: str) -> Iterator[Bench]:
    def pulse() -> None:
        world.pulse_exposure_active(world.clock.now_us())

    if request.param in ("firmware", "rp2040"):
        program = request.getfixturevalue(f"{request.param}_program")
        with subprocess.Popen([program, str(MAX_ON_MS)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                name = process.stdout.readline().decode().strip()
                yield Bench(name, lambda: os.kill(process.pid, signal.SIGUSR1))
            finally:
                process.kill()
        return
    model = BoardModel(max_on_ms=MAX_ON_MS)
    if request.param == "native":
        library = request.getfixturevalue("native_library")
        board = VirtualBoard(
            world, model, lambda m, pins, now: native.NativeFirmware(library, m, pins, now)
        )
    else:
        board = VirtualBoard(world, model)
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
