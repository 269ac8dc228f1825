"""Brings a database to the newest schema. One Alembic history per database, under ``alembic/<database>/``.

Run by ``sealwrightd migrate``; a serving process never migrates by itself.
"""

from pathlib import Path
from typing import get_args

import alembic.command
import alembic.config
import alembic.util.exc
import sqlalchemy.exc

from sealwright.errors import InputError, StorageError
from sealwright.store.engine import explain, open_engine
from sealwright.store.roles import OWNER, Database, grant

_HERE = Path(__file__).parent / "alembic"


def upgrade(database: Database, url: str, *, owner: str = OWNER) -> None:
    """All migrations that ``url`` does not have yet, and in PostgreSQL the grants, in one transaction. Safe to repeat.

    ``owner`` is the PostgreSQL role that owns the tables, in place of the one that ``url`` names.
    """
    if database not in get_args(Database):
        raise InputError(f"there is no database {database!r}; wanted one of {', '.join(get_args(Database))}")
    engine = open_engine(url, user=owner)
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_HERE / database).replace("%", "%%"))
    try:
        with engine.execution_options(sealwright_writes=True).begin() as connection:
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
            if engine.dialect.name == "postgresql":
                grant(connection, database)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise explain(error, engine) from error
    except alembic.util.exc.CommandError as error:
        raise StorageError(
            f"the {database} database has a schema that this version does not know: {error}",
            hint="was it made by a newer Sealwright?",
        ) from error
    finally:
        engine.dispose()
