"""Addresses without secrets, and what a person hears when PostgreSQL is away, refuses or is busy."""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from postgres import PASSWORD, Cluster, running_cluster
from sealwright.errors import InputError, SealwrightError, StorageError, Unavailable
from sealwright.store.engine import open_engine, transaction
from sealwright.store.migrations import upgrade
from sealwright.store.models import ChallengeRow, RosterRow
from sealwright.store.postgresql import parse_address
from sealwright.store.registry import RegistryDB, RegistryTransaction, open_registry
from sealwright.store.roles import OWNER, REGISTRY

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "hunter2-hunter2"


def said(error: BaseException) -> str:
    """All that a log or a person could see of it, causes included."""
    seen, text = error, ""
    while seen is not None:
        text += f"{seen!r} {seen} {getattr(seen, 'hint', '')}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)  # type: ignore[assignment]  # None ends it
    return text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@host/database",
        f"postgresql://user@host/database?password={SECRET}",
        f"postgresql://user@host/database?sslpassword={SECRET}",
        f"postgresql://user:{SECRET}@host:port/database",
        f"postgresql://user:{SECRET}@[host/database",
        f"postgresql://user:{SECRET}@host/database?nonsense={SECRET}",
        f"postgresql+psycopg://user:{SECRET}@host/database",
        f"mysql://user:{SECRET}@host/database",
        f"{SECRET}",
    ],
)
def test_a_url_that_holds_a_secret_or_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InputError) as caught:
        open_engine(url)
    assert SECRET not in said(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "missing"), [("postgresql://host/database", "user"), ("postgresql://u@host", "dbname")]
)
def test_a_url_names_its_role_and_database(url: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "somebody")  # what libpq would take instead
    with pytest.raises(InputError, match=missing):
        parse_address(url)


def test_several_hosts_are_tried_for_the_one_that_can_be_written() -> None:
    address = parse_address("postgresql://u@db1:5433,db2/d")
    assert (address["host"], address["port"], address["target_session_attrs"]) == ("db1,db2", "5433,", "read-write")
    assert "target_session_attrs" not in parse_address("postgresql://u@db1,db2/d", read_only=True)
    assert parse_address("postgresql://u@db1/d?target_session_attrs=any")["target_session_attrs"] == "any"
    assert parse_address("postgresql://u@db1/d?connect_timeout=9")["connect_timeout"] == "9"
    assert parse_address("postgresql://u@db1/d?options=-c%20jit%3Doff")["options"].endswith(" -c jit=off")


def test_another_user_does_not_get_the_process_s_passfile() -> None:
    address = parse_address("postgresql://u@h/d?passfile=/etc/u.pgpass", user="owner")
    assert (address["user"], "passfile" in address) == ("owner", False)


def test_a_wrong_password_is_said_without_it(cluster: Cluster, tmp_path: Path) -> None:
    name = cluster.create("registry")
    passfile = tmp_path / "passfile"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{SECRET}\n")
    with pytest.raises(Unavailable, match="password authentication failed") as caught:
        open_registry(f"postgresql://{REGISTRY}@127.0.0.1:{cluster.port}/{name}?passfile={passfile}")
    assert "passfile" in caught.value.hint
    assert SECRET not in said(caught.value)


def test_no_password_at_all_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    with pytest.raises(Unavailable, match="no password supplied") as caught:
        open_registry(f"postgresql://{REGISTRY}@127.0.0.1:{cluster.port}/registry")
    assert "passfile" in caught.value.hint


def test_a_database_that_is_not_there_is_said(cluster: Cluster) -> None:
    with pytest.raises(Unavailable, match='"nowhere" does not exist') as caught:
        upgrade("registry", cluster.url("nowhere", OWNER))
    assert "README" in caught.value.hint


def test_both_databases_in_one_are_refused(cluster: Cluster) -> None:
    url = cluster.new("registry")
    with pytest.raises(StorageError, match="does not know"):
        upgrade("publication", url)


def test_no_password_is_in_an_engine_an_error_or_a_log(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    engine = open_engine(cluster.new("registry"))
    with pytest.raises(SealwrightError) as caught, transaction(engine, writes=True) as session:
        session.connection().exec_driver_sql("SELECT nonsense FROM requests")
    assert PASSWORD not in said(caught.value) + repr(engine) + str(engine.url) + caplog.text
    engine.dispose()


def test_a_text_that_postgresql_cannot_hold_is_the_sender_s_mistake(cluster: Cluster) -> None:
    database = open_registry(cluster.new("registry"))
    for nonce in ("a\0b", "x" * 65):
        with pytest.raises(InputError, match="cannot hold"), database.writing() as tx:
            tx.add(ChallengeRow(nonce=nonce, expires_at=NOW))
    with pytest.raises(InputError), database.reading() as tx:
        tx.request("a\0b")
    database.close()


def row() -> RosterRow:
    return RosterRow(sha256="0" * 64, version=1, document="{}", received_at=NOW)


def count(tx: RegistryTransaction) -> int:
    return len(tx.proposed_rosters())


def test_a_reader_sees_one_moment(cluster: Cluster) -> None:
    database = open_registry(cluster.new("registry"))
    with database.reading() as before:
        assert count(before) == 0
        with database.writing() as tx:
            tx.add(row())
        assert count(before) == 0
    with database.reading() as after:
        assert count(after) == 1
    database.close()


def test_a_transaction_for_reading_cannot_write(cluster: Cluster) -> None:
    database = open_registry(cluster.new("registry"))
    with pytest.raises(StorageError, match="opened for reading"), database.reading() as tx:
        tx.add(row())
    database.close()


def test_a_writer_waits_for_the_one_before_and_sees_what_it_wrote(cluster: Cluster) -> None:
    url = cluster.new("registry")
    first, second = RegistryDB(url), RegistryDB(url)
    seen: list[int] = []

    def look() -> None:
        with second.writing() as tx:
            seen.append(count(tx))

    thread = threading.Thread(target=look)
    with first.writing() as tx:
        thread.start()
        thread.join(0.3)
        assert seen == []
        tx.add(row())
    thread.join(10)
    assert seen == [1]
    for database in (first, second):
        database.close()


def test_a_database_that_went_away_and_came_back_is_used_again() -> None:
    with running_cluster(fsync="off") as own:
        database = open_registry(own.new("registry"))
        with pytest.raises(Unavailable, match="does not answer") as caught, database.writing() as tx:  # noqa: PT012
            tx.add(row())
            own.stop()
            count(tx)
        assert "tried again" in caught.value.hint
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer"), database.reading() as tx:
                tx.counts()
        own.start()
        with database.writing() as tx:
            assert count(tx) == 0  # what was not committed is not there
        database.close()


def test_a_connection_that_was_cut_is_replaced_before_it_is_used(cluster: Cluster) -> None:
    database = open_registry(cluster.new("registry"))
    with cluster.connect() as administrator:
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [REGISTRY])
    with database.reading() as tx:
        assert count(tx) == 0
    database.close()


def test_who_hangs_in_a_transaction_does_not_stop_the_others(cluster: Cluster) -> None:
    with psycopg.connect(**parse_address(cluster.new("registry"))) as connection:  # type: ignore[arg-type]  # libpq's own words
        shown = connection.execute("SELECT current_setting('lock_timeout'), "
                                   "current_setting('idle_in_transaction_session_timeout')").fetchone()  # fmt: skip
    assert shown == ("10s", "1min")
