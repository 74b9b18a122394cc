"""Meshes with walls: closed bodies of the right volume where asked for, open ones else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from calib.camera import Camera
from reconstruct.errors import ReconstructError
from reconstruct.export.formats import export_surface
from reconstruct.export.mesh import mesh_of
from reconstruct.export.walls import closed_mesh
from reconstruct.surface import Flag, Surface

SIDE, PIXEL_MM = 60, 0.5
OUT, EDGE, UNLIT = int(Flag.OUTSIDE), int(Flag.EDGE), int(Flag.UNLIT)


def camera() -> Camera:
    """Far away, so that a pixel is as wide at all heights."""
    far = 100_000.0
    K = np.array([[far / PIXEL_MM, 0, 29.5], [0, far / PIXEL_MM, 29.5], [0, 0, 1.0]])
    return Camera(SIDE, SIDE, K, t=np.array([0.0, 0.0, far]))


def block(on_stage: bool = True, unlit: bool = False) -> Surface:
    """40 × 30 px at 6 mm, a pocket of 12 × 12 px at 2.5 mm in it, a bore of 6 × 6 px."""
    height = np.full((SIDE, SIDE), np.nan, np.float32)
    flags = np.full(height.shape, OUT, np.uint8)
    height[10:50, 15:45], flags[10:50, 15:45] = 6.0, 0
    height[20:32, 20:32] = 2.5
    height[38:44, 36:42], flags[38:44, 36:42] = np.nan, OUT
    for rows, columns in ((slice(19, 21), slice(19, 33)), (slice(31, 33), slice(19, 33)),
                          (slice(19, 33), slice(19, 21)), (slice(19, 33), slice(31, 33)),
                          (slice(10, 11), slice(15, 45))):  # fmt: skip
        height[rows, columns], flags[rows, columns] = np.nan, EDGE
    if unlit:
        height[24:28, 24:28], flags[24:28, 24:28] = np.nan, UNLIT
    normals = np.zeros((SIDE, SIDE, 3), np.float32)
    normals[..., 2] = 1.0
    sigma = np.full(height.shape, 0.01, np.float32)
    summary = {"pieces": [{}]} if on_stage else {}
    return Surface(camera(), height, normals, sigma, sigma, flags, summary=summary)


def body(surface: Surface) -> trimesh.Trimesh:
    mesh = closed_mesh(surface)
    return trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)


def test_part_on_the_stage_becomes_a_closed_body() -> None:
    made = body(block())
    assert made.is_watertight
    assert made.is_winding_consistent
    volume = PIXEL_MM**2 * (6.0 * (40 * 30 - 12 * 12 - 6 * 6) + 2.5 * 12 * 12)
    assert made.volume == pytest.approx(volume, rel=0.01)
    assert made.bounds[:, 2] == pytest.approx([0.0, 6.0])


def test_walls_stand_upright() -> None:
    made = body(block())
    leaning = np.abs(made.face_normals[:, 2])
    assert np.all((leaning < 1e-3) | (leaning > 0.999))


def test_without_asking_walls_are_open() -> None:
    mesh = mesh_of(block())
    open_one = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
    assert not open_one.is_watertight
    assert np.all(np.abs(open_one.face_normals[:, 2]) > 0.99)


def test_what_was_not_seen_stays_open() -> None:
    made = body(block(unlit=True))
    assert not made.is_watertight
    centre = made.triangles_center
    over = (np.abs(centre[:, :2] - [-1.9, 1.9]).max(axis=1) < 0.7) & (centre[:, 2] > 0.1)
    assert not over.any()


def test_part_that_fills_the_picture_gets_walls_between_its_pieces_only() -> None:
    made = body(block(on_stage=False))
    assert not made.is_watertight
    assert made.bounds[0, 2] == pytest.approx(2.5)
    upright = np.abs(made.face_normals[:, 2]) < 1e-3
    assert made.area_faces[upright].sum() == pytest.approx(4 * 12 * PIXEL_MM * 3.5, rel=0.1)


def test_export_writes_walls_into_meshes_only(tmp_path: Path) -> None:
    export_surface(block(), tmp_path / "a.stl", walls=True)
    assert trimesh.load_mesh(tmp_path / "a.stl").is_watertight
    with pytest.raises(ReconstructError, match="walls belong to a mesh"):
        export_surface(block(), tmp_path / "a.x3p", walls=True)
