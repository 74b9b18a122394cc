"""``rig init``: a commented rig.yaml to start from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig init --workspace bench1")
    def init(
        workspace: Annotated[
            Path | None, typer.Option(help="Folder to set up; made if missing. Default: here.")
        ] = None,
        virtual_rig: Annotated[
            bool,
            typer.Option(
                "--virtual-rig", help="For the rig that 'rig virtual-rig' runs, board and camera."
            ),
        ] = False,
    ) -> None:
        """Write a commented rig.yaml. Asks nothing and never overwrites."""
        from capture.claim import claim
        from rig.config import TEMPLATE, for_virtual_rig
        from rig.exits import UsageError
        from rig.workspace import Workspace

        folder = workspace or Path()
        folder.mkdir(parents=True, exist_ok=True)
        target = Workspace.at(folder).config_file
        if os.path.lexists(target):
            raise UsageError(f"{target} exists and is kept: edit it, or move it away")
        with claim(target) as claimed:
            text = for_virtual_rig() if virtual_rig else TEMPLATE
            claimed.file.write_text(text, encoding="utf-8")
            claimed.publish_files()
        typer.echo(f"Wrote {target}. It describes the virtual rig; edit it for yours.")
        if virtual_rig:
            typer.echo("Next: rig virtual-rig, and in another terminal rig doctor")
        else:
            typer.echo("Next: rig run --part A12 --simulate")
            typer.echo("For your own rig: edit the file, then rig doctor --open")
