"""Every ``rig …`` line of a document parses; every Python snippet of a document runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from rig.cli import app
from tests.plausible import scene

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("examples/**/*.md")]
LINE = re.compile(r"^(?: {4}|\$ )(rig [^#]*)")
# Snippets that open a device or wait for one are shown, and run with hardware only.
NEEDS_A_RIG = ("subprocess.Popen",)


def commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := LINE.match(line):
                yield page.name, found[1].split("   ")[0].strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_a_command_in_a_document_parses(page: str, line: str) -> None:
    words = shlex.split(line.replace("…", "x"))[1:]
    for sign in ("|", ">", "&&", ";"):  # what the shell does with it is the shell's
        if sign in words:
            words = words[: words.index(sign)]
    command: click.Command = typer.main.get_command(app)
    name = "rig"
    parents: list[click.Context] = []
    while words != ["--version"]:  # which ends the program
        context = command.make_context(
            name, list(words), parent=parents[-1] if parents else None,
            **({"allow_extra_args": True, "allow_interspersed_args": False}
               if isinstance(command, click.Group) else {}),
        )  # fmt: skip
        if not isinstance(command, click.Group) or not context._protected_args + context.args:
            break
        rest = [*context._protected_args, *context.args]
        name, sub, words = command.resolve_command(context, rest)  # type: ignore[assignment]
        assert sub is not None, line
        command = sub
        parents.append(context)


def snippets() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        runnable = [b for b in blocks if not any(sign in b for sign in NEEDS_A_RIG)]
        if runnable:
            found[str(page.relative_to(ROOT))] = runnable
    return found


@pytest.mark.parametrize("page", snippets())
def test_snippets_run_as_they_stand(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page is one session, in a folder that holds the capture which the pages speak of."""
    scene.write(tmp_path / "captures" / "wavy")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(snippets()[page], start=1):
        exec(compile(block, f"{page}, snippet {number}", "exec"), space)
