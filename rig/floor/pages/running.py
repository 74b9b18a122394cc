"""What ``rig serve`` and ``rig live`` do: opens the port, the worker and the interfaces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rig.capturing import configuration
from rig.floor.pages.security import access_of
from rig.floor.pages.server import listen, serve
from rig.floor.pages.worker import Bench, Worker
from rig.floor.warm import Warming
from rig.reconstructing import Request, refuse_nonsense
from rig.workspace import Workspace


@dataclass(frozen=True)
class Offer:
    """What was typed."""

    workspace: Path | None = None
    simulate: bool = False
    seed: int = 0
    method: str = "refine"
    device: str = "cpu"
    host: str = "127.0.0.1"
    port: int = 8765
    tokens: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    live: bool = False  # open the devices at once, for the live picture


def run(offer: Offer, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; the LEDs are off then.

    Raises
    ------
    KeyboardInterrupt
        when it is interrupted
    UsageError
        for what cannot be served so
    """
    access = access_of(offer.host, offer.tokens, offer.certificate, offer.key)
    workspace = Workspace.at(offer.workspace)
    config, text = configuration(workspace, offer.simulate)
    refuse_nonsense(Request("", method=offer.method, device=offer.device))
    bench = Bench(workspace, config, text, offer.method, offer.device, offer.seed)
    tls = None
    if offer.certificate is not None and offer.key is not None:
        tls = (offer.certificate, offer.key)
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(listen(offer.host, offer.port))
        worker = stack.enter_context(Worker(bench))
        if not offer.live:
            stack.enter_context(Warming(offer.method, offer.device))
        if config.mqtt is not None:
            from rig.floor.interfaces.mqtt import MqttBridge

            stack.enter_context(MqttBridge(worker, config.mqtt))
        if config.opcua is not None:
            from rig.floor.interfaces.opcua import OpcUaServer

            stack.enter_context(OpcUaServer(worker, config.opcua))
        if offer.live:
            worker.hold_live()
        server = serve(worker, access, socket, ready, tls)
        server.run(sockets=[socket])
