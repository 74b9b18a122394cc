"""Heights as Gwyddion's own file (``.gwy``): data with units, and the holes as a mask.

Format: Gwyddion user guide, "File format"; a tree of objects, little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconstruct.metrology.grid import HeightGrid


def write_gwy(path: Path, grid: HeightGrid) -> None:
    """Write heights, their uncertainty where it is known, and a mask of what was not measured.

    Heights of holes are those of the lowest point: Gwyddion's fields hold no NaN, the mask tells.
    """
    items = _channel(0, "Height", grid.z_mm, grid)
    if grid.sigma_mm is not None and np.isfinite(grid.sigma_mm).any():
        items += _channel(1, "One sigma of height", grid.sigma_mm, grid)
    path.write_bytes(b"GWYP" + _object("GwyContainer", items))


def _channel(number: int, title: str, values: NDArray[np.float64], grid: HeightGrid) -> bytes:
    known = np.isfinite(values)
    low = float(values[known].min()) if known.any() else 0.0
    data = np.where(known, values, low)[::-1] * 1e-3  # the far edge first, metres
    items = _item(f"/{number}/data", b"o", _field(data, grid, "m"))
    items += _item(f"/{number}/data/title", b"s", _text(title))
    if not known.all():
        hole = (~known[::-1]).astype(np.float64)
        items += _item(f"/{number}/mask", b"o", _field(hole, grid, ""))
    return items


def _field(data: NDArray[np.float64], grid: HeightGrid, unit: str) -> bytes:
    rows, columns = data.shape
    step = grid.step_mm * 1e-3
    values = np.ascontiguousarray(data, dtype="<f8")
    items = b"".join(
        [
            _item("xres", b"i", struct.pack("<i", columns)),
            _item("yres", b"i", struct.pack("<i", rows)),
            _item("xreal", b"d", struct.pack("<d", columns * step)),
            _item("yreal", b"d", struct.pack("<d", rows * step)),
            _item("xoff", b"d", struct.pack("<d", grid.x0_mm * 1e-3 - step / 2)),
            # Gwyddion counts y downwards from the top edge.
            _item("yoff", b"d", struct.pack("<d", -(grid.y_mm[-1] * 1e-3 + step / 2))),
            _item("si_unit_xy", b"o", _unit("m")),
            _item("si_unit_z", b"o", _unit(unit)),
            _item("data", b"D", struct.pack("<I", values.size) + values.tobytes()),
        ]
    )
    return _object("GwyDataField", items)


def _unit(name: str) -> bytes:
    return _object("GwySIUnit", _item("unitstr", b"s", _text(name)))


def _object(kind: str, items: bytes) -> bytes:
    return _text(kind) + struct.pack("<I", len(items)) + items


def _item(name: str, kind: bytes, value: bytes) -> bytes:
    return _text(name) + kind + value


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
