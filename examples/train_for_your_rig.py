"""Train the network that gives refinement its first surface, and use the weights.

    python examples/train_for_your_rig.py workspace training 90

The last number is the minutes to train; the shipped weights took hours, so a few minutes only
show the way. The pictures to try the weights on are those of a part of the workspace
(``rig demo`` makes one with the part block-1). Started again, training goes on where it was.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFIG = """\
network: any-rig
size: 64
batch: 16
rig: mixed            # rigs of all kinds; dome96 for domes like the published one
budget_minutes: {minutes}
checkpoint_minutes: 2
validation_minutes: 5
workers: 1
"""


def rig(*arguments: object) -> None:
    """Run a command of rig as a user would type it."""
    typed = [str(argument) for argument in arguments]
    print("\n$ rig", *typed, flush=True)
    subprocess.run([sys.executable, "-m", "rig", *typed], check=True)


def main(workspace: Path, out: Path, minutes: float, part: str = "block-1") -> None:
    out.mkdir(parents=True, exist_ok=True)
    config, weights = out / "train.yaml", out / "mine.safetensors"
    config.write_text(CONFIG.format(minutes=minutes), encoding="utf-8")
    rig("train", "--config", config, "--out", out / "run", "--export", weights)
    for chosen in ([], ["--weights", weights]):
        rig("reconstruct", part, "--method", "dpps", *chosen, "--workspace", workspace)
        rig("evaluate", part, "--workspace", workspace)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("say where: train_for_your_rig.py WORKSPACE OUT MINUTES")
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
