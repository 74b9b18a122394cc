"""Pages of what was measured: history, run, part, comparison, charts, plans, instrument."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from reconstruct.metrology.compare import compare
from reconstruct.metrology.grid import HeightGrid
from rig.exits import UsageError
from rig.figures import shape_of
from rig.floor.pages.app import floor_of
from rig.floor.pages.views import file_of, instrument_view, view_of
from rig.floor.pages.words import FIGURES
from rig.floor.plans.model import known_types, read_plan
from rig.floor.store.store import Filter, Store
from rig.floor.store.words import VERDICTS, write_csv
from rig.floor.study.charts import chart_of
from rig.report.maps import deviations, draw, draw_map

router = APIRouter(include_in_schema=False)
PER_PAGE = 50
# The report is a page with scripts of its own: it may run them, print, and nothing else.
SANDBOX = (
    "sandbox allow-scripts allow-downloads allow-modals; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "frame-ancestors 'self'"
)


def _day(text: str, what: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    except ValueError:
        raise UsageError(f"{what} is '{text}': expected a date as 2026-01-31") from None


def _filter(request: Request) -> tuple[Filter, dict[str, str]]:
    names = ("text", "part", "part_type", "verdict", "since", "until")
    asked = {name: request.query_params.get(name, "").strip() for name in names}
    until = _day(asked["until"], "To")
    wanted = Filter(
        asked["text"],
        asked["part"],
        asked["part_type"],
        asked["verdict"],
        since=_day(asked["since"], "From"),
        until=None if until is None else until + timedelta(days=1),
    )
    return wanted, asked


@router.get("/history")
def history(request: Request, page: int = 1) -> Response:
    floor = floor_of(request)
    wanted, asked = _filter(request)
    page = min(max(page, 1), 10**9)
    with floor.store() as store:
        found = store.history(wanted, limit=PER_PAGE, offset=(page - 1) * PER_PAGE)
        types = store.types()
    kept = {name: value for name, value in asked.items() if value}

    def link(number: int) -> str:
        return "/history?" + urlencode({**kept, "page": number})

    return floor.page(
        request,
        "history.html",
        found=found,
        asked=asked,
        types=types,
        verdicts=VERDICTS,
        page=page,
        newer=link(page - 1) if page > 1 else "",
        older=link(page + 1) if page * PER_PAGE < found.total else "",
        csv="/export.csv?" + urlencode(kept),
        dfq="/export.dfq?" + urlencode(kept),
    )


@router.get("/export.csv")
def export_csv(request: Request) -> Response:
    wanted, _ = _filter(request)
    stream = io.StringIO(newline="")
    with floor_of(request).store() as store:
        write_csv(store.each(wanted), stream)
    return Response(
        stream.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": 'attachment; filename="results.csv"'},
    )


@router.get("/export.dfq")
def export_dfq(request: Request) -> Response:
    from rig.floor.interfaces.qdas import write_dfq

    wanted, _ = _filter(request)
    stream = io.StringIO(newline="")
    with floor_of(request).store() as store:
        write_dfq(store.each(wanted), stream)
    return Response(
        stream.getvalue().encode("utf-8-sig"),
        media_type="application/octet-stream",
        headers={"content-disposition": 'attachment; filename="results.dfq"'},
    )


# one run --------------------------------------------------------------------------------------
@router.get("/runs/{number}")
def run_page(request: Request, number: int) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        run = store.run(number)
        others = store.history(Filter(part=run.part), limit=20)
        view = view_of(run, store.workspace, store.rig)
    return floor.page(
        request,
        "run.html",
        view=view,
        run=run,
        others=[r for r in others.runs if r.id != run.id],
        figure_names=FIGURES,
    )


@router.get("/latest/{part}")
def latest(request: Request, part: str) -> Response:
    """The newest run of a part: what the operator's page shows after a verdict."""
    floor = floor_of(request)
    with floor.store() as store:
        run = store.last_of(part)
        if run is None:
            raise UsageError(f"the store knows no part {part}")
        view = view_of(run, store.workspace, store.rig)
    return floor.page(request, "verdict.html", view=view, run=run)


@router.get("/runs/{number}/map/{kind}.svg")
def run_map(request: Request, number: int, kind: str) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        view = view_of(store.run(number), store.workspace, store.rig)
    if view.folder is None:
        raise UsageError(f"the folder of run {number} is not in this workspace")
    return Response(draw_map(view.folder, kind, view.features), media_type="image/svg+xml")


