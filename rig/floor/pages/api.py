"""The interface for machines: start, state, result and events, described at /api/openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rig.floor.pages.app import events, floor_of
from rig.floor.plans.model import known_types, read_plan
from rig.floor.store.store import Filter
from rig.floor.store.words import run_to_json
from rig.measure_part import Labels

router = APIRouter(prefix="/api", tags=["machines"])


class Order(BaseModel):
    """A measurement asked for."""

    model_config = ConfigDict(extra="forbid")

    part: Annotated[str, Field(description="Name of the part: becomes a folder's name.")]
    part_type: Annotated[str, Field(description="Judge by plans/TYPE.yaml; empty: measure.")] = ""
    operator: str = ""
    batch: str = ""


@router.post("/measurements", status_code=201)
def start(request: Request, order: Order) -> dict[str, Any]:
    """Queue a measurement; the answer holds its number."""
    labels = Labels(order.part_type, order.operator, order.batch)
    return floor_of(request).worker.submit(order.part, labels).to_json()


@router.delete("/measurements/{number}")
def cancel(request: Request, number: int) -> dict[str, bool]:
    """Take a waiting measurement out of the queue."""
    return {"cancelled": floor_of(request).worker.cancel(number)}


@router.post("/stop")
def stop(request: Request) -> dict[str, bool]:
    """Stop the measurement that runs; the lights go off, what was taken is kept."""
    return {"stopping": floor_of(request).worker.stop()}


@router.get("/state")
def state(request: Request) -> dict[str, Any]:
    """What is measured, what waits, and what came of the last ones."""
    return floor_of(request).worker.state()


@router.get("/events", response_class=Response)
def event_stream(request: Request) -> Response:
    """Server-sent events: `state` whenever it changes."""
    return events(floor_of(request).worker)


@router.get("/runs")
def runs(
    request: Request,
    text: str = "",
    part: str = "",
    part_type: str = "",
    verdict: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> dict[str, Any]:
    """Results in the store, newest first."""
    wanted = Filter(text, part, part_type, verdict, since=since, until=until)
    with floor_of(request).store() as store:
        page = store.history(wanted, limit=limit, offset=offset)
    return {"total": page.total, "runs": [run_to_json(run) for run in page.runs]}


@router.get("/runs/{number}")
def run(request: Request, number: int) -> dict[str, Any]:
    """One result with its features."""
    with floor_of(request).store() as store:
        return run_to_json(store.run(number))


@router.get("/plans")
def plans(request: Request) -> list[str]:
    """Part types that have an inspection plan."""
    return known_types(floor_of(request).worker.bench.workspace)


@router.get("/plans/{part_type}")
def plan(request: Request, part_type: str) -> dict[str, Any]:
    """An inspection plan and its hash."""
    kept = read_plan(floor_of(request).worker.bench.workspace, part_type)
    return {**kept.to_json(), "plan": kept.plan.model_dump(mode="json")}
