"""A newer version of the program on a machine that still has an older one's compiled kernels."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from rig.exits import UNFORESEEN, failure

KERNEL = """
from numba import njit
from {module} import Pair

@njit(cache=True)
def total(pair):
    return pair.a + pair.b
"""
PAIR = """
from typing import NamedTuple

class Pair(NamedTuple):
    a: float
    b: float
"""


def total() -> float:
    for name in ("old_pairs", "new_pairs", "pair_kernel"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    module = importlib.import_module("pair_kernel")
    return float(module.total(module.Pair(1.0, 2.0)))


def test_kernels_that_name_what_is_gone_are_removed_and_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that is written anew within a second, as long as before, looks like its bytecode's.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("rig.exits.__file__", str(tmp_path / "rig" / "exits.py"))
    (tmp_path / "old_pairs.py").write_text(PAIR)
    (tmp_path / "pair_kernel.py").write_text(KERNEL.format(module="old_pairs"))
    assert total() == 3.0
    (tmp_path / "old_pairs.py").rename(tmp_path / "new_pairs.py")
    (tmp_path / "pair_kernel.py").write_text(KERNEL.format(module="new_pairs"))
    with pytest.raises(ModuleNotFoundError) as raised:
        total()
    code, said = failure(raised.value)
    assert code == UNFORESEEN
    assert "start the command again" in said
    assert "\n" not in said
    assert total() == 3.0
