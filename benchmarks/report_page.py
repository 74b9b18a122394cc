"""Size of a report, what writing it costs, and whether it opens and pans without a long frame.

    python benchmarks/report_page.py [WIDTHxHEIGHT ...]

Prints a row for each size: megabytes, processor seconds of writing, seconds until the page is
drawn, and the longest task of the page's main thread, which is what a frame waits for, while the
page opens and while its maps are moved and zoomed (-v lists the tasks).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from calib.camera import Camera
from reconstruct.surface import Flag, Residual, Surface
from rig.report.surface import write_surface_report

CHROMIUM = "/usr/bin/chromium"
FIELD_MM = 100.0
# What is traced: each task of each thread, with the processor time that it took.
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]


def part(width: int, height: int, seed: int = 1) -> Surface:
    """A turned part of 80 mm with lay, dents and a ground's noise, as `refine` would return it."""
    rng = np.random.default_rng(seed)
    scale = FIELD_MM / width
    K = np.array([[400 / scale, 0, width / 2], [0, 400 / scale, height / 2], [0, 0, 1.0]])
    camera = Camera(width, height, K, t=np.array([0.0, 0.0, 400.0]))
    ground = camera.points_at_height(0.0).astype(np.float32)
    x, y = ground[..., 0], ground[..., 1]
    r = np.hypot(x, y)
    z = 3 + 2 * np.exp(-(((r - 22) / 4) ** 2)) + 1e-3 * np.cos(2 * np.pi * r / 0.4)
    for _ in range(40):
        u, v, size = *rng.uniform(-35, 35, 2), rng.uniform(0.3, 2)
        z -= 0.02 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / size**2)
    z = (z + 2e-5 * rng.standard_normal(z.shape)).astype(np.float32)  # what the normals leave
    dy, dx = np.gradient(z, scale)
    normals = np.stack([-dx, dy, np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    sigma = (0.002 + 0.001 * (r / 40) ** 2 + 0.0005 * rng.random(z.shape)).astype(np.float32)
    flags = np.where(r > 0.42 * FIELD_MM, int(Flag.OUTSIDE), 0).astype(np.uint8)
    z[flags > 0] = np.nan
    normals[flags > 0] = np.nan
    sigma[flags > 0] = np.nan
    picture = rng.random((256, 256), dtype=np.float32)
    worst = tuple(Residual(led, picture, picture * np.float32(0.99)) for led in range(1, 5))
    summary = {"method": "refine", "variance_mm2": {"pictures": 4e-6, "lights": 2e-6}}
    return Surface(camera, z, normals, sigma, sigma * 20, flags, {}, summary, worst)


def measured(browser: Browser, path: Path) -> dict[str, float]:
    """Seconds until it is drawn; the longest task, processor ms, of opening and of panning."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto("about:blank")
    start = time.monotonic()
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("body[data-ready]", timeout=300_000)
    drawn = time.monotonic() - start
    opening = longest_tasks(browser.stop_tracing())
    stage = page.locator("#height-view .stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 40)
    page.mouse.move(*middle)
    stage.focus()
    browser.start_tracing(page=page, categories=CATEGORIES)
    for _ in range(5):  # into the full resolution
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(150)
    for way in ((-250, -150), (200, 100), (-150, 200), (250, -120)) * 2:
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + way[0], middle[1] + way[1], steps=20)
        page.mouse.up()
    for _ in range(5):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(150)
    panning = longest_tasks(browser.stop_tracing())
    zoom = page.evaluate("heightView.zoom")
    page.close()
    return {"drawn_s": drawn, "open_ms": opening, "pan_ms": panning, "zoom": zoom}


def longest_tasks(trace: bytes) -> float:
    """Processor milliseconds of the longest task of a page's main thread.

    Processor time, since the wall's also counts what else the machine does.
    """
    events = json.loads(trace)["traceEvents"]
    threads = {
        (e["pid"], e["tid"])
        for e in events
        if e.get("name") == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = [e for e in events if (e.get("pid"), e.get("tid")) in threads and "tdur" in e]
    if "-v" in sys.argv:
        for e in sorted(tasks, key=lambda e: -e["tdur"])[:14]:
            print(" ", e["name"], e["tdur"] / 1000, e.get("dur", 0) / 1000,
                  str(e.get("args", {}))[:160])  # fmt: skip
    return max((e["tdur"] for e in tasks), default=0) / 1000


def main(sizes: list[str]) -> None:
    drawing = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    print("size, MB, CPU s of writing, s until drawn, longest CPU ms: opening, panning")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=drawing)
        for size in sizes:
            width, height = (int(side) for side in size.split("x"))
            surface, path = part(width, height), Path(folder) / f"{size}.html"
            start = time.process_time()
            write_surface_report(surface, path, title=size, residuals=surface.residuals)
            spent = time.process_time() - start
            row = measured(browser, path)
            print(
                f"{size}: {path.stat().st_size / 1e6:.1f} MB, {spent:.2f} s, "
                f"{row['drawn_s']:.1f} s, {row['open_ms']:.0f} ms, {row['pan_ms']:.0f} ms",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main([size for size in sys.argv[1:] if size != "-v"] or ["256x256", "512x512", "2448x2048"])
