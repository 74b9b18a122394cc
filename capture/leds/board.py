"""The door to every LED board, whatever it speaks."""

from __future__ import annotations

from pathlib import Path

from capture.leds.base import LedBoard
from capture.leds.lights_off import exit_on_sigterm
from capture.leds.rig_board import RigBoard

__all__ = ["exit_on_sigterm", "open_board"]


def open_board(
    port: str,
    baud: int = 115200,
    dialect: str | Path | None = None,
    led_count: int | None = None,
) -> LedBoard:
    """Open the board on `port`; use it as a context manager, so that its lights go off.

    Parameters
    ----------
    port : ``/dev/ttyACM0``, ``COM3``, a pty, ``sim://name``, or USB identity ``vid:pid:serial``
    baud : bits per second
    dialect : a shipped dialect's name or the path of a dialect file; None or ``rig`` for the
        protocol of ``docs/led-protocol.md``
    led_count : LEDs that will be used; needed by dialects, checked with our own protocol

    Raises
    ------
    DeviceError
        the port cannot be opened, or nobody there speaks this protocol
    """
    board = RigBoard(port, baud, led_count)
    board.open()
    return board
