"""``rig reprocess``: reconstruct many recordings anew, on many machines."""

from __future__ import annotations

from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig reprocess 'parts/*' --method refine")
    def reprocess(
        runs: Annotated[list[str], typer.Argument(help="Parts' or runs' folders, or patterns.")],
        method: Annotated[str, typer.Option(help="Of reconstruction.")] = "refine",
        device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
        height: Annotated[float | None, typer.Option(help="Mean height, mm.")] = None,
        tag: Annotated[
            str | None,
            typer.Option(help="Names this reprocessing; the same name goes on. Default: method."),
        ] = None,
        scheduler: Annotated[
            str | None, typer.Option(help="Dask scheduler, tcp://host:8786. Default: this machine.")
        ] = None,
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes of this machine.")
        ] = None,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Reconstruct recordings anew (another method, calibration or version of the program).

        Results lie beside the earlier ones; a table says what changed. Exit code 4 if one failed.
        """
        import json as json_module
        from pathlib import Path

        from rig.exits import DATA
        from rig.floor.reprocess import changes_table, runs_of
        from rig.floor.reprocess import reprocess as work
        from rig.floor.store.remember import remember
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        found = runs_of(runs, space)
        request = {"method": method, "device": device, "height_mm": height,
                   "workspace": space.folder}  # fmt: skip
        changes = []
        for change in work(found, request, tag or method, scheduler=scheduler, workers=workers):
            changes.append(change)
            typer.echo(f"{len(changes)} of {len(found)}: {change['run']}", err=True)
            result = Path(change["result"])
            if change["result"] and result.is_relative_to(space.folder):
                told = remember(space, result)
                if told:
                    typer.echo(f"note: {told}", err=True)
        if json:
            typer.echo(json_module.dumps(changes, indent=1))
        else:
            typer.echo(changes_table(changes, space))
        if any(change["error"] for change in changes):
            raise typer.Exit(DATA)
