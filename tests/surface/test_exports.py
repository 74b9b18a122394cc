"""Every file of a surface is read back as it was."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import sdfio
import trimesh
import x3pio

from calib.camera import Camera
from reconstruct.errors import ReconstructError
from reconstruct.export.formats import KINDS, export_surface
from reconstruct.export.maps import read_tiff, write_normals_exr
from reconstruct.export.mesh import mesh_of, read_mesh
from reconstruct.export.results import read_results, write_results
from reconstruct.export.topography import read_topography, write_sdf, write_x3p
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.repeats import Repeats
from reconstruct.surface import Flag, Surface


@pytest.fixture
def surface() -> Surface:
    """A wave with a hole, 24×32 pixels."""
    K = np.array([[120.0, 0, 15.5], [0, 120, 11.5], [0, 0, 1]])
    camera = Camera(32, 24, K, t=np.array([0.5, -0.25, 100.0]))
    points = camera.points_at_height(0.0)
    z = np.sin(points[..., 0] / 4) + 0.2 * points[..., 1]
    slope = np.stack(
        [-np.cos(points[..., 0] / 4) / 4, np.full(z.shape, -0.2), np.ones(z.shape)], -1
    )
    normals = (slope / np.linalg.norm(slope, axis=-1, keepdims=True)).astype(np.float32)
    sigma = np.linspace(0.001, 0.01, z.size, dtype=np.float32).reshape(z.shape)
    flags = np.zeros(z.shape, np.uint8)
    z, hole = z.astype(np.float32), np.s_[5:9, 10:14]
    z[hole], normals[hole], sigma[hole] = np.nan, np.nan, np.nan
    flags[hole] = Flag.UNLIT
    return Surface(
        camera, z, normals, sigma, 10 * sigma, flags, {"alpha": 0.15}, {"method": "refine"}
    )


def test_results_folder_reads_back_exactly(surface: Surface, tmp_path: Path) -> None:
    folder = write_results(surface, tmp_path / "out")
    assert {p.name for p in folder.iterdir()} >= {
        "height.tif",
        "normals.tif",
        "uncertainty.tif",
        "surface.ply",
        "summary.json",
    }
    back = read_results(folder)
    for name in ("height_mm", "normals", "sigma_mm", "normal_sigma_deg", "flags"):
        np.testing.assert_array_equal(getattr(back, name), getattr(surface, name))
        assert getattr(back, name).dtype == getattr(surface, name).dtype
    assert back.repeats is None
    np.testing.assert_array_equal(back.camera.K, surface.camera.K)
    np.testing.assert_allclose(
        back.points_mm()[back.mask], surface.points_mm()[surface.mask], atol=1e-12
    )
    assert (back.material, back.summary) == ({"alpha": 0.15}, {"method": "refine"})
    assert json.loads((folder / "summary.json").read_text())["format"] == "rig-result/1"
    assert list(tmp_path.iterdir()) == [folder]


def test_changes_between_recordings_read_back_and_lie_where_they_lay(
    surface: Surface, tmp_path: Path
) -> None:
    """Maps of blocks of 2 pixels that begin at row 4, column 8 of the picture."""
    rows, columns = np.mgrid[0:8, 0:10]
    change = np.stack([1e-3 * rows, 1e-3 * columns, rows * 0.0, rows * 0.0]).astype(np.float32)
    change[:, 0, 0] = np.nan
    told = replace(surface, repeats=Repeats(change, 2).shifted(4, 8))
    back = read_results(write_results(told, tmp_path / "out")).repeats
    assert back is not None
    np.testing.assert_array_equal(back.change_mm, change)
    at = [(4 + 2 * 3 + 0.5, 8 + 2 * 5 + 0.5)]  # the middle of block (3, 5)
    points = [surface.camera.points_at_height(0.0)[int(r) : int(r) + 2, int(c) : int(c) + 2]
              .mean(axis=(0, 1)) for r, c in at]  # fmt: skip
    found = [values[0] for values in back.at(surface.camera, np.array(points))]
    assert found[:2] == pytest.approx([3e-3, 5e-3], abs=1e-6)
    (tmp_path / "out" / "repeats.npz").write_bytes(b"PK no")
    with pytest.raises(ReconstructError, match=r"repeats\.npz is damaged"):
        read_results(tmp_path / "out")


def test_results_are_not_overwritten_unasked(surface: Surface, tmp_path: Path) -> None:
    folder = write_results(surface, tmp_path / "out")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ReconstructError, match="exists already"):
        write_results(surface, folder)
    write_results(surface, folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_numbers_that_json_lacks_become_null(surface: Surface, tmp_path: Path) -> None:
    surface.summary.update({"rmse": float("nan"), "n": np.int64(3), "list": np.arange(2)})
    folder = write_results(surface, tmp_path / "out")
    assert read_results(folder).summary == {
        "method": "refine", "rmse": None, "n": 3, "list": [0, 1],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["height.tif", "normals.tif", "summary.json"])
def test_a_damaged_result_is_named(surface: Surface, tmp_path: Path, name: str) -> None:
    folder = write_results(surface, tmp_path / "out")
    (folder / name).write_bytes(b"II*\0 rubbish")
    with pytest.raises(ReconstructError, match=name.replace(".", r"\.")):
        read_results(folder)
    (folder / name).unlink()
    with pytest.raises(ReconstructError):
        read_results(folder)


def test_ply_has_normals_and_quality_for_any_reader(surface: Surface, tmp_path: Path) -> None:
    folder = write_results(surface, tmp_path / "out")
    header = (folder / "surface.ply").read_bytes().split(b"end_header")[0].decode()
    for property_ in ("x", "nx", "quality"):
        assert f"{property_}\n" in header
    mesh = read_mesh(folder / "surface.ply")
    np.testing.assert_allclose(mesh.vertices_mm, surface.points_mm()[surface.mask], atol=1e-5)
    written = trimesh.load(folder / "surface.ply", process=False).metadata["_ply_raw"]["vertex"]
    told = (*surface.normals[surface.mask].T, surface.sigma_mm[surface.mask])
    for name, values in zip(("nx", "ny", "nz", "quality"), told, strict=True):
        np.testing.assert_allclose(np.ravel(written["data"][name]), values, atol=1e-6)


@pytest.mark.parametrize("kind", ["ply", "stl", "obj", "glb"])
def test_meshes_read_back(surface: Surface, tmp_path: Path, kind: str) -> None:
    path = export_surface(surface, tmp_path / f"part.{kind}")
    own, back = mesh_of(surface), read_mesh(path)
    a = own.vertices_mm[own.faces]
    b = back.vertices_mm[back.faces]
    np.testing.assert_allclose(a, b, atol=2e-5)
    facing = np.cross(b[:, 1] - b[:, 0], b[:, 2] - b[:, 0])
    assert np.all(facing[:, 2] > 0)  # outwards, to the camera
    if kind == "obj":
        lines = [line.split()[1:] for line in path.read_text().splitlines() if line[:3] == "vn "]
        np.testing.assert_allclose(np.array(lines, float), surface.normals[surface.mask], atol=1e-6)
    if kind == "glb":
        (written,) = trimesh.load_scene(path, process=False).geometry.values()
        np.testing.assert_allclose(written.vertex_normals, surface.normals[surface.mask], atol=1e-5)


def test_glb_is_in_metres_with_y_up(surface: Surface, tmp_path: Path) -> None:
    path = export_surface(surface, tmp_path / "part.glb")
    shape = trimesh.load_scene(path).to_mesh()
    points = surface.points_mm()[surface.mask]
    np.testing.assert_allclose(shape.vertices[:, 1] * 1e3, points[:, 2], atol=1e-4)
    np.testing.assert_allclose(shape.vertices[:, 0] * 1e3, points[:, 0], atol=1e-4)


def test_mesh_leaves_the_hole_open(surface: Surface) -> None:
    mesh = mesh_of(surface)
    shape = trimesh.Trimesh(mesh.vertices_mm, mesh.faces, process=False)
    assert len(mesh.vertices_mm) == 24 * 32 - 16
    assert shape.euler_number == 0  # a disc with one hole


@pytest.mark.parametrize("kind", ["x3p", "sdf"])
def test_topographies_read_back(surface: Surface, tmp_path: Path, kind: str) -> None:
    path = export_surface(surface, tmp_path / f"part.{kind}")
    grid, back = grid_of(surface), read_topography(path)
    np.testing.assert_allclose(back.z_mm, grid.z_mm, rtol=0, atol=1e-12)
    assert back.step_mm == pytest.approx(grid.step_mm, rel=1e-9)
    assert np.isnan(back.z_mm).any()


def test_an_exr_that_cannot_be_written_gets_a_sentence(surface: Surface, tmp_path: Path) -> None:
    with pytest.raises(ReconstructError, match="the EXR cannot be written"):
        write_normals_exr(tmp_path / "absent" / "n.exr", surface.normals)


def test_exr_and_tiff_read_back(surface: Surface, tmp_path: Path) -> None:
    with OpenEXR.File(str(export_surface(surface, tmp_path / "n.exr"))) as file:
        np.testing.assert_array_equal(file.channels()["RGB"].pixels, surface.normals)
    height = read_tiff(export_surface(surface, tmp_path / "z.tif"))
    np.testing.assert_array_equal(height, surface.height_mm)


def test_every_kind_is_written_once_and_rubbish_refused(surface: Surface, tmp_path: Path) -> None:
    for suffix in KINDS:
        path = export_surface(surface, tmp_path / f"all{suffix}")
        with pytest.raises(ReconstructError, match="is kept"):
            export_surface(surface, path)
        path.write_bytes(b"rubbish")
    with pytest.raises(ReconstructError, match="choose one of"):
        export_surface(surface, tmp_path / "a.doc")
    for name, reader in (("all.ply", read_mesh), ("all.x3p", read_topography),
                         ("all.sdf", read_topography)):  # fmt: skip
        with pytest.raises(ReconstructError):
            reader(tmp_path / name)
    empty = Surface(surface.camera, surface.height_mm * np.nan, *[surface.normals] * 1,
                    surface.sigma_mm, surface.sigma_mm, surface.flags)  # fmt: skip
    with pytest.raises(ReconstructError, match="no valid pixel"):
        export_surface(empty, tmp_path / "empty.stl")
    assert not list(tmp_path.glob(".part*"))


@pytest.mark.parametrize("kind", ["x3p", "sdf"])
def test_gwyddion_knows_the_file_and_draws_the_far_edge_on_top(kind: str, tmp_path: Path) -> None:
    z = np.zeros((20, 30))
    z[15:, :5] = 0.5  # far edge, left
    path = tmp_path / f"part.{kind}"
    write = write_x3p if kind == "x3p" else write_sdf
    write(path, HeightGrid(z, step_mm=0.1))
    if kind == "x3p":
        rows = np.asarray(x3pio.read(path).layers[0].z)
    else:
        assert path.read_bytes()[:8] == b"bISO-1.0"  # what Gwyddion 2.62 looks for
        rows = np.asarray(sdfio.read(path).data)
    assert rows[0, 0] > 0
    assert rows[-1, 0] == 0
    assert np.array_equal(read_topography(path).z_mm > 0.1, z > 0.1)
    if program := shutil.which("gwyddion"):
        done = subprocess.run([program, "--identify", path], capture_output=True, text=True)
        assert "Unknown" not in done.stdout


@pytest.mark.parametrize("kind", ["gwy", "sur"])
def test_topography_of_other_programs_is_read_by_them(
    kind: str, surface: Surface, tmp_path: Path
) -> None:
    import surfalize

    path = export_surface(surface, tmp_path / f"part.{kind}", 0.5)
    grid = grid_of(surface, 0.5)
    read = surfalize.Surface.load(path)
    z_um = 1e3 * grid.z_mm[::-1]
    assert read.data.shape == z_um.shape
    assert read.step_x == pytest.approx(500, rel=1e-5)
    known = np.isfinite(z_um)
    if kind == "sur":
        np.testing.assert_array_equal(np.isfinite(read.data), known)
    away = (read.data - read.data[known].mean()) - (z_um - z_um[known].mean())
    assert np.abs(away[known]).max() < 1e-2
    if program := shutil.which("gwyddion"):
        done = subprocess.run([program, "--identify", path], capture_output=True, text=True)
        assert "Unknown" not in done.stdout


def test_a_light_mesh_brings_the_normals_of_all_pixels(surface: Surface, tmp_path: Path) -> None:
    import base64

    import cv2

    path = export_surface(surface, tmp_path / "part.gltf")
    document = json.loads(path.read_text(encoding="utf-8"))
    picture = base64.b64decode(document["images"][0]["uri"].split(",")[1])
    codes = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    known = np.isfinite(surface.normals)
    np.testing.assert_allclose((codes / 255 * 2 - 1)[known], surface.normals[known], atol=0.005)
    mesh = trimesh.load(path, force="mesh")
    points = surface.points_mm()[surface.mask]
    np.testing.assert_allclose(
        mesh.bounds[:, 0] * 1e3, [points[:, 0].min(), points[:, 0].max()], atol=1e-3
    )
    np.testing.assert_allclose(
        mesh.bounds[:, 1] * 1e3, [points[:, 2].min(), points[:, 2].max()], atol=1e-3
    )
