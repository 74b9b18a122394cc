"""The operator's page, signing in, and the language."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from intake.errors import InputError
from intake.pictures import read_picture
from rig.floor.pages.app import events, floor_of
from rig.floor.pages.security import COOKIE, session_of
from rig.floor.pages.views import instrument_view
from rig.floor.pages.words import LANGUAGES
from rig.floor.pages.worker import newest_frame
from rig.floor.plans.model import known_types
from rig.measure_part import Labels

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form()]
YEAR_S = 365 * 86400
PREVIEW_PX = 640
SPOKEN = (
    "Ready", "waiting", "capturing", "reconstructing", "stopping", "good", "out of tolerance",
    "in between", "not sufficient", "measured", "failed", "stopped", "Pictures", "Take out",
    "Nothing waits.", "The connection to the rig is lost.", "Open the report",
    "at a quick look; the verdict follows",
    "stopped; the lights are off",
)  # fmt: skip


@router.get("/")
def operator_page(request: Request) -> Response:
    floor = floor_of(request)
    bench = floor.worker.bench
    view = instrument_view(bench.workspace, bench.config)
    language = request.cookies.get("rig_language")
    return floor.page(
        request,
        "operator.html",
        types=known_types(bench.workspace),
        state=floor.worker.state(),
        view=view,
        spoken=SPOKEN,
        chosen=language,
    )


@router.post("/measure")
def measure(
    request: Request, part: Text, part_type: Text = "", operator: Text = "", batch: Text = ""
) -> Response:
    """Start without a script; the page itself asks /api/measurements."""
    labels = Labels(part_type.strip(), operator.strip(), batch.strip())
    floor_of(request).worker.submit(part.strip(), labels)
    return RedirectResponse("/", 303)


@router.post("/stop")
def stop(request: Request) -> Response:
    floor_of(request).worker.stop()
    return RedirectResponse("/", 303)


@router.get("/events")
def page_events(request: Request) -> Response:
    return events(floor_of(request).worker)


@router.get("/preview.jpg")
def preview(request: Request) -> Response:
    """The picture that was taken last, brightened for the eye."""
    worker = floor_of(request).worker
    current = worker.state()["current"]
    path = newest_frame(worker.bench.workspace, current["part"]) if current else None
    try:
        pixels = None if path is None else read_picture(path).pixels
    except InputError:  # the recording was renamed this moment
        pixels = None
    if pixels is None:
        return Response(status_code=204)
    step = max(1, -(-max(pixels.shape) // PREVIEW_PX))
    small = pixels[::step, ::step].astype(np.float32)
    top = max(float(np.quantile(small, 0.995)), 1.0)
    grey = (255 * np.clip(small / top, 0, 1) ** (1 / 2.2)).astype(np.uint8)
    _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return Response(data.tobytes(), media_type="image/jpeg", headers={"cache-control": "no-store"})


# language and signing in ----------------------------------------------------------------------
@router.post("/language")
def choose_language(request: Request, language: Text, back: Text = "/") -> Response:
    answer = RedirectResponse(back if back.startswith("/") and back[1:2] != "/" else "/", 303)
    if language in LANGUAGES:
        answer.set_cookie("rig_language", language, max_age=YEAR_S, samesite="lax", httponly=True)
    return answer


@router.get("/login")
def login_page(request: Request) -> Response:
    return floor_of(request).page(request, "login.html", message="")


@router.post("/login")
def login(request: Request, token: Text) -> Response:
    floor = floor_of(request)
    role = floor.access.role_of_token(token.strip())
    if role is None:
        return floor.page(request, "login.html", 401, message="This token is not known.")
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE, floor.access.begin(role), httponly=True, samesite="strict",
        secure=floor.access.secure,
    )  # fmt: skip
    return answer


@router.post("/logout")
def logout(request: Request) -> Response:
    floor_of(request).access.end(session_of(dict(request.scope["headers"])))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer
