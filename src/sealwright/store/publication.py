"""The publication database: what ``publication`` has signed or gathered, for ``validation`` to serve.

One writer (presign), any number of read-only followers. Every row bears the number of the change that wrote it; a
follower asks for what is newer than the last it saw. The two promises that no writer can break stand in the statement
itself: an answer is never replaced by an older one, and never goes from revoked to good.
"""

import functools
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import BigInteger, LargeBinary, MetaData
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Field, Session, SQLModel, col, select

from sealwright.errors import NotReady
from sealwright.store.engine import UTCDateTime, open_engine, transaction
from sealwright.store.notices import CHANNEL
from sealwright.store.roles import OWNER

GOOD, REVOKED = "good", "revoked"


class PublicationTable(SQLModel):
    """The tables of the publication database, apart from those of the registry database."""

    metadata = MetaData()


class PublishedAnswer(PublicationTable, table=True):
    """One pre-signed OCSP answer: the newest for its CA, serial and CertID form."""

    __tablename__ = "answers"

    ca_id: str = Field(primary_key=True, max_length=63)
    serial: str = Field(primary_key=True, max_length=40)
    form: str = Field(primary_key=True, max_length=8)
    status: str = Field(max_length=8)
    revocation_date: datetime | None = Field(default=None, sa_type=UTCDateTime)
    reason: str | None = Field(default=None, max_length=32)
    this_update: datetime = Field(sa_type=UTCDateTime)
    next_update: datetime = Field(sa_type=UTCDateTime)
    refresh_at: datetime = Field(sa_type=UTCDateTime)
    der: bytes = Field(sa_type=LargeBinary)
    change: int = Field(default=0, index=True, sa_type=BigInteger)


class PublishedObject(PublicationTable, table=True):
    """One file under a path of the public server: a CRL or a CA certificate. ``number`` is a CRL's."""

    __tablename__ = "objects"

    path: str = Field(primary_key=True, max_length=200)
    content_type: str = Field(max_length=64)
    number: str | None = Field(default=None, max_length=40)
    this_update: datetime | None = Field(default=None, sa_type=UTCDateTime)
    next_update: datetime | None = Field(default=None, sa_type=UTCDateTime)
    refresh_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    body: bytes = Field(sa_type=LargeBinary)
    change: int = Field(default=0, index=True, sa_type=BigInteger)


class PublicationState(PublicationTable, table=True):
    """One row: which database this is, and its last change. Another ``identity`` means: begin again."""

    __tablename__ = "state"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    identity: str = Field(max_length=32)
    change: int = Field(sa_type=BigInteger)


class AnswerRow(NamedTuple):
    """A ``PublishedAnswer`` as a follower reads many: plain, and it travels to another process."""

    ca_id: str
    serial: str
    form: str
    status: str
    revocation_date: datetime | None
    reason: str | None
    this_update: datetime
    next_update: datetime
    refresh_at: datetime
    der: bytes
    change: int


class AnswerState(NamedTuple):
    """What a published answer says."""

    serial: str
    form: str
    status: str
    revocation_date: datetime | None
    reason: str | None
    this_update: datetime
    refresh_at: datetime


