"""The door to every LED board, whatever it speaks."""

from __future__ import annotations

from pathlib import Path

from capture.leds.base import LedBoard
from capture.leds.dialect import load_dialect
from capture.leds.dialect_board import DialectBoard
from capture.leds.lights_off import exit_on_signals, exit_on_sigterm
from capture.leds.rig_board import RigBoard

__all__ = ["exit_on_signals", "exit_on_sigterm", "open_board"]


def open_board(
    port: str,
    baud: int | None = None,
    dialect: str | Path | None = None,
    led_count: int | None = None,
) -> LedBoard:
    """Open the board on `port`; use it as a context manager, so that its lights go off.

    Parameters
    ----------
    port : ``/dev/ttyACM0``, ``COM3``, a pty, ``sim://name``, or USB identity ``vid:pid:serial``
    baud : bits per second; None: what the dialect says, 115200 for our own protocol
    dialect : a shipped dialect's name or the path of a dialect file; None or ``rig`` for the
        protocol of ``docs/led-protocol.md``
    led_count : LEDs that will be used; needed by dialects, checked with our own protocol

    Raises
    ------
    DialectError
        the dialect is not known, or its file is wrong
    DeviceError
        the port cannot be opened, or nobody there speaks this protocol
    """
    board: RigBoard | DialectBoard
    if dialect in (None, "", "rig"):
        board = RigBoard(port, baud or 115200, led_count)
    else:
        board = DialectBoard(port, load_dialect(str(dialect)), led_count, baud)
    board.open()
    return board
