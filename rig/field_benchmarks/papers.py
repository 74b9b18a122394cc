"""Mean angular errors of normals, degrees, as papers print them."""

from __future__ import annotations

import csv
from pathlib import Path

from rig.exits import UsageError

Table = dict[str, dict[str, float]]  # method -> object -> degrees

_OBJECTS = ("ball", "cat", "pot1", "bear", "pot2", "buddha", "goblet", "reading", "cow", "harvest")


def _row(*degrees: float) -> dict[str, float]:
    return dict(zip(_OBJECTS, degrees, strict=True))


# Shi et al., PAMI 41 (2019) 271 (far lights, 96 pictures); the network by its own paper.
_DILIGENT: Table = {
    "least squares (Woodham 1980)": _row(
        4.10, 8.41, 8.89, 8.39, 14.65, 14.92, 18.50, 19.80, 25.60, 30.62
    ),
    "ST14 (Shi 2014)": _row(1.74, 6.12, 6.51, 6.12, 8.78, 10.60, 10.09, 13.63, 13.93, 25.44),
    "IA14 (Ikehata 2014)": _row(3.34, 6.74, 6.64, 7.11, 8.77, 10.47, 9.71, 14.19, 13.05, 25.95),
    "PS-FCN (Chen 2018)": _row(2.82, 6.16, 7.13, 7.55, 7.25, 7.91, 8.60, 13.33, 7.33, 15.85),
}
TABLES: dict[str, Table] = {"diligent": _DILIGENT, "luces": {}, "diligent-pi": {}, "dpps": {}}


def paper_table(which: str, file: Path | None) -> Table:
    """Figures of papers: those known here, and those of a CSV (``method,object,degrees``).

    Raises
    ------
    UsageError
        the file cannot be read
    """
    table = {method: dict(row) for method, row in TABLES[which].items()}
    if file is None:
        return table
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for row in csv.DictReader(stream):
                table.setdefault(row["method"], {})[row["object"].lower()] = float(row["degrees"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read as a table ({error}): expected the columns method, object and "
            "degrees"
        ) from error
    return table
