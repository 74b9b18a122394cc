"""``rig accept``: known artefacts, permissible errors, a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig accept artefacts.yaml --result flat=parts/flat")
    def accept(
        artefacts: Annotated[
            Path, typer.Argument(help="YAML file: artefacts and permissible errors.")
        ],
        result: Annotated[
            list[str] | None,
            typer.Option(help="Measured already: NAME=PART or NAME=RESULTS; repeat it."),
        ] = None,
        method: Annotated[str, typer.Option(help="Of reconstruction.")] = "refine",
        yes: Annotated[bool, typer.Option("--yes", help="Do not wait for Enter.")] = False,
        json: options.Json = False,
        simulate: options.Simulate = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Measure known artefacts and certify the rig (ISO 10360-13, VDI/VDE 2634-2).

        Exit code 0 if every error is proven within its permissible one, 1 otherwise.
        """
        import json as json_module

        from rig.exits import UsageError
        from rig.figures import table
        from rig.floor.accept.certificate import rows_of
        from rig.floor.accept.running import Acceptance
        from rig.floor.accept.running import accept as run

        given = {}
        for pair in result or ():
            name, equals, place = pair.partition("=")
            if not equals or not place:
                raise UsageError(f"--result is '{pair}': expected NAME=PART")
            given[name] = place
        code, certificate, folder = run(
            Acceptance(artefacts, given, method, simulate, workspace),
            (lambda text: None) if yes else lambda text: typer.prompt(text, default=""),
        )
        if json:
            typer.echo(json_module.dumps(certificate, indent=1))
        else:
            rows = [
                (f"{row[0]} {row[1]}", f"error {row[4]} mm, u {row[5]}, MPE {row[6]}: {row[7]}")
                for row in rows_of(certificate)
            ]
            typer.echo(table(rows))
            typer.echo(f"{certificate['verdict']}: {folder / 'certificate.html'} and .pdf")
        raise typer.Exit(code)
