"""What the documents quote and link is what there is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("examples/**/*.md")]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for room in ("rig", "capture", "calib", "reconstruct")
    for path in sorted((ROOT / room).rglob("*.py"))
)
SAID = re.sub(r'"\s*\n\s*f?"', "", SOURCES)  # sentences that run over several lines of code
SYSTEM = {os.strerror(number) for number in range(1, 132)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r'\]\(([^)#\s]+)[^)]*\)|src="([^"]+)"', text):
        link = target[0] or target[1]
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_symptoms_are_quoted_as_they_are_printed() -> None:
    """Each message in the first column of the troubleshooting page is one the program has."""
    rows = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    quoted = [
        piece.strip(" :,")
        for row in rows
        if row.startswith("|")
        for message in re.findall(r"`([^`]+)`", row.split("|")[1])
        for piece in message.split("…")
        if len(piece.strip()) > 8 and not piece.startswith("rig ")
    ]
    assert len(quoted) > 15
    known = SAID + "".join(SYSTEM)
    assert [piece for piece in quoted if piece not in known] == []
