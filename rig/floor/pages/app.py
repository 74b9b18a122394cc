"""The web application: routes of the pages and of the machine interface."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from h11 import LocalProtocolError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect

from calib.errors import CalibrationError
from capture.errors import CaptureError, PlanError
from intake.errors import InputError
from reconstruct.errors import ReconstructError
from rig.exits import DATA, DEVICE, UsageError, exit_code, failure, in_words
from rig.floor.pages.security import Access, Guard
from rig.floor.pages.words import LANGUAGES, language_of, translated
from rig.floor.pages.worker import Worker
from rig.floor.store.store import Store, open_store

HERE = Path(__file__).parent
HEARTBEAT_S = 10.0


@dataclass(frozen=True)
class Floor:
    """What the routes share."""

    worker: Worker
    access: Access
    templates: Jinja2Templates

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, opened for one request: a database that went away may have come back."""
        with open_store(self.worker.bench.workspace, self.worker.bench.config) as opened:
            yield opened

    def page(self, request: Request, name: str, status: int = 200, **data: Any) -> Response:
        """A page out of its template, in the reader's language."""
        language = language_of(
            request.cookies.get("rig_language"), request.headers.get("accept-language")
        )
        return self.templates.TemplateResponse(
            request,
            name,
            {
                "t": lambda text: translated(language, text),
                "language": language,
                "languages": LANGUAGES,
                "role": request.state.role,
                "signed": bool(self.access.tokens),
                "instrument": self.worker.bench.config.instrument
                or self.worker.bench.workspace.folder.name,
                **data,
            },
            status_code=status,
        )


def floor_of(request: Request) -> Floor:
    """The floor behind a request."""
    floor: Floor = request.app.state.floor
    return floor


def application(worker: Worker, access: Access) -> FastAPI:
    """The application over a running worker."""
    from rig.floor.pages import annotations, api, history, live, operator

    app = FastAPI(
        title="rig",
        summary="A photometric-stereo measuring rig: start, state, result, events.",
        docs_url=None,  # its page loads scripts from elsewhere; /openapi.json is here
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    templates = Jinja2Templates(HERE / "templates")
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    app.state.floor = Floor(worker, access, templates)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    for module in (operator, history, annotations, live, api):
        app.include_router(module.router)
    app.add_exception_handler(Exception, _unforeseen)
    for kind in (NotAllowed, UsageError, PlanError, CaptureError, ReconstructError,
                 CalibrationError, InputError, OSError, SQLAlchemyError):  # fmt: skip
        app.add_exception_handler(kind, _sentence)
    app.add_middleware(Guard, access=access)
    return app


async def _sentence(request: Request, error: Exception) -> Response:
    """A known error as a sentence: JSON for machines, a page for people."""
    if isinstance(error, NotAllowed):
        return refusal(request, str(error), 403, error.exit_code)
    code = exit_code(error)
    said = in_words(error) if code is not None else "the store does not answer: try again"
    return refusal(request, said, {DEVICE: 503, DATA: 500, None: 503}.get(code, 400), code)


def refusal(request: Request, said: str, status: int, code: int | None = None) -> Response:
    """An error in the form that was asked for."""
    if request.url.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": said, "exit_code": code}, status)
    return floor_of(request).page(request, "error.html", status, message=said)


async def _unforeseen(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect | LocalProtocolError):  # nobody hears the answer
        return Response(status_code=400)
    code, said = failure(error, floor_of(request).worker.bench.workspace.folder)
    print(f"rig: {said}", file=sys.stderr, flush=True)
    return refusal(request, said, 500, code)


def engineer_only(request: Request) -> None:
    """Refuse what only the engineer may do.

    Raises
    ------
    NotAllowed
        for anybody else
    """
    if request.state.role != "engineer":
        raise NotAllowed


class NotAllowed(Exception):
    """The role may not do that."""

    exit_code = 2

    def __str__(self) -> str:
        return "only the engineer may do that: sign in with an engineer's token"


def events(worker: Worker) -> StreamingResponse:
    """Server-sent events: the state, whenever it changes, and a heartbeat."""

    async def stream() -> AsyncIterator[str]:
        seen = -1
        while not worker.closing:
            version = await asyncio.to_thread(worker.wait, seen, HEARTBEAT_S)
            if version == seen:
                yield ": still here\n\n"
                continue
            seen = version
            yield f"event: state\ndata: {json.dumps(worker.state())}\n\n"

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )
