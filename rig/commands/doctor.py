"""``rig doctor``: is everything there that a measurement needs?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig doctor --workspace bench1")
    def doctor(
        open_devices: Annotated[
            bool,
            typer.Option("--open", help="Open board and camera, light an LED, take a picture."),
        ] = False,
        bundle: Annotated[
            Path | None,
            typer.Option(help="Also write what others need to help into this .zip, no pictures."),
        ] = None,
        with_pictures: Annotated[
            bool, typer.Option("--with-pictures", help="With --bundle: of the newest run.")
        ] = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Check Python, torch, producers, ports, disk and calibration, and say what to do.

        With --open it tries the devices as the commands will: LED count, synchronisation, pixel
        format, and whether one camera alone is meant. --bundle leaves passwords and pictures out.
        """
        from rig.config import read_config
        from rig.doctor import examine, next_step
        from rig.exits import DEVICE, UsageError
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        findings = examine(space, open_devices)
        try:
            config = read_config(space.config_file)
        except UsageError:
            config = None
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            typer.echo(f"{finding.state:<5} {finding.name:<{width}}  {finding.message}")
            if finding.state != "good":
                typer.echo(f"{'':<5} {'':<{width}}  -> {finding.advice}")
        bad = sum(finding.state == "bad" for finding in findings)
        if bad:
            typer.echo(f"{bad} of {len(findings)} checks need something done.")
        elif lacking := [f.name for f in findings if f.message == "none in this workspace"]:
            typer.echo(f"A measurement still needs {' and '.join(lacking)}.")
        elif open_devices or config is None or config.camera.simulated:
            typer.echo("Nothing found that stands in the way.")
        else:
            typer.echo("Nothing found; board and camera were not opened: rig doctor --open")
        if bundle is not None:
            from rig.support import write_bundle

            write_bundle(space, findings, bundle, with_pictures)
            typer.echo(f"Wrote {bundle}: look into it before you send it")
        typer.echo(f"Next: {next_step(findings, config)}")
        if bad:
            raise typer.Exit(DEVICE)
