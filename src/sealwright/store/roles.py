"""PostgreSQL's roles: one for each process, each with the rights that it needs and no others.

A role may connect to its own database only, so what is another's is refused before any table is. The roles are made
by the database's administrator (README of this room); what they may do is said here and applied by every migration.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import sqlalchemy as sa

from sealwright.errors import NotReady, StorageError

Database = Literal["registry", "publication"]

OWNER = "sealwright_owner"
"""Runs `sealwrightd migrate`, and no process that serves."""
REGISTRY, PUBLISHER, READER = "sealwright_registry", "sealwright_publisher", "sealwright_reader"

_KEPT, _MADE_AGAIN = "SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE, DELETE"

GRANTS: Mapping[Database, Mapping[str, Mapping[str, str]]] = {
    "registry": {
        REGISTRY: {
            "requests": _KEPT,
            "decisions": "SELECT, INSERT, DELETE",
            "rosters": _MADE_AGAIN,
            "certificates": _MADE_AGAIN,
            "revocations": _MADE_AGAIN,
            "suspensions": "SELECT, INSERT, DELETE",
            "leaves": "SELECT, INSERT, DELETE",
            "projection": _MADE_AGAIN,
            "login_key": "SELECT",
            "challenges": "SELECT, INSERT, DELETE",
            "sessions": "SELECT, INSERT, DELETE",
        },
    },
    "publication": {
        PUBLISHER: {"answers": _KEPT, "objects": _KEPT, "state": "SELECT, UPDATE (change)"},
        READER: {"answers": "SELECT", "objects": "SELECT", "state": "SELECT"},
    },
}

_STRONG = sa.text(
    "SELECT rolname FROM pg_roles WHERE rolname = ANY(:names) AND (rolsuper OR rolcreaterole OR rolcreatedb"
    " OR rolreplication OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid))"
)


def grant(connection: sa.Connection, database: Database) -> None:
    """Take every right away and give those of ``GRANTS``. Raises ``NotReady`` naming a role that is not there yet."""
    wanted = GRANTS[database]
    every = tuple(role for each in get_args(Database) for role in GRANTS[each])
    known = set(connection.execute(sa.text("SELECT rolname FROM pg_roles")).scalars())
    missing = [role for role in every if role not in known]
    if missing:
        raise NotReady(
            f"PostgreSQL has no role {missing[0]!r}",
            hint="its administrator makes the four roles: src/sealwright/store/README.md",
        )
    strong = connection.execute(_STRONG, {"names": list(every)}).scalars().first()
    if strong is not None:
        raise StorageError(
            f"the role {strong!r} may do more than its grants say: it is a superuser, or a member of other roles",
            hint="a process's role has LOGIN and nothing more",
        )
    name = connection.dialect.identifier_preparer.quote(
        connection.execute(sa.text("SELECT current_database()")).scalar_one()
    )
    everybody = ", ".join(("PUBLIC", *every))
    for statement in (
        f"REVOKE ALL ON DATABASE {name} FROM {everybody}",
        f"REVOKE ALL ON SCHEMA public FROM {everybody}",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everybody}",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {everybody}",
    ):
        connection.exec_driver_sql(statement)
    for role, tables in wanted.items():
        connection.exec_driver_sql(f"GRANT CONNECT ON DATABASE {name} TO {role}")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {role}")
        for table, rights in tables.items():
            connection.exec_driver_sql(f"GRANT {rights} ON {table} TO {role}")
