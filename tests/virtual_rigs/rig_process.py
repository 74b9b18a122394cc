"""A whole small rig in a process of its own: board on a pty, GenTL camera, a bump under LEDs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from outcomes import Outcome, bump, left_by, references_to

from capture.errors import CaptureError
from capture.gentl import wire
from capture.gentl.build import PRODUCER, build_firmware, build_producer, c_compiler, cxx_compiler
from capture.gentl.server import wait_for
from capture.synchronise import DEFAULT_TIMEOUT_S
from rig.config import Config, parse_config
from rig.session import open_rig

EXPOSURE_MS = 1.0
UNDISTURBED_S = 10.0  # the drivers' time limit where nothing is lost
_built: dict[str, Path] = {}


def built(name: str) -> Path:
    """The producer or the firmware, compiled once a session; skips without a compiler."""
    if (c_compiler() if name == "producer" else cxx_compiler()) is None:
        pytest.skip("no compiler")
    if name not in _built:
        build = build_producer if name == "producer" else build_firmware
        _built[name] = build(Path(tempfile.mkdtemp(prefix="rig-built-")))
    return _built[name]


@dataclass
class RigProcess:
    """A rig to plug into: its port, its producer, and a hand on what goes wrong."""

    leds: int
    port: str
    cti: str
    socket: Path
    process: subprocess.Popen[bytes]

    def ask(self, **order: Any) -> Any:
        """An order to the process."""
        return json.loads(
            wire.ask(str(self.socket), wire.CONTROL, json.dumps(order).encode(), timeout_s=10)
        )

    def config(self, mode: str, retries: int = 2, rate_hz: float = 400.0) -> Config:
        """The rig.yaml of somebody who has this rig."""
        return parse_config(
            f"board: {{port: '{self.port}', leds: {self.leds}}}\n"
            f"camera: {{producer: '{self.cti}', serial: VC0001, trigger: {mode}, line: Line0, "
            f"strobe_line: Line1, frame_rate_hz: {rate_hz:g}, exposure_ms: {EXPOSURE_MS}}}\n"
            f"plan: {{settle_us: 0, retries: {retries}}}\n"
        )


def captured(
    process: RigProcess,
    folder: Path,
    mode: str,
    faults: Sequence[str] = (),
    reference: Path | None = None,
    retries: int = 2,
    rate_hz: float = 400.0,
    timeout_s: float | None = None,
) -> Outcome:
    """One capture of all LEDs through pyserial and harvesters, with faults from now on.

    `timeout_s` is the drivers' limit, and the drivers' time is the computer's. Where nothing is
    lost nobody waits for it, so that a starved computer is given more.
    """
    if timeout_s is None:
        timeout_s = DEFAULT_TIMEOUT_S if faults else UNDISTURBED_S
    process.ask(faults=[])
    config, scene = process.config(mode, retries, rate_hz), bump(process.leds)
    try:
        with open_rig(config, timeout_s=timeout_s) as rig:
            process.ask(faults=list(faults))
            summary = rig.capture(
                folder, config.default_plan(), references=references_to(reference)
            )
        return Outcome(summary, None, summary.folder, scene)
    except CaptureError as error:
        return Outcome(None, error, left_by(folder), scene)
    finally:
        process.ask(faults=[])


@contextlib.contextmanager
def rig_process(
    folder: Path,
    leds: int = 8,
    camera: str = "readout_us=200",
    clock: str = "stepped",
    answers_late_s: float = 0.0,
) -> Iterator[RigProcess]:
    """Run a rig with a camera of this make while the context is open.

    `answers_late_s`: how long its answers to writes of registers lie, as on a starved computer.
    """
    cti = folder / PRODUCER
    cti.write_bytes(built("producer").read_bytes())
    firmware = str(built("firmware")) if clock == "wall" else ""
    with tempfile.TemporaryDirectory(prefix="rig-") as runtime:
        socket = Path(runtime) / "s"
        (folder / "rig-virtual.socket").write_text(str(socket))
        arguments = [str(socket), str(leds), camera, clock, firmware, str(answers_late_s)]
        command = [sys.executable, __file__, *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                port = process.stdout.readline().decode().strip()
                wait_for(socket, 30.0)
                yield RigProcess(leds, port, str(cti), socket, process)
            finally:
                process.kill()


def serve(
    socket: Path, leds: int, camera: str, clock: str, firmware: str, answers_late_s: str
) -> None:
    """Serve until standard input ends."""
    import time
    from dataclasses import replace

    from capture.fault_names import fault_named
    from capture.faults import NONE
    from capture.gentl.features import model_of
    from capture.gentl.server import VirtualRigServer
    from capture.leds.firmware import BoardModel
    from capture.leds.native import NativeFirmware, load
    from capture.leds.pty_port import PtyPort
    from capture.leds.virtual import VirtualBoard
    from capture.pace import SteppedClock
    from capture.world import WallClock, World

    class LateServer(VirtualRigServer):
        def _answer(self, connection: Any, camera: Any, question: int, *rest: Any) -> bytes:
            answer = super()._answer(connection, camera, question, *rest)
            if question == wire.WRITE:
                time.sleep(float(answers_late_s))
            return answer

    world = World(bump(leds), clock=SteppedClock() if clock == "stepped" else WallClock(), seed=1)
    model = BoardModel(led_count=leds)
    if clock == "stepped":
        board = VirtualBoard(world, replace(model, watchdog_us=2**50, max_on_ms=3_600_000))
    elif firmware:
        library = load(Path(firmware))
        board = VirtualBoard(world, model, lambda m, p, now: NativeFirmware(library, m, p, now))
    else:
        board = VirtualBoard(world, model)

    def control(order: dict[str, Any]) -> Any:
        device = server.cameras["VC0001"].device
        if "faults" in order:
            world.faults = replace(NONE, unplugged_us=20_000)
            counts = {**board.counts, "exposure": device.exposures}
            for name in order["faults"]:
                world.faults = fault_named(name, counts, world.faults)
        if "part" in order:
            world.scene = bump(leds, order["part"])
        log = world.log()
        return {
            "lit": [lit.led for lit in log if lit.off_us is None],
            "now_us": world.clock.now_us(),
            "last_off_us": max((lit.off_us or 0 for lit in log), default=0),
            "exposures": device.exposures,
        }

    models = [model_of(text) for text in camera.split(";")]
    with (
        LateServer(world, models, socket, control) as server,
        PtyPort(board, server.moved) as port,
    ):
        print(port.name, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:7])
