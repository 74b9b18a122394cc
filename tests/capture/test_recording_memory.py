"""96 pictures of 2448×2048 at 12 bit are written and read back in at most 1 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "recording_memory.py"


@pytest.mark.slow
def test_peak_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["peak_mb"] <= 1000
