"""``rig init``: a commented rig.yaml to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig init --workspace bench1")
    def init(
        workspace: Annotated[
            Path | None, typer.Option(help="Folder to set up; made if missing. Default: here.")
        ] = None,
    ) -> None:
        """Write a commented rig.yaml. Asks nothing and never overwrites."""
        from rig.config import TEMPLATE
        from rig.exits import UsageError
        from rig.workspace import Workspace

        folder = workspace or Path()
        folder.mkdir(parents=True, exist_ok=True)
        target = Workspace.at(folder).config_file
        try:
            with target.open("x", encoding="utf-8") as file:
                file.write(TEMPLATE)
        except FileExistsError:
            raise UsageError(f"{target} exists and is kept: edit it, or move it away") from None
        typer.echo(f"Wrote {target}. It describes the virtual rig; edit it for yours.")
        typer.echo("Try: rig capture --part A12 --simulate")
