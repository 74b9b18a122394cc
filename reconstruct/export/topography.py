"""Surface topography on a regular grid: X3P (ISO 25178-72) and SDF (ISO 25178-71), in metres.

Rows go from the far edge (largest y) to the near one, as viewers draw them: the first on top. So a
file looks in Gwyddion as it looks in the report.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake.archives import member_pieces, open_zip
from intake.errors import told_as
from intake.files import read_bytes
from intake.trees import finite
from reconstruct.errors import ReconstructError
from reconstruct.metrology.grid import HeightGrid

MAX_BYTES = 2**31
MAX_RATIO = 1100  # more than deflate can do with heights
MAX_POINTS = 10**8
_MAKER = ("rig", "photometric stereo", "", "1")


def write_x3p(path: Path, grid: HeightGrid) -> None:
    """Write heights as X3P with 64-bit floats; x counts from the left, rows from the top."""
    import x3pio

    metadata = x3pio.Metadata(
        creator="rig",
        instrument=x3pio.Instrument(*_MAKER),
        probing_system=x3pio.ProbingSystem(x3pio.ProbingType.NON_CONTACTING, "photometric stereo"),
        comment=f"origin x {grid.x0_mm!r} mm, y {grid.y0_mm!r} mm in the rig's world frame",
    )
    step = grid.step_mm * 1e-3
    x3pio.write(path, grid.z_mm[::-1] * 1e-3, x_scale=step, y_scale=step, metadata=metadata)


def write_sdf(path: Path, grid: HeightGrid) -> None:
    """Write heights as binary SDF with 64-bit floats, in the revision that Gwyddion knows too."""
    import sdfio

    # ISO-1.0 counts points in 16 bits; a larger map needs 2.0, which Gwyddion 2.62 does not read.
    small = max(grid.z_mm.shape) < 2**16
    metadata = sdfio.Metadata(
        revision=sdfio.Revision.ISO_1_0 if small else sdfio.Revision.ISO_2_0,
        manufacturer_id="rig",
        data_type=sdfio.DataType.BINARY64,
    )
    step = grid.step_mm * 1e-3
    sdfio.write(path, grid.z_mm[::-1] * 1e-3, x_scale=step, y_scale=step, metadata=metadata)


@told_as(ReconstructError)
def read_topography(path: Path) -> HeightGrid:
    """Read X3P or SDF as a grid in mm.

    Where x and y are sampled at unequal steps, heights are interpolated linearly along the coarser
    axis, so that the grid has the finer step both ways.

    Raises
    ------
    ReconstructError
        if it cannot be read, or holds no heights
    """
    data = read_bytes(path, MAX_BYTES)
    x3p = path.suffix.lower() == ".x3p"
    if x3p:
        _refuse_bombs(data, path)
    try:
        if x3p:
            import x3pio

            surface = x3pio.read(io.BytesIO(data))
            z = np.asarray(surface.layers[0].z, dtype=np.float64)
            steps = (float(surface.header.x.increment), float(surface.header.y.increment))
        else:
            import sdfio

            sdf = sdfio.read(io.BytesIO(data))
            z = np.asarray(sdf.data, dtype=np.float64)
            steps = (float(sdf.header.x_scale), float(sdf.header.y_scale))
    except Exception as error:  # both raise kinds of their own and whatever damage leads them to
        said = " ".join(str(error).split())[:200]
        raise ReconstructError(f"{path} cannot be read: {said}") from error
    if z.ndim != 2 or min(z.shape) < 2:
        raise ReconstructError(f"{path} holds no height map: its data are {z.shape}")
    x_mm, y_mm = (
        finite(step, f"{path}: the sampling step, m,", 1e-12, 1e3) * 1e3 for step in steps
    )
    with np.errstate(invalid="ignore"):
        if np.any(np.abs(z) > 1e6):
            raise ReconstructError(f"{path} is damaged: it holds heights of kilometres")
    step = min(x_mm, y_mm)
    rows, columns = (
        round((n - 1) * each / step) + 1 for n, each in zip(z.shape, (y_mm, x_mm), strict=True)
    )
    if rows * columns > 4 * z.size + 1000 and rows * columns > MAX_POINTS:
        raise ReconstructError(f"{path} is sampled too unequally in x and y: {x_mm:g}, {y_mm:g} mm")
    z = _resampled(z, rows, y_mm / step)
    z = _resampled(z.T, columns, x_mm / step).T
    return HeightGrid(z[::-1] * 1e3, step_mm=step)


def _resampled(z: NDArray[np.float64], count: int, ratio: float) -> NDArray[np.float64]:
    """(count, columns) heights between rows that lie `ratio` steps apart; NaN stays NaN."""
    if abs(ratio - 1) < 1e-6:
        return z
    place = np.minimum(np.arange(count) / ratio, len(z) - 1)
    low = np.minimum(place.astype(int), len(z) - 2)
    share = (place - low)[:, None]
    return np.asarray(np.where(share < 1e-9, z[low], (1 - share) * z[low] + share * z[low + 1]))


def _refuse_bombs(data: bytes, path: Path) -> None:
    """Refuse an X3P whose members unpack to far more than they are."""
    with open_zip(io.BytesIO(data), str(path)) as zipped:
        members = zipped.infolist()
        if sum(member.file_size for member in members) > MAX_RATIO * len(data) + 2**20:
            raise ReconstructError(f"{path} would unpack to far more than it is: refused")
        for member in members:
            for _ in member_pieces(zipped, member, str(path)):
                pass
