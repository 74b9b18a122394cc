"""Every kind of fault at every position of a 24-LED sequence, through harvesters and pyserial.

Run: python benchmarks/faults_through_drivers.py [board-clocked software camera-clocked]

Prints one line a kind: how its runs ended, and how many pictures of another LED were recorded as
good, which must be none; below it each run that ended otherwise than good, in the user's words.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "virtual_rigs"))

from outcomes import Outcome
from rig_process import captured, rig_process

from capture.fault_names import KINDS

LEDS = 24
PATIENCE_S = 2.0  # the rig's clock is virtual, the drivers' time limits are the host's


def ended(done: Outcome) -> str:
    if done.error is not None:
        return "one sentence" if "\n" not in str(done.error) else "several lines"
    assert done.summary is not None
    if done.summary.verdicts != {"good": LEDS + 4}:
        return "unproven"
    return "retried" if done.summary.retries else "unharmed"


def main(modes: list[str]) -> int:
    worst = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mode in modes:
            with rig_process(folder, LEDS) as process:
                first = captured(process, folder / f"{mode}-reference", mode, timeout_s=PATIENCE_S)
                if first.error is not None:
                    sys.exit(f"{mode}: no reference: {first.words()}")
                for kind in KINDS:
                    ways: Counter[str] = Counter()
                    wrong, words = 0, list[str]()
                    for position in range(LEDS):
                        run = folder / f"{mode}-{kind}-{position}"
                        done = captured(
                            process,
                            run,
                            mode,
                            [f"{kind}@{position}"],
                            first.folder,
                            timeout_s=PATIENCE_S,
                        )
                        ways[ended(done)] += 1
                        wrong += len(done.wrongly_good())
                        if ended(done) not in ("retried", "unharmed"):
                            words.append(f"    @{position}: {done.words()}")
                    worst += wrong + ways["several lines"]
                    said = ", ".join(f"{n} {way}" for way, n in sorted(ways.items()))
                    print(f"{mode:<14} {kind:<16} {said}; {wrong} wrongly good")
                    print("\n".join(words), end="\n" if words else "", flush=True)
    return int(worst > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["board-clocked", "software", "camera-clocked"]))
