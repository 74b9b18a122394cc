"""``rig merge``: several recordings of one part as one surface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig merge cap-flat cap-left cap-right --out merged")
    def merge(
        views: Annotated[
            list[str],
            typer.Argument(help="Parts (their last result), recordings or results folders."),
        ],
        view: Annotated[
            int, typer.Option(help="Which of them gives picture and frame of the height map.")
        ] = 1,
        laid: Annotated[
            str | None,
            typer.Option(
                help="How the part lay in each, if you know: tilt about x, about y, turn about z, "
                "degrees: '0,0 15,0 0,15'."
            ),
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Results folder. Default: results/NN of that recording.")
        ] = None,
        workspace: options.Workspace = None,
    ) -> None:
        """Join recordings of one part that was turned or tilted on the stage between them.

        The views are registered by their surfaces, normals and outlines, and averaged by their
        uncertainty, that of the registration included. Besides a height map as any result has it
        there is merged.ply, with what only other views see.
        """
        from rig.merging import MergeOrder, run_merge

        order = MergeOrder(tuple(views), view, laid, out, workspace)
        told, folder = run_merge(order, lambda line: typer.echo(line, err=True))
        typer.echo(told)
        typer.echo(f"Wrote {folder}")
