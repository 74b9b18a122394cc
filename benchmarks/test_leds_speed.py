"""Speed of the LED side, over the virtual board. Run: pytest benchmarks/test_leds_speed.py"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from capture import world as worlds
from capture.leds.base import LedBoard, Step
from capture.leds.bench import BenchScene
from capture.leds.board import open_board


@pytest.fixture
def board() -> Iterator[LedBoard]:
    worlds.publish("bench", worlds.World(BenchScene(96)))
    with open_board("sim://bench") as board:
        yield board
    worlds.withdraw("bench")


def test_one_led_on_and_echoed(board: LedBoard, benchmark: Any) -> None:
    """Bound: well under the 5.6 ms that a software-triggered frame takes."""
    benchmark(board.on, 7)


def test_sequence_of_96_at_60_fps(board: LedBoard, benchmark: Any) -> None:
    """Upload, arm, run, collect. Bound: 1.15 × 96/60 s = 1.84 s."""

    def take() -> None:
        board.upload([Step(led, 1.0, 200, 8000) for led in range(1, 97)])
        board.arm(period_us=16667)
        board.run()
        assert len(list(board.reports(1.0))) == 96

    benchmark.pedantic(take, rounds=3)