GroupRow = tuple[str, datetime | None, bytes]
"""Serial, revocation date and the answer: what differs between the answers of a group."""


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Answers of one CA that were signed together and say the same."""

    ca_id: str
    form: str
    status: str
    reason: str | None
    this_update: datetime
    next_update: datetime
    refresh_at: datetime
    rows: Sequence[GroupRow]

    def as_rows(self) -> Iterator[PublishedAnswer]:
        """One by one."""
        for serial, revocation_date, der in self.rows:
            yield PublishedAnswer(
                ca_id=self.ca_id,
                serial=serial,
                form=self.form,
                status=self.status,
                revocation_date=revocation_date,
                reason=self.reason,
                this_update=self.this_update,
                next_update=self.next_update,
                refresh_at=self.refresh_at,
                der=der,
            )


class Publication:
    """The database as its users see it. Made by ``open_publication``."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        self._engine.dispose()

    # what presign asks and writes

    def put_answers(self, answers: Sequence[PublishedAnswer]) -> None:
        """One transaction, one change. An older answer, or a good one over a revoked, changes nothing."""
        groups: dict[tuple[str, str, str, str | None, datetime, datetime, datetime], list[GroupRow]] = {}
        for each in answers:
            key = (each.ca_id, each.form, each.status, each.reason, each.this_update, each.next_update, each.refresh_at)
            row = (each.serial, each.revocation_date, each.der)
            groups.setdefault(key, []).append(row)
        if groups:
            self.put_groups([AnswerGroup(*key, tuple(rows)) for key, rows in groups.items()])

    def put_groups(self, groups: Sequence[AnswerGroup]) -> int:
        """As ``put_answers``, at the pace of a token: one statement a group, which the driver runs without the GIL.

        A serial may stand in a group once. Returns the change.
        """
        statement = _PUT[self._engine.dialect.name]
        parameters = [_parameters(group) for group in groups]
        with transaction(self._engine, writes=True) as session:
            change = _next_change(session)
            for each in parameters:
                session.connection().execute(statement, each | {"change": change})
        return change

    def put_object(self, published: PublishedObject) -> None:
        """One transaction, one change. Whether a CRL's number goes on is for the caller to check."""
        with transaction(self._engine, writes=True) as session:
            change = _next_change(session)
            row = published.model_dump() | {"change": change}
            insert = self._insert(PublishedObject)
            session.connection().execute(
                insert.on_conflict_do_update(
                    index_elements=["path"], set_={name: insert.excluded[name] for name in row if name != "path"}
                ),
                [row],
            )

    def object_number(self, path: str) -> str | None:
        """A CRL's number, without its bytes."""
        with transaction(self._engine, writes=False) as session:
            return session.exec(select(PublishedObject.number).where(PublishedObject.path == path)).first()

    def has_object(self, path: str, body: bytes) -> bool:
        """These very bytes are published there."""
        with transaction(self._engine, writes=False) as session:
            query = select(PublishedObject.path).where(PublishedObject.path == path, PublishedObject.body == body)
            return session.exec(query).first() is not None

    def find_object(self, path: str) -> PublishedObject | None:
        with transaction(self._engine, writes=False) as session:
            return session.get(PublishedObject, path)

    def answer_states(self, ca_id: str) -> Iterator[AnswerState]:
        """What every answer says, without its bytes, by serial and form. A stream: read it to its end."""
        row = PublishedAnswer
        with transaction(self._engine, writes=False) as session:
            columns: tuple[Any, ...] = tuple(getattr(row, name) for name in AnswerState._fields)
            query = sa.select(*columns).where(col(row.ca_id) == ca_id).order_by(col(row.serial), col(row.form))
            found = session.connection().execute(query, execution_options={"yield_per": 10_000})
            for each in found:
                yield AnswerState(*each)

    def answers_of_serial(self, ca_id: str, serial: str) -> tuple[PublishedAnswer, ...]:
        """Those that are published for one certificate."""
        with transaction(self._engine, writes=False) as session:
            row = PublishedAnswer
            return tuple(session.exec(select(row).where(row.ca_id == ca_id, row.serial == serial)))

    # what followers ask

    def state(self) -> tuple[str, int]:
        """(identity, last change)."""
        with transaction(self._engine, writes=False) as session:
            state = session.get(PublicationState, 1)
            if state is None:
                raise NotReady("the publication database has no state row", hint="run `sealwrightd migrate`")
            return state.identity, state.change

    def answers_since(self, change: int, limit: int) -> tuple[PublishedAnswer, ...]:
        """Those changed after ``change``, in order; the changes at the end may be cut by ``limit``: see ``batches``."""
        with transaction(self._engine, writes=False) as session:
            row = PublishedAnswer
            order = (col(row.change), col(row.ca_id), col(row.serial), col(row.form))
            return tuple(session.exec(select(row).where(col(row.change) > change).order_by(*order).limit(limit)))

    def answers_of(self, change: int) -> tuple[PublishedAnswer, ...]:
        """All of one change."""
        with transaction(self._engine, writes=False) as session:
            return tuple(session.exec(select(PublishedAnswer).where(PublishedAnswer.change == change)))

    def count_answers(self) -> int:
        with transaction(self._engine, writes=False) as session:
            return int(
                session.connection().execute(sa.select(sa.func.count()).select_from(PublishedAnswer)).scalar_one()
            )

    def all_answers(self, limit: int) -> Iterator[tuple[AnswerRow, ...]]:
        """Every answer, ``limit`` at a time in the order of the primary key: each that is there when this begins,
        in that state or a later. Short transactions: a replica cancels long ones."""
        row = PublishedAnswer
        key = tuple(col(each) for each in (row.ca_id, row.serial, row.form))
        columns: tuple[Any, ...] = tuple(getattr(row, name) for name in AnswerRow._fields)
        last: tuple[str, str, str] = ("", "", "")
        while True:
            with transaction(self._engine, writes=False) as session:
                query = sa.select(*columns).where(sa.tuple_(*key) > last).order_by(*key).limit(limit)
                found = tuple(AnswerRow(*each) for each in session.connection().execute(query))
            if not found:
                return
            yield found
            last = (found[-1].ca_id, found[-1].serial, found[-1].form)

    def objects_since(self, change: int) -> tuple[PublishedObject, ...]:
        with transaction(self._engine, writes=False) as session:
            row = PublishedObject
            return tuple(session.exec(select(row).where(col(row.change) > change).order_by(col(row.change))))

    def batches(self, change: int, limit: int) -> Iterator[tuple[int, tuple[PublishedAnswer, ...]]]:
        """(change up to which all is now seen, answers), so that a follower can stop after any of them."""
        while answers := self.answers_since(change, limit):
            last = answers[-1].change
            if len(answers) == limit:
                # The last change may go on behind the limit: take it whole, in its own turn.
                answers = tuple(each for each in answers if each.change != last) or self.answers_of(last)
                last = answers[-1].change
            change = last
            yield change, answers

    def _insert(self, table: type[PublicationTable]) -> Any:
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(sa.inspect(table).local_table)


