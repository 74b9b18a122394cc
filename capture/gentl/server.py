"""The process that feeds the producer: cameras over a world, reached through a local socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capture.camera.sensor import Sensor
from capture.errors import CaptureError
from capture.gentl import wire
from capture.gentl.features import Model
from capture.gentl.served import ServedCamera
from capture.gentl.wire import Refused, read_request, send_reply
from capture.pace import Pace
from capture.world import World

READWRITE, OPEN_READWRITE, BUSY_STATUS = 1, 5, 4  # GenTL's DEVICE_ACCESS_STATUS

Control = Callable[[dict[str, Any]], Any]


class VirtualRigServer:
    """Serves cameras over a world while its context is open.

    Parameters
    ----------
    world : what they look at
    models : one a camera
    path : of the socket
    control : answers requests that are no camera's (JSON in, JSON out)
    prepared_bytes : room for pictures that are made once and sent again; 0: each is made anew
    """

    def __init__(
        self,
        world: World,
        models: Sequence[Model],
        path: Path,
        control: Control | None = None,
        sensor: Sensor | None = None,
        prepared_bytes: int = 0,
    ) -> None:
        self.world, self.path = world, path
        self._control = control
        self._stop = threading.Event()
        self.cameras = {
            serial: ServedCamera(world, serial, model, sensor or Sensor(), prepared_bytes)
            for serial, model in ((f"VC{number:04d}", m) for number, m in enumerate(models, 1))
        }
        self._pace = Pace(world, lambda: any(camera.busy for camera in self.cameras.values()))

    def __enter__(self) -> VirtualRigServer:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        os.chmod(self.path, 0o600)
        self._listener.listen(16)
        self._pace.__enter__()
        self._thread = threading.Thread(target=self._accept, daemon=True, name="virtual-rig")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._pace.__exit__()
        for camera in self.cameras.values():
            camera.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def moved(self) -> None:
        """Something has happened from outside: see what is due now."""
        self._pace.wake()

    # connections -----------------------------------------------------------------------------
    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(connection,), daemon=True, name="virtual-rig-talk"
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        camera: ServedCamera | None = None
        try:
            while (request := read_request(connection)) is not None:
                question, address, data = request
                try:
                    if question == wire.OPEN:
                        camera = self._open(connection, data.decode())
                        xml_bytes = len(camera.device.registers.xml)
                        send_reply(connection, struct.pack("=Q", xml_bytes), epoch=_epoch(camera))
                    elif question == wire.STREAM:
                        self._stream(connection, data.decode())
                        return  # from now on the connection only carries frames, the other way
                    else:
                        answer = self._answer(connection, camera, question, address, data)
                        send_reply(connection, answer, epoch=_epoch(camera))
                        if question == wire.CLOSE:
                            return
                except Refused as error:
                    send_reply(connection, str(error).encode(), error.status, epoch=_epoch(camera))
        except OSError:
            pass
        finally:
            self._left(connection, camera)

    def _answer(
        self,
        connection: socket.socket,
        camera: ServedCamera | None,
        question: int,
        address: int,
        data: bytes,
    ) -> bytes:
        if question == wire.LIST:
            return self._list().encode()
        if question == wire.CONTROL:
            return self._controlled(data)
        if camera is None or camera.owner is not connection:
            raise Refused(wire.IO, "DEVICE_LOST: the camera has gone")
        if question == wire.READ:
            return camera.device.registers.read(address, struct.unpack("=Q", data)[0])
        if question == wire.WRITE:
            camera.device.registers.write(address, data)
            self._pace.wake()
            return b""
        if question == wire.CLOSE:
            camera.device.disarm()
            with camera.lock:
                camera.owner = None  # before the answer: who closes may open again at once
            return b""
        raise Refused(wire.NOT_IMPLEMENTED, f"no question {question}")

    def _list(self) -> str:
        lines = []
        for serial, camera in self.cameras.items():
            if camera.device.gone_until_us is not None:
                continue
            names = camera.device.names
            status = BUSY_STATUS if camera.owner is not None else READWRITE
            user = camera.device.registers.get("DeviceUserID")
            fields = (serial, names["vendor"], names["model"], serial, user, "1.0.0", status)
            lines.append("\t".join(map(str, fields)))
        return "\n".join(lines)

    def _controlled(self, data: bytes) -> bytes:
        if self._control is None:
            raise Refused(wire.NOT_IMPLEMENTED, "this virtual rig takes no orders")
        try:
            return json.dumps(self._control(json.loads(data))).encode()
        except (CaptureError, ValueError, KeyError, TypeError) as error:
            raise Refused(wire.INVALID_VALUE, str(error)) from None

    def _camera(self, serial: str) -> ServedCamera:
        camera = self.cameras.get(serial)
        if camera is None or camera.device.gone_until_us is not None:
            raise Refused(wire.INVALID_ID, f"the virtual rig has no camera {serial} now")
        return camera

    def _open(self, connection: socket.socket, serial: str) -> ServedCamera:
        camera = self._camera(serial)
        with camera.lock:
            if camera.owner is not None:
                raise Refused(wire.RESOURCE_IN_USE, f"camera {serial} is in use by another program")
            camera.owner = connection
        return camera

    def _stream(self, connection: socket.socket, serial: str) -> None:
        camera = self._camera(serial)
        with camera.lock:
            if camera.stream is not None:  # that of a consumer who has just closed it
                with contextlib.suppress(OSError):
                    camera.stream.shutdown(socket.SHUT_RDWR)
            camera.pictures.forget()
            send_reply(connection, fd=camera.pictures.fd)
            camera.stream = connection
        wire.read_exactly(connection, 1)  # until the other end goes
        with camera.lock:
            if camera.stream is connection:
                camera.stream = None

    def _left(self, connection: socket.socket, camera: ServedCamera | None) -> None:
        """The other end has gone: by its own will, or by a crash."""
        if camera is not None:
            with camera.lock:
                mine = camera.owner is connection
                if mine:
                    camera.owner = None
            if mine and not camera.device.model.stays_armed:
                camera.device.disarm()
        connection.close()


def _epoch(camera: ServedCamera | None) -> int:
    return 0 if camera is None else camera.device.epoch


def wait_for(path: Path, within_s: float = 10.0) -> None:
    """Wait until a virtual rig answers on this socket; raises `TimeoutError`."""
    end = time.monotonic() + within_s
    while True:
        try:
            wire.ask(str(path), wire.LIST, timeout_s=5.0)
            return
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"no virtual rig answers on {path}") from None
            time.sleep(0.02)
