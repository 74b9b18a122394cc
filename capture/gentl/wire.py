"""What travels between the producer in C and the world: the numbers of ``rig_virtual.h``."""

from __future__ import annotations

import socket
import struct
from array import array
from dataclasses import dataclass

LIST, OPEN, READ, WRITE, STREAM, CLOSE = range(1, 7)  # questions of the producer
CONTROL = 100  # a JSON request of `capture.gentl.control`
MAX_REQUEST = 1 << 20

REQUEST = struct.Struct("=IIQ")  # length of what follows, question, address
REPLY = struct.Struct("=IiII")  # length of what follows, status, epoch
FRAME = struct.Struct("=6Q10I")
CHUNK = struct.Struct("=II")
KEPT = 0xFFFFFFFF  # slot of a picture that nobody has to give back

# Statuses: GenTL's error codes.
SUCCESS = 0
NOT_IMPLEMENTED = -1003
RESOURCE_IN_USE = -1004
ACCESS_DENIED = -1005
INVALID_ID = -1007
IO = -1010
INVALID_ADDRESS = -1015
INVALID_VALUE = -1019
BUSY = -1022


class Refused(Exception):
    """A question that is answered by an error code and a sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class FrameHeader:
    """What is said about one frame; its pixels lie in shared memory at `offset`."""

    frame_id: int
    timestamp_ns: int
    offset: int
    size: int
    filled: int  # bytes that arrived; fewer than `size` where packets were lost
    pixel_format: int
    width: int
    height: int
    x: int
    y: int
    slot: int
    epoch: int
    patient: bool = False  # the reader shall wait for a buffer instead of losing the frame
    chunks: tuple[tuple[int, bytes], ...] = ()

    def to_bytes(self) -> bytes:
        chunks = b"".join(CHUNK.pack(number, len(data)) + data for number, data in self.chunks)
        head = FRAME.pack(
            self.frame_id,
            self.timestamp_ns,
            self.offset,
            self.size,
            self.filled,
            self.pixel_format,
            self.width,
            self.height,
            self.x,
            self.y,
            self.slot,
            int(self.filled < self.size) | 2 * self.patient,
            len(self.chunks),
            len(chunks),
            self.epoch,
            0,
        )
        return head + chunks


def read_exactly(connection: socket.socket, length: int) -> bytes | None:
    """So many bytes, or None where the other end has gone."""
    data = bytearray()
    while len(data) < length:
        try:
            part = connection.recv(length - len(data))
        except OSError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


def read_request(connection: socket.socket) -> tuple[int, int, bytes] | None:
    """Question, address and what follows; None where the other end has gone or talks nonsense."""
    head = read_exactly(connection, REQUEST.size)
    if head is None:
        return None
    length, question, address = REQUEST.unpack(head)
    if length > MAX_REQUEST:
        return None
    data = read_exactly(connection, length)
    return None if data is None else (question, address, data)


def send_reply(
    connection: socket.socket,
    data: bytes = b"",
    status: int = SUCCESS,
    fd: int | None = None,
    epoch: int = 0,
) -> None:
    """Answer; with `fd`, hand a file over to the other process."""
    message = REPLY.pack(len(data), status, epoch, 0) + data
    if fd is None:
        connection.sendall(message)
        return
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))
    connection.sendmsg([message], [rights])


def ask(path: str, question: int, data: bytes = b"", timeout_s: float = 60.0) -> bytes:
    """One question to the world behind a socket; raises `OSError` or `Refused`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(REQUEST.pack(len(data), question, 0) + data)
        head = read_exactly(connection, REPLY.size)
        if head is None:
            raise ConnectionResetError("the virtual rig broke off")
        length, status, *_ = REPLY.unpack(head)
        answer = read_exactly(connection, length)
        if answer is None:
            raise ConnectionResetError("the virtual rig broke off")
        if status != SUCCESS:
            raise Refused(status, answer.decode("utf-8", "replace"))
        return answer
