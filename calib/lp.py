"""``.lp`` light files: an optional count, then ``name x y z`` per picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError
from calib.lights import are_places

Array = NDArray[np.float64]

_NUMBER = r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_POINT = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
# Columns apart by blanks (decimal points or commas), or by commas and semicolons (points only).
_SPACED = re.compile(
    rf"^(.*?)[\s;]*(?<![^\s;])({_NUMBER})[\s;]+({_NUMBER})[\s;]+({_NUMBER})[\s;]*$"
)
_COMMAS = re.compile(
    rf"^(.*?)[\s,;]+({_POINT})\s*[,;\s]\s*({_POINT})\s*[,;\s]\s*({_POINT})[\s,;]*$"
)
UNIT_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class LightList:
    """What an ``.lp`` says, before anything is concluded from it.

    Attributes
    ----------
    names : picture of each light, in the order of the file
    xyz : (N, 3) positions in mm, or unit directions towards the lights
    """

    names: tuple[str, ...]
    xyz: Array

    @property
    def are_directions(self) -> bool:
        """Whether every vector has unit length (an LED 1 mm from the stage centre is no LED)."""
        length = np.linalg.norm(self.xyz, axis=1)
        return bool(len(length) and np.all(np.abs(length - 1) < UNIT_TOLERANCE))


def parse_lp(text: str, source: str = "the .lp file") -> LightList:
    """Read the text of an ``.lp``: count line or not, names with blanks, decimal commas.

    Raises
    ------
    CalibrationError : naming the line that is no ``name x y z``, or a count that does not fit
    """
    names: list[str] = []
    rows: list[list[float]] = []
    announced: int | None = None
    first = True
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if first and re.fullmatch(r"\d+[;,]?", line):
            announced, first = int(line.rstrip(";,")), False
            continue
        first = False
        match = _SPACED.match(line) or _COMMAS.match(line)
        if match is None:
            raise CalibrationError(f"{source}, line {number}: expected 'name x y z', got '{line}'")
        name, *values = match.groups()
        names.append(name.strip().rstrip(",;").strip().strip('"'))
        rows.append([float(value.replace(",", ".")) for value in values])
    if not rows:
        raise CalibrationError(f"{source} lists no light")
    if announced is not None and announced != len(rows):
        raise CalibrationError(f"{source} announces {announced} lights and lists {len(rows)}")
    xyz = np.array(rows)
    bad = np.flatnonzero(~are_places(xyz) | ~xyz.any(axis=1))
    if len(bad):
        raise CalibrationError(f"{source}: light {bad[0] + 1} lies at {xyz[bad[0]]}")
    return LightList(tuple(names), xyz)


def format_lp(lights: LightList, *, count_line: bool = True) -> str:
    """The text of an ``.lp``; directions keep nine digits, positions four decimals of a mm."""
    decimals = 9 if lights.are_directions else 4
    lines = [str(len(lights.names))] if count_line else []
    for name, row in zip(lights.names, lights.xyz, strict=True):
        lines.append(" ".join([name, *(f"{value:.{decimals}f}" for value in row)]))
    return "\n".join(lines) + "\n"


def read_lp(path: Path) -> LightList:
    """Read an ``.lp`` file (UTF-8, or Latin-1 where it is not)."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return parse_lp(text, str(path))
