"""``rig serve``: the operator's page, the history, charts, and the interface for machines."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rig.commands import options

if TYPE_CHECKING:
    from rig.floor.pages.running import Offer

Host = Annotated[
    str, typer.Option(help="Address to serve on; others than loopback need tokens and TLS.")
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")]
Tokens = Annotated[
    Path | None, typer.Option(help="YAML file: operator: [TOKEN], engineer: [TOKEN].")
]
Certificate = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM.")]
Key = Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")]


def serve_until_interrupted(offer: Offer, page: str = "") -> None:
    """Serve; Ctrl-C is the way to end it, so it is silent about that."""
    from rig.exits import INTERRUPTED
    from rig.floor.pages.running import run

    with contextlib.ExitStack() as at_the_end:

        def ready(address: str) -> None:
            at_the_end.callback(typer.echo, "LEDs are off.")
            typer.echo(f"Open {address}{page} and end with Ctrl-C.")

        try:
            run(offer, ready)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig serve --simulate")
    def serve(
        workspace: options.Workspace = None,
        simulate: options.Simulate = False,
        seed: options.Seed = 0,
        method: Annotated[str, typer.Option(help="Of reconstruction.")] = "refine",
        device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
        host: Host = "127.0.0.1",
        port: Port = 8765,
        tokens: Tokens = None,
        tls_cert: Certificate = None,
        tls_key: Key = None,
    ) -> None:
        """Serve the operator's page: measure, see the verdict, look through the history.

        Everything works offline. One measurement runs at a time, others wait. Other machines
        reach it only with --host, --tokens, --tls-cert and --tls-key.
        """
        from rig.floor.pages.running import Offer

        offer = Offer(
            workspace, simulate, seed, method, device, host, port, tokens, tls_cert, tls_key
        )
        serve_until_interrupted(offer)
