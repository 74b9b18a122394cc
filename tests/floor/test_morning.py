"""An operator's morning in a real browser: ten parts, a dent, a tilt, a wrong name, a stop."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from floor_bench import STOPPED, finished

from rig.floor.pages.security import Access
from rig.floor.pages.server import listen, serve
from rig.floor.pages.worker import Worker

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
SIZES = {"desktop": (1600, 1000), "panel": (1024, 768), "phone": (390, 844)}
PARTS = [
    ("flat-1", "plate"), ("flat-2", "plate"), ("dented-1", "plate"), ("flat-3", "plate"),
    ("flat-4", "plate"), ("flat-5", "cover"), ("tilted-1", "cover"), ("flat-6", "cover"),
    ("flat-7", "cover"), ("flat-8", "cover"),
]  # fmt: skip


@pytest.fixture
def address(worker: Worker) -> Iterator[str]:
    ready, found = threading.Event(), []

    def say(place: str) -> None:
        found.append(place)
        ready.set()

    with listen("127.0.0.1", 0) as socket:
        server = serve(worker, Access(), socket, say)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        assert ready.wait(60)
        yield found[0]
        server.should_exit = True
        thread.join(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not CHROMIUM.is_file(), reason="no Chromium on this machine")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_an_operators_morning(worker, address, tmp_path):
    shots = Path(os.environ.get("RIG_SCREENSHOTS", tmp_path))
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(
            viewport=dict(zip(("width", "height"), SIZES["panel"], strict=True)), locale="en-GB"
        )
        page.set_default_timeout(120_000)
        page.on(
            "console",
            lambda m: complaints.append(f"{m.text} {m.location}") if m.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def look(name: str) -> None:
            for size, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(100)  # charts follow the window after its event
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} px wide on a {size} of {width} px"
                page.screenshot(path=shots / f"{name}-{size}.png")

        page.goto(address)
        page.get_by_label("Operator", exact=True).fill("Ada")
        look("start")
        for number, (part, kind) in enumerate(PARTS, 1):
            page.get_by_label("Part type").select_option(kind)
            page.get_by_label("Part", exact=True).fill(part)
            page.keyboard.press("Enter")  # as a barcode scanner does
            finished(worker, number)
            word = "good" if part.startswith("flat") else "out of tolerance"
            page.locator("#verdict", has_text=word).filter(has_text=part).wait_for()
            page.locator("#detail .map").wait_for()
            if part == "dented-1":
                row = page.locator("#detail tr", has_text="flat")
                assert "out of tolerance" in row.inner_text()
                look("failed")
        look("good")

        page.get_by_label("Part", exact=True).fill("no/name")
        page.keyboard.press("Enter")
        page.get_by_text("it contains /").wait_for()
        assert [m for m in complaints if "400" not in m] == []
        complaints.clear()  # the browser itself tells of the answer 400

        page.get_by_label("Part", exact=True).fill(STOPPED)
        page.keyboard.press("Enter")
        page.locator("#step", has_text="/").wait_for()
        page.screenshot(path=shots / "running-panel.png")
        page.keyboard.press("Escape")
        page.locator("#verdict", has_text="stopped").wait_for()
        assert finished(worker, 11)["state"] == "stopped"

        page.get_by_role("link", name="History").click()
        page.get_by_label("Verdict").select_option("out of tolerance")
        page.get_by_role("button", name="Filter").click()
        assert page.locator("tbody tr").count() == 2
        look("history")
        page.get_by_label("First run dented-1").check()
        page.get_by_label("Second run tilted-1").check()
        page.get_by_role("button", name="Compare").click()
        page.locator("figure img").wait_for()
        look("compare")
        page.get_by_role("link", name="dented-1").click()
        page.locator("h1", has_text="dented-1").wait_for()
        assert page.locator("figure img").count() >= 1
        look("run")
        page.get_by_role("link", name="All runs of this part").click()
        page.locator("h1", has_text="dented-1").wait_for()
        look("part")
        page.go_back()
        page.get_by_role("link", name="3-D and report").click()
        report = page.frame_locator("#report")
        report.get_by_role("button", name="Add note").click()
        report.locator("#height-view .stage").press("Enter")
        report.get_by_label("Note 1", exact=True).fill("here it was hit")
        page.get_by_text("Notes are kept.").wait_for()
        look("report")
        page.reload()
        assert report.get_by_label("Note 1", exact=True).input_value() == "here it was hit"
        page.get_by_role("link", name="Charts").click()
        page.locator("#upper canvas").wait_for()
        look("charts")
        page.get_by_role("button", name="Deutsch").click()
        page.get_by_role("heading", name="Regelkarten").wait_for()
        for name in ("Messen", "Prüfpläne", "Messgerät"):
            page.get_by_role("link", name=name).click()
            page.locator("h1").wait_for(state="attached")
            look(name)
        page.get_by_role("link", name="Livebild").click()
        page.locator("#count", has_text=re.compile(r"^([3-9]|\d\d+)$")).wait_for()
        look("live")
        browser.close()
    assert complaints == []
