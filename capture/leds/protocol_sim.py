"""``sim://name`` as a pyserial port: the virtual board of the world published under that name.

pyserial finds this module by its name once `register` has named the package to it.
"""

from __future__ import annotations

from typing import Any

import serial
from serial.serialutil import SerialBase, SerialException

from capture.errors import DeviceError
from capture.leds.virtual import Unplugged, VirtualBoard, board_of
from capture.world import find


def register() -> None:
    """Make ``serial.serial_for_url("sim://…")`` work."""
    if __package__ not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append(__package__)


class Serial(SerialBase):
    """A port whose other end is a `VirtualBoard`. Baud and modem lines are accepted and unused."""

    _board: VirtualBoard | None = None

    def open(self) -> None:
        if self.is_open:
            raise SerialException("the port is already open")
        try:
            board = board_of(find(str(self.port)))
            board.plug_in()
        except (DeviceError, Unplugged) as error:
            raise SerialException(f"could not open {self.port}: {error}") from error
        self._board = board
        self.is_open = True

    def close(self) -> None:
        if self.is_open and self._board is not None:
            self.is_open = False
            self._board.hang_up()

    def from_url(self, url: str) -> str:
        return url

    @property
    def _live(self) -> VirtualBoard:
        if not self.is_open or self._board is None:
            raise SerialException("the port is not open")
        return self._board

    @property
    def in_waiting(self) -> int:
        return self._live.waiting()  # OSError when unplugged, as with a real port

    def read(self, size: int = 1) -> bytes:
        try:
            return self._live.read(size, self.timeout)
        except Unplugged as error:
            raise SerialException(
                f"device reports readiness but returned no data: {error}"
            ) from error

    def write(self, data: Any) -> int:
        content = bytes(data)
        try:
            self._live.write(content)
        except Unplugged as error:
            raise SerialException(f"write failed: {error}") from error
        return len(content)

    def flush(self) -> None:
        self._live.waiting()

    def reset_input_buffer(self) -> None:
        board = self._live
        while board.waiting():
            board.read(board.waiting(), 0)

    def reset_output_buffer(self) -> None:
        self._live.waiting()

    def _reconfigure_port(self) -> None:
        pass

    def _update_rts_state(self) -> None:
        pass

    def _update_dtr_state(self) -> None:
        pass

    def _update_break_state(self) -> None:
        pass

    @property
    def cts(self) -> bool:
        return True

    @property
    def dsr(self) -> bool:
        return True

    @property
    def ri(self) -> bool:
        return False

    @property
    def cd(self) -> bool:
        return True
