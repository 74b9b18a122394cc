"""Lines on the wire to an LED board: characters, length, CRC. No I/O, no clock.

ASCII, one message a line. A line may end in ``*XXXX``, the CRC-16 of what stands before the star,
as four upper-case hexadecimal digits. What a line says is in `messages`.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE = 200  # longest line either side sends, CRC included

# Error codes of an ERR reply.
UNKNOWN, SYNTAX, CRC, RANGE, STATE, TOO_LONG, FAULT = 1, 2, 3, 4, 5, 6, 7


class ProtocolError(Exception):
    """A line that is no message. `code` is the code of the ERR reply that a board would send."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def crc16(data: bytes) -> int:
    """CRC-16/IBM-3740 ("CCITT-FALSE"): polynomial 0x1021, start 0xFFFF, not reflected.

    ``crc16(b"123456789") == 0x29B1``. It finds every burst of up to 16 bits.
    """
    return binascii.crc_hqx(data, 0xFFFF)


def wrap(content: str, crc: bool) -> bytes:
    """One line on the wire."""
    raw = content.encode("ascii")
    return raw + (b"*%04X\n" % crc16(raw) if crc else b"\n")


@dataclass(frozen=True)
class Line:
    """The content of a sound line, and whether a CRC vouched for it."""

    content: str
    checked: bool


def unwrap(raw: bytes, crc_required: bool) -> Line:
    """Check a line as `LineReader` yields it, terminator included.

    Raises `ProtocolError` if it is too long, not ASCII, or its CRC is wrong or (if required)
    missing. A line with a CRC must end in a line feed: else one flipped bit could go unseen.
    """
    body, end = raw[:-1], raw[-1:]
    if len(body) > MAX_LINE:
        raise ProtocolError(TOO_LONG, f"line longer than {MAX_LINE}")
    if any(byte < 0x20 or byte > 0x7E for byte in body):
        raise ProtocolError(SYNTAX if not crc_required else CRC, "not printable ASCII")
    content, star, suffix = body.partition(b"*")
    if not star:
        if crc_required:
            raise ProtocolError(CRC, "crc missing")
        return Line(body.decode("ascii"), checked=False)
    if suffix != b"%04X" % crc16(content) or end != b"\n":
        raise ProtocolError(CRC, "crc wrong")
    return Line(content.decode("ascii"), checked=True)


class LineReader:
    """Cuts a stream into lines, however it is chunked. CR and LF both end a line."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each completed non-empty line with its terminator; too long ones cut short."""
        for byte in data:
            if byte in b"\r\n":
                line = bytes(self._buffer) + bytes((byte,))
                self._buffer.clear()
                if len(line) > 1:
                    yield line
            elif len(self._buffer) <= MAX_LINE:
                self._buffer.append(byte)

    def clear(self) -> None:
        self._buffer.clear()
