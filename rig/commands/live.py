"""``rig live``: a page on localhost to aim, focus and expose."""

from __future__ import annotations

from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig live --simulate")
    def live(
        workspace: options.Workspace = None,
        simulate: options.Simulate = False,
        host: Annotated[
            str, typer.Option(help="Address to serve on; others than loopback let others in.")
        ] = "127.0.0.1",
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")
        ] = 8765,
    ) -> None:
        """Show the camera's live picture with clipping, histogram, focus and LED switches."""
        import contextlib

        from capture.leds.board import exit_on_sigterm
        from rig.capturing import configuration
        from rig.live.server import listen, serve
        from rig.live.station import Station, Wish, software_triggered
        from rig.session import open_rig
        from rig.workspace import Workspace

        config, text = configuration(Workspace.at(workspace), simulate)
        with (
            contextlib.suppress(KeyboardInterrupt),  # the way to end it, so no failure
            exit_on_sigterm(),
            listen(host, port) as socket,
            open_rig(software_triggered(config), part="live", config_text=text) as rig,
        ):
            wish = Wish(exposure_us=rig.state.exposure_us or config.camera.exposure_ms * 1000)
            with Station(rig.board, rig.camera, wish) as station:
                serve(
                    station,
                    socket,
                    lambda address: typer.echo(f"Open {address} and end with Ctrl-C."),
                )
        typer.echo("LEDs are off.")
