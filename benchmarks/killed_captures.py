"""``rig capture`` killed at random moments, the virtual rig left running.

Run: python benchmarks/killed_captures.py [50]

After each kill: how long LEDs shone on, and whether the next capture of the same rig succeeds.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from capture.gentl.build import PRODUCER
from rig.stagehand import Stagehand, socket_beside

RIG = [sys.executable, "-m", "rig"]
LEDS = 24
DARK_WITHIN_S = 0.5


def capture(workspace: Path, number: int) -> subprocess.Popen[bytes]:
    command = [*RIG, "capture", "--workspace", str(workspace), "--part", f"part-{number}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main(kills: int) -> int:
    rng = random.Random(26)
    failures, longest_s, lit_at_kill = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        subprocess.run([*RIG, "init", "--virtual-rig", "--workspace", name], check=True)
        file = workspace / "rig.yaml"
        file.write_text(file.read_text().replace("leds: 96", f"leds: {LEDS}"))
        serve = [*RIG, "virtual-rig", "--workspace", name, "--part", "field-1"]
        serve += ["--leds", str(LEDS), "--size", "64x48"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE) as rig:
            assert rig.stdout is not None
            while b"Ctrl-C" not in rig.stdout.readline():
                pass
            socket = socket_beside(str(workspace / "virtual" / PRODUCER))
            assert socket is not None
            hand = Stagehand(socket)
            start_s = time.monotonic()
            with capture(workspace, 0) as whole:
                failures += whole.wait() != 0
            took_s = time.monotonic() - start_s
            for number in range(1, kills + 1):
                with capture(workspace, number) as victim:
                    # The last two thirds: before that, the program is still being loaded.
                    time.sleep(rng.uniform(took_s / 3, took_s))
                    killed_us = hand.ask({"do": "status"})["now_us"]
                    lit_at_kill += bool(hand.ask({"do": "status"})["lit"])
                    victim.kill()
                time.sleep(DARK_WITHIN_S)
                status = hand.ask({"do": "status"})
                shone_s = max(0, status["last_light_us"] - killed_us) * 1e-6
                longest_s = max(longest_s, shone_s)
                failures += bool(status["lit"]) or shone_s > DARK_WITHIN_S
                with capture(workspace, 1000 + number) as after:
                    code = after.wait()
                    if code != 0:
                        assert after.stderr is not None
                        print(f"kill {number}: exit {code}, {after.stderr.read().decode()}")
                        failures += 1
            rig.kill()
    print(
        f"{kills} kills ({lit_at_kill} with an LED lit): LEDs dark within {longest_s:.3f} s, "
        f"{failures} failures"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
