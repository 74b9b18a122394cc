"""Capture a step gauge, reconstruct it and read one of its steps along a line.

    python examples/measure_a_step_height.py demo-workspace

The workspace is one that is calibrated; ``rig demo --workspace demo-workspace`` makes one. The
virtual gauge has plateaus of 0, 1, 2, 4, 2.5 and 0.5 mm side by side along x, each 18.3 mm wide.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

STEP_MM = 1.0  # the truth: from the plateau of 1 mm to that of 2 mm, at x = -18.3 mm
LINE = "-33,0,-4,0"  # across that step, x0,y0,x1,y1 in mm


def rig(*arguments: object) -> str:
    """Run a command of rig as a user would type it; returns what it printed."""
    typed = [str(argument) for argument in arguments]
    print("$ rig", *typed, flush=True)
    command = [sys.executable, "-m", "rig.cli", *typed]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(workspace: Path) -> float:
    rig("run", "--part", "step_gauge-1", "--simulate", "--workspace", workspace)
    text = rig(
        "measure", "step_gauge-1", "--form", "none", f"--line={LINE}", "--step", "--json",
        "--workspace", workspace,
    )  # fmt: skip
    parameters = {entry["name"]: entry for entry in json.loads(text)["parameters"]}
    step = next(entry for name, entry in parameters.items() if "step" in name.lower())
    found_mm = step["value"] / 1000 if step["unit"] == "µm" else step["value"]
    print(f"step height {found_mm:.4f} mm, truth {STEP_MM:.4f} mm")
    return found_mm


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("rig-demo"))
