"""The publication database: its promises hold whatever its writer sends."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from databases import Databases
from sealwright.errors import NotReady, StorageError
from sealwright.store.publication import (
    GOOD,
    REVOKED,
    Publication,
    PublicationTable,
    PublishedAnswer,
    PublishedObject,
    clear_publication,
    open_publication,
)
from softpki import NOW

HOUR = timedelta(hours=1)


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.new("publication")


@pytest.fixture
def database(url: str) -> Iterator[Publication]:
    database = open_publication(url)
    yield database
    database.close()


def answer(
    serial: str = "a1", *, at: datetime = NOW, status: str = GOOD, der: bytes = b"1", form: str = "sha1"
) -> PublishedAnswer:
    return PublishedAnswer(
        ca_id="issuing-1",
        serial=serial,
        form=form,
        status=status,
        revocation_date=NOW if status == REVOKED else None,
        this_update=at,
        next_update=at + 48 * HOUR,
        refresh_at=at + 12 * HOUR,
        der=der,
    )


def stored(database: Publication) -> dict[tuple[str, str], bytes]:
    return {(each.serial, each.form): each.der for each in database.answers_since(0, 100)}


def test_the_migration_makes_the_tables_of_the_models(url: str, databases: Databases) -> None:
    with databases.as_owner(url) as connection:
        differences = compare_metadata(MigrationContext.configure(connection), PublicationTable.metadata)
    assert [each for each in differences if "alembic_version" not in str(each)] == []


def test_an_answer_is_replaced_by_a_newer_one_and_never_by_an_older(database: Publication) -> None:
    database.put_answers([answer(der=b"1")])
    database.put_answers([answer(at=NOW + HOUR, der=b"2")])
    database.put_answers([answer(at=NOW, der=b"3")])
    assert stored(database) == {("a1", "sha1"): b"2"}


def test_a_revoked_answer_never_becomes_good_again(database: Publication) -> None:
    database.put_answers([answer(der=b"1")])
    database.put_answers([answer(status=REVOKED, der=b"2")])  # in the same second
    database.put_answers([answer(at=NOW + HOUR, der=b"3")])
    assert stored(database) == {("a1", "sha1"): b"2"}
    database.put_answers([answer(at=NOW + HOUR, status=REVOKED, der=b"4")])
    assert stored(database) == {("a1", "sha1"): b"4"}


def test_a_follower_sees_each_change_once_and_none_in_part(database: Publication) -> None:
    identity, change = database.state()
    assert (len(identity), change) == (32, 0)
    database.put_answers([answer(f"{n:x}", form=form) for n in range(1, 8) for form in ("sha1", "sha256")])
    database.put_answers([answer("1", at=NOW + HOUR)])
    database.put_answers([answer(f"f{n:x}") for n in range(1, 4)])
    for limit in (1, 2, 3, 14, 15, 100):
        seen = list(database.batches(0, limit))
        assert sum(len(answers) for _, answers in seen) == 17
        changes = [{each.change for each in answers} for _, answers in seen]
        assert len(set().union(*changes)) == 3
        assert sum(map(len, changes)) == 3
        assert seen[-1][0] == database.state()[1] > 0
    assert list(database.batches(database.state()[1], 10)) == []


def test_a_change_never_has_the_number_of_one_that_was_lost(
    database: Publication, url: str, databases: Databases
) -> None:
    """A follower that saw the lost one asks for what is newer, and must get the next."""
    database.put_answers([answer("1")])
    _, kept = database.state()
    database.put_answers([answer("2")])
    _, lost = database.state()
    with databases.as_owner(url) as connection:  # what a standby says that was behind when it was promoted
        connection.execute(sa.text("DELETE FROM answers WHERE serial = '2'"))
        connection.execute(sa.text("UPDATE state SET change = :kept"), {"kept": kept})
    database.put_answers([answer("3")])
    assert database.state()[1] > lost
    assert [each.serial for each in database.answers_since(lost, 10)] == ["3"]


def test_states_come_without_bytes(database: Publication) -> None:
    database.put_answers([answer(status=REVOKED)])
    states = tuple(database.answer_states("issuing-1"))
    assert states == (("a1", "sha1", REVOKED, NOW, None, NOW, NOW + 12 * HOUR),)


def test_an_object_is_kept_under_its_path(database: Publication) -> None:
    for body in (b"1", b"2"):
        database.put_object(PublishedObject(path="/crl/x.crl", content_type="application/pkix-crl", body=body))
    change = database.state()[1]
    assert [(each.body, each.change) for each in database.objects_since(0)] == [(b"2", change)]
    assert database.objects_since(change) == ()
    found = database.find_object("/crl/x.crl")
    assert found is not None
    assert found.body == b"2"
    assert database.find_object("/crl/y.crl") is None


def test_a_reader_cannot_write(url: str, databases: Databases) -> None:
    reader = open_publication(databases.reader(url), read_only=True)
    assert reader.state()[1] == 0
    with pytest.raises(StorageError):
        reader.put_answers([answer()])
    reader.close()


def test_a_database_without_tables_says_so(databases: Databases) -> None:
    empty = open_publication(databases.empty("publication"))
    with pytest.raises(NotReady, match="no tables"):
        empty.state()
    empty.close()


def test_a_database_that_is_made_again_is_another_and_empty(url: str, database: Publication) -> None:
    database.put_answers([answer(status=REVOKED)])
    identity, _ = database.state()
    clear_publication(url)
    assert stored(database) == {}
    assert database.state()[1] == 0
    assert database.state()[0] != identity
    database.put_answers([answer()])
    assert stored(database) == {("a1", "sha1"): b"1"}
