"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


def taken_apart(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose last parameter is a named tuple of options, as Typer wants it.

    Typer makes one option of each parameter of a function, and a function of twenty parameters
    reads badly: such a command takes one tuple instead, and this gives it the tuple's fields.
    """
    hints = get_type_hints(command, include_extras=True)
    *others, last = inspect.signature(command).parameters
    kind = hints[last]
    asked = get_type_hints(kind, include_extras=True)

    @functools.wraps(command)
    def with_fields(**fields: Any) -> None:
        kept = {name: fields.pop(name) for name in others}
        command(**kept, **{last: kind(**fields)})

    empty, by_name = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, by_name, annotation=hints[name]) for name in others]
    parameters += [
        inspect.Parameter(
            name, by_name, default=kind._field_defaults.get(name, empty), annotation=annotation
        )
        for name, annotation in asked.items()
    ]
    del with_fields.__wrapped__
    with_fields.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_fields.__annotations__ = {name: hints[name] for name in others} | asked
    return with_fields


def _size(text: str | None) -> str | None:
    from rig.config import picture_shape
    from rig.exits import UsageError

    if text is not None:
        try:
            picture_shape(text)
        except ValueError as error:
            raise UsageError(f"--size: {error}") from None
    return text


def reflectance(share: float | None) -> float | None:
    """What a plate can reflect, or nothing stated; raises `UsageError`."""
    from rig.exits import UsageError

    if share is not None and not 0 < share <= 1:
        raise UsageError(f"--plate-reflectance is {share:g}: expected a number above 0, up to 1")
    return share


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
