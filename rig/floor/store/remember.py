"""Puts a result into the store after a measurement, and never endangers it."""

from __future__ import annotations

from pathlib import Path

from rig.workspace import Workspace


def remember(workspace: Workspace, result: Path) -> str | None:
    """Put a result into the store; what went wrong comes back as a sentence and harms nothing."""
    from rig.floor.store.store import in_a_line, open_store

    try:
        with open_store(workspace) as store:
            store.put(result)
    except Exception as error:  # whatever it is: the measurement lies in its folder already
        return (
            f"the result is safe in its folder but not in the store ({in_a_line(error)}): "
            "'rig store rebuild' puts it there"
        )
    return None
