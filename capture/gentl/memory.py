"""Pixels on their way: memory that the world writes and the producer's process reads."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from capture.gentl.wire import KEPT

PAGE = 4096
SLOTS = 8  # frames on their way


class SharedPictures:
    """Slots for frames on their way, and room for prepared pictures that stay.

    The first page holds a 32-bit word a slot: 1 while the frame is on its way. The reader puts it
    back to 0. The memory has no name, so that nothing is left behind whatever dies.

    Parameters
    ----------
    slot_bytes : of the largest frame
    prepared_bytes : room for pictures that are made once and sent again
    """

    def __init__(self, slot_bytes: int, prepared_bytes: int = 0) -> None:
        self._slot_bytes = -(-slot_bytes // PAGE) * PAGE
        self._kept_room = prepared_bytes // self._slot_bytes
        size = PAGE + (SLOTS + self._kept_room) * self._slot_bytes
        self.fd = _anonymous_file()
        os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._map, dtype=np.uint8)
        self._busy = self._bytes[: 4 * SLOTS].view(np.uint32)
        self._next = 0
        self._kept: dict[Hashable, int] = {}

    def close(self) -> None:
        self._bytes = self._busy = np.empty(0, np.uint8)
        self._map.close()
        os.close(self.fd)

    def forget(self) -> None:
        """Nobody reads any more: every slot is free."""
        self._busy[:] = 0

    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool((self._busy == 0).any())

    def put(self, data: NDArray[np.uint8]) -> tuple[int, int] | None:
        """Slot and offset of a frame put into memory; None if all slots are on their way."""
        for step in range(SLOTS):
            slot = (self._next + step) % SLOTS
            if not self._busy[slot]:
                self._next = slot + 1
                offset = PAGE + slot * self._slot_bytes
                self._bytes[offset : offset + data.size] = data
                self._busy[slot] = 1
                return slot, offset
        return None

    def kept(self, key: Hashable) -> tuple[int, int] | None:
        """Slot and offset of a prepared picture; None if it is not there."""
        return None if key not in self._kept else (KEPT, self._kept[key])

    def keep(self, key: Hashable, data: NDArray[np.uint8]) -> tuple[int, int] | None:
        """Prepare a picture; None if there is no room for another one.

        A prepared picture is never overwritten: somebody may be reading it.
        """
        place = len(self._kept)
        if place >= self._kept_room:
            return None
        offset = PAGE + (SLOTS + place) * self._slot_bytes
        self._bytes[offset : offset + data.size] = data
        self._kept[key] = offset
        return KEPT, offset

    @property
    def keeps(self) -> bool:
        """Whether pictures are prepared."""
        return self._kept_room > 0


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rig-virtual", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
