"""A light mesh that looks like the full one: glTF with a normal map, for viewers in the web."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.export.mesh import mesh_of
from reconstruct.surface import Surface

MESH_SIDE = 128  # vertices along the longer side
_FLOAT, _UINT, _ARRAY, _ELEMENTS = 5126, 5125, 34962, 34963


def write_gltf(path: Path, surface: Surface) -> None:
    """Write one self-contained file: every few pixels a vertex, and the normals of all pixels.

    All vertices carry the world's z as normal and x as tangent, so that the map holds the normals
    of the world as they are (glTF 2.0, 3.9.3: x right, y up, z out). Metres with y up.

    Raises
    ------
    ReconstructError
        nothing was measured
    """
    step = max(1, -(-max(surface.height_mm.shape) // MESH_SIDE))
    camera = surface.camera.binned(step) if step > 1 else surface.camera

    def fitted(values: NDArray[Any]) -> NDArray[Any]:
        """Every few pixels, as many as the camera of binned pictures has."""
        some = values[step // 2 :: step, step // 2 :: step]
        return np.ascontiguousarray(some[: camera.height, : camera.width])

    small = Surface(
        camera,
        height_mm=fitted(surface.height_mm),
        normals=fitted(surface.normals),
        sigma_mm=fitted(surface.sigma_mm),
        normal_sigma_deg=fitted(surface.normal_sigma_deg),
        flags=fitted(surface.flags),
    )
    mesh = mesh_of(small)
    if not len(mesh.faces):
        raise ReconstructError("the surface has no triangle: there is nothing to export")
    rows, columns = np.nonzero(small.mask)
    height, width = small.mask.shape
    texture = np.column_stack([(columns + 0.5) / width, (rows + 0.5) / height])
    count = len(mesh.vertices_mm)
    parts: list[tuple[NDArray[Any], str, int, int]] = [
        (mesh.vertices_mm.astype("<f4"), "VEC3", _FLOAT, _ARRAY),
        (np.tile(np.array([0, 0, 1], "<f4"), (count, 1)), "VEC3", _FLOAT, _ARRAY),
        (np.tile(np.array([1, 0, 0, 1], "<f4"), (count, 1)), "VEC4", _FLOAT, _ARRAY),
        (texture.astype("<f4"), "VEC2", _FLOAT, _ARRAY),
        (mesh.faces.astype("<u4").ravel(), "SCALAR", _UINT, _ELEMENTS),
    ]
    picture = normal_picture(surface)
    offset = 0
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    for values, kind, component, target in parts:
        views.append(
            {"buffer": 0, "byteOffset": offset, "byteLength": values.nbytes, "target": target}
        )
        accessor: dict[str, Any] = {
            "bufferView": len(views) - 1, "componentType": component, "count": len(values),
            "type": kind,
        }  # fmt: skip
        if not accessors:  # positions say how far they reach
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
        offset += values.nbytes
    document = {
        "asset": {"version": "2.0", "generator": "rig"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            # millimetres with z up to metres with y up
            {"mesh": 0, "name": "surface", "scale": [1e-3, 1e-3, 1e-3],
             "rotation": [-(0.5**0.5), 0, 0, 0.5**0.5]},
        ],
        "meshes": [{"primitives": [{
            "attributes": {"POSITION": 0, "NORMAL": 1, "TANGENT": 2, "TEXCOORD_0": 3},
            "indices": 4, "material": 0,
        }]}],
        "materials": [{
            "normalTexture": {"index": 0},
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.75, 0.75, 0.75, 1], "metallicFactor": 0.9,
                "roughnessFactor": 0.4,
            },
            "doubleSided": True,
        }],
        "textures": [{"source": 0}],
        "images": [{"uri": "data:image/png;base64," + base64.b64encode(picture).decode()}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{
            "byteLength": offset,
            "uri": "data:application/octet-stream;base64,"
            + base64.b64encode(b"".join(values.tobytes() for values, *_ in parts)).decode(),
        }],
    }  # fmt: skip
    path.write_text(json.dumps(document), encoding="utf-8")


def normal_picture(surface: Surface) -> bytes:
    """The normals as an 8-bit PNG: red, green, blue = (x, y, z) from −1 … 1 to 0 … 255."""
    normals = np.where(np.isfinite(surface.normals), surface.normals, [0.0, 0.0, 1.0])
    codes = np.rint((normals + 1) / 2 * 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", codes[..., ::-1])[1].tobytes())
