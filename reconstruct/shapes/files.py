"""Parts from files: height maps and triangle meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake.arrays import read_npy, read_npz
from intake.errors import told_as
from intake.pictures import read_picture
from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff
from reconstruct.export.mesh import read_mesh
from reconstruct.metrology.reading import seen_from_above
from reconstruct.nearest import filled_in
from reconstruct.shapes.base import HeightGrid, Shape

MAP_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".npz")
MESH_SUFFIXES = (".ply", ".stl", ".obj", ".glb")


def read_shape(
    path: Path,
    pixel_mm: float | None = None,
    height_scale_mm: float = 1.0,
    nodes: int = 768,
) -> Shape:
    """A part from a height map (tif, png, npy, npz) or a mesh (ply, stl, obj, glb).

    The part is laid with the middle of its outline on the middle of the stage. Meshes keep their
    heights; of a mesh the camera sees the top.

    Parameters
    ----------
    pixel_mm : spacing of a height map's pixels; required for one. The first row is the far one
        (+y), as in a picture.
    height_scale_mm : millimetres per unit of a height map
    nodes : of the grid along a mesh's longer side

    Raises
    ------
    ReconstructError
        The file cannot be read as what its name says, or the spacing is missing.
    """
    suffix = path.suffix.lower()
    if suffix in MESH_SUFFIXES:
        return shape_of_mesh(path, nodes)
    if suffix not in MAP_SUFFIXES:
        known = " ".join((*MAP_SUFFIXES, *MESH_SUFFIXES))
        raise ReconstructError(f"{path.name}: a part is read from one of {known}")
    if pixel_mm is None or not pixel_mm > 0:
        raise ReconstructError(f"{path.name} is a height map: give the size of its pixels in mm")
    heights = _read_map(path) * height_scale_mm
    return shape_of_heights(heights[::-1], pixel_mm, path.name)


def shape_of_heights(z_mm: NDArray[Any], step_mm: float, name: str = "heights") -> Shape:
    """A part of heights on a grid, rows along +y; NaN is outside the part."""
    z = np.asarray(z_mm, dtype=np.float64)
    if z.ndim != 2 or min(z.shape) < 4:
        raise ReconstructError(f"{name}: expected a height map of 4×4 or more, not {z.shape}")
    good = np.isfinite(z)
    if not good.any():
        raise ReconstructError(f"{name} holds no finite height")
    # Beyond the part its border's height goes on: no cliff that a spline would overshoot.
    grid = HeightGrid(filled_in(z, good), step_mm)
    rows, columns = z.shape

    def inside(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        u = np.rint(np.asarray(x) / step_mm + (columns - 1) / 2)
        v = np.rint(np.asarray(y) / step_mm + (rows - 1) / 2)
        on = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        u, v = np.clip(u, 0, columns - 1).astype(int), np.clip(v, 0, rows - 1).astype(int)
        return np.asarray(on & good[v, u])

    return Shape(name, grid, inside, None, {"file": name, "step_mm": step_mm})


@told_as(ReconstructError)
def _read_map(path: Path) -> NDArray[np.float64]:
    kind = path.suffix.lower()
    if kind == ".npy":
        data = read_npy(path)
    elif kind == ".npz":
        arrays = read_npz(path)
        if len(arrays) != 1:
            names = ", ".join(arrays) or "nothing"
            raise ReconstructError(f"{path.name} holds {names}: expected one height map")
        data = next(iter(arrays.values()))
    else:
        data = read_picture(path).pixels if kind == ".png" else read_tiff(path)
    if data.ndim != 2:
        raise ReconstructError(f"{path} is not a height map of one channel")
    return np.asarray(data, dtype=np.float64)


def shape_of_mesh(path: Path, nodes: int = 768) -> Shape:
    """A part from a mesh in millimetres, seen from above."""
    mesh = read_mesh(path)
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    size = high - low
    if not min(size[0], size[1]) > 0:
        raise ReconstructError(f"{path.name} has no extent in x and y")
    step = float(max(size[0], size[1]) / (nodes - 1))
    seen = seen_from_above(mesh.vertices_mm, mesh.faces, step)
    return shape_of_heights(seen.z_mm, step, path.name)
