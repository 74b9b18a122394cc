"""The reference firmware of ``examples/firmware``, compiled, in the place of `Firmware`.

The C++ core of a real board runs here; it is told what time it is and moves our pins.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from capture.leds.firmware import BoardModel, Pins

_LIGHT = ctypes.CFUNCTYPE(None, ctypes.c_uint16, ctypes.c_uint16)
_PLAIN = ctypes.CFUNCTYPE(None)
_SEND = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)
NEVER = 2**64 - 1


class _RigPins(ctypes.Structure):
    _fields_ = (("light", _LIGHT), ("dark", _PLAIN), ("trigger", _PLAIN), ("send", _SEND))


def load(path: Path) -> ctypes.CDLL:
    """The library of `capture.gentl.build.build_firmware`; raises `OSError`."""
    library = ctypes.CDLL(str(path))
    board, u64 = ctypes.c_void_p, ctypes.c_uint64
    library.rig_board_new.restype = board
    library.rig_board_new.argtypes = (
        ctypes.POINTER(_RigPins),
        ctypes.c_char_p,
        ctypes.c_uint16,
        ctypes.c_uint32,
        u64,
    )
    library.rig_board_deadline.restype = u64
    library.rig_board_deadline.argtypes = (board,)
    library.rig_board_awaits_edges.argtypes = (board,)
    library.rig_board_delete.argtypes = (board,)
    library.rig_board_feed.argtypes = (board, ctypes.c_char_p, ctypes.c_size_t, u64)
    for name in ("advance", "edge", "closed"):
        getattr(library, f"rig_board_{name}").argtypes = (board, u64)
    return library


class NativeFirmware:
    """The C++ board from one boot to the next; the same calls as `capture.leds.firmware.Firmware`.

    Parameters
    ----------
    library : of `load`
    model : its serial number, LEDs and longest on-time are taken; the rest is the firmware's own
    """

    def __init__(self, library: ctypes.CDLL, model: BoardModel, pins: Pins, now_us: int) -> None:
        self._library, self._pins = library, pins
        self._out = bytearray()
        self._now_us = now_us
        self._callbacks = _RigPins(
            _LIGHT(self._light), _PLAIN(self._dark), _PLAIN(self._trigger), _SEND(self._send)
        )
        self._board = library.rig_board_new(
            ctypes.byref(self._callbacks),
            model.serial.encode(),
            model.led_count,
            model.max_on_ms,
            now_us,
        )

    def __del__(self) -> None:
        if getattr(self, "_board", None):
            self._library.rig_board_delete(self._board)

    # pins ------------------------------------------------------------------------------------
    def _light(self, led: int, permille: int) -> None:
        self._pins.dark(self._now_us)
        self._pins.light(led, permille, self._now_us)

    def _dark(self) -> None:
        self._pins.dark(self._now_us)

    def _trigger(self) -> None:
        self._pins.trigger(self._now_us)

    def _send(self, text: ctypes.Array[ctypes.c_char], length: int) -> None:
        self._out += ctypes.string_at(text, length)

    # outside world ---------------------------------------------------------------------------
    def feed(self, data: bytes, now_us: int) -> None:
        """Bytes from the host."""
        self.advance(now_us)
        self._library.rig_board_feed(self._board, data, len(data), now_us)

    def edge(self, at_us: int) -> None:
        """A rising edge of the camera's exposure-active line."""
        self.advance(at_us)
        self._library.rig_board_edge(self._board, at_us)

    def closed(self, now_us: int) -> None:
        """The host has closed the port."""
        self.advance(now_us)
        self._library.rig_board_closed(self._board, now_us)

    @property
    def awaits_edges(self) -> bool:
        """Armed to be stepped by the camera."""
        return bool(self._library.rig_board_awaits_edges(self._board))

    def take_output(self) -> bytes:
        """Bytes for the host since the last call."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def deadline_us(self) -> int | None:
        """When `advance` next has something to do, None for never."""
        due = int(self._library.rig_board_deadline(self._board))
        return None if due == NEVER else due

    def advance(self, now_us: int) -> None:
        """Do what was due up to now, each at the instant it was due."""
        while (due := self.deadline_us()) is not None and due <= now_us:
            self._now_us = due
            self._library.rig_board_advance(self._board, due)
        self._now_us = now_us
        self._library.rig_board_advance(self._board, now_us)
