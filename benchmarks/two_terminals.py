"""Two terminals: `rig virtual-rig` in one, the README's commands in the other, against the truth.

Run: python benchmarks/two_terminals.py [PART] [SIZE]

The same commands run with `--simulate`. Each row says how far the surface is from the true one, and
what `rig measure` says of it. Two calibrations of one kind differ by the noise of their pictures;
the small ones of 256 px do so by far. Measured on `stamped-3`:

| way | normals, mean | height, mean removed | height, plane removed | Sa |
|---|---|---|---|---|
| `--simulate`, 512 px | 0.149° | 0.0309 mm | 0.0163 mm | 727 µm |
| `rig virtual-rig`, 512 px | 0.146° | 0.0296 mm | 0.0163 mm | 729 µm |
| `--simulate`, 256 px, seed 0 | 0.57° | 0.31 mm | 0.01 mm | 730 µm |
| `--simulate`, 256 px, seed 1 | 0.70° | 0.36 mm | 0.07 mm | 705 µm |
| `--simulate`, 256 px, seed 2 | 0.82° | 0.43 mm | 0.05 mm | 710 µm |
| `rig virtual-rig`, 256 px | 0.57° | 0.24 mm | 0.09 mm | 698 µm |
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

RIG = [sys.executable, "-m", "rig"]


def typed(workspace: Path, *words: str) -> str:
    """One command, as typed in a terminal; ends the program if it fails."""
    command = [*RIG, *words, "--workspace", str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"rig {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def first_terminal(workspace: Path, size: str) -> Iterator[None]:
    """`rig virtual-rig`, until Ctrl-C."""
    command = [*RIG, "virtual-rig", "--size", size, "--workspace", str(workspace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and "Ctrl-C ends this one" not in line:
            pass
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()


def calibrate(workspace: Path, *where: str) -> None:
    """The camera from a board, the lights from a ball and a plate."""
    typed(workspace, "calibrate-camera", "--board", "13x9", "--square", "8", "--yes", *where)
    ball = ("--sphere-diameter", "25.4", "--plate-reflectance", "0.8")
    typed(workspace, "calibrate-lights", *ball, "--yes", *where)


def measure(workspace: Path, part: str, *where: str) -> dict[str, float]:
    """The part from its pictures to its figures."""
    typed(workspace, "capture", "--part", part, *where)
    typed(workspace, "verify", part)
    typed(workspace, "reconstruct", part)
    truth = json.loads(typed(workspace, "evaluate", part, "--json"))
    told = json.loads(typed(workspace, "measure", part, "--json"))
    roughness = {each["name"]: each["value"] for each in told["parameters"]}
    return {
        "normals, mean, °": truth["normal_mean_deg"],
        "height, mean removed, mm": truth["mean_removed"]["rmse_mm"],
        "height, plane removed, mm": truth["plane_removed"]["rmse_mm"],
        "texture, mm": truth["texture_rmse_mm"],
        "Sa, µm": roughness["Sa"],
        "Sq, µm": roughness["Sq"],
    }


def main(part: str = "stamped-3", size: str = "512") -> None:
    with tempfile.TemporaryDirectory() as name:
        simulated, real = Path(name) / "simulated", Path(name) / "real"
        where = ("--simulate", "--size", size)
        typed(simulated, "init")
        calibrate(simulated, *where)
        show("--simulate", measure(simulated, part, *where))
        typed(real, "init", "--virtual-rig")
        with first_terminal(real, size):
            calibrate(real)
            show("rig virtual-rig", measure(real, part))


def show(way: str, row: dict[str, float]) -> None:
    print(f"{way}: {', '.join(f'{key} {value:.4g}' for key, value in row.items())}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
