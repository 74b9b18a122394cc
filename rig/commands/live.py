"""``rig live``: a page on localhost to aim, focus and expose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer

from rig.commands import options


@contextlib.contextmanager
def _interrupted_in_silence() -> Iterator[None]:
    """Ctrl-C is the way to end it."""
    from rig.exits import INTERRUPTED

    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


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
        from rig.capturing import configuration
        from rig.live.server import listen, serve
        from rig.live.station import Station, Wish, software_triggered
        from rig.session import open_rig
        from rig.workspace import Workspace

        config, text = configuration(Workspace.at(workspace), simulate)
        with (
            _interrupted_in_silence(),
            contextlib.ExitStack() as at_the_end,
            listen(host, port) as socket,
            open_rig(software_triggered(config), part="live", config_text=text) as rig,
        ):
            at_the_end.callback(typer.echo, "LEDs are off.")
            wish = Wish(exposure_us=rig.state.exposure_us or config.camera.exposure_ms * 1000)
            with Station(rig.board, rig.camera, wish) as station:
                serve(
                    station,
                    socket,
                    lambda address: typer.echo(f"Open {address} and end with Ctrl-C."),
                )
