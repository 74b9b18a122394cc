"""The one reader of ``.lp`` light files: an optional count, then ``name x y z`` per picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake.errors import InputError
from intake.files import read_text

FARTHEST = 1e12
UNIT_TOLERANCE = 0.02
LONGEST_NAME = 255  # bytes, of any file system
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, eq=False)
class LightList:
    """What an ``.lp`` says, before anything is concluded from it.

    Attributes
    ----------
    names : picture of each light, in the order of the file; all empty where the file names none
    xyz : (N, 3) positions in mm, or directions towards the lights
    remarks : what a user should know of the file, one sentence each
    """

    names: tuple[str, ...]
    xyz: NDArray[np.float64]
    remarks: tuple[str, ...] = ()

    @property
    def are_directions(self) -> bool:
        """Whether every vector has unit length (an LED 1 mm from the stage centre is no LED)."""
        length = np.linalg.norm(self.xyz, axis=1)
        return bool(len(length) and np.all(np.abs(length - 1) < UNIT_TOLERANCE))


def parse_lp(text: str, source: str = "the .lp file") -> LightList:
    """Read the text of an ``.lp`` file.

    Met in people's files and accepted: no count line or a wrong one (said in the remarks), names
    with blanks, no names at all, blanks, tabs, commas or semicolons between the fields, decimal
    commas, byte-order marks, any end of line, comments after ``#`` at the start of a line.

    Raises
    ------
    InputError
        naming the line that is no ``name x y z`` or can be read in two ways, or a name that comes
        twice
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text.lstrip("\ufeff")), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    announced: int | None = None
    if lines and re.fullmatch(r"\d{1,9}\s*[;,]?", lines[0][1]):
        announced = int(lines[0][1].rstrip(";, \t"))
        lines = lines[1:]
    names: list[str] = []
    rows: list[tuple[float, float, float]] = []
    for number, line in lines:
        name, row = _fields(line, f"{source}, line {number}")
        if not all(abs(value) <= FARTHEST for value in row) or not any(row):
            raise InputError(
                f"{source}, line {number}: light {len(rows) + 1} lies at {row}, where no light is"
            )
        if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
            raise InputError(
                f"{source}, line {number}: a name of {len(name)} letters, which no picture has"
            )
        names.append(name)
        rows.append(row)
    if not rows:
        raise InputError(f"{source} lists no light: expected lines 'name x y z'")
    if any(names) and not all(names):
        where = lines[names.index("")][0]
        raise InputError(f"{source}, line {where}: expected 'name x y z', the name is missing")
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise InputError(f"{source} names '{name}' twice: each picture has one light")
        seen.add(name)
    remarks: tuple[str, ...] = ()
    if announced is not None and announced != len(rows):
        remarks = (
            f"{source} announces {announced} lights in its first line and lists {len(rows)}: "
            "the lines count",
        )
    return LightList(tuple(names), np.array(rows, dtype=np.float64), remarks)


def _fields(line: str, where: str) -> tuple[str, tuple[float, float, float]]:
    """Name and three numbers of a line."""
    for pieces in (re.split(r"\s*[;\t]\s*", line.rstrip("; \t")), line.rsplit(None, 3)):
        if len(pieces) < 3 or not all(piece.strip() for piece in pieces):
            continue
        numbers = [_number(piece) for piece in pieces[-3:]]
        head = ";".join(pieces[:-3])
        if None not in numbers and (len(pieces) == 3 or _name(head)):
            return _name(head), _three(numbers)
    # Commas alone between the fields: three numbers with points, or six halves of three numbers
    # with decimal commas.
    pieces = [piece.strip() for piece in line.rstrip(", ").split(",")]
    first, _, last = pieces[0].rpartition(" ")
    if first and _number(last) is not None:
        pieces[:1] = [first, last]
    count = 0
    while count < len(pieces) and _number(pieces[-1 - count]) is not None:
        count += 1
    name = _name(",".join(pieces[: len(pieces) - count]))
    tail = pieces[len(pieces) - count :]
    if count == 3:
        return name, _three([_number(piece) for piece in tail])
    if count == 6 and all(_WHOLE.fullmatch(piece) for piece in tail):
        halves = [f"{a}.{b}" for a, b in zip(tail[::2], tail[1::2], strict=True)]
        return name, _three([_number(half) for half in halves])
    if count in (4, 5):
        raise InputError(
            f"{where}: '{line[:80]}' can be read in two ways, for the comma stands between fields "
            "and within numbers: put blanks or semicolons between the fields"
        )
    raise InputError(f"{where}: expected 'name x y z', got '{line[:80]}'")


def _name(text: str) -> str:
    return text.strip().rstrip(",;").strip().strip('"').strip()


def _number(text: str) -> float | None:
    text = text.strip().rstrip(",;").strip().strip('"')
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None


def _three(numbers: Sequence[float | None]) -> tuple[float, float, float]:
    x, y, z = (float(number) for number in numbers if number is not None)
    return x, y, z


def format_lp(lights: LightList, *, count_line: bool = True) -> str:
    """The text of an ``.lp``; numbers as exact as doubles are."""
    lines = [str(len(lights.names))] if count_line else []
    for name, row in zip(lights.names, lights.xyz, strict=True):
        lines.append(" ".join([name, *(repr(float(value)) for value in row)]))
    return "\n".join(lines) + "\n"


def read_lp(path: Path) -> LightList:
    """Read an ``.lp`` file (UTF-8 or UTF-16, Latin-1 where it is neither); raises `InputError`."""
    return parse_lp(read_text(path, fallback="latin-1"), str(path))
