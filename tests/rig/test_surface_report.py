"""The report opens offline and draws: checked in a headless browser."""

import json
import re

import numpy as np
import pytest
from browser import CHROMIUM

from calib.camera import Camera
from reconstruct.methods import Options, reconstruct
from reconstruct.stack import Stack
from reconstruct.surface import Flag, Residual, Surface
from rig.report.surface import shrink, write_surface_report
from rig.report.words import Figure
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


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    drawing = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=drawing)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens a page and waits until all of it is drawn; no page may complain."""
    complaints, pages = [], []

    def show(path, **options):
        page = browser.new_page(viewport={"width": 800, "height": 600}, **options)
        page.set_default_timeout(120_000)  # a machine may have more to do than this
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("body[data-ready]")
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert not [text for text in complaints if "GPU stall" not in text]


def values_of(page):
    """Full maps as the page has decoded them."""
    script = """async () => {
        const out = {};
        for (const name of ["height", "sigma"]) {
            const map = maps[name], rows = [];
            for (let v = 0; v < map.height; v++) for (let u = 0; u < map.width; u++) {
                if (map.at(0, Math.floor(v / map.tile), Math.floor(u / map.tile)) === null)
                    await new Promise((done) => map.listeners.push(done));
                rows.push(map.pixel(0, v, u));
            }
            out[name] = rows.map((x) => (x === x ? x : null));
        }
        return out;
    }"""
    found = page.evaluate(script)
    return {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in found.items()
    }


def test_asks_nothing_of_the_network(tmp_path):
    page = written(tmp_path).read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", page)
    assert "fetch(" not in page


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
    borders = [np.array(border) for border in json.loads(text[1])["outline"]]
    boxes = sorted((*b.min(axis=0), *b.max(axis=0)) for b in borders)
    assert boxes == [(30, 20, 109, 79), (49, 39, 70, 60)]


def test_shrinking_averages_and_leaves_nan_out():
    values = np.array([[1.0, 3.0, np.nan, np.nan], [5.0, np.nan, np.nan, np.nan]])
    assert np.array_equal(shrink(values, 2), [[3.0, np.nan]], equal_nan=True)


@pytest.mark.parametrize("size", [(96, 128), (40, 530)])
def test_the_page_holds_every_pixel_to_a_quarter_of_its_sigma(tmp_path, opened, size):
    surface = bump(*size)
    surface.sigma_mm[:] *= np.linspace(1, 9, size[1], dtype=np.float32)
    found = values_of(opened(written(tmp_path, surface)))
    height, sigma = surface.height_mm.ravel(), 1000 * surface.sigma_mm.ravel()
    assert np.array_equal(np.isfinite(found["height"]), surface.mask.ravel())
    assert np.nanmax(np.abs(found["height"] - height)) <= 0.25 * np.nanmin(sigma) / 1000
    assert np.nanmax(np.abs(found["sigma"] / sigma - 1)) <= 0.011


def test_draws_surface_figures_and_residuals(tmp_path, opened):
    captured = np.linspace(0, 1, 96 * 128, dtype=np.float32).reshape(96, 128)
    surface = bump()
    surface.summary["variance_mm2"] = {"pictures": 9e-6, "lights": 1.6e-5}
    surface.summary["height"] = {"mm": 1.234567, "sigma_mm": 0.5, "from": "--height"}
    page = opened(
        written(
            tmp_path,
            surface,
            figures=[Figure("Sa", 0.0123, "µm", 0.001)],
            residuals=[
                Residual(3, captured, captured * np.float32(0.99)),
                Residual(17, captured, captured * np.float32(0.98)),
            ],
            provenance={"run": "20260101"},
        )
    )
    covered = re.match(r"covers ([\d.]+) %", page.evaluate("document.body.dataset.drawn"))
    assert covered, "the page did not draw"
    assert 10 < float(covered[1]) < 95
    text = page.inner_text("main")
    assert "0.0123 ± 0.0010 µm" in text
    assert text.index("LED 17: RMS difference 2.31 %") < text.index("LED 3: RMS difference 1.15 %")
    assert "calibration of the lights limits this measurement most: it makes 64 %" in text
    assert re.search(r"mean height input: given with the command\s+[\d.]+ ± 0.50 mm", text)
    assert not page.is_visible("text=20260101"), "the details are folded away"
    page.click("summary")
    assert page.is_visible("text=20260101")
    # The outline and the clipped patch lie where they are: 10 of 128 columns are outside.
    assert "7.8 %" in page.inner_text("#flag-table")


def test_cursors_begin_where_there_is_a_height(tmp_path, opened):
    surface = bump()
    for left in (25, 80):  # about a quarter and three quarters of the profile
        surface.height_mm[:, left : left + 30] = np.nan
        surface.flags[:, left : left + 30] = Flag.OUTSIDE
    page = opened(written(tmp_path, surface))
    rows = [page.locator("#cursors tr").nth(k).inner_text().split("\t") for k in (1, 2, 3)]
    assert all("±" in row[4] for row in rows), rows
    assert rows[2][3] == "0.00"


def test_cursors_profiles_notes_and_light_stay(tmp_path, opened):
    path = written(tmp_path)
    page = opened(path)
    first = page.locator("#cursors tr").nth(1)
    before = first.inner_text()
    page.locator("[role=slider][aria-label='Cursor 1']").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("old => document.querySelectorAll('#cursors tr')[1].innerText !== old",
                           arg=before)  # fmt: skip
    page.click("#add-profile")
    assert page.locator(".chip").count() == 2
    page.click("#add-note")
    page.locator("#height-view .stage").click(position={"x": 200, "y": 150})
    page.fill("#notes input", "a scratch")
    page.locator("#light").focus()
    page.keyboard.press("ArrowLeft")
    light = page.get_attribute("#light", "aria-valuetext")
    page.mouse.move(400, 500)
    assert page.get_attribute("#light", "aria-valuetext") == light
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "profiles.csv")
    table = (tmp_path / "profiles.csv").read_text().splitlines()
    assert table[0] == "profile,distance_mm,x_mm,y_mm,height_mm,sigma_mm"
    profile = np.array([line.split(",")[1:] for line in table[1:] if line[0] == "A"])
    profile = np.where(profile == "", "nan", profile).astype(float)
    x, y, z = profile[:, 1], profile[:, 2], profile[:, 3]
    inside = np.isfinite(z)
    truth = 8 * np.exp(-(x**2 + y**2) / 400)  # of the ground under it: perspective shifts it
    assert np.abs(z - truth)[inside].max() < 0.15
    assert np.all(np.diff(profile[:, 0]) > 0)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert page.locator(".chip").count() == 2
    assert page.input_value("#notes input") == "a scratch"
    assert page.get_attribute("#light", "aria-valuetext") == light


def test_dark_mode_three_sizes_and_paper(tmp_path, opened):
    page = opened(written(tmp_path), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != dark
    assert "x, mm" in page.text_content("#view-labels")
    eye = page.get_attribute("#view", "data-eye")
    for button, seen in (("#top", "!=="), ("#reset", "===")):
        page.click(button)
        page.wait_for_function(
            f"old => document.getElementById('view').dataset.eye {seen} old", arg=eye
        )
    for width, height in ((820, 1180), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_surface_without_a_single_pixel_still_gives_a_page(tmp_path, opened):
    surface = bump()
    surface.height_mm[:] = np.nan
    page = opened(written(tmp_path, surface))
    assert "crosses no measured surface" in page.inner_text("main")


def test_a_result_without_uncertainty_says_so(tmp_path, opened):
    surface = bump()
    surface.sigma_mm[:] = np.nan
    surface.normal_sigma_deg[:] = np.nan
    page = opened(written(tmp_path, surface))
    text = page.inner_text("main")
    assert "No uncertainty was estimated for this result." in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


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
