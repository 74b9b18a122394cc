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
        part: Annotated[
            str,
            typer.Option(
                help="block-1, flange-3, bracket-0 … on the stage; stamped-3, coin-7, turned-2 … "
                "that fill the picture."
            ),
        ] = "block-1",
        seed: options.Seed = 0,
        size: options.PictureSize = "512",
    ) -> None:
        """Calibrate a virtual dome of 96 LEDs, measure a part, and compare with the truth.

        The part is a machined block on a dark stage: nobody tells where it lies and how high.
        """
        from rig.demo import Demo
        from rig.workspace import check_part_name

        check_part_name(part)
        raise typer.Exit(Demo(workspace, seed=seed, part=part, size=size, say=typer.echo).run())
