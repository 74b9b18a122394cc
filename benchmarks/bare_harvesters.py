"""The loop that harvesters' own documentation shows, for the benchmarks to be held against."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


def tlsimu() -> str:
    """Path of the test producer; skips the benchmark where it is not installed."""
    genicam = pytest.importorskip("genicam")
    path = Path(genicam.__file__).parent / "TLSimu.cti"
    if not path.is_file():
        pytest.skip("TLSimu.cti comes with genicam 1.5.0")
    return str(path)


def bare_loop(path: str, frames: int, rounds: int = 1) -> list[float]:
    """Wall seconds of so many software triggers and fetches, for each round."""
    from harvesters.core import Harvester

    harvester = Harvester()
    harvester.add_file(path)
    harvester.update()
    acquirer = harvester.create(0)
    nodes = acquirer.remote_device.node_map
    nodes.PixelFormat.value = "Mono8"
    nodes.TriggerMode.value = "On"
    nodes.TriggerSource.value = "Software"
    acquirer.start()
    walls = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(frames):
            nodes.TriggerSoftware.execute()
            with acquirer.fetch(timeout=2.0) as buffer:
                component = buffer.payload.components[0]
                component.data.reshape(component.height, component.width).copy()
        walls.append(time.perf_counter() - start)
    acquirer.stop()
    acquirer.destroy()
    harvester.reset()
    return walls
