"""Real databases of both kinds; what only a SQLite file can do asks for ``file``."""

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from databases import Databases
from sealwright.errors import Conflict, InputError, NotFound, NotReady, StorageError, Unavailable
from sealwright.store.engine import describe_pragmas, open_engine
from sealwright.store.migrations import upgrade
from sealwright.store.models import (
    CertificateRow,
    ChallengeRow,
    DecisionRow,
    RegistryTable,
    RequestRow,
    RequestState,
    RevocationRow,
)
from sealwright.store.registry import RegistryDB, open_registry

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.new("registry")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return Databases(tmp_path).new("registry")


def request_row(number: int = 1, **changes: object) -> RequestRow:
    values: dict[str, object] = {
        "sha256": f"{number:064x}",
        "id": f"{number:032x}",
        "person": "rita",
        "team": "payments",
        "project": "checkout",
        "profile": "code-signing",
        "key_location": "token",
        "spki_sha256": "0" * 64,
        "document": "{}",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(days=30),
        "received_at": NOW + timedelta(seconds=number),
    }
    return RequestRow(**{**values, **changes})


def decision_row(person: str, key: str, number: int) -> DecisionRow:
    return DecisionRow(
        sha256=f"{number:064x}",
        request_sha256=f"{1:064x}",
        person=person,
        key_identity=key,
        verdict="approve",
        comment="",
        document="{}",
        received_at=NOW,
    )


def test_migrations_make_exactly_the_tables_of_the_models(url: str, databases: Databases) -> None:
    with databases.as_owner(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, RegistryTable.metadata) == []


def test_migrating_twice_changes_nothing(url: str) -> None:
    upgrade("registry", url)
    open_registry(url).close()


def test_a_database_of_a_newer_version_is_refused(url: str, databases: Databases) -> None:
    with databases.as_owner(url) as connection:
        connection.exec_driver_sql("update alembic_version set version_num = 'r9999'")
    with pytest.raises(StorageError, match="does not know"):
        upgrade("registry", url)


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(InputError, match="nothing"):
        upgrade("nothing", "sqlite:///x.db")  # type: ignore[arg-type]  # what is tested


def test_a_url_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(InputError) as caught:
        open_engine("secret")
    assert "secret" not in caught.value.message


def test_a_commit_is_durable_wal_and_full(file: str) -> None:
    engine = open_engine(file)
    assert describe_pragmas(engine) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    engine.dispose()


def test_a_database_that_was_never_migrated_is_not_ready(databases: Databases) -> None:
    with pytest.raises(NotReady) as caught:
        open_registry(databases.empty("registry"))
    assert "sealwrightd migrate" in caught.value.hint


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="unable to open"):
        open_registry(f"sqlite:///{tmp_path}/nowhere/registry.db")


def test_a_read_only_engine_cannot_write(file: str) -> None:
    engine = open_engine(file, read_only=True)
    with pytest.raises(sa.exc.OperationalError), engine.begin() as connection:
        connection.exec_driver_sql("delete from requests")
    engine.dispose()


def test_times_come_back_in_utc(url: str) -> None:
    database = RegistryDB(url)
    with database.writing() as tx:
        tx.add(request_row())
    with database.reading() as tx:
        assert tx.request(f"{1:064x}").issued_at == NOW
        assert tx.request(f"{1:032x}").issued_at.tzinfo is UTC
    database.close()


def test_a_naive_time_is_never_stored(url: str) -> None:
    database = RegistryDB(url)
    with pytest.raises(StorageError, match="naive"), database.writing() as tx:
        tx.add(request_row(issued_at=datetime(2026, 1, 1)))  # noqa: DTZ001  # what is tested
    database.close()


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(file: str) -> None:
    database = RegistryDB(file)

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite's own way to be full: no page more than there are

    sa.event.listen(database._engine, "connect", fill)
    with pytest.raises(StorageError, match="full"), database.writing() as tx:  # noqa: PT012  # as many as do not fit
        for number in range(200):
            tx.add(request_row(number, document="x" * 4000))
    with database.reading() as tx:
        assert tx.requests(None, limit=1) == []
    database.close()


