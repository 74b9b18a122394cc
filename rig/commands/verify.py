"""``rig verify``: is a recording unharmed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def _notes(remarks: tuple[str, ...]) -> list[str]:
    """Remarks for a reader: of unproven files, hundreds often share one reason."""
    notes: list[str] = []
    groups: dict[str, list[str]] = {}
    for remark in remarks:
        name, unproven, reason = remark.partition(" is unproven: ")
        if unproven:
            groups.setdefault(reason, []).append(name)
        else:
            notes.append(remark)
    for reason, names in groups.items():
        some = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]} ({len(names)})"
        notes.append(f"unproven: {some}: {reason}")
    return notes


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig verify parts/A12/20260131T120000Z")
    def verify(
        run: Annotated[
            str, typer.Argument(help="Folder of a recording, or the name of a part (its last run).")
        ],
        workspace: options.Workspace = None,
        json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    ) -> None:
        """Check every file of a recording against its checksums, its journal and its plan."""
        import json as json_module

        from capture.verify import verify as check
        from rig.exits import DATA
        from rig.workspace import Workspace

        folder = Path(run)
        if not folder.is_dir() and not folder.with_name(folder.name + ".part").is_dir():
            folder = Workspace.at(workspace).recording(run)
        found = check(folder)
        if json:
            report = {
                "recording": str(found.folder),
                "sound": found.sound,
                "files": found.files,
                "frames": found.frames,
                "problems": list(found.problems),
                "remarks": list(found.remarks),
                "thinned": found.thinned,
                "given_up": found.given_up,
            }
            typer.echo(json_module.dumps(report, indent=1))
        else:
            for problem in found.problems:
                typer.echo(f"BAD   {problem}")
            for note in _notes(found.remarks):
                typer.echo(f"note: {note}")
            word = "sound" if found.sound else "NOT SOUND"
            typer.echo(f"{found.folder}: {word}, {found.frames} frames in {found.files} files")
            if found.thinned:
                typer.echo(
                    f"note: thinned on {found.thinned} by the rule in rig.yaml: {found.given_up} "
                    "pictures were given up"
                )
        if not found.sound:
            raise typer.Exit(DATA)
