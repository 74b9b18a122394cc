"""Measure part after part with one `rig run --watch`; print time, memory and open files of each.

Run: ``python benchmarks/watch_parts.py [FOLDER] [--parts 20] [--method refine]`` (Linux: it looks
into /proc). The virtual rig has 96 LEDs and a board-clocked camera of 512×512 px at 60 frames/s.
Parts are told one at a time, the next when the verdict on the last has come, as a PLC would.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from calib.light_files import write_lights
from rig.config import TEMPLATE
from rig.simulate import virtual_rig

LEDS, RATE_HZ = 96, 60
WARM_UP = 3  # parts until caches are full and inner loops compiled


def calibrated(folder: Path) -> None:
    """A workspace of the virtual rig, with its true calibration."""
    text = TEMPLATE
    for wrong, right in (
        ("  line:    ", "  line: Line0"),
        ("  frame_rate_hz:  ", f"  frame_rate_hz: {RATE_HZ}"),
    ):
        assert wrong in text
        text = text.replace(wrong, right, 1)
    (folder / "rig.yaml").write_text(text, encoding="utf-8")
    (folder / "calibration").mkdir()
    rig = virtual_rig(LEDS)
    rig.camera.write(folder / "calibration" / "camera.json")
    write_lights(rig.lights, folder / "calibration" / "lights.json", rig.camera)


def memory_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def main(folder: Path, parts: int, method: str) -> dict[str, float]:
    calibrated(folder)
    command = [
        sys.executable, "-m", "rig", "run", "--watch", "--json", "--simulate",
        "--method", method, "--workspace", str(folder),
    ]  # fmt: skip
    seen: list[tuple[float, int, float, float]] = []
    print("part  capture s  × 96/60  total s  memory MB  open files")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(parts):
            child.stdin.write(f"field-{number % 4}\n")
            child.stdin.flush()
            verdict = json.loads(child.stdout.readline())
            assert verdict["exit_code"] == 0, verdict
            capture, total = verdict["seconds"]["capture"], verdict["seconds"]["total"]
            seen.append((memory_mb(child.pid), open_files(child.pid), capture, total))
            print(
                f"{number + 1:4d} {capture:10.2f} {capture / (LEDS / RATE_HZ):8.2f} "
                f"{total:8.2f} {seen[-1][0]:10.0f} {seen[-1][1]:11d}",
                flush=True,
            )
        child.stdin.close()
        assert child.wait() == 0
    memory, files, captures, totals = np.array(seen[WARM_UP:]).T
    return {
        "memory_growth_mb_per_part": round(float(np.polyfit(range(len(memory)), memory, 1)[0]), 3),
        "open_files_growth": float(files.max() - files[0]),
        "capture_s": round(float(np.median(captures)), 3),
        "capture_over_96_by_60": round(float(np.median(captures)) / (LEDS / RATE_HZ), 3),
        "total_s": round(float(np.median(totals)), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--parts", type=int, default=20)
    parser.add_argument("--method", default="refine")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        print(json.dumps(main(Path(name), asked.parts, asked.method)))
