"""``rig store``, ``rig list`` and ``rig show``: the memory of every part."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    store = typer.Typer(no_args_is_help=True, help="The results store: make it anew, thin it out.")
    app.add_typer(store, name="store")

    @store.command(epilog="Example: rig store rebuild")
    def rebuild(workspace: options.Workspace = None) -> None:
        """Make the store anew from the folders under parts/, which stay the truth."""
        from rig.floor.store.store import open_store
        from rig.workspace import Workspace

        with open_store(Workspace.at(workspace)) as opened:
            count = opened.rebuild(lambda line: typer.echo(f"note: {line}", err=True))
        noun = "result is" if count == 1 else "results are"
        typer.echo(f"{count} {noun} in the store")

    @store.command(epilog="Example: rig store prune --dry-run")
    def prune(
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")
        ] = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Remove the pictures of old recordings by the rule in rig.yaml; results stay."""
        from rig.config import read_config
        from rig.floor.store.prune import prune as thin
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        done = thin(space, read_config(space.config_file).store, dry_run=dry_run)
        for thinned in done:
            typer.echo(f"{thinned.run.relative_to(space.folder)}  {thinned.bytes / 1e6:.1f} MB")
        size = sum(thinned.bytes for thinned in done) / 1e9
        typer.echo(f"{'Would remove' if dry_run else 'Removed'} {size:.3f} GB of pictures")

    @app.command("list", epilog="Example: rig list --type bracket --verdict 'out of tolerance'")
    def list_(
        search: Annotated[
            str, typer.Argument(help="Part of a part's name, a batch or an operator.")
        ] = "",
        part_type: Annotated[str, typer.Option("--type", help="Of this part type.")] = "",
        verdict: Annotated[str, typer.Option(help="With this verdict.")] = "",
        since: Annotated[
            datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC.")
        ] = None,
        until: Annotated[
            datetime | None,
            typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC, not included."),
        ] = None,
        limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """List results from the store, newest first."""
        import json as json_module

        from rig.exits import UsageError
        from rig.floor.store.store import Filter, open_store
        from rig.floor.store.words import VERDICTS, line_of, run_to_json
        from rig.workspace import Workspace

        if verdict and verdict not in VERDICTS:
            raise UsageError(f"there is no verdict '{verdict}': choose {', '.join(VERDICTS)}")
        wanted = Filter(text=search, part_type=part_type, verdict=verdict, since=since, until=until)
        with open_store(Workspace.at(workspace)) as opened:
            page = opened.history(wanted, limit=limit)
        if json:
            typer.echo(json_module.dumps([run_to_json(run) for run in page.runs], indent=1))
            return
        for run in page.runs:
            typer.echo(line_of(run))
        typer.echo(f"{len(page.runs)} of {page.total} results")

    @app.command(epilog="Example: rig show A12")
    def show(
        part: Annotated[str, typer.Argument(help="Name of a part.")],
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Show a part's results, the features of its newest, and where its report lies."""
        import json as json_module

        from rig.exits import UsageError
        from rig.floor.store.store import Filter, open_store
        from rig.floor.store.words import described, run_to_json
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        with open_store(space) as opened:
            page = opened.history(Filter(part=part), limit=20)
        if not page.runs:
            raise UsageError(
                f"the store knows no part {part}: see 'rig list', or make the store anew with "
                "'rig store rebuild'"
            )
        if json:
            typer.echo(json_module.dumps([run_to_json(run) for run in page.runs], indent=1))
        else:
            typer.echo(described(page.runs, page.total))
