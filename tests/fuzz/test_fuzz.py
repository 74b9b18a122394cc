"""Damaged files are read or refused in words: no traceback, no crash, no hang, no gigabytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fuzz(count: int, seed: int) -> None:
    """Run so many mutations; fails with what repeats those that failed."""
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--count", str(count), "--seed", str(seed)],
        cwd=ROOT, env=os.environ | one_thread, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} mutations" in done.stdout
    assert " 0 failed" in done.stdout


def test_a_few_damaged_files_of_each_kind() -> None:
    fuzz(500, seed=1)


@pytest.mark.fuzz
@pytest.mark.timeout(4 * 3600)
def test_two_hundred_thousand_damaged_files() -> None:
    fuzz(200_000, seed=0)
