"""Dents, scratches and burrs are found where they are, and texture is not taken for them."""

from __future__ import annotations

import json
import resource
import tracemalloc

import numpy as np
import pytest
from surfaces import surface_of
from typer.testing import CliRunner

from reconstruct.errors import ReconstructError
from reconstruct.export.results import write_results
from reconstruct.metrology.grid import HeightGrid, grid_of
from rig.cli import app
from rig.floor.defects import find_defects, slope_sigma_of, slopes_on


def texture(x, y):
    return 0.004 * np.sin(2 * np.pi * x / 4.1) + 0.002 * np.sin(2 * np.pi * (x + 2 * y) / 7.3)


def scratch(x, y):
    along, across = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2) - 8
    return -0.06 * np.exp(-(across**2) / (2 * 0.7**2)) * (np.abs(along) < 14)


def dent(x, y, depth=0.05, width=2.0):
    return -depth * np.exp(-((x + 15) ** 2 + (y - 12) ** 2) / (2 * width**2))


def found(height, **options):
    surface = surface_of(height, sigma_mm=0.0003)
    grid = grid_of(surface)
    return find_defects(
        grid, slopes_on(grid, surface), slope_sigma=slope_sigma_of(surface), **options
    )


def test_a_surface_with_texture_alone_has_no_defect():
    assert found(texture) == []
    assert found(lambda x, y: -(x**2 + y**2) / 400) == []


def test_a_dent_is_a_dent_with_its_depth_and_size():
    (one,) = found(lambda x, y: texture(x, y) + dent(x, y))
    assert one.kind == "dent"
    assert (one.x_mm, one.y_mm) == (pytest.approx(-15, abs=0.7), pytest.approx(12, abs=0.7))
    assert one.depth_um == pytest.approx(50, rel=0.35)
    assert 2 < one.length_mm < 12


def test_a_part_whose_own_shape_bends_is_no_defect_and_takes_no_gigabytes():
    """`rig inspect` of a wavy part asked for 14 GB; then it named one dent as wide as the part."""
    row, column = np.mgrid[:300, :300] - 150
    noise = 1e-7 * np.random.default_rng(0).standard_normal((300, 300))

    def hill(width_px):
        z = 4 * np.exp(-(row**2 + column**2) / (2 * width_px**2))
        return find_defects(HeightGrid(z + noise, 0.2))

    tracemalloc.start()
    try:
        with pytest.raises(ReconstructError, match="its own shape bends beyond its texture"):
            hill(20)
        assert len(hill(30)) == 1
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("width_mm", [1.4, 2.0, 2.8])
@pytest.mark.parametrize("depth_um", [20, 60, 100])
def test_depth_lies_within_its_sigma_though_pixel_and_lens_smear_a_dent(depth_um, width_mm):
    smear_mm = 0.65 * grid_of(surface_of(texture)).step_mm  # of a lens of 0.6 px and the pixel
    seen_mm = np.hypot(width_mm, smear_mm)
    depth_mm = depth_um / 1000 * (width_mm / seen_mm) ** 2
    (one,) = found(lambda x, y: texture(x, y) / 4 + dent(x, y, depth_mm, seen_mm))
    assert abs(one.depth_um - depth_um) < 3 * one.sigma_um
    assert one.sigma_um < 0.3 * depth_um


def test_a_dent_that_leaves_no_plain_place_beside_it_has_a_sigma_still():
    surface = surface_of(lambda x, y: texture(x, y) + dent(x, y, 0.3, 3.0), sigma_mm=0.0003)
    grid = grid_of(surface)
    gx, gy = np.meshgrid(grid.x_mm, grid.y_mm)
    near = (np.abs(gx + 15) < 12) & (np.abs(gy - 12) < 12)
    seen = find_defects(grid, slopes_on(grid, surface), inside=near)
    assert seen
    for one in seen:
        assert np.isfinite([one.depth_um, one.sigma_um, one.score]).all()


def test_a_scratch_is_long_and_a_burr_stands_out():
    long = found(lambda x, y: texture(x, y) + scratch(x, y))
    assert long[0].kind == "scratch"
    assert long[0].length_mm > 3 * long[0].width_mm
    assert long[0].angle_deg == pytest.approx(45, abs=8)
    burr = found(lambda x, y: texture(x, y) - dent(x, y, 0.08, 1.5))
    assert burr[0].kind == "burr"
    assert burr[0].depth_um > 40


def test_looks_where_it_is_told(tmp_path):
    surface = surface_of(lambda x, y: texture(x, y) + dent(x, y), sigma_mm=0.0003)
    write_results(surface, tmp_path / "r")
    out = tmp_path / "map.svg"
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "r"), "--json", "--out", str(out)])
    assert said.exit_code == 1
    assert len(json.loads(said.stdout)["defects"]) == 1
    assert "<circle" in out.read_text(encoding="utf-8")
    half = tmp_path / "half.svg"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # as a disk on which no more fits
    full = CliRunner().invoke(app, ["inspect", str(tmp_path / "r"), "--out", str(half)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(full.exception, OSError)
    assert not half.exists()
    elsewhere = ["inspect", str(tmp_path / "r"), "--region", "0,-40,40,0"]
    assert CliRunner().invoke(app, elsewhere).exit_code == 0
