"""96 pictures of 2448×2048 at 12 bit are written and read back in at most 1 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "recording_memory.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells it")
def test_peak_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["peak_mb"] <= 1000
