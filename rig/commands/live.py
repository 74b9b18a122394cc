"""``rig live``: a page on localhost to aim, focus and expose."""

from __future__ import annotations

import typer

from rig.commands import options
from rig.commands.serve import Certificate, Host, Key, Port, Tokens, serve_until_interrupted


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig live --simulate")
    def live(
        workspace: options.Workspace = None,
        simulate: options.Simulate = False,
        host: Host = "127.0.0.1",
        port: Port = 8765,
        tokens: Tokens = None,
        tls_cert: Certificate = None,
        tls_key: Key = None,
    ) -> None:
        """Show the camera's live picture with clipping, histogram, focus and LED switches.

        The same pages as of 'rig serve', with the devices opened at once.
        """
        from rig.floor.pages.running import Offer

        offer = Offer(
            workspace, simulate, host=host, port=port, tokens=tokens, certificate=tls_cert,
            key=tls_key, live=True,
        )  # fmt: skip
        serve_until_interrupted(offer, "live/")