@router.get("/runs/{number}/files/{name}")
def run_file(request: Request, number: int, name: str) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        view = view_of(store.run(number), store.workspace, store.rig)
    path, kind = file_of(view, name)
    headers = {"content-security-policy": SANDBOX} if name.endswith(".html") else {}
    return FileResponse(path, media_type=kind, headers=headers)


@router.get("/parts/{part}")
def part_page(request: Request, part: str) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        found = store.history(Filter(part=part), limit=200)
    if not found.runs:
        raise UsageError(f"the store knows no part {part}")
    return floor.page(request, "part.html", part=part, found=found)


# two runs -------------------------------------------------------------------------------------
@router.get("/compare")
def compare_page(request: Request, a: int, b: int) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        views = [view_of(store.run(n), store.workspace, store.rig) for n in (a, b)]
    first = {feature["name"]: feature for feature in views[0].features}
    rows = [
        {
            "name": feature["name"],
            "a": first[feature["name"]],
            "b": feature,
            "change": None
            if feature["value"] is None or first[feature["name"]]["value"] is None
            else feature["value"] - first[feature["name"]]["value"],
        }
        for feature in views[1].features
        if feature["name"] in first
    ]
    both = all(view.folder is not None for view in views)
    return floor.page(request, "compare.html", views=views, rows=rows, both=both)


@router.get("/compare/{a}/{b}.svg")
def compare_map(request: Request, a: int, b: int) -> Response:
    """Second run minus first: one part is laid onto itself, two parts are only levelled."""
    floor = floor_of(request)
    with floor.store() as store:
        grids = [_grid(store, number) for number in (a, b)]
        same = store.run(a).part == store.run(b).part
    found = compare(grids[1], grids[0], "rigid" if same else "plane")
    return Response(draw(deviations(found.deviation), ()), media_type="image/svg+xml")


def _grid(store: Store, number: int) -> HeightGrid:
    view = view_of(store.run(number), store.workspace, store.rig)
    if view.folder is None:
        raise UsageError(f"the folder of run {number} is not in this workspace")
    return shape_of(str(view.folder), store.workspace.folder, None, 0.0)


# charts, plans, instrument --------------------------------------------------------------------
@router.get("/charts")
def charts_page(
    request: Request, part_type: str = "", feature: str = "", size: int = 1
) -> Response:
    floor = floor_of(request)
    with floor.store() as store:
        types = store.types()
        part_type = part_type or (types[0] if types else "")
        names = store.feature_names(part_type) if part_type else []
        feature = feature if feature in names else (names[0] if names else "")
        series = store.series(part_type, feature) if feature else []
    chart = chart_of(series, min(max(size, 1), 10))
    return floor.page(
        request,
        "charts.html",
        types=types,
        names=names,
        part_type=part_type,
        feature=feature,
        size=size,
        chart=chart,
        unit=series[0][1].unit if series else "",
    )


@router.get("/plans")
def plans_page(request: Request, part_type: str = "") -> Response:
    floor = floor_of(request)
    workspace = floor.worker.bench.workspace
    types = known_types(workspace)
    kept, drawn_on = None, None
    if part_type:
        kept = read_plan(workspace, part_type)
        with floor.store() as store:
            newest = store.history(Filter(part_type=part_type), limit=1).runs
            drawn_on = newest[0].id if newest else None
    return floor.page(
        request, "plans.html", types=types, part_type=part_type, kept=kept, drawn_on=drawn_on
    )


@router.get("/instrument")
def instrument_page(request: Request) -> Response:
    floor = floor_of(request)
    bench = floor.worker.bench
    return floor.page(
        request, "instrument.html", view=instrument_view(bench.workspace, bench.config)
    )


@router.get("/certificates/{name}/{file}")
def certificate(request: Request, name: str, file: str) -> Response:
    folder = floor_of(request).worker.bench.workspace.folder / "certificates"
    known = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    kinds = {"certificate.html": "text/html", "certificate.pdf": "application/pdf"}
    if name not in known or file not in kinds or not (folder / name / file).is_file():
        raise UsageError(f"there is no certificate {name}")
    headers = {"content-security-policy": SANDBOX} if file.endswith(".html") else {}
    return FileResponse(folder / name / file, media_type=kinds[file], headers=headers)