# An answer that is kept stays unless the new one is as new, and nothing revoked becomes good. The rows come as JSON,
# the answers in one blob: the whole group is one call of the driver.
_PUT_TEXT = """
INSERT INTO answers
 (ca_id, serial, form, status, revocation_date, reason, this_update, next_update, refresh_at, der, change)
SELECT {ca_id}, value->>0, {form}, {status}, {revocation_date}, {reason}, {this_update}, {next_update}, {refresh_at},
 substr({der}, CAST(value->>2 AS INTEGER), CAST(value->>3 AS INTEGER)), {change}
FROM {rows} WHERE true
ON CONFLICT (ca_id, serial, form) DO UPDATE SET
 status = excluded.status, revocation_date = excluded.revocation_date, reason = excluded.reason,
 this_update = excluded.this_update, next_update = excluded.next_update, refresh_at = excluded.refresh_at,
 der = excluded.der, change = excluded.change
WHERE answers.this_update <= excluded.this_update AND (answers.status <> 'revoked' OR excluded.status = 'revoked')
"""
_NAMES = ("ca_id", "form", "status", "reason", "this_update", "next_update", "refresh_at", "der", "change")
_PUT = {
    "sqlite": sa.text(
        _PUT_TEXT.format(
            **{name: f":{name}" for name in _NAMES},
            revocation_date="value->>1",
            rows="json_each(:rows)",
        )
    ),
    "postgresql": sa.text(
        _PUT_TEXT.format(
            **{name: f"CAST(:{name} AS varchar)" for name in ("ca_id", "form", "status", "reason")},
            **{name: f"CAST(:{name} || '+00' AS timestamptz)" for name in ("this_update", "next_update", "refresh_at")},
            der="CAST(:der AS bytea)",
            change="CAST(:change AS bigint)",
            revocation_date="CAST(value->>1 || '+00' AS timestamptz)",
            rows="jsonb_array_elements(CAST(:rows AS jsonb)) AS rows(value)",
        )
    ),
}


def _parameters(group: AnswerGroup) -> dict[str, Any]:
    rows, at = [], 1
    for serial, revocation_date, der in group.rows:
        rows.append((serial, revocation_date and _stored(revocation_date), at, len(der)))
        at += len(der)
    return {
        "ca_id": group.ca_id,
        "form": group.form,
        "status": group.status,
        "reason": group.reason,
        "this_update": _stored(group.this_update),
        "next_update": _stored(group.next_update),
        "refresh_at": _stored(group.refresh_at),
        "rows": json.dumps(rows),
        "der": b"".join(row[2] for row in group.rows),
    }


@functools.lru_cache(maxsize=1024)
def _stored(moment: datetime) -> str:
    """A time as SQLAlchemy's SQLite dialect stores it."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime was to be stored; every time here is UTC-aware")
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def open_publication(url: str, *, read_only: bool = False) -> Publication:
    """Connects when used. ``NotReady`` then, when the tables are not there yet."""
    return Publication(open_engine(url, read_only=read_only))


def new_identity() -> str:
    """For the migration that makes the state row."""
    return secrets.token_hex(16)


def _next_change(session: Session) -> int:
    """Higher than every number before, those included that a database forgot with its tail: hence the clock."""
    row, now = PublicationState, time.time_ns() // 1000
    higher = sa.case((col(row.change) < now, now), else_=col(row.change) + 1)
    update = sa.update(row).where(col(row.id) == 1).values(change=higher).returning(col(row.change))
    connection = session.connection()
    found = connection.execute(update).scalar_one_or_none()
    if found is None:
        raise NotReady("the publication database has no state row", hint="run `sealwrightd migrate`")
    if connection.dialect.name == "postgresql":  # heard when this is committed, and not before
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, str(found))))
    return int(found)


def clear_publication(url: str, *, owner: str = OWNER) -> None:
    """Forget everything, and become another database: followers begin again.

    The publisher may delete nothing; in PostgreSQL this is the ``owner``'s to do.
    """
    engine = open_engine(url, user=owner)
    try:
        with transaction(engine, writes=True) as session:
            for table in (PublishedAnswer, PublishedObject):
                session.connection().execute(sa.delete(table))
            update = sa.update(PublicationState).where(col(PublicationState.id) == 1)
            session.connection().execute(update.values(identity=new_identity(), change=0))
    finally:
        engine.dispose()
