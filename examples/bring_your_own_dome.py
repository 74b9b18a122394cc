"""From a box of LEDs to a calibrated dome, every command in order, tried on the virtual rig.

    python examples/bring_your_own_dome.py my-dome

With your own devices leave ``--simulate`` out: then each step waits for you to move the board, the
ball and the plate. docs/build-a-rig.md says how to build and wire the dome.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LEDS = 48  # how many the dome has
BALL_DIAMETER_MM = 25.4  # a bearing ball from the shop
PLACES = 4  # of the ball on the stage


def rig(*arguments: object) -> None:
    """Run a command of rig as a user would type it."""
    typed = [str(argument) for argument in arguments]
    print("\n$ rig", *typed, flush=True)
    subprocess.run([sys.executable, "-m", "rig", *typed], check=True)


def main(workspace: Path) -> None:
    # 1. What the rig is made of. Edit the file: port of the board, producer of the camera, LEDs.
    rig("init", "--workspace", workspace)
    file = workspace / "rig.yaml"
    text = file.read_text(encoding="utf-8").replace("leds: 96 ", f"leds: {LEDS} ")
    file.write_text(text, encoding="utf-8")
    rig("devices")
    rig("doctor", "--workspace", workspace)
    # 2. Camera: a printed board in several poses, at last flat on the stage.
    rig("calibrate-camera", "--simulate", "--workspace", workspace)
    # 3. Lights: a mirror ball says where they are, a white plate how strong.
    rig(
        "calibrate-lights", "--simulate", "--sphere-diameter", BALL_DIAMETER_MM,
        "--poses", PLACES, "--plate-reflectance", 0.8, "--workspace", workspace,
    )  # fmt: skip
    # 4. Is it still true? Once a week, and whenever somebody has touched the rig.
    rig("check", "--simulate", "--workspace", workspace)
    # 5. The first part.
    rig("run", "--part", "first", "--simulate", "--workspace", workspace)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("my-dome"))
