"""96 software-triggered frames: our GenICam driver against a bare harvesters loop."""

from __future__ import annotations

import time
from typing import Any

from bare_harvesters import bare_loop, tlsimu

from capture.camera.base import CameraSettings
from capture.camera.genicam import GenICamCamera

FRAMES = 96
ROUNDS = 7


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
    path = tlsimu()
    bare = min(bare_loop(path, FRAMES, ROUNDS))
    ours = min(benchmark.pedantic(_ours, args=(path,), rounds=1))
    benchmark.extra_info.update(bare_s=bare, ours_s=ours, ratio=ours / bare)
    print(f"\nbare {bare:.3f} s, ours {ours:.3f} s, ratio {ours / bare:.3f}")
    assert ours / bare <= 1.5
