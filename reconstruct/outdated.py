"""Compiled kernels that call what has changed since are forgotten.

Numba compiles a kernel anew where its own file has changed, but not where the file of a kernel that
it calls has: after an update some arithmetic would be the old one.
"""

from __future__ import annotations

import ast
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("reconstruct", "rig")


def forget_outdated(root: Path = Path(__file__).parents[1]) -> None:
    """Remove the indices of kernels that are older than a file with kernels that theirs imports.

    Those that stay are marked as seen, so that files are looked into once after a change. Where
    nothing may be written nothing is removed.
    """
    # Another command removes them, too; a file may be half written.
    with contextlib.suppress(OSError, SyntaxError):
        indices = list(_indices(root))
        written = {index: index.stat().st_mtime for index in indices}
        changed = {source: source.stat().st_mtime for source in _sources(indices)}
        now = time.time()  # a file of the future would be newer for ever
        if max((t for t in changed.values() if t < now), default=0) <= min(
            written.values(), default=0
        ):
            return
        needs = {source: _imported(source, root) & set(changed) for source in changed}
        for index in indices:
            source = _source(index)
            if any(written[index] < changed[each] < now for each in _reached(source, needs)):
                index.unlink(missing_ok=True)
            else:
                os.utime(index)


def _indices(root: Path) -> Iterator[Path]:
    for room in ROOMS:
        yield from (root / room).glob("__pycache__/*.nbi")
        yield from (root / room).glob("*/__pycache__/*.nbi")


def _source(index: Path) -> Path:
    """The file of a kernel: its index is called ``module.function-line.version.nbi``."""
    return index.parents[1] / (index.name.partition(".")[0] + ".py")


def _sources(indices: list[Path]) -> set[Path]:
    return {source for source in map(_source, indices) if source.is_file()}


def _imported(source: Path, root: Path) -> set[Path]:
    """Files that a file takes names from, or may."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = root.joinpath(*node.module.split("."))
            found |= {module.with_suffix(".py"), *(module / f"{one.name}.py" for one in node.names)}
    return found


def _reached(source: Path, needs: dict[Path, set[Path]]) -> set[Path]:
    """A file and all that it imports, and so on."""
    reached, todo = set(), [source]
    while todo:
        one = todo.pop()
        if one in reached or one not in needs:
            continue
        reached.add(one)
        todo += needs[one]
    return reached
