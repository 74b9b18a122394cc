"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[
    Path | None, typer.Option("--workspace", help="Folder with rig.yaml. Default: here.")
]
Simulate = Annotated[bool, typer.Option("--simulate", help="Use the virtual rig.")]
Fault = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", help="With --simulate: what goes wrong, as late-edge@5. Repeat. docs/capture.md."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the virtual rig.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
