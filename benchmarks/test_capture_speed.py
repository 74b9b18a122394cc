"""Speed of a whole capture, from open devices to a finished recording on disk.

Run: pytest benchmarks/test_capture_speed.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bare_harvesters import bare_loop, tlsimu

from capture.bump import Bump
from capture.plan import Plan
from capture.world import World, publish, withdraw
from rig.config import parse_config
from rig.session import open_rig

LEDS = 96
ROUNDS = 5


def test_software_mode_against_the_bare_loop(tmp_path: Path, benchmark: Any) -> None:
    """Bound: 1.5 × the bare loop, min of several rounds of each, one after the other.

    Ours does more: it lights and darkens 96 LEDs, takes a picture more (the first LED again) and
    four dark-or-repeat pictures, and has checksummed TIFF files on disk at the end.
    """
    path = tlsimu()
    text = (
        f"board: {{port: 'sim://bench', leds: {LEDS}}}\n"
        f"camera: {{producer: '{path}', serial: SN_InterfaceA_0, pixel_format: Mono8}}\n"
        "plan: {settle_us: 0, retries: 0}\n"
    )
    bare, ours = [], []

    def round_of_both() -> None:
        bare.extend(bare_loop(path, LEDS))
        publish("bench", World(Bump((16, 16), LEDS)))
        with open_rig(parse_config(text)) as rig:
            start = time.perf_counter()
            done = rig.capture(tmp_path / f"run{len(ours)}", parse_config(text).default_plan())
            ours.append(time.perf_counter() - start)
        withdraw("bench")
        assert done.finished
        assert done.verdicts.get("good", 0) == 0  # its pictures do not show the light: unproven

    benchmark.pedantic(round_of_both, rounds=ROUNDS)
    ratio = min(ours) / min(bare)
    benchmark.extra_info.update(bare_s=min(bare), ours_s=min(ours), ratio=ratio)
    print(f"\nbare {min(bare):.3f} s, capture {min(ours):.3f} s, ratio {ratio:.2f}")
    assert ratio <= 1.5


def test_board_clocked_at_60_frames_per_second(tmp_path: Path, benchmark: Any) -> None:
    """96 LEDs; bound: 1.15 × 96/60 s, from the order to the finished recording."""
    text = (
        f"board: {{port: 'sim://bench', leds: {LEDS}}}\n"
        "camera: {producer: 'sim://bench', line: Line0, trigger: board-clocked, "
        "frame_rate_hz: 60, exposure_ms: 8}\n"
    )
    publish("bench", World(Bump((512, 512), LEDS)))
    walls = []
    plan = Plan(leds=tuple(range(1, LEDS + 1)), dark_frames=False, repeat_first=False)
    with open_rig(parse_config(text)) as rig:

        def take() -> None:
            start = time.perf_counter()
            assert rig.capture(tmp_path / f"run{len(walls)}", plan).finished
            walls.append(time.perf_counter() - start)

        benchmark.pedantic(take, rounds=ROUNDS)
    withdraw("bench")
    ratio = min(walls) / (LEDS / 60)
    benchmark.extra_info.update(wall_s=min(walls), ratio=ratio)
    print(f"\n{min(walls):.3f} s, {ratio:.3f} × 96/60 s")
    assert ratio <= 1.15
