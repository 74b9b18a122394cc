"""The live page's web server: a picture stream, the state, and three wishes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files

from aiohttp import web

from rig.exits import UsageError
from rig.live.picture import jpeg
from rig.live.station import Station

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BOUNDARY = "frame"


def _guard(allowed_hosts: frozenset[str]) -> Callable[[web.Request, Handler], object]:
    """Refuse requests that come by another name or from another page.

    A page somewhere on the web can make the browser of this machine call localhost (DNS
    rebinding, cross-site POST); LEDs and exposure are not for it to set.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.host.rsplit(":", 1)[0].strip("[]")
        if allowed_hosts and host not in allowed_hosts:
            raise web.HTTPForbidden(text=f"this page does not answer to the name '{host}'")
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin and origin.split("//")[-1] != request.host:
            raise web.HTTPForbidden(text="only the live page itself may switch the rig")
        return await handler(request)

    return guard


def application(station: Station, allowed_hosts: frozenset[str]) -> web.Application:
    """The web application over a running station; an empty set of hosts allows every name."""

    async def page(_: web.Request) -> web.Response:
        text = files("rig.live").joinpath("page.html").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html")

    async def state(_: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(station.state))

    async def wish(request: web.Request) -> web.Response:
        kinds: dict[str, type] = {"led": int, "level": float, "exposure_us": float}
        try:
            asked = await request.json()
            if not isinstance(asked, dict) or not set(asked) <= set(kinds):
                raise ValueError(f"a wish may hold {', '.join(kinds)}")
            station.wish(**{key: kinds[key](value) for key, value in asked.items()})
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return await state(request)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={
                "Content-Type": f"multipart/x-mixed-replace; boundary={BOUNDARY}",
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        seen = 0
        while True:
            seen, frame = await asyncio.to_thread(station.next_frame, seen)
            if frame is None:
                continue
            picture = await asyncio.to_thread(jpeg, frame)
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(picture)}\r\n\r\n"
            )
            try:
                await response.write(head.encode() + picture + b"\r\n")
            except ConnectionError:
                return response

    async def still(request: web.Request) -> web.Response:
        _, frame = await asyncio.to_thread(station.next_frame, 0)
        if frame is None:
            return web.json_response({"error": "no frame has come yet"}, status=503)
        return web.Response(body=await asyncio.to_thread(jpeg, frame), content_type="image/jpeg")

    app = web.Application(middlewares=[_guard(allowed_hosts)])  # type: ignore[list-item]
    app.add_routes(
        [
            web.get("/", page),
            web.get("/state", state),
            web.get("/stream", stream),
            web.get("/picture.jpg", still),
            web.post("/wish", wish),
        ]
    )
    return app


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
                    f"port {port} is taken, perhaps by another 'rig live': use that page, end "
                    "that program, or choose --port 0"
                ) from None
            raise UsageError(
                f"cannot serve on {host} port {port} ({error.strerror}): choose another --host "
                "or --port"
            ) from None
        yield listening


def serve(station: Station, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` is told the address once pages are answered."""
    bound, port = listening.getsockname()[:2]
    loopback = ipaddress.ip_address(bound).is_loopback
    allowed = frozenset({"127.0.0.1", "localhost", "::1"}) if loopback else frozenset()
    host = f"[{bound}]" if ":" in bound else bound

    async def run() -> None:
        runner = web.AppRunner(application(station, allowed), shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        ready(f"http://{host}:{port}/")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    asyncio.run(run())
