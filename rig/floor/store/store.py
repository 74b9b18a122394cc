"""The results store: put results in, look them up, make it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, selectinload

from capture.errors import DataError
from rig.config import Config, read_config
from rig.exits import UsageError, in_words
from rig.floor.store.database import bring_up_to_date, engine_of, is_full
from rig.floor.store.reading import results_in, row_of
from rig.floor.store.tables import Feature, Run
from rig.workspace import Workspace

BATCH = 2000


@dataclass(frozen=True)
class Filter:
    """Which runs are looked for; empty fields do not restrict.

    Attributes
    ----------
    text : part of a part's name, batch or operator
    since, until : UTC; `until` is not included
    """

    text: str = ""
    part: str = ""
    part_type: str = ""
    verdict: str = ""
    operator: str = ""
    batch: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = [
            column == value
            for column, value in (
                (Run.part, self.part),
                (Run.part_type, self.part_type),
                (Run.verdict, self.verdict),
                (Run.operator, self.operator),
                (Run.batch, self.batch),
            )
            if value
        ]
        if self.text:
            found.append(Run.search.contains(self.text.lower(), autoescape=True))
        if self.since is not None:
            found.append(Run.measured_at >= self.since)
        if self.until is not None:
            found.append(Run.measured_at < self.until)
        return found


@dataclass(frozen=True)
class Page:
    """Some of the runs found, and how many there are in all."""

    runs: tuple[Run, ...]
    total: int


def name_of_rig(config: Config | None, workspace: Workspace) -> str:
    """What this rig is called where several share a store."""
    name = (config.instrument if config else None) or workspace.folder.name
    return name.encode("utf-8", "backslashreplace").decode()  # a folder's need not be text


@contextmanager
def open_store(workspace: Workspace, config: Config | None = None) -> Iterator[Store]:
    """The store of a workspace, its tables up to date; closed at the end.

    Parameters
    ----------
    config : says where the database is; None: as ``rig.yaml`` says, if there is one

    Raises
    ------
    UsageError, DataError
        if the database cannot be reached or used
    """
    if config is None and workspace.config_file.is_file():
        config = read_config(workspace.config_file)
    engine = engine_of(config.store.url if config else None, workspace.folder)
    try:
        try:
            bring_up_to_date(engine)
        except (SQLAlchemyError, OSError) as error:
            if is_full(error, workspace.folder):
                raise
            raise DataError(
                f"the store at {engine.url.render_as_string(hide_password=True)} cannot be used "
                f"({in_a_line(error)}): see that the database runs; move a damaged file away and "
                "run 'rig store rebuild'"
            ) from None
        yield Store(engine, workspace, name_of_rig(config, workspace))
    except SQLAlchemyError as error:
        if not is_full(error, workspace.folder):
            raise
        raise DataError(
            f"the store in {workspace.folder} cannot be written: the disk is full; make room on it"
        ) from None
    finally:
        engine.dispose()


def in_a_line(error: BaseException) -> str:
    """The first line of what went wrong, of the driver where there is one."""
    cause = getattr(error, "orig", None) or error
    return in_words(cause).strip().splitlines()[0] if in_words(cause).strip() else repr(cause)


class Store:
    """Runs and features of one rig or several."""

    def __init__(self, engine: Engine, workspace: Workspace, rig: str) -> None:
        self.engine = engine
        self.workspace = workspace
        self.rig = rig

    # writing ---------------------------------------------------------------------------------
    def put(self, result: Path) -> int:
        """Enter a result, or enter it anew; returns its number."""
        row, features = row_of(result.resolve(), self.workspace, self.rig)
        with Session(self.engine) as session, session.begin():
            session.execute(delete(Run).where(Run.rig == self.rig, Run.path == row["path"]))
            run = Run(**row, features=[Feature(**feature) for feature in features])
            session.add(run)
            session.flush()
            return run.id

    def rebuild(self, say: Callable[[str], None] = lambda line: None) -> int:
        """Forget this rig's runs and read all of them from their folders, in one transaction."""
        count = 0
        with Session(self.engine) as session, session.begin():
            session.execute(delete(Run).where(Run.rig == self.rig))
            for result in results_in(self.workspace):
                try:
                    row, features = row_of(result, self.workspace, self.rig)
                except (OSError, ValueError) as error:
                    say(f"{result} is left out: {in_words(error)}")
                    continue
                session.add(Run(**row, features=[Feature(**feature) for feature in features]))
                count += 1
                if count % BATCH == 0:
                    session.flush()
                    session.expunge_all()
        return count

    def put_many(self, rows: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
        """Enter many rows (as of `reading.row_of`) at once."""
        with self.engine.begin() as connection:
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                numbers = connection.execute(
                    insert(Run).returning(Run.id, sort_by_parameter_order=True),
                    [row for row, _ in some],
                ).scalars()
                features = [
                    {**feature, "run_id": number}
                    for number, (_, found) in zip(numbers, some, strict=True)
                    for feature in found
                ]
                if features:
                    connection.execute(insert(Feature), features)

    # reading ---------------------------------------------------------------------------------
    def history(self, wanted: Filter | None = None, *, limit: int = 50, offset: int = 0) -> Page:
        """Runs, newest first."""
        conditions = (wanted or Filter()).conditions()
        query = _newest_first(select(Run).where(*conditions)).limit(limit).offset(offset)
        with Session(self.engine, expire_on_commit=False) as session:
            runs = session.scalars(query.options(selectinload(Run.features))).all()
            if len(runs) < limit and (runs or offset == 0):
                return Page(tuple(runs), offset + len(runs))
            total = session.scalar(select(func.count()).select_from(Run).where(*conditions))
            return Page(tuple(runs), int(total or 0))

    def run(self, number: int) -> Run:
        """One run with its features; raises `UsageError` if there is none of this number."""
        with Session(self.engine, expire_on_commit=False) as session:
            known = 0 < number < 2**31  # beyond, a database has no such key
            found = (
                session.get(Run, number, options=[selectinload(Run.features)]) if known else None
            )
        if found is None:
            raise UsageError(f"the store has no run {number}")
        return found

    def last_of(self, part: str) -> Run | None:
        """The newest run of a part."""
        found = self.history(Filter(part=part), limit=1).runs
        return found[0] if found else None

    def series(self, part_type: str, feature: str, limit: int = 500) -> list[tuple[Run, Feature]]:
        """Values of a feature over the newest parts of a type, oldest first."""
        query = (
            select(Run, Feature)
            .join(Feature, Feature.run_id == Run.id)
            .where(Run.part_type == part_type, Feature.name == feature)
            .where(Feature.value.is_not(None))
            .order_by(Run.measured_at.desc(), Run.id.desc())
            .limit(limit)
        )
        with Session(self.engine, expire_on_commit=False) as session:
            return [(run, found) for run, found in session.execute(query).all()][::-1]

    def feature_names(self, part_type: str) -> list[str]:
        """Features that the newest runs of a type have, in the order of their plan."""
        runs = self.history(Filter(part_type=part_type), limit=5).runs
        return list(dict.fromkeys(feature.name for run in runs for feature in run.features))

    def types(self) -> list[str]:
        """Part types that were measured."""
        with Session(self.engine) as session:
            query = select(Run.part_type).distinct().where(Run.part_type != "")
            return sorted(session.scalars(query))

    def each(self, wanted: Filter | None = None) -> Iterator[Run]:
        """Every run found, newest first, in pieces that memory holds."""
        query = _newest_first(select(Run).where(*(wanted or Filter()).conditions()))
        with Session(self.engine, expire_on_commit=False) as session:
            yield from session.scalars(
                query.options(selectinload(Run.features)).execution_options(yield_per=BATCH)
            )


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(Run.measured_at.desc(), Run.id.desc())
