"""What readers put into the report of a run: notes, profiles; kept beside its result.

A report is a page with scripts of its own, shown in a sandbox that reaches nothing. The page about
it gives it what was kept as the name of its frame, and hears from it what is to be kept.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from rig.exits import UsageError
from rig.floor.pages.app import floor_of
from rig.floor.pages.views import RunView, view_of

router = APIRouter(include_in_schema=False)
FILE = "annotations.json"
MOST_BYTES = 100_000


@router.get("/runs/{number}/report")
def report_page(request: Request, number: int) -> Response:
    """The report of a run in its frame."""
    view = _view(request, number)
    return floor_of(request).page(
        request, "report.html", run=view.run, kept=json.dumps({"rig-report": read(view)})
    )


@router.put("/runs/{number}/annotations")
async def keep(request: Request, number: int) -> dict[str, bool]:
    """Keep what a reader has put into the report."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise UsageError(
                f"notes of more than {MOST_BYTES // 1000} kB are not kept with a report"
            )
    try:
        state = json.loads(body)
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise UsageError("what a report asks to keep is a JSON object")
    folder = _view(request, number).folder
    assert folder is not None
    part = folder / f".{FILE}.{os.getpid()}.part"
    part.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
    part.replace(folder / FILE)
    return {"kept": True}


def read(view: RunView) -> dict[str, Any]:
    """What was kept; nothing where the file is damaged."""
    try:
        state = json.loads(_file(view).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _file(view: RunView) -> Path:
    assert view.folder is not None
    return view.folder / FILE


def _view(request: Request, number: int) -> RunView:
    with floor_of(request).store() as store:
        view = view_of(store.run(number), store.workspace, store.rig)
    if view.folder is None or not (view.folder / "report.html").is_file():
        raise UsageError(f"run {number} has no report in this workspace")
    return view
