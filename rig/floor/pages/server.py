"""Serves the application by uvicorn, on a port that is taken before any device is opened."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from rig.exits import UsageError
from rig.floor.pages.app import application
from rig.floor.pages.security import Access
from rig.floor.pages.worker import Worker

CLOSING_S = 2


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """The page's port, open; taken before any device is, so that nothing is begun in vain.

    Raises
    ------
    UsageError
        if the port is taken, or the address is none of this machine's
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
    except OSError:
        raise UsageError(f"--host {host} is no address: leave it out for this machine") from None
    with listening:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"port {port} is taken, perhaps by another 'rig serve' or 'rig live': use that "
                    "page, end that program, or choose --port 0"
                ) from None
            raise UsageError(
                f"cannot serve on {host} port {port} ({error.strerror}): choose another --host "
                "or --port"
            ) from None
        yield listening


def address_of(listening: socket.socket, secure: bool) -> str:
    """Where a browser finds the pages."""
    bound, port = listening.getsockname()[:2]
    host = f"[{bound}]" if ":" in bound else bound
    return f"http{'s' if secure else ''}://{host}:{port}/"


class Server(uvicorn.Server):
    """uvicorn, which says when it is ready and ends the worker's streams before it waits."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()


def serve(
    worker: Worker,
    access: Access,
    listening: socket.socket,
    ready: Callable[[str], None],
    tls: tuple[Path, Path] | None = None,
) -> Server:
    """A server of the application; its `run` serves until it is told to end.

    Parameters
    ----------
    ready : told the address once pages are answered
    tls : certificate and key
    """
    config = uvicorn.Config(
        application(worker, access),
        log_level="critical",  # what goes wrong is answered; what is unforeseen has its own log
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSING_S,
        ssl_certfile=None if tls is None else str(tls[0]),
        ssl_keyfile=None if tls is None else str(tls[1]),
    )
    return Server(config, lambda: ready(address_of(listening, tls is not None)))
