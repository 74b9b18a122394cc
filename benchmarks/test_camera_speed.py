"""96 software-triggered frames: our GenICam driver against a bare harvesters loop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from capture.camera.base import CameraSettings
from capture.camera.genicam import GenICamCamera

FRAMES = 96
ROUNDS = 7


def _tlsimu() -> str:
    genicam = pytest.importorskip("genicam")
    path = Path(genicam.__file__).parent / "TLSimu.cti"
    if not path.is_file():
        pytest.skip("TLSimu.cti comes with genicam 1.5.0")
    return str(path)


def _bare(path: str) -> list[float]:
    """Wall times of the loop that harvesters' own documentation shows."""
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
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(FRAMES):
            nodes.TriggerSoftware.execute()
            with acquirer.fetch(timeout=2.0) as buffer:
                component = buffer.payload.components[0]
                component.data.reshape(component.height, component.width).copy()
        walls.append(time.perf_counter() - start)
    acquirer.stop()
    acquirer.destroy()
    harvester.reset()
    return walls


def _ours(path: str) -> list[float]:
    walls = []
    with GenICamCamera("SN_InterfaceA_0", [path]) as camera:
        camera.configure(CameraSettings(pixel_format="Mono8"))
        camera.arm()
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(FRAMES):
                camera.trigger()
                camera.next_frame(2.0)
            walls.append(time.perf_counter() - start)
    return walls


def test_genicam_driver_against_bare_harvesters(benchmark: Any) -> None:
    path = _tlsimu()
    bare = min(_bare(path))
    ours = min(benchmark.pedantic(_ours, args=(path,), rounds=1))
    benchmark.extra_info.update(bare_s=bare, ours_s=ours, ratio=ours / bare)
    print(f"\nbare {bare:.3f} s, ours {ours:.3f} s, ratio {ours / bare:.3f}")
    assert ours / bare <= 1.5
