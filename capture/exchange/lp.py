"""Reading ``.lp`` files: which picture was lit from where. See ``docs/formats.md``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from capture.errors import DataError

_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class LpLine:
    """A picture's name and where its light is: a position in mm or a direction."""

    name: str
    vector: tuple[float, float, float]


def parse_lp(text: str, source: str = "the .lp file") -> list[LpLine]:
    """Read the text of an ``.lp`` file.

    Met in people's files and accepted: no count line, names with spaces, tabs, commas or
    semicolons between the fields, decimal commas, byte-order marks, comments after ``#`` at the
    start of a line, empty lines.

    Raises
    ------
    DataError
        naming the line, if a line has no name and three finite numbers, if the count does not
        match, or if a name comes twice
    """
    lines = text.removeprefix("\ufeff").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    numbered = [(n, line) for n, line in numbered if line and not line.startswith("#")]
    if not numbered:
        raise DataError(f"{source} is empty")
    count = None
    if re.fullmatch(r"\d{1,9}", numbered[0][1]):
        count = int(numbered[0][1])
        numbered = numbered[1:]
    found = [_parse_line(line, number, source) for number, line in numbered]
    if not found:
        raise DataError(f"{source} names no light")
    if count is not None and count != len(found):
        raise DataError(f"{source} says {count} lights in its first line and names {len(found)}")
    names = [line.name for line in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source} names '{twice}' twice")
    return found


def _parse_line(line: str, number: int, source: str) -> LpLine:
    for fields in (line.rsplit(None, 3), re.split(r"\s*[;\t]\s*", line), line.rsplit(",", 3)):
        if len(fields) != 4 or not fields[0].strip():
            continue
        values = [_number(field.strip().rstrip(",;")) for field in fields[1:]]
        if None not in values:
            x, y, z = (float(value) for value in values if value is not None)
            name = fields[0].strip().rstrip(",;").strip().strip('"')
            if name:
                return LpLine(name, (x, y, z))
    raise DataError(
        f"{source}, line {number}: expected a name and three numbers, got '{line[:80]}'"
    )


def _number(text: str) -> float | None:
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def read_lp(path: Path) -> list[LpLine]:
    """Read an ``.lp`` file; raises `DataError`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return parse_lp(text, path.name)


def format_lp(lines: list[LpLine]) -> str:
    """The text of an ``.lp`` file, with a count line; numbers as exact as doubles are."""
    rows = [f"{line.name} " + " ".join(repr(v) for v in line.vector) for line in lines]
    return "\n".join([str(len(lines)), *rows]) + "\n"
