"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _size(text: str | None) -> str | None:
    from rig.config import picture_shape
    from rig.exits import UsageError

    if text is not None:
        try:
            picture_shape(text)
        except ValueError as error:
            raise UsageError(f"--size: {error}") from None
    return text


Workspace = Annotated[
    Path | None, typer.Option("--workspace", help="Folder with rig.yaml. Default: here.")
]
Simulate = Annotated[bool, typer.Option("--simulate", help="Use the virtual rig.")]
PictureSize = Annotated[
    str, typer.Option("--size", help="Of the pictures, as 1024 or 640x480.", callback=_size)
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size", help="With --simulate: of the pictures, as 1024 or 640x480.", callback=_size
    ),
]
Fault = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", help="With --simulate: what goes wrong, as late-edge@5. Repeat. docs/capture.md."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the virtual rig.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
