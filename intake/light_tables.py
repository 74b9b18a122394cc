"""Lights as public sets bring them: plain tables of numbers, and Relight's projects."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake.errors import InputError
from intake.files import read_text
from intake.lp import FARTHEST, LightList
from intake.trees import finite, read_json

TABLES = (
    "light_directions.txt",
    "light_positions.txt",
    "lights.txt",
    "lightdirections.txt",
    "lightpositions.txt",
    "light_dirs.txt",
)
"""Names, in small letters, under which public sets keep them."""


def parse_table(text: str, source: str) -> NDArray[np.float64]:
    """(N, 3) numbers of a plain table: a light a line, or three lines with a light a column.

    A first line that holds the count alone is passed over. Raises `InputError`.
    """
    rows: list[list[float]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        tokens = re.split(r"[;\s]+", line) if not re.search(r",\s", line) else []
        tokens = [t.replace(",", ".") for t in tokens if t] or re.split(r"[,;\s]+", line)
        if len(tokens) == 1 and tokens[0].count(".") > 1:
            tokens = line.split(",")
        try:
            rows.append([float(token) for token in tokens if token])
        except ValueError:
            raise InputError(
                f"{source}, line {number}: '{line[:60]}' is not a row of numbers"
            ) from None
    if rows and len(rows[0]) == 1 and rows[0][0] == len(rows) - 1:
        rows = rows[1:]
    widths = {len(row) for row in rows}
    if len(rows) == 3 and len(widths) == 1 and widths != {3}:
        rows = [list(column) for column in zip(*rows, strict=True)]
        widths = {3}
    if widths != {3}:
        raise InputError(
            f"{source}: expected three numbers a line, or three lines with one number per light"
        )
    table = np.array(rows, dtype=np.float64)
    if not np.all(np.abs(table) <= FARTHEST) or np.any(~table.any(axis=1)):
        raise InputError(f"{source} has a light at no finite place")
    return table


def read_table(path: Path) -> NDArray[np.float64]:
    """`parse_table` of a file."""
    return parse_table(read_text(path, fallback="latin-1"), str(path))


def read_intensities(path: Path, count: int) -> NDArray[np.float64] | None:
    """Relative powers of a ``light_intensities.txt`` beside a table of lights; None without one.

    The mean of its columns, which are colours. Raises `InputError`.
    """
    beside = path.with_name("light_intensities.txt")
    if not beside.is_file():
        return None
    lines = read_text(beside).replace(",", " ").splitlines()
    try:
        rows = [[float(token) for token in line.split()] for line in lines if line.strip()]
    except ValueError:
        raise InputError(f"{beside} is no table of numbers") from None
    power = np.array([np.mean(row) for row in rows])
    if len(power) != count or not np.all((power > 0) & (power < FARTHEST)):
        raise InputError(f"{beside} does not hold one power above 0 for each of {count} lights")
    return np.asarray(power / power.mean())


def read_relight(path: Path) -> LightList:
    """Pictures and lights of a Relight project (``.relight``): those that are not left out.

    Raises `InputError` where a picture has neither direction nor position.
    """
    data = read_json(path)
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not images:
        raise InputError(f"{path} is no Relight project: it lists no 'images'")
    names, rows = [], []
    for number, image in enumerate(images, start=1):
        where = f"{path}, image {number}"
        if not isinstance(image, dict) or not isinstance(image.get("filename"), str):
            raise InputError(f"{where} has no 'filename'")
        if image.get("skip") is True or image.get("visible") is False:
            continue
        vector = image.get("position") or image.get("direction")
        if isinstance(vector, dict):
            vector = [vector.get(axis) for axis in "xyz"]
        if not isinstance(vector, list) or len(vector) != 3:
            raise InputError(f"{where} has no direction of its light: find the lights in Relight")
        names.append(image["filename"])
        rows.append([finite(v, f"{where}: direction", -FARTHEST, FARTHEST) for v in vector])
    xyz = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if not len(xyz) or np.any(~xyz.any(axis=1)):
        raise InputError(f"{path}: the lights of this project are not known yet")
    return LightList(tuple(names), xyz)
