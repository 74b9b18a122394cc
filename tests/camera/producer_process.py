"""A virtual rig for camera tests, in a process of its own: genicam holds the GIL while it asks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from capture.gentl import wire
from capture.gentl.build import PRODUCER, build_producer, c_compiler
from capture.gentl.server import wait_for

_built: list[Path] = []


def built_producer() -> Path:
    """The producer, compiled once a session; skips where there is no compiler."""
    if c_compiler() is None:
        pytest.skip("no C compiler")
    if not _built:
        _built.append(build_producer(Path(tempfile.mkdtemp(prefix="rig-producer-"))))
    return _built[0]


@dataclass
class Producer:
    """A copy of the producer that finds the world of this process."""

    cti: str
    socket: Path

    def tell(self, **order: Any) -> Any:
        """An order to the process, as `serve_grey` understands it."""
        answer = wire.ask(str(self.socket), wire.CONTROL, json.dumps(order).encode())
        return json.loads(answer)


@contextlib.contextmanager
def producer_process(folder: Path, *arguments: str) -> Iterator[Producer]:
    """A process with a grey world and cameras made as the arguments say."""
    cti = folder / PRODUCER
    cti.write_bytes(built_producer().read_bytes())
    with tempfile.TemporaryDirectory(prefix="rig-") as runtime:
        socket = Path(runtime) / "s"
        (folder / "rig-virtual.socket").write_text(str(socket))
        command = [sys.executable, __file__, str(socket), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            try:
                wait_for(socket, 30.0)
                yield Producer(str(cti), socket)
            finally:
                process.kill()


def serve_grey(socket: Path, texts: list[str]) -> None:
    """Serve until standard input ends; orders: light, faults (by name), advance, log."""
    import numpy as np

    from capture.fault_names import fault_named
    from capture.faults import NONE
    from capture.gentl.features import model_of
    from capture.gentl.server import VirtualRigServer
    from capture.pace import SteppedClock
    from capture.world import WallClock, World

    class Grey:
        shape = (48, 64)
        led_count = 8

        def irradiance(self, led: int) -> Any:
            image = np.ones(self.shape, np.float32)
            return image * np.float32(led)

        def ambient(self) -> Any:
            return np.full(self.shape, 0.1, np.float32)

    stepped = "stepped" in texts
    models = [model_of(text) for text in texts if text != "stepped"]
    world = World(Grey(), clock=SteppedClock() if stepped else WallClock(), seed=1)

    def control(order: dict[str, Any]) -> Any:
        if "light" in order:
            world.dark()
            if order["light"]:
                world.light(int(order["light"]), 1.0)
        if "faults" in order:
            world.faults = NONE
            device = server.cameras["VC0001"].device
            for name in order["faults"]:
                counts = {"exposure": device.exposures}
                world.faults = fault_named(name, counts, world.faults)
        if "edge" in order:
            for delay_us in order["edge"]:
                world.pulse_trigger(world.clock.now_us() + int(delay_us))
            server.moved()
        return {"now_us": world.clock.now_us()}

    with VirtualRigServer(world, models, socket, control) as server:
        sys.stdin.read()


if __name__ == "__main__":
    serve_grey(Path(sys.argv[1]), sys.argv[2:])
