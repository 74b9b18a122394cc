"""Hooks of the documents' site: links that leave docs/, and the page of all commands."""

from __future__ import annotations

import re
from typing import Any

COMMANDS = "<!-- all commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files outside docs/ become names; the marker becomes the help of each command."""
    depth = page.file.src_uri.count("/") + 1
    markdown = re.sub(rf"\]\((?:\.\./){{{depth}}}(?!\.\.)([^)]+)\)", r"] (`\1`)", markdown)
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, _commands())
    return markdown


def _commands() -> str:
    import typer

    from rig.cli import app

    root = typer.main.get_command(app)
    pages: list[str] = []

    def add(command: Any, name: str) -> None:
        with command.make_context(name, [], resilient_parsing=True) as context:
            pages.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
            for sub in getattr(command, "commands", {}).values():
                add(sub, f"{name} {sub.name}")

    for command in root.commands.values():  # type: ignore[attr-defined]
        add(command, f"rig {command.name}")
    return "\n".join(pages)
