"""Two terminals: `rig virtual-rig` in one, the README's commands in the other, against the truth.

Run: python benchmarks/two_terminals.py [PART] [SIZE]

The same commands then run with `--simulate`. Prints a line a way: how far the surface is from the
true one, and what `rig measure` says of it. Through the drivers a part must come out as accurately
as with `--simulate`, up to what two calibrations of one kind differ by: two more of them, at other
seeds of the virtual rig, say how much that is.
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
from typing import Any

RIG = [sys.executable, "-m", "rig.cli"]
SEEDS = (0, 1, 2)  # of `--simulate`; the first is also that of `rig virtual-rig`


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


def measured(workspace: Path, part: str, *where: str) -> dict[str, Any]:
    """The README's commands; what `rig evaluate` and `rig measure` say of the part."""
    ball = ("--sphere-diameter", "25.4")
    typed(workspace, "calibrate-camera", "--board", "13x9", "--square", "8", "--yes", *where)
    plate = ("--plate-reflectance", "0.8")
    typed(workspace, "calibrate-lights", *ball, *plate, "--yes", *where)
    typed(workspace, "capture", "--part", part, *where)
    typed(workspace, "verify", part)
    typed(workspace, "reconstruct", part)
    truth = json.loads(typed(workspace, "evaluate", part, "--json"))
    return {"truth": truth, "measure": json.loads(typed(workspace, "measure", part, "--json"))}


def main(part: str = "stamped-3", size: str = "256") -> int:
    with tempfile.TemporaryDirectory() as name:
        for way in ("rig virtual-rig", *(f"--simulate --seed {seed}" for seed in SEEDS)):
            workspace = Path(name) / way.replace(" ", "")
            with contextlib.ExitStack() as stack:
                if way == "rig virtual-rig":
                    typed(workspace, "init", "--virtual-rig")
                    stack.enter_context(first_terminal(workspace, size))
                    found = measured(workspace, part)
                else:
                    typed(workspace, "init")
                    found = measured(workspace, part, *way.split(), "--size", size)
            print(way, json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
