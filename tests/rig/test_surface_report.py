"""The report opens offline and draws: checked in a headless browser."""

import json
import re
import subprocess

import numpy as np
import pytest
from browser import CHROMIUM, chromium

from calib.camera import Camera
from reconstruct.methods import Options, reconstruct
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Residual, Surface
from rig.report.surface import Figure, shrink, write_surface_report
from rig.simulate import scene_of, virtual_rig


def bump(height: int = 96, width: int = 128) -> Surface:
    camera = Camera(
        width,
        height,
        np.array([[400.0, 0, width / 2], [0, 400.0, height / 2], [0, 0, 1]]),
        t=np.array([0.0, 0.0, 400.0]),
    )
    ground = camera.points_at_height(0.0)
    z = 8 * np.exp(-(ground[..., 0] ** 2 + ground[..., 1] ** 2) / 400)
    slope = np.stack([z * ground[..., 0] / 200, z * ground[..., 1] / 200, np.ones_like(z)], -1)
    normals = (slope / np.linalg.norm(slope, axis=-1, keepdims=True)).astype(np.float32)
    z = z.astype(np.float32)
    flags = np.zeros(z.shape, np.uint8)
    flags[:, :10] = Flag.OUTSIDE
    flags[40:50, 60:70] = Flag.CLIPPED
    z[:, :10] = np.nan
    return Surface(
        camera,
        z,
        normals,
        np.full(z.shape, 0.004, np.float32),
        np.full(z.shape, 0.05, np.float32),
        flags,
        summary={"method": "refine"},
    )


def written(tmp_path, surface=None, **options):
    path = tmp_path / "report.html"
    write_surface_report(surface or bump(), path, title="A12 <b>&", **options)
    return path


def dom(path):
    drawn = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    options = (*drawn, "--virtual-time-budget=8000", "--dump-dom")
    command = chromium(path.parent / "profile", path.as_uri(), *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_asks_nothing_of_the_network(tmp_path):
    page = written(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", page)
    assert "fetch(" not in page.split("vendor")[-1].split("THREE=")[0]


def test_title_is_text_not_markup(tmp_path):
    page = written(tmp_path).read_text(encoding="utf-8")
    assert "<title>A12 &lt;b&gt;&amp;</title>" in page
    assert "<b>&" not in page


def test_outline_of_the_part_and_its_hole_is_drawn_where_they_are(tmp_path):
    surface = bump()
    surface.flags[:] = Flag.OUTSIDE
    surface.flags[20:80, 30:110] = 0
    surface.flags[40:60, 50:70] = Flag.OUTSIDE
    page = written(tmp_path, surface).read_text(encoding="utf-8")
    text = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.DOTALL)
    borders = [np.reshape(b, (-1, 2)) for b in json.loads(text[1])["map"]["outline"]]
    boxes = sorted((*b.min(axis=0), *b.max(axis=0)) for b in borders)
    assert boxes == [(30.5, 20.5, 109.5, 79.5), (49.5, 39.5, 70.5, 60.5)]


def test_shrinking_averages_and_leaves_nan_out():
    values = np.array([[1.0, 3.0, np.nan, np.nan], [5.0, np.nan, np.nan, np.nan]])
    assert np.array_equal(shrink(values, 2), [[3.0, np.nan]], equal_nan=True)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_draws_surface_figures_and_residuals(tmp_path):
    captured = np.linspace(0, 1, 96 * 128, dtype=np.float32).reshape(96, 128)
    page = dom(
        written(
            tmp_path,
            figures=[Figure("Sa", 0.0123, "µm", 0.001)],
            residuals=[Residual(17, captured, captured * np.float32(0.98))],
            provenance={"run": "20260101"},
        )
    )
    covered = re.search(r'data-drawn="covers ([\d.]+) %"', page)
    assert covered, "the page did not draw"
    assert 15 < float(covered[1]) < 95
    assert "0.01230 ± 0.00100 µm" in page
    assert "LED 17: RMS difference 2.31 %" in page
    assert "20260101" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_surface_without_a_single_pixel_still_gives_a_page(tmp_path):
    surface = bump()
    surface.height_mm[:] = np.nan
    assert "crosses no measured surface" in dom(written(tmp_path, surface))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_result_without_uncertainty_says_so(tmp_path):
    surface = bump()
    surface.sigma_mm[:] = np.nan
    surface.normal_sigma_deg[:] = np.nan
    page = dom(written(tmp_path, surface))
    assert "No uncertainty was estimated for this result." in page
    assert not re.search(r"\bnan\b", page.split("<script")[0], re.IGNORECASE)


def test_the_light_that_moved_is_the_one_explained_worst():
    rig = virtual_rig(24, (64, 64))
    scene = scene_of("field-1", rig=rig, bounce=False, blur_px=0.0)
    pictures = np.stack([scene.radiance(led) for led in range(1, 25)])
    pictures[16] = scene.radiance(3)  # LED 17 is not where it was
    level = float(pictures.max())
    stack = Stack(
        rig.lights.ids, pictures, np.zeros(pictures.shape, bool), 1e-6 * level**2, 1e-4 * level
    )
    options = Options(
        height_mm=float(scene.points_mm[..., 2].mean()), start="halfvector", uncertainty=False
    )
    worst = reconstruct("refine", stack, rig.camera, rig.lights, options).residuals
    assert worst[0].led == 17
    for residual in worst[1:]:  # the fit's own model, at the level of the pictures
        difference = residual.captured - residual.rendered
        assert np.sqrt(np.mean(difference**2)) < 0.1 * np.sqrt(np.mean(residual.captured**2))


def test_methods_without_a_material_have_no_residuals():
    rig = virtual_rig(6, (32, 32))
    ones = np.ones((6, 32, 32), np.float32)
    stack = Stack(rig.lights.ids, ones, np.zeros(ones.shape, bool), 0, 0)
    assert reconstruct("halfvector", stack, rig.camera, rig.lights).residuals == ()
