"""Aim, focus and expose: the live picture, its figures, and the LEDs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from capture.errors import DataError
from intake.errors import InputError
from intake.trees import parse_json
from rig.exits import UsageError, in_words
from rig.floor.pages.app import engineer_only, floor_of
from rig.live.picture import jpeg

router = APIRouter(prefix="/live", include_in_schema=False)
BOUNDARY = "frame"
KINDS: dict[str, type] = {"led": int, "level": float, "exposure_us": float}
START_S = 5.0
LONGEST_WISH = 4096


@router.get("")
def page(request: Request) -> Response:
    return floor_of(request).page(request, "live.html")


@router.get("/state")
async def state(request: Request) -> Response:
    engineer_only(request)
    worker = floor_of(request).worker
    station = worker.live()
    if station is None:
        return JSONResponse({"starting": True, "fault": worker.live_fault})
    return JSONResponse(await asyncio.to_thread(station.state))


@router.post("/wish")
async def wish(request: Request) -> Response:
    engineer_only(request)
    station = floor_of(request).worker.live()
    if station is None:
        return JSONResponse({"error": floor_of(request).worker.live_fault or "starting"}, 503)
    try:
        asked = parse_json(await _body(request), "the wish")
        if not isinstance(asked, dict) or not set(asked) <= set(KINDS):
            raise ValueError(f"a wish may hold {', '.join(KINDS)}")
        station.wish(**{key: KINDS[key](value) for key, value in asked.items()})
    except (InputError, ValueError, TypeError, OverflowError) as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse(await asyncio.to_thread(station.state))


@router.post("/keep")
async def keep(request: Request) -> Response:
    """Write the exposure of the live picture into ``rig.yaml``."""
    engineer_only(request)
    worker = floor_of(request).worker
    station = worker.live()
    if station is None:
        return JSONResponse({"error": worker.live_fault or "starting"}, 503)
    try:
        said = await asyncio.to_thread(worker.keep_exposure, station.exposure_us)
    except (UsageError, DataError, OSError) as error:
        return JSONResponse({"error": in_words(error)}, 400)
    return JSONResponse({"said": said})


async def _body(request: Request) -> bytes:
    """What came with a request, of a length that a wish can have."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_WISH:
            raise ValueError(f"a wish has at most {LONGEST_WISH} bytes")
    return body


@router.get("/picture.jpg")
async def still(request: Request) -> Response:
    engineer_only(request)
    picture = await asyncio.to_thread(_next, floor_of(request).worker, 0)
    if picture is None:
        return JSONResponse({"error": "no frame has come yet"}, 503)
    return Response(picture[1], media_type="image/jpeg")


@router.get("/stream")
async def stream(request: Request) -> Response:
    engineer_only(request)
    worker = floor_of(request).worker

    async def pictures() -> AsyncIterator[bytes]:
        seen = 0
        while not worker.closing and not await request.is_disconnected():
            found = await asyncio.to_thread(_next, worker, seen)
            if found is None:
                await asyncio.sleep(0.2)
                continue
            seen, picture = found
            head = (
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(picture)}\r\n\r\n"
            )
            yield head.encode() + picture + b"\r\n"

    return StreamingResponse(
        pictures(),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
        headers={"cache-control": "no-store"},
    )


def _next(worker: Any, seen: int) -> tuple[int, bytes] | None:
    station = worker.live()
    if station is None:
        return None
    count, frame = station.next_frame(seen)
    return None if frame is None or count == seen else (count, jpeg(frame))
