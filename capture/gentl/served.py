"""One camera of the virtual rig as a process sees it: who holds it, and where its pictures go."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque

from capture.camera.sensor import Sensor
from capture.gentl.device import VirtualDevice
from capture.gentl.features import Model
from capture.gentl.memory import SharedPictures
from capture.gentl.pictures import Picture
from capture.pace import SteppedClock
from capture.world import World

WAITING_AT_MOST = 1000  # pictures not made yet; a camera too fast for the computer loses frames
POLL_S = 0.001  # of a reader that has not taken a frame yet, on a stepped clock


class ServedCamera:
    """A device, the connections that hold it, and the thread that makes its pictures.

    One connection controls the camera (`owner`), another takes its frames (`stream`).
    """

    def __init__(
        self, world: World, serial: str, model: Model, sensor: Sensor, prepared_bytes: int
    ) -> None:
        self._patient = isinstance(world.clock, SteppedClock)
        self._finished: deque[Picture] = deque()
        self._work = threading.Event()
        self._making = False
        self._stop = False
        self.lock = threading.Lock()
        self.owner: socket.socket | None = None
        self.stream: socket.socket | None = None
        self.making_s = 0.0  # processor time spent on pictures
        self.device = VirtualDevice(world, serial, model, sensor, self._take, self._room, self.drop)
        self.pictures = SharedPictures(self.device.largest_bytes(), prepared_bytes)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"camera-{serial}")
        self._thread.start()

    def close(self) -> None:
        self.drop()
        self._stop = True
        self._work.set()
        self._thread.join()
        self.pictures.close()

    def drop(self) -> None:
        """Cut both connections: the camera has gone."""
        with self.lock:
            gone = [one for one in (self.owner, self.stream) if one is not None]
            self.owner = self.stream = None
        for connection in gone:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def busy(self) -> bool:
        """Pictures are still being made."""
        return self._making or bool(self._finished)

    def _room(self) -> bool:
        """On a stepped clock a camera that runs freely waits for whoever takes its frames."""
        return not self._patient or (not self.busy and self.pictures.has_room())

    def _take(self, picture: Picture) -> None:
        if len(self._finished) < WAITING_AT_MOST:  # one more is lost: its id is missing
            self._finished.append(picture)
        self._work.set()

    def _run(self) -> None:
        while not self._stop:
            self._work.wait()
            self._work.clear()
            while self._finished and not self._stop:
                self._making = True
                self._send(self._finished.popleft())
                self._making = False

    def _placed(self, picture: Picture, stream: socket.socket) -> tuple[int, int] | None:
        """Slot and offset of a picture, made unless it was prepared; None if there is no room."""
        key = (id(self.device.world.scene), *picture.key)
        if self.pictures.keeps and (place := self.pictures.kept(key)) is not None:
            return place
        before_s = time.thread_time()
        data = picture.make()
        self.making_s += time.thread_time() - before_s
        if self.pictures.keeps and (place := self.pictures.keep(key, data)) is not None:
            return place
        while self._patient and not self.pictures.has_room() and self.stream is stream:
            time.sleep(POLL_S)
        return self.pictures.put(data)

    def _send(self, picture: Picture) -> None:
        """Put a picture into shared memory and tell the other side; nobody there: it is lost."""
        with self.lock:
            stream = self.stream
        if stream is None or picture.epoch != self.device.epoch:
            return
        place = self._placed(picture, stream)
        if place is None:
            return  # nobody takes frames fast enough: this one is lost, and its id is missing
        with contextlib.suppress(OSError):
            stream.sendall(picture.header(*place, self._patient).to_bytes())
