"""One surface into the file somebody asked for, by its name."""

from __future__ import annotations

import os
from pathlib import Path

from intake import plugins
from intake.errors import told_as
from reconstruct.errors import ReconstructError
from reconstruct.export.gwyddion import write_gwy
from reconstruct.export.maps import write_normals_exr, write_tiff
from reconstruct.export.mesh import mesh_of, write_mesh
from reconstruct.export.normal_map import write_gltf
from reconstruct.export.surf import write_sur
from reconstruct.export.topography import write_sdf, write_x3p
from reconstruct.export.walls import closed_mesh
from reconstruct.metrology.grid import grid_of
from reconstruct.surface import Surface

KINDS = {
    ".ply": "mesh with normals and uncertainty",
    ".stl": "mesh, mm",
    ".obj": "mesh with normals, mm",
    ".glb": "mesh for viewers, metres, y up",
    ".x3p": "topography, ISO 25178-72",
    ".sdf": "topography, ISO 25178-71",
    ".gltf": "light mesh with a normal map, metres, y up",
    ".gwy": "topography, Gwyddion",
    ".sur": "topography, Digital Surf",
    ".exr": "normals, world frame",
    ".tif": "heights, mm, one per pixel",
}

MESHES = (".ply", ".stl", ".obj", ".glb")
TOPOGRAPHY = {".x3p": write_x3p, ".sdf": write_sdf, ".gwy": write_gwy, ".sur": write_sur}


def kinds() -> dict[str, str]:
    """Every ending that can be written, and what it is; plug-ins' last."""
    added = (f".{name.lower()}" for name in plugins.offered(plugins.EXPORTERS))
    return {**{ending: "by a plug-in" for ending in added}, **KINDS}


def export_surface(
    surface: Surface, path: Path | str, step_mm: float | None = None, walls: bool = False
) -> Path:
    """Write a surface in the format that the file name ends with.

    Parameters
    ----------
    path : to write; must not exist
    step_mm : of the regular grid of topography; None: the mean distance of the pixels
    walls : of a mesh: close it by walls that were not measured (see `reconstruct.export.walls`)

    Raises
    ------
    ReconstructError
        if the file exists or the format is not one of `kinds`
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in kinds():
        raise ReconstructError(f"{path.name}: choose one of {', '.join(sorted(kinds()))}")
    if walls and kind not in MESHES:
        raise ReconstructError(f"{path.name}: walls belong to a mesh: {', '.join(MESHES)}")
    if path.exists():
        raise ReconstructError(f"{path} exists already and is kept: name another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    try:
        if kind not in KINDS:
            with told_as(ReconstructError):
                plugins.load(plugins.EXPORTERS, kind[1:])(surface, part)
        elif kind in MESHES:
            write_mesh(part, closed_mesh(surface) if walls else mesh_of(surface))
        elif kind in TOPOGRAPHY:
            TOPOGRAPHY[kind](part, grid_of(surface, step_mm))
        elif kind == ".gltf":
            write_gltf(part, surface)
        elif kind == ".exr":
            write_normals_exr(part, surface.normals)
        else:
            write_tiff(part, surface.height_mm, "height z, mm, world frame")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
