"""1,000 starts and stops and 200 openings and closings through harvesters.

Run: python benchmarks/producer_cycles.py

First with the producer as it is: does memory grow? The bounds are those of harvesters itself:
starting and stopping is flat, an opening costs it about 0.2 to 0.4 MB (docs/camera.md). The rig's
own process must not grow at all. Then the same cycles with a producer that gcc's thread sanitizer
has instrumented: its reports go to standard error, and must be none. `tests/gentl` runs them once
more with a consumer in C.

On two cores with Python 3.11, harvesters 1.4.3 and genicam 1.5.0: 0.00 kB a start here and in the
rig's process (flat over 6,000, after 2 MB within the first 1,000), 0.33 MB an opening here and
0.004 MB in the rig's process; no report of the sanitizer. A counter that two threads share without
a lock, put in for a trial, was reported.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "virtual_rigs"))

from rig_process import RigProcess, rig_process

from capture.camera import open_camera
from capture.camera.base import Camera, CameraSettings
from capture.gentl.build import build_producer

STARTS, OPENINGS = 1000, 200
WARM = 1000  # starts after which nothing is new to either process
SETTINGS = CameraSettings(pixel_format="Mono8", exposure_us=100.0, trigger="free")
PATIENCE_S = 10.0


def resident_mb(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def start_and_stop(camera: Camera, times: int) -> None:
    for _ in range(times):
        camera.arm()
        camera.next_frame(PATIENCE_S)
        camera.disarm()


def open_and_close(address: str, times: int) -> None:
    for _ in range(times):
        with open_camera(address) as camera:
            camera.configure(SETTINGS)
            camera.arm()
            camera.next_frame(PATIENCE_S)


def growth(process: RigProcess) -> bool:
    """Print how memory grows; whether it keeps to the bounds."""
    address = f"{process.cti}#VC0001"

    def measured() -> tuple[float, float]:
        return resident_mb(), resident_mb(process.process.pid)

    with open_camera(address) as camera:
        camera.configure(SETTINGS)
        start_and_stop(camera, WARM)
        before = measured()
        start_and_stop(camera, STARTS)
        here_mb, rig_mb = (b - a for a, b in zip(before, measured(), strict=True))
    print(
        f"{STARTS} starts and stops: {1000 * here_mb / STARTS:.2f} kB each here, "
        f"{1000 * rig_mb / STARTS:.2f} kB each in the rig's process"
    )
    flat = max(here_mb, rig_mb) < 0.5
    before = measured()
    open_and_close(address, OPENINGS)
    here_mb, rig_mb = ((b - a) / OPENINGS for a, b in zip(before, measured(), strict=True))
    print(f"{OPENINGS} openings: {here_mb:.3f} MB each here, {rig_mb:.3f} MB in the rig's process")
    return flat and here_mb < 0.4 and rig_mb < 0.01


def sanitized(process: RigProcess) -> bool:
    """The cycles in a process with the sanitizer; whether it has nothing to report."""
    build_producer(Path(process.cti).parent, "-g", "-O1", "-fsanitize=thread")
    compiler = os.environ.get("CC", "gcc")
    library = subprocess.run(
        [compiler, "-print-file-name=libtsan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    command = [sys.executable, __file__, f"{process.cti}#VC0001"]
    if shutil.which("setarch"):  # the sanitizer wants addresses that are not shuffled
        command = ["setarch", os.uname().machine, "-R", *command]
    done = subprocess.run(
        command, env={**os.environ, "LD_PRELOAD": library}, stderr=subprocess.PIPE, text=True
    )
    reports = done.stderr.count("WARNING: ThreadSanitizer")
    print(f"with the thread sanitizer: {reports} reports, exit code {done.returncode}")
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode == 0 and reports == 0


def cycles(address: str) -> None:
    """What the process with the sanitizer does."""
    with open_camera(address) as camera:
        camera.configure(SETTINGS)
        start_and_stop(camera, STARTS)
    open_and_close(address, OPENINGS)


def main() -> int:
    sound = []
    for part in (growth, sanitized):
        with (
            tempfile.TemporaryDirectory() as name,
            rig_process(Path(name), clock="wall") as process,
        ):
            sound.append(part(process))
    return int(not all(sound))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        cycles(sys.argv[1])
    else:
        sys.exit(main())
