"""One role for each process: what belongs to another is refused by PostgreSQL itself. Every refusal is tried."""

import contextlib
import itertools
from collections.abc import Iterator
from typing import get_args

import psycopg
import pytest
from psycopg import sql

from postgres import PASSWORD, Cluster
from sealwright.errors import NotReady, StorageError
from sealwright.store.migrations import upgrade
from sealwright.store.roles import GRANTS, OWNER, PUBLISHER, READER, REGISTRY, Database

PROCESS_ROLES = (REGISTRY, PUBLISHER, READER)
VERBS = {
    "SELECT": "SELECT count(*) FROM {}",
    "INSERT": "INSERT INTO {} ({}) VALUES (NULL)",
    "UPDATE": "UPDATE {} SET {} = {}",
    "DELETE": "DELETE FROM {}",
    "TRUNCATE": "TRUNCATE {}",
    "DROP": "DROP TABLE {}",
    "ALTER": "ALTER TABLE {} ADD COLUMN extra int",
    "TRIGGER": "CREATE TRIGGER t BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
}


@pytest.fixture(scope="module")
def names(cluster: Cluster) -> dict[Database, str]:
    """Both databases, migrated."""
    names: dict[Database, str] = {each: cluster.create(each) for each in get_args(Database)}
    for database, name in names.items():
        upgrade(database, cluster.url(name, OWNER))
    return names


def tables(cluster: Cluster, name: str) -> dict[str, str]:
    """Every table of a database, and a column of each."""
    with cluster.connect(name) as connection:
        rows = connection.execute(
            "SELECT table_name, min(column_name) FROM information_schema.columns"
            " WHERE table_schema = 'public' GROUP BY table_name"
        )
        return {str(table): str(column) for table, column in rows.fetchall()}


def statement(verb: str, table: str, column: str) -> sql.Composed:
    names = (sql.Identifier(table), sql.Identifier(column), sql.Identifier(column))
    return sql.SQL(VERBS[verb]).format(*names)


def permitted(connection: psycopg.Connection, query: sql.Composed) -> bool:
    """Tried, and taken back. An error for another reason means that the right was there."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(query)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.Error:
        return True
    return True


@contextlib.contextmanager
def admitted(cluster: Cluster, name: str, role: str) -> Iterator[psycopg.Connection | None]:
    """None where the role may not even connect."""
    try:
        connection = cluster.connect(name, role)
    except psycopg.OperationalError as error:
        if "permission denied for database" not in str(error):
            raise
        yield None
        return
    with connection:
        yield connection


@pytest.mark.parametrize(("database", "role"), list(itertools.product(get_args(Database), PROCESS_ROLES)))
def test_a_role_may_what_its_process_needs_and_nothing_else(
    cluster: Cluster, names: dict[Database, str], database: Database, role: str
) -> None:
    granted = GRANTS[database].get(role)
    with admitted(cluster, names[database], role) as connection:
        assert (connection is not None) == (granted is not None)
        if connection is None or granted is None:
            return
        found = tables(cluster, names[database])
        assert set(granted) | {"alembic_version"} == set(found)  # nothing that this test would forget to try
        for table, column in found.items():
            rights = {each.strip().removesuffix(" (change)") for each in granted.get(table, "").split(",")}
            for verb in VERBS:
                assert permitted(connection, statement(verb, table, column)) == (verb in rights), (role, verb, table)


@pytest.mark.parametrize("role", PROCESS_ROLES)
@pytest.mark.parametrize(
    "attempt",
    [
        "CREATE TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (a int)",
        "SET ROLE sealwright_owner",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "ALTER ROLE sealwright_reader SUPERUSER",
    ],
)
def test_a_role_cannot_become_more(cluster: Cluster, names: dict[Database, str], role: str, attempt: str) -> None:
    own = next(each for each in get_args(Database) if role in GRANTS[each])
    with cluster.connect(names[own], role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(attempt.encode())


def test_the_publisher_counts_changes_and_cannot_say_that_the_database_is_another(
    cluster: Cluster, names: dict[Database, str]
) -> None:
    with cluster.connect(names["publication"], PUBLISHER) as connection:
        connection.execute("UPDATE state SET change = change + 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE state SET identity = 'another'")


def test_the_roles_of_the_grants_are_all_tried() -> None:
    assert {role for grants in GRANTS.values() for role in grants} == set(PROCESS_ROLES)


def test_a_right_that_somebody_added_is_taken_away_by_the_next_migration(
    cluster: Cluster, names: dict[Database, str]
) -> None:
    name = names["publication"]
    with cluster.connect(name) as connection:
        connection.execute(b"GRANT ALL ON answers TO sealwright_reader")
        connection.execute(b"GRANT INSERT ON answers TO PUBLIC")
        connection.execute(b"GRANT CREATE ON SCHEMA public TO PUBLIC")
    upgrade("publication", cluster.url(name, OWNER))
    with cluster.connect(name, READER) as connection:
        for attempt in (b"INSERT INTO answers DEFAULT VALUES", b"DELETE FROM answers", b"CREATE TABLE mine (a int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(attempt)


@pytest.mark.parametrize("more", ["SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION"])
def test_a_role_that_grants_would_not_hold_is_refused(cluster: Cluster, more: str) -> None:
    url = cluster.url(cluster.create("publication"), OWNER)
    with cluster.connect() as connection:
        connection.execute(f"ALTER ROLE sealwright_reader {more}".encode())
        try:
            with pytest.raises(StorageError, match="sealwright_reader"):
                upgrade("publication", url)
        finally:
            connection.execute(f"ALTER ROLE sealwright_reader NO{more}".encode())
        connection.execute(b"GRANT sealwright_owner TO sealwright_reader")
        try:
            with pytest.raises(StorageError, match="member of other roles"):
                upgrade("publication", url)
        finally:
            connection.execute(b"REVOKE sealwright_owner FROM sealwright_reader")


def test_a_role_that_is_not_there_is_named_and_nothing_is_made(cluster: Cluster) -> None:
    name = cluster.create("publication")
    with cluster.connect() as connection:
        connection.execute(b"ALTER ROLE sealwright_reader RENAME TO somebody")
        try:
            with pytest.raises(NotReady, match="sealwright_reader") as caught:
                upgrade("publication", cluster.url(name, OWNER))
        finally:
            connection.execute(b"ALTER ROLE somebody RENAME TO sealwright_reader")
            connection.execute(f"ALTER ROLE sealwright_reader PASSWORD '{PASSWORD}'".encode())
    assert "README" in caught.value.hint
    assert tables(cluster, name) == {}


def test_a_process_cannot_migrate(cluster: Cluster) -> None:
    url = cluster.url(cluster.create("registry"), OWNER)
    with pytest.raises(StorageError, match="permission denied"):
        upgrade("registry", url, owner=REGISTRY)
