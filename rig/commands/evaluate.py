"""``rig evaluate``, ``rig compare`` and ``rig measure``: figures of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace_ = Annotated[Path | None, typer.Option("--workspace", help="The rig's folder.")]
Json_ = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig evaluate results/blob --truth blob/truth.npz --border 8")
    def evaluate(
        result: Annotated[str, typer.Argument(help="Results folder, or the name of a part.")],
        truth: Annotated[
            Path | None,
            typer.Option(help="truth.npz. Default: the one that came with the recording."),
        ] = None,
        border: Annotated[int, typer.Option(help="Pixels to leave out along the edges.")] = 0,
        cutoff: Annotated[
            float, typer.Option(help="Between form and texture, mm; 0 leaves the split out.")
        ] = 8.0,
        json: Json_ = False,
        workspace: Workspace_ = None,
    ) -> None:
        """Compare a result with the truth, over the pixels where both have a surface."""
        import json as json_module

        from reconstruct.export.results import read_results
        from reconstruct.metrology.accuracy import Truth
        from reconstruct.metrology.accuracy import evaluate as compare_with
        from rig.figures import accuracy_table, find_result, find_truth

        folder = find_result(result, workspace)
        path = truth or find_truth(folder, result, workspace)
        found = compare_with(read_results(folder), Truth.read(path), border, cutoff or None)
        if json:
            typer.echo(json_module.dumps(found.to_json(), indent=1))
        else:
            typer.echo(accuracy_table(found))