def test_a_writer_that_holds_the_lock_too_long_makes_others_hear_of_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwright.store.engine.BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr("sealwright.store.postgresql._LOCK_MS", 50)
    first, second = RegistryDB(url), RegistryDB(url)
    with first.writing() as tx, pytest.raises(Unavailable, match="busy"), second.writing():
        tx.add(request_row())
    for database in (first, second):
        database.close()


def test_a_failed_transaction_leaves_nothing(url: str) -> None:
    database = RegistryDB(url)
    with pytest.raises(ZeroDivisionError), database.writing() as tx:  # noqa: PT012  # the transaction is what is tested
        tx.add(request_row())
        raise ZeroDivisionError
    with database.reading() as tx, pytest.raises(NotFound):
        tx.request(f"{1:064x}")
    database.close()


def test_the_same_person_or_the_same_key_cannot_decide_twice(url: str) -> None:
    database = RegistryDB(url)
    with database.writing() as tx:
        tx.add(request_row())
        tx.add(decision_row("amir", "SHA256:a", 1))
    for person, key in (("amir", "SHA256:b"), ("bo", "SHA256:a")):
        with pytest.raises(Conflict), database.writing() as tx:
            tx.add(decision_row(person, key, 2))
    database.close()


def test_a_decision_needs_its_request(url: str) -> None:
    database = RegistryDB(url)
    with pytest.raises(Conflict), database.writing() as tx:
        tx.add(decision_row("amir", "SHA256:a", 1))
    database.close()


def test_requests_are_listed_newest_first_and_by_state(url: str) -> None:
    database = RegistryDB(url)
    with database.writing() as tx:
        tx.add(request_row(1), request_row(2), request_row(3, state=RequestState.DENIED))
    with database.reading() as tx:
        assert [row.sha256[-1] for row in tx.requests(None, limit=10)] == ["3", "2", "1"]
        assert [row.sha256[-1] for row in tx.requests(RequestState.OPEN, limit=1)] == ["2"]
        assert tx.counts()["denied"] == 1
    database.close()


def test_what_expires_is_neither_revoked_nor_renewed_by_what_is_good(url: str) -> None:
    """A renewal that is revoked spares nobody the notice; one that a crash left without a certificate neither."""
    day, end = timedelta(days=1), NOW + timedelta(days=30)

    def row(serial: str, not_after: datetime, **changes: object) -> CertificateRow:
        number = int(serial, 16)
        values = {"intent_index": number, "profile": "code-signing", "team": "payments", "certificate": b"DER"}
        return CertificateRow(serial=serial, not_after=not_after, **{**values, **changes})

    def revocation(serial: str) -> RevocationRow:
        return RevocationRow(serial=serial, entry_index=1, at=NOW, revocation_date=NOW, cause="order")

    rows = (
        row("a1", end),
        row("a2", end + timedelta(seconds=1)),
        row("a3", NOW),
        row("a4", NOW + timedelta(seconds=1)),
        row("b1", end - day),
        row("b2", end + 300 * day, renews="b1"),
        row("c1", end - 2 * day),
        row("c2", end + 300 * day, renews="c1"),
        row("d1", end - 3 * day),
        row("d2", end + 300 * day, renews="d1", certificate=None),
        row("e1", end),
        row("f1", end, team=None),
    )
    database = open_registry(url)
    with database.writing() as tx:
        tx.add(*rows, revocation("c2"), revocation("e1"))
        assert [each.serial for each in tx.expiring(NOW, end)] == ["a4", "d1", "c1", "a1"]
    database.close()


def test_a_challenge_is_used_once(url: str) -> None:
    database = RegistryDB(url)
    for outcome in (contextlib.nullcontext(), pytest.raises(Conflict)):
        with outcome, database.writing() as tx:
            tx.add(ChallengeRow(nonce="a", expires_at=NOW))
    database.close()


def test_each_database_has_a_login_key_of_its_own_that_stays(url: str, databases: Databases) -> None:
    def key(url: str) -> bytes:
        database = RegistryDB(url)
        with database.reading() as tx:
            secret = tx.login_key()
        database.close()
        return secret

    first = key(url)
    upgrade("registry", url)
    assert len(first) == 32
    assert key(url) == first != key(databases.new("registry"))
