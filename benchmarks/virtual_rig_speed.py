"""The virtual rig's own speed: board-clocked sequences through harvesters and pyserial.

Run: python benchmarks/virtual_rig_speed.py

Pictures are prepared in a first sequence; the second is timed, from the order to run to the last
frame. Processor time is that of the rig's process without the making of pictures, plus that of the
producer's thread in this process. Exit code 1 if a timed sequence takes longer than 1.05 × 96/fps,
loses a frame or takes more than a tenth of a core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LEDS = 96
CASES = (((480, 640), 60.0), ((2048, 2448), 20.0))
RATIO_AT_MOST, CORE_AT_MOST = 1.05, 0.1


class Stripes:
    """A picture for each LED that costs nothing to make but the noise."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.led_count = shape, LEDS
        self._ramp = np.linspace(0.1, 1.0, shape[1], dtype=np.float32)

    def irradiance(self, led: int) -> Any:
        row = np.roll(self._ramp, 7 * led)
        return np.broadcast_to(row, self.shape) * np.float32(0.5 + led / LEDS)

    def ambient(self) -> Any:
        return np.full(self.shape, 1e-4, np.float32)


def serve(folder: str, height: int, width: int) -> None:
    """The rig's process: until standard input ends."""
    from rig.virtual_rig import Options, serve

    room = (LEDS + 8) * (2 * height * width + 8192)
    options = Options(
        workspace=Path(folder),
        led_count=LEDS,
        shape=(height, width),
        scene=Stripes((height, width)),
        prepared_bytes=room,
    )
    with serve(options, lambda text: None):
        print("ready", flush=True)
        sys.stdin.read()


def producer_threads_s() -> float:
    """Processor time of the threads of this process that Python did not start."""
    import threading

    ours = {thread.native_id for thread in threading.enumerate()}
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) not in ours:
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def timed(workspace: Path, rate_hz: float) -> tuple[str, bool]:
    """How the second of two sequences ran, in words, and whether it keeps the bounds."""
    from capture.plan import Plan
    from capture.synchronise import BoardClocked
    from rig.config import for_virtual_rig, parse_config
    from rig.session import open_rig
    from rig.stagehand import Stagehand, socket_beside

    text = for_virtual_rig().replace("frame_rate_hz:", f"frame_rate_hz: {rate_hz:g} #", 1)
    config = parse_config(text).beside(workspace)
    hand = Stagehand(socket_beside(config.camera.producer))  # type: ignore[arg-type]
    plan = Plan(
        leds=tuple(range(1, LEDS + 1)),
        exposures_us=(4000.0,),
        dark_frames=False,
        repeat_first=False,
        settle_us=0,
    )
    with open_rig(config, timeout_s=10.0) as rig:
        assert isinstance(rig.sync, BoardClocked)
        rig.sync.expose(4000.0)
        for _ in ("prepared", "timed"):
            started: list[float] = []
            run = rig.board.run

            def marked(run: Any = run, started: list[float] = started) -> None:
                started.append(time.perf_counter())
                run()

            rig.board.run = marked  # type: ignore[method-assign]
            before = hand.ask({"do": "status"}), producer_threads_s()
            ids, end = [], 0.0
            for taken in rig.sync.take(plan.shots(), 1):
                ids.append(taken.frame.frame_id)
                end = time.perf_counter()
            after = hand.ask({"do": "status"}), producer_threads_s()
            rig.board.run = run  # type: ignore[method-assign]
    wall_s = end - started[0]
    spent = after[0]["processor_s"] - before[0]["processor_s"]
    spent -= after[0]["making_s"] - before[0]["making_s"]
    copied = after[1] - before[1]
    ratio = wall_s / (LEDS / rate_hz)
    lost = LEDS - len(set(ids))
    said = (
        f"{ratio:.3f} × 96/fps, {lost} lost, rig's process {100 * spent / wall_s:.1f} % and "
        f"producer's thread {100 * copied / wall_s:.1f} % of a core"
    )
    cheap = spent + copied <= CORE_AT_MOST * wall_s
    return said, ratio <= RATIO_AT_MOST and not lost and cheap


def main() -> int:
    sound = True
    for shape, rate_hz in CASES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, folder, *map(str, shape)]
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                try:
                    line, kept = timed(Path(folder), rate_hz)
                    print(f"{shape[1]}×{shape[0]} Mono12 at {rate_hz:g} fps: {line}", flush=True)
                    sound &= kept
                finally:
                    process.kill()
    return int(not sound)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
