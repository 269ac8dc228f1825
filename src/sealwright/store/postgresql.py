"""How a PostgreSQL database is opened: from a libpq URL without a password, on the host that may be written now.

Knows addresses, time limits and what PostgreSQL's errors mean to a person. Leaves roles and grants to ``roles``,
transactions to ``engine``.
"""

from collections.abc import Mapping

import psycopg
import sqlalchemy as sa
import sqlalchemy.exc
from psycopg import conninfo
from sqlalchemy import event

from sealwright.errors import Conflict, InputError, NotReady, SealwrightError, StorageError, Unavailable

SCHEMES = ("postgresql://", "postgres://")
_EXAMPLE = "such as postgresql://sealwright_registry@db1,db2/sealwright_registry"

_TIMES = {
    # A host that is gone is passed over, or found out, before a person gives up.
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
_LOCK_MS, _IDLE_MS = 10_000, 60_000
_WRITERS = 0x5EA1
"""The advisory lock that a writer takes: one in each database."""


def parse_address(url: str, *, read_only: bool = False, user: str | None = None) -> dict[str, str]:
    """libpq's parameters of ``url``, with our time limits where it sets none.

    ``user`` takes the place of the URL's, and then the URL's passfile is not that user's either. Raises
    ``InputError``, in which nothing of the URL stands: it may hold what it must not.
    """
    try:
        given = {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        raise InputError("the database URL cannot be read", hint=_EXAMPLE) from None
    secrets = sorted({"password", "sslpassword"} & given.keys())
    if secrets:
        raise InputError(
            f"the database URL holds a {secrets[0]}; sealwrightd.toml holds no secret",
            hint="put it in a file of mode 0600 and add ?passfile=/that/file to the URL, or let the server use peer",
        )
    if user is not None:
        given["user"] = user
        given.pop("passfile", None)
    missing = [name for name in ("user", "dbname") if not given.get(name)]
    if missing:
        raise InputError(f"the database URL names no {missing[0]}", hint=_EXAMPLE)
    if not read_only:
        given.setdefault("target_session_attrs", "read-write")
    # A process that hangs inside a transaction must not keep the others waiting for ever.
    options = f"-c lock_timeout={_LOCK_MS} -c idle_in_transaction_session_timeout={_IDLE_MS}"
    if read_only:
        options += " -c default_transaction_read_only=on"
    return {**_TIMES, **given, "options": f"{options} {given.get('options', '')}".strip()}


def open_postgresql(url: str, *, read_only: bool = False, user: str | None = None) -> sa.Engine:
    """Connects only when used; a connection that broke is replaced before it is used again."""
    address = parse_address(url, read_only=read_only, user=user)
    engine = sa.create_engine(
        "postgresql+psycopg://",
        connect_args=address,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=16,
        pool_timeout=10,
        # A statement in an error of SQLAlchemy's would bring what people sent into the log.
        hide_parameters=True,
        execution_options={"sealwright_where": _describe(address)},
    )
    event.listen(engine, "begin", _begin)
    return engine


def _describe(address: dict[str, str]) -> str:
    hosts = address.get("hostaddr") or address.get("host") or "the local socket"
    return f"PostgreSQL database {address['dbname']!r} as {address['user']!r} on {hosts}"


def _begin(connection: sa.Connection) -> None:
    """One writer at a time, as in SQLite: what a writer reads stays true until it commits, whoever else is there."""
    if connection.get_execution_options().get("sealwright_writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def explain_postgresql(error: sqlalchemy.exc.DBAPIError, where: str) -> SealwrightError:
    """By SQLSTATE. What the server says of hosts, users and tables is shown; it never says passwords."""
    said = error.orig
    code = (said.sqlstate if isinstance(said, psycopg.Error) else None) or ""
    text = next(iter(str(said).strip().splitlines()), "").rstrip(": ")
    known = _KNOWN.get(code)
    if known is not None:
        kind, words, hint = known
        return kind(f"{where} {words}".replace("{text}", text), hint=hint)
    if isinstance(error, sqlalchemy.exc.IntegrityError):
        return Conflict("the database has such a row already, and rows are never overwritten")
    if isinstance(error, sqlalchemy.exc.DataError):
        return InputError(f"the database cannot hold this value: {text}", hint="a text has no NUL character in it")
    if isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        return Unavailable(f"{where} does not answer: {text or 'it is away'}", hint=_hint(str(said)))
    return StorageError(f"{where}: {text}", hint="`sealwrightd migrate` makes the tables and the grants")


_BUSY: tuple[type[SealwrightError], str, str] = (Unavailable, "is busy: another process holds it", "try again")
_KNOWN: Mapping[str, tuple[type[SealwrightError], str, str]] = {
    "42P01": (NotReady, "has no tables yet", "run `sealwrightd migrate --dir DIR`"),
    "42501": (StorageError, "refuses: {text}", "each process has a role of its own; `sealwrightd migrate` grants"),
    "25006": (StorageError, "was opened for reading: {text}", "was a standby named as the primary?"),
    "53100": (StorageError, "cannot write: {text}", "the disk of the database server is full"),
    "55P03": _BUSY,
    "40001": _BUSY,
    "40P01": _BUSY,
}


def _hint(text: str) -> str:
    """A connection that was refused has no SQLSTATE: the server's words are all there is."""
    if "password" in text or "authentication failed" in text or "pg_hba.conf" in text:
        return "does the passfile (?passfile=, PGPASSFILE) or pg_hba.conf know this role?"
    if "does not exist" in text:
        return "the database's administrator makes roles and databases: src/sealwright/store/README.md"
    return "is it running, and the network there? it is tried again by itself"
