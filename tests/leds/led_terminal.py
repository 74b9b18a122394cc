"""A board under test, and a terminal to talk to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import serial

from capture.leds import framing, protocol_sim
from capture.leds import messages as msg

MAX_ON_MS = 900


@dataclass
class Bench:
    """A board under test: its port, and a hand on its camera input."""

    port: str
    edge: Callable[[], None]


class Terminal:
    """What a person with a terminal program sees and types."""

    def __init__(self, port: str) -> None:
        protocol_sim.register()
        self._serial = serial.serial_for_url(port, baudrate=115200, timeout=0.01)
        self._reader = framing.LineReader()
        self._lines: list[bytes] = []
        self.say("OFF")
        while self.line() != "OFF":
            pass

    def close(self) -> None:
        self._serial.close()

    def type(self, data: bytes) -> None:
        self._serial.write(data)

    def say(self, text: str, crc: bool = False) -> None:
        self.type(framing.wrap(text, crc))

    def raw(self, within_s: float = 2.0) -> bytes:
        end = time.monotonic() + within_s
        while not self._lines:
            assert time.monotonic() < end, "the board said nothing"
            self._lines += self._reader.feed(self._serial.read(256))
        return self._lines.pop(0)

    def line(self, within_s: float = 2.0) -> str:
        """The next line without its CRC, which must be right if it is there."""
        return framing.unwrap(self.raw(within_s), crc_required=False).content

    def ask(self, text: str, crc: bool = False) -> str:
        self.say(text, crc)
        return self.line()

    def status(self) -> msg.Status:
        reply = msg.parse_reply(self.ask("STATUS"))
        assert isinstance(reply, msg.Status)
        return reply

    def error(self, text: str) -> int:
        """The code of the refusal that `text` earns, skipping a notice of being stopped."""
        reply = self.ask(text)
        if reply.startswith("!STOP"):
            reply = self.line()
        refusal = msg.parse_reply(reply)
        assert isinstance(refusal, msg.Refusal), reply
        return refusal.code
