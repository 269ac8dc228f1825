"""How a database is opened, and a transaction: durable SQLite here, PostgreSQL in ``postgresql``.

Knows pragmas, transactions and what SQLite's errors mean to a person. Leaves tables to ``models`` and
``publication``, and queries to ``registry``.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event
from sqlmodel import Session

from sealwright.errors import Conflict, InputError, NotReady, SealwrightError, StorageError, Unavailable
from sealwright.store.postgresql import SCHEMES, explain_postgresql, open_postgresql

# Long enough for another process's fsync on a slow disk, short enough that a person still waits for it.
BUSY_TIMEOUT_MS = 10_000


class UTCDateTime(sa.types.TypeDecorator[datetime]):
    """UTC-aware in, UTC-aware out; SQLite would forget the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was to be stored; every time here is UTC-aware")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def open_engine(url: str, *, read_only: bool = False, user: str | None = None) -> sa.Engine:
    """An engine for ``sqlite:////abs/path.db`` or ``postgresql://user@host,host/database``; connects only when used.

    ``user`` is PostgreSQL's, in place of the URL's.
    """
    if url.startswith(SCHEMES):
        return open_postgresql(url, read_only=read_only, user=user)
    try:
        parsed = sa.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername != "sqlite":
        raise InputError(
            "the database URL cannot be read",
            hint="such as sqlite:////var/lib/sealwright/registry.db, or postgresql://user@host/database",
        )
    if read_only:
        parsed = parsed.set(database=f"file:{parsed.database}", query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(
        parsed,
        pool_size=8,
        max_overflow=56,  # more than a web server has threads: they wait for SQLite's lock, not for a connection
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        execution_options={"sealwright_where": parsed.render_as_string()},
    )
    event.listen(engine, "connect", _prepare_sqlite_ro if read_only else _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes late and never IMMEDIATE: transactions are begun in _begin_sqlite.
    connection.isolation_level = None
    # WAL: readers never wait for the writer. FULL: a commit that was answered for survives a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_sqlite_ro(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock first: a reader that becomes a writer can be refused (SQLITE_BUSY_SNAPSHOT).
    writes = connection.get_execution_options().get("sealwright_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def transaction(engine: sa.Engine, *, writes: bool) -> Iterator[Session]:
    """One session, one transaction: committed at the end, rolled back on any error; rows stay readable after."""
    bind = engine.execution_options(sealwright_writes=writes)
    if engine.dialect.name == "postgresql":
        # A reader sees one moment, as in SQLite; a writer what was committed when it got the lock, so not before.
        level = "READ COMMITTED" if writes else "REPEATABLE READ"
        bind = bind.execution_options(isolation_level=level, postgresql_readonly=not writes)
    try:
        with Session(bind, expire_on_commit=False) as session:
            session.connection()  # begins now: a writer has its lock before it reads anything
            yield session
            session.commit()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise explain(error, engine) from error


def explain(error: sqlalchemy.exc.SQLAlchemyError, engine: sa.Engine) -> SealwrightError:
    """What the driver meant, in our words."""
    where = engine.get_execution_options()["sealwright_where"]
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return Unavailable(f"{where} has no connection left", hint="try again")
    if engine.dialect.name == "postgresql" and isinstance(error, sqlalchemy.exc.DBAPIError):
        return explain_postgresql(error, where)
    if isinstance(error, sqlalchemy.exc.IntegrityError):
        return Conflict("the database has such a row already, and rows are never overwritten")
    text = str(getattr(error, "orig", error))
    if "no such table" in text:
        return NotReady(f"{where} has no tables yet", hint="run `sealwrightd migrate --dir DIR`")
    if "locked" in text:
        return Unavailable(f"{where} is busy: another process holds it", hint="try again")
    return StorageError(
        f"{where}: {text}", hint="is the folder there and writable by this user, and the disk not full?"
    )


def describe_pragmas(engine: sa.Engine) -> dict[str, Any]:
    """The durability that this engine really has (for ``sealwrightd check``)."""
    with engine.connect() as connection:
        return {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
