"""Surface topography on a regular grid: X3P (ISO 25178-72) and SDF (ISO 25178-71), in metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reconstruct.errors import ReconstructError
from reconstruct.metrology.grid import HeightGrid

_MAKER = ("rig", "photometric stereo", "", "1")


def write_x3p(path: Path, grid: HeightGrid) -> None:
    """Write heights as X3P with 64-bit floats; x and y count from the grid's first point."""
    import x3pio

    metadata = x3pio.Metadata(
        creator="rig",
        instrument=x3pio.Instrument(*_MAKER),
        probing_system=x3pio.ProbingSystem(x3pio.ProbingType.NON_CONTACTING, "photometric stereo"),
        comment=f"origin x {grid.x0_mm!r} mm, y {grid.y0_mm!r} mm in the rig's world frame",
    )
    step = grid.step_mm * 1e-3
    x3pio.write(path, grid.z_mm * 1e-3, x_scale=step, y_scale=step, metadata=metadata)


def write_sdf(path: Path, grid: HeightGrid) -> None:
    """Write heights as binary SDF with 64-bit floats."""
    import sdfio

    metadata = sdfio.Metadata(manufacturer_id="rig", data_type=sdfio.DataType.BINARY64)
    step = grid.step_mm * 1e-3
    sdfio.write(path, grid.z_mm * 1e-3, x_scale=step, y_scale=step, metadata=metadata)


def read_topography(path: Path) -> HeightGrid:
    """Read X3P or SDF with square sampling as a grid in mm; raises `ReconstructError`."""
    if not path.is_file():
        raise ReconstructError(f"there is no file {path}: is its name spelled so?")
    try:
        if path.suffix.lower() == ".x3p":
            import x3pio

            x3p = x3pio.read(path)
            z = np.asarray(x3p.layers[0].z, dtype=np.float64)
            steps = (float(x3p.header.x.increment), float(x3p.header.y.increment))
        else:
            import sdfio

            sdf = sdfio.read(path)
            z = np.asarray(sdf.data, dtype=np.float64)
            steps = (float(sdf.header.x_scale), float(sdf.header.y_scale))
    except (OSError, ValueError, RuntimeError, LookupError, AttributeError, TypeError) as error:
        raise ReconstructError(f"{path} cannot be read: {error}") from error
    if z.ndim != 2:
        raise ReconstructError(f"{path} holds no height map: its data are {z.shape}")
    if not np.isclose(*steps, rtol=1e-6):
        raise ReconstructError(f"{path} is sampled unequally in x and y: {steps} m")
    return HeightGrid(z * 1e3, step_mm=steps[0] * 1e3)
