"""Heights as a Digital Surf file (``.sur``): what MountainsMap and instrument makers read.

A header of 512 bytes and 32-bit integers; a point that was not measured holds two below the lowest.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from reconstruct.metrology.grid import HeightGrid

SURFACE = 2
NOT_MEASURED = 2  # below the lowest value
LEVELS = 2**30
_HEADER = (
    "<12s4h30s30s5hf4xh5i3f" + "16s" * 9 + "3f3h12x7hfI6x2h128s5f13s13s"
)  # of version 1, 512 bytes


def write_sur(path: Path, grid: HeightGrid) -> None:
    """Write heights in micrometres over millimetres; the first row is the far edge."""
    z_um = grid.z_mm[::-1] * 1e3
    known = np.isfinite(z_um)
    low, high = (float(z_um[known].min()), float(z_um[known].max())) if known.any() else (0.0, 0.0)
    step_um = max((high - low) / LEVELS, 1e-9)
    values = np.rint((np.where(known, z_um, low) - low) / step_um).astype("<i4")
    values[~known] = -NOT_MEASURED
    top = int(values.max()) if values.size else 0
    rows, columns = values.shape
    now = datetime.now(UTC)
    header = struct.pack(
        _HEADER,
        b"DIGITAL SURF", 0, 1, 1, SURFACE,
        _padded("rig", 30), _padded("", 30),
        0, 0, 0, int(not known.all()), 1,
        0.0, 32,
        0, top, columns, rows, rows * columns,
        grid.step_mm, grid.step_mm, step_um,
        *(_padded(name, 16) for name in ("X", "Y", "Z")),
        *(_padded(unit, 16) for unit in ("mm", "mm", "µm")),
        *(_padded(unit, 16) for unit in ("mm", "mm", "µm")),
        1.0, 1.0, 1.0,
        0, 0, 0,
        now.second, now.minute, now.hour, now.day, now.month, now.year, now.isoweekday() % 7,
        0.0, 0, 0, 0, bytes(128),
        grid.x0_mm, grid.y0_mm, low, 0.0, 0.0,
        _padded("", 13), _padded("", 13),
    )  # fmt: skip
    path.write_bytes(header + values.tobytes())


def _padded(text: str, size: int) -> bytes:
    return text.encode("latin-1").ljust(size, b" ")
