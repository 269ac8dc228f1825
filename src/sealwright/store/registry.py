"""The registry database: transactions, and the queries that ``registration`` and ``api`` ask.

It finds and keeps rows; what a row means, and whether it may be written, is decided by who calls. A transaction that
writes holds the database's one write lock from its start, so what it reads stays true until it commits.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from sealwright.errors import NotFound
from sealwright.store.engine import open_engine, transaction
from sealwright.store.models import (
    CertificateRow,
    ChallengeRow,
    DecisionRow,
    LeafRow,
    LoginKeyRow,
    ProjectionState,
    RequestRow,
    RequestState,
    RevocationRow,
    RosterRow,
    SessionRow,
    SuspensionRow,
)

Row = (
    CertificateRow
    | ChallengeRow
    | DecisionRow
    | LeafRow
    | RequestRow
    | RevocationRow
    | RosterRow
    | SessionRow
    | SuspensionRow
)


class RegistryTransaction:
    """One transaction of the registry database. Rows found in it may be changed until it ends."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, *rows: Row) -> None:
        """Keep new rows. ``Conflict`` when one is there already."""
        self._session.add_all(rows)
        self._session.flush()

    def delete(self, row: Row) -> None:
        self._session.delete(row)
        self._session.flush()

    # requests and decisions

    def request(self, key: str) -> RequestRow:
        """By its statement's SHA-256 or its id; ``NotFound`` otherwise."""
        row = self._session.get(RequestRow, key) if len(key) == 64 else None
        if row is None:
            row = self._session.exec(select(RequestRow).where(RequestRow.id == key)).first()
        if row is None:
            raise NotFound(f"there is no request {key[:64]!r}", hint="`sealwright requests` lists them")
        return row

    def find_request(self, sha256: str) -> RequestRow | None:
        return self._session.get(RequestRow, sha256)

    def requests(
        self,
        state: RequestState | None,
        *,
        limit: int,
        after: RequestRow | None = None,
        expires_after: datetime | None = None,
        expires_until: datetime | None = None,
    ) -> Sequence[RequestRow]:
        """The newest first. ``after``: those that come after this one. The others: by the end of their life."""
        received, identifier, expires = col(RequestRow.received_at), col(RequestRow.id), col(RequestRow.expires_at)
        query = select(RequestRow).order_by(received.desc(), identifier).limit(limit)
        if state is not None:
            query = query.where(RequestRow.state == state)
        if after is not None:
            same = sa.and_(received == after.received_at, identifier > after.id)
            query = query.where(sa.or_(received < after.received_at, same))
        if expires_after is not None:
            query = query.where(expires > expires_after)
        if expires_until is not None:
            query = query.where(expires <= expires_until)
        return self._session.exec(query).all()

    def requests_in(self, state: RequestState) -> Sequence[str]:
        """The SHA-256 of every request in ``state``, the oldest first."""
        query = select(RequestRow.sha256).where(RequestRow.state == state)
        return self._session.exec(query.order_by(col(RequestRow.received_at), col(RequestRow.id))).all()

    def decisions(self, request_sha256: str) -> Sequence[DecisionRow]:
        """In the order in which they came."""
        query = select(DecisionRow).where(DecisionRow.request_sha256 == request_sha256)
        return self._session.exec(query.order_by(col(DecisionRow.received_at), col(DecisionRow.sha256))).all()

    def find_decision(self, sha256: str) -> DecisionRow | None:
        return self._session.get(DecisionRow, sha256)

    # what the ledger says

    def certificate(self, serial: str) -> CertificateRow:
        """An issued certificate; ``NotFound`` for a serial that has none."""
        row = self._session.get(CertificateRow, serial)
        if row is None or row.certificate is None:
            raise NotFound(
                f"no certificate has the serial {serial[:64]!r}", hint="`sealwright certificates` lists them"
            )
        return row

    def certificate_of_intent(self, intent_index: int) -> CertificateRow | None:
        return self._session.exec(select(CertificateRow).where(CertificateRow.intent_index == intent_index)).first()

    def certificate_of_request(self, request_sha256: str) -> CertificateRow | None:
        """The one certificate that answered this request, if there is one."""
        query = select(CertificateRow).where(
            CertificateRow.request_sha256 == request_sha256, col(CertificateRow.certificate).is_not(None)
        )
        return self._session.exec(query).first()

    def certificates(
        self, *, team: str | None = None, spki_sha256: str | None = None, before: int | None = None, limit: int | None
    ) -> Sequence[CertificateRow]:
        """People's certificates, the newest first. ``before``: only those whose intent stands before that entry."""
        query = select(CertificateRow).where(
            col(CertificateRow.certificate).is_not(None), col(CertificateRow.team).is_not(None)
        )
        if team is not None:
            query = query.where(CertificateRow.team == team)
        if spki_sha256 is not None:
            query = query.where(CertificateRow.spki_sha256 == spki_sha256)
        if before is not None:
            query = query.where(col(CertificateRow.intent_index) < before)
        return self._session.exec(query.order_by(col(CertificateRow.intent_index).desc()).limit(limit)).all()

    def expiring(self, after: datetime, until: datetime) -> Sequence[CertificateRow]:
        """People's certificates that end in that time, the first to end first: neither revoked nor renewed by one that
        is not revoked either."""
        renewal = aliased(CertificateRow)
        revoked = select(RevocationRow.serial)
        query = select(CertificateRow).where(
            col(CertificateRow.certificate).is_not(None),
            col(CertificateRow.team).is_not(None),
            col(CertificateRow.not_after) > after,
            col(CertificateRow.not_after) <= until,
            col(CertificateRow.serial).not_in(revoked),
            ~select(renewal.serial)
            .where(
                col(renewal.renews) == col(CertificateRow.serial),
                col(renewal.certificate).is_not(None),
                col(renewal.serial).not_in(revoked),
            )
            .exists(),
        )
        return self._session.exec(query.order_by(col(CertificateRow.not_after), col(CertificateRow.serial))).all()

    def revocation(self, serial: str) -> RevocationRow | None:
        return self._session.get(RevocationRow, serial)

    def revocations_of_key(self, spki_sha256: str) -> Sequence[RevocationRow]:
        """Of what was certified for this key."""
        query = select(RevocationRow).join(CertificateRow, col(CertificateRow.serial) == col(RevocationRow.serial))
        return self._session.exec(query.where(CertificateRow.spki_sha256 == spki_sha256)).all()

    def rosters(self) -> Sequence[RosterRow]:
        """The rosters that came into force, the oldest first."""
        query = select(RosterRow).where(col(RosterRow.entry_index).is_not(None))
        return self._session.exec(query.order_by(col(RosterRow.entry_index))).all()

    def suspensions(self) -> Sequence[SuspensionRow]:
        """The oldest first."""
        return self._session.exec(select(SuspensionRow).order_by(col(SuspensionRow.entry_index))).all()

    def find_roster(self, sha256: str) -> RosterRow | None:
        return self._session.get(RosterRow, sha256)

    def proposed_rosters(self) -> Sequence[RosterRow]:
        """Rosters that wait for signatures."""
        query = select(RosterRow).where(col(RosterRow.entry_index).is_(None))
        return self._session.exec(query.order_by(col(RosterRow.received_at))).all()

    def projection(self) -> ProjectionState:
        """How far the ledger has been read."""
        state = self._session.get(ProjectionState, 1)
        if state is None:
            state = ProjectionState()
            self._session.add(state)
        return state

    def projection_size(self) -> int:
        """How many ledger entries were read; writes nothing."""
        state = self._session.get(ProjectionState, 1)
        return state.next_index if state else 0

    def leaf_hashes(self, start: int, end: int) -> tuple[bytes, ...]:
        """Of the ledger's entries ``start`` to ``end`` (exclusive)."""
        query = select(LeafRow.leaf_hash).where(col(LeafRow.entry_index) >= start, col(LeafRow.entry_index) < end)
        return tuple(self._session.exec(query.order_by(col(LeafRow.entry_index))).all())

    def ledger_entries(self, start: int, end: int) -> tuple[bytes, ...]:
        """The ledger's entries ``start`` to ``end`` (exclusive), as they were read."""
        query = select(LeafRow.entry).where(col(LeafRow.entry_index) >= start, col(LeafRow.entry_index) < end)
        return tuple(self._session.exec(query.order_by(col(LeafRow.entry_index))).all())

    def checkpoint(self) -> str:
        """The last checkpoint that was checked; empty before the first."""
        state = self._session.get(ProjectionState, 1)
        return state.checkpoint if state else ""

    def clear_projection(self) -> None:
        """Forget everything that was read off the ledger."""
        for table in (CertificateRow, RevocationRow, SuspensionRow, LeafRow, ProjectionState):
            self._run(sa.delete(table))
        self._run(sa.delete(RosterRow).where(col(RosterRow.entry_index).is_not(None)))
        self._session.expire_all()

    def counts(self) -> dict[str, int]:
        """How many requests stand in each state, and how many certificates and revocations there are."""
        found: dict[str, int] = dict.fromkeys(RequestState, 0)
        states = select(RequestRow.state, sa.func.count()).group_by(RequestRow.state)
        found.update({str(state): int(count) for state, count in self._session.exec(states).all()})
        issued = select(sa.func.count()).where(
            col(CertificateRow.certificate).is_not(None), col(CertificateRow.team).is_not(None)
        )
        found["certificates"] = int(self._session.exec(issued).one())
        found["revocations"] = int(self._session.exec(select(sa.func.count()).select_from(RevocationRow)).one())
        return found

    # logins

    def session(self, session_id: str) -> SessionRow | None:
        return self._session.get(SessionRow, session_id)

    def login_key(self) -> bytes:
        """The secret that every registry on this database has."""
        return self._session.exec(select(LoginKeyRow.secret)).one()

    def forget_logins_before(self, now: datetime) -> None:
        """Remove challenges and sessions that are over."""
        self._run(sa.delete(ChallengeRow).where(col(ChallengeRow.expires_at) <= now))
        self._run(sa.delete(SessionRow).where(col(SessionRow.expires_at) <= now))

    def _run(self, statement: Any) -> int:
        result = self._session.connection().execute(statement)
        return int(result.rowcount)


class RegistryDB:
    """The registry database. Safe to use from several threads: every transaction has a session of its own."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)

    @contextlib.contextmanager
    def reading(self) -> Iterator[RegistryTransaction]:
        with transaction(self._engine, writes=False) as session:
            yield RegistryTransaction(session)

    @contextlib.contextmanager
    def writing(self) -> Iterator[RegistryTransaction]:
        with transaction(self._engine, writes=True) as session:
            yield RegistryTransaction(session)

    def close(self) -> None:
        self._engine.dispose()


def open_registry(url: str) -> RegistryDB:
    """Open the registry database at ``url``. Raises ``NotReady`` when it was never migrated."""
    database = RegistryDB(url)
    try:
        with database.reading() as transaction_:
            transaction_.counts()
    except BaseException:
        database.close()
        raise
    return database
