"""Anything with a shape as heights on a grid: results, meshes, height maps, ground truth."""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from intake.arrays import read_npy
from intake.errors import told_as
from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff
from reconstruct.export.mesh import read_mesh
from reconstruct.export.results import is_result, read_results
from reconstruct.export.topography import read_topography
from reconstruct.metrology.accuracy import Truth
from reconstruct.metrology.curved import CURVED, CURVED_ADVICE
from reconstruct.metrology.grid import HeightGrid, grid_of

MESHES = (".ply", ".stl", ".obj", ".glb", ".gltf", ".off")
MAPS = (".tif", ".tiff", ".npy")
KNOWN = "a results folder, a mesh (.ply .stl .obj .glb), .x3p, .sdf, truth.npz or a map (.tif .npy)"


def read_shape(
    path: Path,
    step_mm: float | None = None,
    pitch_mm: float | None = None,
    unit_mm: float | None = None,
) -> HeightGrid:
    """Read heights over x and y from any of the files we know.

    Parameters
    ----------
    step_mm : of the grid, for meshes and results; None: their own
    pitch_mm : distance of neighbouring pixels of a bare map (.tif, .npy), which does not say;
        its middle is put at x = y = 0, its rows run downwards as a picture's do
    unit_mm : of a mesh; None: metres for glTF, millimetres for the others

    Raises
    ------
    ReconstructError
        if it cannot be read, or a map comes without its pitch
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        if not is_result(path):
            raise ReconstructError(f"{path} holds no result: expected {KNOWN}")
        return grid_of(read_results(path), step_mm)
    if not path.exists():
        raise ReconstructError(f"there is no file {path}: is its name spelled so?")
    if suffix in CURVED:
        raise ReconstructError(f"{path} {CURVED_ADVICE}")
    if suffix in MESHES:
        mesh = read_mesh(path, unit_mm)
        size_mm = float(np.ptp(mesh.vertices_mm[:, :2], axis=0).max())
        if step_mm is not None and size_mm < 8 * step_mm:
            raise ReconstructError(
                f"{path} is {size_mm:.3g} mm wide: if it is in metres or inches, say so with "
                "--unit m or --unit inch"
            )
        return seen_from_above(mesh.vertices_mm, mesh.faces, step_mm)
    if suffix in (".x3p", ".sdf"):
        return read_topography(path)
    if suffix == ".npz":
        return seen_from_above(*_sheet(Truth.read(path).position), step_mm)
    if suffix in MAPS:
        return _map(path, pitch_mm)
    raise ReconstructError(f"{path} is of no known kind: expected {KNOWN}")


def _map(path: Path, pitch_mm: float | None) -> HeightGrid:
    if pitch_mm is None or not pitch_mm > 0:
        raise ReconstructError(f"{path} does not say how far its pixels are apart: give --pitch")
    with told_as(ReconstructError):
        z = read_npy(path) if path.suffix.lower() == ".npy" else read_tiff(path)
    if z.ndim != 2 or min(z.shape) < 2:
        raise ReconstructError(f"{path} is {z.shape}: expected one height per pixel")
    with np.errstate(invalid="ignore"):
        if np.any(np.abs(z) > 1e9):
            raise ReconstructError(f"{path} holds heights of more than 1e9 mm: is it a height map?")
    rows, columns = z.shape
    corner = (-(columns - 1) / 2 * pitch_mm, -(rows - 1) / 2 * pitch_mm)
    return HeightGrid(np.asarray(z[::-1], dtype=np.float64), pitch_mm, *corner)


def _sheet(position: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices and triangles of a (H, W, 3) sheet of points with gaps."""
    good = np.all(np.isfinite(position), axis=-1)
    number = np.where(good, np.cumsum(good.ravel()).reshape(good.shape) - 1, -1)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    one = np.stack([a, c, d], axis=-1).reshape(-1, 3)
    other = np.stack([a, d, b], axis=-1).reshape(-1, 3)
    faces = np.concatenate([one, other])
    return position[good], faces[(faces >= 0).all(axis=1)]


def seen_from_above(
    vertices_mm: NDArray[np.float64], faces: NDArray[np.int64], step_mm: float | None = None
) -> HeightGrid:
    """The highest point of a mesh over each point of a grid.

    Parameters
    ----------
    step_mm : of the grid; None: the median length of the edges seen from above
    """
    if len(faces) == 0:
        raise ReconstructError("the mesh has no triangles")
    corners = vertices_mm[faces]
    if step_mm is None:
        edges = np.linalg.norm(corners[:, 1, :2] - corners[:, 0, :2], axis=1)
        spread = float(np.ptp(vertices_mm[:, :2], axis=0).max())
        if not spread > 0:
            raise ReconstructError("the mesh has no extent in x and y")
        step_mm = float(np.clip(np.median(edges), spread / 1000, spread / 50))
    low = corners[..., :2].min(axis=(0, 1))
    high = corners[..., :2].max(axis=(0, 1))
    count = np.floor((high - low) / step_mm + 1e-9).astype(int) + 1
    if not step_mm > 0 or np.prod(count.astype(float)) > 2e8:
        raise ReconstructError(f"a step of {step_mm} mm would make a grid of {count} points")
    z = np.full((int(count[1]), int(count[0])), np.nan)
    _rasterise(np.ascontiguousarray(corners), z, float(low[0]), float(low[1]), float(step_mm))
    return HeightGrid(z, float(step_mm), float(low[0]), float(low[1]))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _rasterise(
    corners: NDArray[np.float64], z: NDArray[np.float64], x0: float, y0: float, step: float
) -> None:
    rows, columns = z.shape
    for k in range(corners.shape[0]):
        ax, ay, az = corners[k, 0]
        bx, by, bz = corners[k, 1]
        cx, cy, cz = corners[k, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-300:
            continue  # seen edge on
        first_column = max(0, int(np.ceil((min(ax, bx, cx) - x0) / step - 1e-9)))
        last_column = min(columns - 1, int(np.floor((max(ax, bx, cx) - x0) / step + 1e-9)))
        first_row = max(0, int(np.ceil((min(ay, by, cy) - y0) / step - 1e-9)))
        last_row = min(rows - 1, int(np.floor((max(ay, by, cy) - y0) / step + 1e-9)))
        for i in range(first_row, last_row + 1):
            y = y0 + i * step
            for j in range(first_column, last_column + 1):
                x = x0 + j * step
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if v < -1e-9 or w < -1e-9 or v + w > 1 + 1e-9:
                    continue
                height = az + v * (bz - az) + w * (cz - az)
                if not z[i, j] >= height:
                    z[i, j] = height
