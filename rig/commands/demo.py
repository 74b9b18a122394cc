"""``rig demo``: everything once, on the virtual rig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig demo --workspace my-first-rig")
    def demo(
        workspace: Annotated[
            Path, typer.Option(help="New folder for what the demonstration makes.")
        ] = Path("rig-demo"),
        seed: options.Seed = 0,
    ) -> None:
        """Calibrate a virtual dome of 96 LEDs, measure a part, and compare with the truth."""
        from rig.demo import Demo

        raise typer.Exit(Demo(workspace, seed=seed, say=typer.echo).run())
