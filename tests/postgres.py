"""PostgreSQL for tests: clusters of their own on free ports, run by a uid that is not root, gone when the tests are.

Roles log in with SCRAM and a passfile, as on a server: nothing here trusts a connection because it is local.
"""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

import sealwright.store
from sealwright.store.migrations import upgrade
from sealwright.store.roles import OWNER, PUBLISHER, READER, REGISTRY, Database

ADMINISTRATOR = "postgres"
PROCESS_ROLE: dict[Database, str] = {"registry": REGISTRY, "publication": PUBLISHER}
ROLES = (OWNER, REGISTRY, PUBLISHER, READER)
PASSWORD = "correct-horse-battery"

_numbers = itertools.count(1)


def binary(name: str) -> str:
    """Of Debian's newest PostgreSQL, or the one on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"PostgreSQL's {name} is not installed: scripts/setup dev"
    return path


def run_as_server(*command: str) -> None:
    """As the user that PostgreSQL agrees to run as: never root."""
    done = subprocess.run(
        command, user=_server_user(), cwd="/", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def documented_sql() -> str:
    """What the README tells the administrator to run."""
    readme = Path(sealwright.store.__file__).with_name("README.md").read_text()
    block = readme.split("```sql\n")[1].split("```")[0]
    return re.sub("--.*", "", block).strip().removesuffix(";")


def _server_user() -> str | None:
    return "postgres" if os.getuid() == 0 else None


@dataclass
class Cluster:
    """One PostgreSQL server. ``folder`` is its own and is removed with it."""

    folder: Path
    port: int
    passfile: Path
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, **options: str) -> Self:
        cluster = cls.place(**options)
        secret = cluster.folder / "password"
        secret.write_text(PASSWORD)
        cluster.give_to_server(secret)
        run_as_server(
            binary("initdb"), "-D", str(cluster.data), "-U", ADMINISTRATOR, "--auth=scram-sha-256", "-E", "UTF8",
            f"--pwfile={secret}", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        cluster.start()
        with cluster.connect() as connection:
            for statement in documented_sql().split(";"):
                connection.execute(statement.encode())
            for role in ROLES:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
                )
        return cluster

    @classmethod
    def place(cls, **options: str) -> Self:
        """A folder and a port, and nothing in them yet."""
        folder = Path(tempfile.mkdtemp(prefix="sealwright-pg-"))  # short: it holds a Unix socket
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        passfile = folder.with_name(f"{folder.name}.pgpass")
        passfile.touch(0o600)
        passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
        cluster = cls(folder, port, passfile, options)
        cluster.give_to_server(folder)
        return cluster

    def give_to_server(self, path: Path) -> None:
        user = _server_user()
        if user:
            shutil.chown(path, user)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",
            **self.options,
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        run_as_server(
            binary("pg_ctl"), "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def follow(self, primary: "Cluster") -> None:
        """Begin as a streaming replica of ``primary``."""
        passfile = self.folder / "replication.pgpass"
        passfile.touch(0o600)
        passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
        self.give_to_server(passfile)
        address = f"host=127.0.0.1 port={primary.port} user={ADMINISTRATOR} passfile={passfile}"
        run_as_server(binary("pg_basebackup"), "-d", address, "-D", str(self.data), "-R", "-c", "fast", "--no-sync")
        self.start()

    def stop_following(self) -> None:
        """As when the line between the two is cut: what the primary commits now, this one never gets."""
        with self.connect() as connection:
            connection.execute(b"ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute(b"SELECT pg_reload_conf()")
        self.wait_until("postgres", b"SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    def promote(self) -> None:
        run_as_server(binary("pg_ctl"), "-D", str(self.data), "-w", "promote")

    def wait_until(self, dbname: str, question: bytes, *values: object, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        with self.connect(dbname) as connection:
            while connection.execute(question, values).fetchone() != (True,):
                assert time.monotonic() < deadline, question
                time.sleep(0.02)

    def stop(self, mode: str = "immediate") -> None:
        run_as_server(binary("pg_ctl"), "-D", str(self.data), "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """SIGKILL, to the postmaster and all its children: as when the machine loses its power."""
        lines = (self.data / "postmaster.pid").read_text().splitlines()
        postmaster = int(lines[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):  # a child may have ended by itself
                os.kill(process, signal.SIGKILL)
        subprocess.run(["ipcrm", "-m", lines[6].split()[1]], check=False, capture_output=True)  # nobody else will
        (self.data / "postmaster.pid").unlink()

    def remove(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)
        self.passfile.unlink()

    def connect(self, dbname: str = "postgres", user: str = ADMINISTRATOR) -> psycopg.Connection:
        """Past Sealwright: what the owner of the server can do."""
        return psycopg.connect(self.url(dbname, user), autocommit=True, connect_timeout=5)

    def url(self, dbname: str, user: str) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{dbname}?passfile={self.passfile}"

    def create(self, database: Database) -> str:
        """An empty database of its owner. Its name."""
        name = f"{database}_{next(_numbers)}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
            )
        return name

    def new(self, database: Database) -> str:
        """A migrated database: the URL for the process that writes in it."""
        url = self.url(self.create(database), PROCESS_ROLE[database])
        upgrade(database, url)
        return url


@contextmanager
def running_cluster(**options: str) -> Iterator[Cluster]:
    """``PGPASSFILE`` is the owner's way in, as on a server."""
    cluster = Cluster.make(**options)
    before = os.environ.get("PGPASSFILE")
    os.environ["PGPASSFILE"] = str(cluster.passfile)
    try:
        yield cluster
    finally:
        os.environ.pop("PGPASSFILE")
        if before is not None:
            os.environ["PGPASSFILE"] = before
        cluster.remove()
