"""Opens the database of the results store and brings its tables up to date."""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from rig.exits import UsageError

FILE = "store.sqlite"
LEAST_ROOM = 1 << 16  # SQLite keeps as much beside its file, for those who read meanwhile
BUSY_S = 5.0  # how long to wait for a database that is locked or does not answer


# One for a program's life: what SQLAlchemy remembers of an engine outlives it, 40 kB for each.
@functools.lru_cache(maxsize=8)
def engine_of(url: str | None, workspace: Path) -> Engine:
    """The database of a URL, or ``store.sqlite`` in the workspace. Nothing is opened yet.

    Raises
    ------
    UsageError
        if the URL is none, or needs a driver that is not installed
    """
    if url is None:
        file = os.fsencode(workspace / FILE)  # a folder's name need not be text

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(file, timeout=BUSY_S, check_same_thread=False)

        engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+pg8000")
        arguments: dict[str, Any] = {}
        if parsed.drivername == "postgresql+pg8000":
            arguments = {"timeout": BUSY_S}
        return create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError):
        raise UsageError(
            "store: url in rig.yaml is no database that is known: write "
            "postgresql://user:password@host/name, or leave it empty"
        ) from None
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the database of store: url needs {error.name}: pip install 'dpps-rig[postgresql]'"
        ) from None


def _prepare_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA journal_mode=WAL")  # somebody may read while a run is written
    cursor.execute("PRAGMA synchronous=NORMAL")  # a lost last row is made anew from its folder
    cursor.close()


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether a database failed because there is no room for its file in that folder.

    Where what it shares with other programs does not fit, SQLite says no more than that it could
    not write.
    """
    said = getattr(getattr(error, "orig", None), "sqlite_errorname", "")
    if said.startswith("SQLITE_IOERR"):
        return shutil.disk_usage(folder).free < LEAST_ROOM
    return bool(said == "SQLITE_FULL")


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that this database has not seen.

    Raises
    ------
    UsageError
        if a newer version of this program has made the database
    """
    current, (head, known) = _revision(engine), _revisions()
    if current == head:
        return
    if current is not None and current not in known:
        raise UsageError(
            f"the store was made by a newer version of this program (tables {current}, known "
            f"here {head}): install that version"
        )
    config = _alembic()
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":  # else each table is kept alone, should the disk fill
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    """Which migration a database has seen last. Asked at every result, hence in plain SQL: what
    Alembic asks is compiled anew each time, and remembered."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        asked = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        found: str | None = asked.scalar()
        return found


@functools.cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    """The newest migration, and all that this program knows."""
    script = ScriptDirectory.from_config(_alembic())
    return script.get_current_head(), frozenset(r.revision for r in script.walk_revisions())


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", "rig.floor.store:migrations")
    return config
