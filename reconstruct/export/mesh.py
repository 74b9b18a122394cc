"""A surface as a triangle mesh: PLY, STL, GLB, OBJ."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake.errors import told_as
from intake.files import read_bytes
from intake.trees import parse_json, whole
from reconstruct.errors import ReconstructError
from reconstruct.surface import Surface

MAX_MESH_BYTES = 2**31
FARTHEST = 1e9

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
    kind = path.suffix.lower().lstrip(".")
    if kind == "ply":
        _write_ply(path, mesh)
        return
    import trimesh

    shape = trimesh.Trimesh(
        vertices=mesh.vertices_mm,
        faces=mesh.faces,
        vertex_normals=mesh.normals,
        process=False,
        validate=False,
    )
    if kind == "stl":
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


def _write_ply(path: Path, mesh: Mesh) -> None:
    """Write binary PLY: every result has one, and the library takes longer to load than to write.

    Vertices are float32 x, y, z, normal and quality where there are such; faces are int32.
    """
    columns: list[NDArray[Any]] = [mesh.vertices_mm]
    names = ["x", "y", "z"]
    if mesh.normals is not None:
        columns.append(mesh.normals)
        names += ["nx", "ny", "nz"]
    if mesh.quality is not None:
        columns.append(np.asarray(mesh.quality)[:, None])
        names.append("quality")
    faces = np.empty(len(mesh.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"], faces["corners"] = 3, mesh.faces
    header = [
        "ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices_mm)}",
        *(f"property float {name}" for name in names),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(np.concatenate(columns, axis=1, dtype="<f4", casting="same_kind").tobytes())
        file.write(faces.tobytes())


@told_as(ReconstructError)
def read_mesh(path: Path, unit_mm: float | None = None) -> Mesh:
    """Read a mesh, without normals; triangles with a corner that is no number are left out.

    Parameters
    ----------
    unit_mm : length of the file's unit; None: metres for glTF, which says so, and millimetres

    Raises
    ------
    ReconstructError
        if it cannot be read, has no triangles, or one of them names a vertex that there is not
    """
    import trimesh

    kind = path.suffix.lower().lstrip(".")
    data = read_bytes(path, MAX_MESH_BYTES)
    if kind in ("glb", "gltf"):
        _refuse_empty_promises(data, path)
    try:
        # From memory and without a resolver: a mesh brings no other files with it.
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, process=False)
        nodes = list(scene.graph.nodes_geometry)
        turn = np.eye(4)
        if len(nodes) == 1:  # as it is: joining leaves out points without triangles
            turn, name = scene.graph.get(nodes[0])
            shape = scene.geometry[name]
        else:
            shape = scene.to_mesh()
        corners = getattr(shape, "faces", None)
        faces = np.asarray(np.empty((0, 3)) if corners is None else corners, dtype=np.int64)
        vertices = np.asarray(shape.vertices, dtype=np.float64).reshape(-1, 3)
        faces = faces.reshape(-1, 3)
        turn = np.asarray(turn, dtype=np.float64).reshape(4, 4)
    except Exception as error:  # trimesh raises whatever its readers meet
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ReconstructError(f"{path} cannot be read as a mesh: {said}") from error
    if len(faces) == 0:
        raise ReconstructError(f"{path} holds {len(vertices)} points and no triangles")
    if faces.min() < 0 or faces.max() >= len(vertices):
        wrong = faces.min() if faces.min() < 0 else faces.max()
        raise ReconstructError(
            f"{path} is damaged: a triangle names vertex {wrong} of {len(vertices)}"
        )
    with np.errstate(all="ignore"):
        vertices = vertices @ turn[:3, :3].T + turn[:3, 3]
        good = np.all(np.abs(vertices) <= FARTHEST, axis=1)
    kept = good[faces].all(axis=1)
    if not kept.any():
        raise ReconstructError(f"{path} holds no triangle whose corners are all numbers")
    metres = kind in ("glb", "gltf")
    if metres:
        vertices = vertices @ (np.linalg.inv(_MM_Z_UP_TO_M_Y_UP)[:3, :3].T / 1000.0)
    if not good.all():
        number = np.cumsum(good) - 1
        vertices, faces = vertices[good], number[faces[kept]]
    return Mesh(vertices * (unit_mm or (1000.0 if metres else 1.0)), faces)


def _refuse_empty_promises(data: bytes, path: Path) -> None:
    """Refuse a glTF whose accessors count more than its bytes can hold (they may have none)."""
    text = data
    if data[:4] == b"glTF":
        (length,) = struct.unpack("<I", data[12:16]) if len(data) >= 20 else (0,)
        text = data[20 : 20 + length]
    tree = parse_json(text, str(path))
    accessors = tree.get("accessors", []) if isinstance(tree, dict) else None
    if not isinstance(accessors, list):
        raise ReconstructError(f"{path} is no glTF")
    for accessor in accessors:
        count = accessor.get("count", 0) if isinstance(accessor, dict) else None
        whole(count, f"{path}: the count of an accessor", 0, len(data))
