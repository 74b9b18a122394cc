"""A headless Chromium for the tests of pages."""

from __future__ import annotations

import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")


def chromium(profile: Path, address: str, *options: str) -> list[str]:
    """The command that shows a page and asks nothing else of the network."""
    return [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1200,900",
        f"--user-data-dir={profile}",
        *options,
        address,
    ]
