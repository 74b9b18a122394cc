"""A training whose clock does not depend on the machine."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from reconstruct.dpps import train


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ticks a second at each look: how often a log is written hangs on steps alone."""
    ticks = itertools.count(0.0)
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
