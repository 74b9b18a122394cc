"""A surface as a triangle mesh: PLY, STL, GLB, OBJ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.surface import Surface

# glTF is in metres with y up (Khronos glTF 2.0, 3.4); our world is in millimetres with z up.
_MM_Z_UP_TO_M_Y_UP = np.array(
    [[1e-3, 0, 0, 0], [0, 0, 1e-3, 0], [0, -1e-3, 0, 0], [0, 0, 0, 1]], dtype=np.float64
)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the world frame.

    Attributes
    ----------
    vertices_mm : (V, 3) float64
    faces : (F, 3) int64, counter-clockwise seen from the camera
    normals : (V, 3) float32, or None
    quality : (V,) float32 one-sigma height uncertainty in mm, or None
    """

    vertices_mm: NDArray[np.float64]
    faces: NDArray[np.int64]
    normals: NDArray[np.float32] | None = None
    quality: NDArray[np.float32] | None = None


def mesh_of(surface: Surface) -> Mesh:
    """One vertex per pixel that has a height; two triangles where four neighbours have one.

    Where three of four have one, that one triangle is made. A square is split along its diagonal
    with the smaller difference in height, which follows edges better.
    """
    points = surface.points_mm()
    mask = surface.mask
    if not mask.any():
        raise ReconstructError("the surface has no valid pixel: there is nothing to export")
    number = np.full(mask.shape, -1, dtype=np.int64)
    number[mask] = np.arange(np.count_nonzero(mask))
    z = surface.height_mm
    a, b = number[:-1, :-1], number[:-1, 1:]
    c, d = number[1:, :-1], number[1:, 1:]
    fall = np.abs(z[:-1, :-1] - z[1:, 1:]) <= np.abs(z[:-1, 1:] - z[1:, :-1])
    whole = (a >= 0) & (b >= 0) & (c >= 0) & (d >= 0)
    # Image rows run downwards, so a, c, d turns counter-clockwise seen from the camera.
    along, across = whole & fall, whole & ~fall
    triples = [
        (along, a, c, d),
        (along, a, d, b),
        (across, a, c, b),
        (across, b, c, d),
        (~whole & (a >= 0) & (c >= 0) & (d >= 0), a, c, d),
        (~whole & (a >= 0) & (d >= 0) & (b >= 0), a, d, b),
        (~whole & (a >= 0) & (c >= 0) & (b >= 0), a, c, b),
        (~whole & (b >= 0) & (c >= 0) & (d >= 0), b, c, d),
    ]
    faces = np.concatenate([np.stack([p[m], q[m], r[m]], axis=-1) for m, p, q, r in triples])
    normals = np.nan_to_num(surface.normals[mask])
    return Mesh(points[mask], faces, normals, np.nan_to_num(surface.sigma_mm[mask], nan=-1.0))


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh in the format that the file name ends with.

    PLY carries vertex normals and the uncertainty as ``quality``; OBJ carries normals; STL only
    triangles. Coordinates are millimetres; GLB is in metres with y up, as glTF demands.

    Raises
    ------
    ReconstructError
        if the format is not one of these
    """
    import trimesh

    kind = path.suffix.lower().lstrip(".")
    shape = trimesh.Trimesh(
        vertices=mesh.vertices_mm,
        faces=mesh.faces,
        vertex_normals=mesh.normals,
        process=False,
        validate=False,
    )
    if kind == "ply":
        if mesh.quality is not None:
            shape.vertex_attributes["quality"] = mesh.quality.astype(np.float32)
        data = shape.export(file_type="ply", vertex_normal=mesh.normals is not None)
    elif kind == "stl":
        data = shape.export(file_type="stl")
    elif kind == "obj":
        data = shape.export(file_type="obj", include_normals=mesh.normals is not None, digits=9)
    elif kind == "glb":
        scene = trimesh.Scene()
        scene.add_geometry(shape, transform=_MM_Z_UP_TO_M_Y_UP, node_name="surface")
        data = scene.export(file_type="glb", include_normals=mesh.normals is not None)
    else:
        raise ReconstructError(f"{path.name}: a mesh is written as .ply, .stl, .obj or .glb")
    path.write_bytes(data if isinstance(data, bytes) else str(data).encode())


def read_mesh(path: Path) -> Mesh:
    """Read a mesh in millimetres (GLB: metres with y up); raises `ReconstructError`."""
    import trimesh

    if not path.is_file():
        raise ReconstructError(f"there is no {path}")
    try:
        scene = trimesh.load_scene(path)
        shape = scene.to_mesh()
    except Exception as error:  # trimesh raises whatever its readers meet
        raise ReconstructError(f"{path} cannot be read as a mesh: {error}") from error
    if len(shape.faces) == 0:
        raise ReconstructError(f"{path} holds no triangles")
    vertices = np.asarray(shape.vertices, dtype=np.float64)
    normals = np.asarray(shape.vertex_normals, dtype=np.float64)
    if path.suffix.lower() in (".glb", ".gltf"):
        back = np.linalg.inv(_MM_Z_UP_TO_M_Y_UP)[:3, :3]
        vertices = vertices @ back.T
        normals = normals @ (back.T / 1e3)
    quality = shape.vertex_attributes.get("quality")
    if quality is None:
        quality = _ply_quality(path, len(vertices))
    return Mesh(
        vertices,
        np.asarray(shape.faces, dtype=np.int64),
        normals.astype(np.float32),
        None if quality is None else np.asarray(quality, dtype=np.float32).ravel(),
    )


def _ply_quality(path: Path, count: int) -> NDArray[np.float32] | None:
    """The ``quality`` of a PLY's vertices, which trimesh keeps in its raw metadata."""
    import trimesh

    if path.suffix.lower() != ".ply":
        return None
    raw = trimesh.load_mesh(path, process=False).metadata.get("_ply_raw", {})
    data = raw.get("vertex", {}).get("data")
    names = getattr(getattr(data, "dtype", None), "names", None) or ()
    if "quality" not in names or len(data) != count:
        return None
    return np.asarray(data["quality"], dtype=np.float32).ravel()
