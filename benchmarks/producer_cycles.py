"""1,000 starts and stops and 200 openings and closings through harvesters: does memory grow?

Run: python benchmarks/producer_cycles.py

The bounds are those of harvesters itself: starting and stopping is flat, an opening costs it about
0.2 to 0.4 MB (docs/camera.md). The rig's own process must not grow at all.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "virtual_rigs"))

from rig_process import rig_process

from capture.camera import open_camera
from capture.camera.base import CameraSettings

STARTS, OPENINGS = 1000, 200


def resident_mb(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> int:
    settings = CameraSettings(pixel_format="Mono8", exposure_us=100.0, trigger="free")
    with tempfile.TemporaryDirectory() as name, rig_process(Path(name), clock="wall") as process:
        address = f"{process.cti}#VC0001"
        with open_camera(address) as camera:
            camera.configure(settings)
            for number in range(STARTS + 50):
                if number == 50:  # warm by now
                    before = resident_mb(), resident_mb(process.process.pid)
                camera.arm()
                camera.next_frame(2.0)
                camera.disarm()
        after = resident_mb(), resident_mb(process.process.pid)
        print(
            f"{STARTS} starts and stops: {1000 * (after[0] - before[0]) / STARTS:.2f} kB each "
            f"here, {1000 * (after[1] - before[1]) / STARTS:.2f} kB each in the rig's process"
        )
        before = resident_mb(), resident_mb(process.process.pid)
        for _ in range(OPENINGS):
            with open_camera(address) as camera:
                camera.configure(settings)
                camera.arm()
                camera.next_frame(2.0)
        after = resident_mb(), resident_mb(process.process.pid)
        each_mb = (after[0] - before[0]) / OPENINGS
        rig_mb = (after[1] - before[1]) / OPENINGS
        print(f"{OPENINGS} openings: {each_mb:.3f} MB each here, {rig_mb:.3f} MB in the rig")
    return int(each_mb > 0.4 or rig_mb > 0.01)


if __name__ == "__main__":
    sys.exit(main())
