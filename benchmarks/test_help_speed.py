"""`rig --help` in a fresh interpreter. Bound: median of 10 under 0.3 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any


def test_help_answers_at_once(benchmark: Any) -> None:
    walls = []

    def ask() -> None:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rig", "--help"], check=True, capture_output=True)
        walls.append(time.perf_counter() - start)

    benchmark.pedantic(ask, rounds=10, warmup_rounds=1)
    median = statistics.median(walls)
    print(f"\nmedian {median:.3f} s of {len(walls)}")
    assert median < 0.3
