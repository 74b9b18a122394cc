"""``rig doctor``: is everything there that a measurement needs?"""

from __future__ import annotations

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig doctor --workspace bench1")
    def doctor(
        workspace: options.Workspace = None,
    ) -> None:
        """Check Python, torch, producers, ports, disk and calibration, and say what to do."""
        from rig.doctor import examine
        from rig.exits import DEVICE
        from rig.workspace import Workspace

        findings = examine(Workspace.at(workspace))
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state:<5} {finding.name:<{width}}  {finding.message}")
            if finding.state != "good":
                typer.echo(f"{'':<5} {'':<{width}}  -> {finding.advice}")
        bad = sum(finding.state == "bad" for finding in findings)
        if bad:
            typer.echo(f"{bad} of {len(findings)} checks need something done.")
            raise typer.Exit(DEVICE)
        typer.echo("Nothing stands in the way of a measurement.")
