"""New databases for a test, of either kind: what runs on one runs on the other."""

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from postgres import PROCESS_ROLE, Cluster, binary
from sealwright.store.engine import open_engine
from sealwright.store.migrations import upgrade
from sealwright.store.roles import OWNER, READER, Database


@dataclass
class Databases:
    """SQLite files in ``folder``, or databases in ``cluster`` when there is one."""

    folder: Path
    cluster: Cluster | None = None
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def empty(self, database: Database) -> str:
        """Never migrated."""
        if self.cluster is None:
            return f"sqlite:///{self.folder}/{database}-{next(self._numbers)}.db"
        return self.cluster.url(self.cluster.create(database), OWNER)

    def new(self, database: Database) -> str:
        """Migrated: the URL for the process that writes in it."""
        if self.cluster is not None:
            return self.cluster.new(database)
        url = self.empty(database)
        upgrade(database, url)
        return url

    def reader(self, url: str) -> str:
        """For the process that only reads it."""
        return url.replace("sealwright_publisher@", f"{READER}@")

    def backup(self, url: str, file: Path) -> None:
        """As the README of ``store`` says, while the database is in use."""
        if self.cluster is None:
            command = ["sqlite3", url.removeprefix("sqlite:///"), f".backup '{file}'"]
        else:
            address = self.cluster.url(url.partition("?")[0].rpartition("/")[2], OWNER)
            command = [binary("pg_dump"), "--format=custom", f"--file={file}", address]
        subprocess.run(command, check=True)

    def restore(self, database: Database, file: Path) -> str:
        """Into a new database, as the README says. Its URL."""
        url = self.empty(database)
        if self.cluster is None:
            shutil.copyfile(file, url.removeprefix("sqlite:///"))
        else:
            command = [binary("pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error", "-d", url, str(file)]
            subprocess.run(command, check=True)
            url = url.replace(f"{OWNER}@", f"{PROCESS_ROLE[database]}@")
        upgrade(database, url)
        return url

    @contextmanager
    def as_owner(self, url: str) -> Iterator[sa.Connection]:
        """Past the grants: what an enemy can do who owns the database. Committed at the end."""
        engine = open_engine(url, user=OWNER)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()
