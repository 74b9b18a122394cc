"""A capture from elsewhere, found and checked but not yet read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from capture.errors import DataError
from capture.exchange.images import Way
from intake.errors import told_as
from intake.files import read_text
from intake.trees import finite, read_object


@dataclass(frozen=True)
class Source:
    """What an importer found.

    Attributes
    ----------
    layout : ``exchange``, ``dpps`` or ``luces``
    folder : where it was found
    pictures : one per light, in the order of the lights
    dark : picture of the black level, or None
    exposure : one relative exposure, or one per picture; None if nobody wrote it down
    full_scale : code of full scale if the folder says so, else None (found from the codes)
    files : name in the recording (``calibration/…``) to file or contents
    channel : of colour pictures, or how to decode them
    remarks : what the user should know, one sentence each
    unfit : why the pictures are unfit for metrology, or empty
    """

    layout: str
    folder: Path
    pictures: tuple[Path, ...]
    dark: Path | None = None
    exposure: float | tuple[float, ...] | None = None
    full_scale: int | None = None
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    channel: Way = None
    remarks: tuple[str, ...] = ()
    unfit: str = ""


def inside(folder: Path, name: str) -> Path:
    """The file of that name in a folder.

    Raises
    ------
    DataError
        if the name is a path that leaves the folder, by itself or through a link
    """
    pure = PurePosixPath(name)
    odd = "\\" in name or ":" in name or "\0" in name
    if odd or not name.strip() or pure.is_absolute() or ".." in pure.parts:
        raise DataError(f"'{name}' is not the name of a file in {folder}: names only, no paths")
    path = folder / pure
    try:
        resolved = path.resolve()
        leaves = not resolved.is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself
        raise DataError(f"{path} cannot be read: {error}") from error
    if leaves:
        raise DataError(f"{path} is a link that leaves {folder}: copy the file instead")
    return path


def present(folder: Path, name: str) -> Path | None:
    """The file of that name if it is there; raises like `inside`."""
    path = inside(folder, name)
    return path if path.is_file() else None


@told_as(DataError)
def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `DataError`."""
    return read_object(path)


@told_as(DataError)
def positive(value: Any, what: str) -> float:
    """A number above zero, from 1e-12 to 1e12; raises `DataError`."""
    return finite(value, what, 1e-12, 1e12)


@told_as(DataError)
def read_powers(path: Path, count: int) -> list[float]:
    """One relative power per line; raises `DataError` if there are not `count` positive ones."""
    powers: list[float] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        token = line.strip().strip(",;")
        if not token or token.startswith("#"):
            continue
        try:
            value = float(token)
        except ValueError:
            if not powers and number == 1:
                continue  # a heading
            raise DataError(f"{path}, line {number}: '{token[:40]}' is not a number") from None
        powers.append(positive(value, f"{path}, line {number}"))
    if len(powers) != count:
        raise DataError(f"{path} holds {len(powers)} powers for {count} lights")
    return powers
