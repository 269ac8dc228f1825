"""The index's private SQLite file: what every reserved serial became, so that a start need not read the whole ledger.

It is a cache beside the ledger and no second truth. It says for how many entries it stands and under which root, and
carries a digest of its own rows: at every start all rows are read against it. A file that is torn, changed, of another
ledger or of another version of this module is thrown away and made again. It is written in batches, without fsync: what
a crash took is read from the ledger again. Whoever can write here is the signer's own user, so nothing is signed.

What the rows mean is ``index``'s.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final

from sealwright.errors import IntegrityError

FORMAT: Final = 5
"""Counted up whenever the tables, or what ``index`` makes of an entry, change."""

Row = tuple[Any, ...]

_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
_MODULUS: Final = 1 << 256
_SCHEMA: Final = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reserved (
    intent INTEGER PRIMARY KEY, serial BLOB NOT NULL UNIQUE, profile TEXT NOT NULL, team TEXT, person TEXT,
    request BLOB, entry INTEGER, not_after INTEGER, secret BLOB, scope TEXT
);
CREATE INDEX scoped ON reserved (scope) WHERE scope IS NOT NULL;
CREATE UNIQUE INDEX certificates ON reserved (entry) WHERE entry IS NOT NULL;
CREATE INDEX answered ON reserved (request) WHERE request IS NOT NULL;
CREATE INDEX of_key ON reserved (secret) WHERE secret IS NOT NULL;
CREATE INDEX held ON reserved (team, profile, not_after) WHERE entry IS NOT NULL;
CREATE TABLE revoked (
    number INTEGER PRIMARY KEY, serial BLOB NOT NULL UNIQUE, at INTEGER NOT NULL, reason TEXT,
    recorded INTEGER NOT NULL, changed INTEGER NOT NULL
);
CREATE TABLE noted (kind TEXT, value TEXT, PRIMARY KEY (kind, value)) WITHOUT ROWID;
"""
TABLES: Final = ("reserved", "revoked", "noted")


class IndexFile:
    """One connection, used by one process; safe to use from several threads. ``sqlite3.Error`` passes through."""

    def __init__(self, path: Path | None) -> None:
        """``None``: in memory."""
        self._lock = RLock()
        self._sum = 0
        if path is not None and not path.exists():
            path.touch(mode=0o600)
        # Transactions are begun here and nowhere else (isolation_level None); a lock means that another process has it.
        self._db = sqlite3.connect(
            ":memory:" if path is None else path, isolation_level=None, timeout=0.2, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # WAL: a power cut loses the last batches, and tears nothing
        self._db.execute("PRAGMA cache_size = -65536")  # KiB

    def create(self) -> None:
        self._db.executescript(_SCHEMA)
        self._begin()

    def load(self) -> tuple[dict[str, str], dict[str, list[Row]]]:
        """The facts, and every row of the small tables; of ``reserved`` those that are no certificate yet.

        Reads all rows. Raises ``IntegrityError`` unless they are those that were written together, by this version.
        """
        facts = dict(self._db.execute("SELECT name, value FROM fact").fetchall())
        if facts.get("format") != str(FORMAT):
            raise IntegrityError(f"its format is {facts.get('format')!r}, not {FORMAT}")
        total, kept = 0, {name: list[Row]() for name in TABLES}
        for table in TABLES:
            for row in self._db.execute(f"SELECT * FROM {table} ORDER BY 1"):  # noqa: S608  # one of our three
                total += _digest(table, row)
                if table != "reserved" or row[6] is None:
                    kept[table].append(row)
        self._sum = total % _MODULUS
        if facts.pop("seal", None) != self._seal(facts):
            raise IntegrityError("its rows are not those that were written")
        self._begin()
        return facts, kept

    def add(self, table: str, *row: Any) -> None:
        marks = ", ".join("?" * len(row))
        with self._lock:
            self._db.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608  # one of our three
            self._sum = (self._sum + _digest(table, row)) % _MODULUS

    def replace(self, table: str, *row: Any) -> None:
        """The row of the same primary key by this one."""
        key = {"reserved": "intent", "revoked": "number"}[table]
        with self._lock:
            old = self._db.execute(f"SELECT * FROM {table} WHERE {key} = ?", row[:1]).fetchone()  # noqa: S608  # as above
            self._db.execute(f"DELETE FROM {table} WHERE {key} = ?", row[:1])  # noqa: S608  # as above
            self._sum = (self._sum - _digest(table, old)) % _MODULUS
            self.add(table, *row)

    def all(self, sql: str, *values: Any) -> list[Row]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> Row | None:
        with self._lock:
            found: Row | None = self._db.execute(sql, values).fetchone()
            return found

    def stream(self, sql: str, size: int = 1000) -> Iterator[Row]:
        """Rows in portions, so that no reader holds the others up for long. ``sql`` ends with ``LIMIT ? OFFSET ?``."""
        start = 0
        while rows := self.all(sql, size, start):
            yield from rows
            start += len(rows)

    def commit(self, facts: dict[str, str]) -> None:
        """What was written since the last commit stands for these facts from now on."""
        facts = {**facts, "format": str(FORMAT)}
        with self._lock:
            self._db.execute("DELETE FROM fact")
            self._db.executemany("INSERT INTO fact VALUES (?, ?)", [*facts.items(), ("seal", self._seal(facts))])
            self._db.execute("COMMIT")
            self._begin()

    def roll_back(self) -> None:
        with self._lock:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Without what was not committed."""
        with self._lock, suppress(sqlite3.Error):
            self.roll_back()
            self._db.close()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _seal(self, facts: dict[str, str]) -> str:
        """Over the facts, and the sum of the digests of all rows, which does not depend on their order."""
        return hashlib.sha256(repr((sorted(facts.items()), self._sum)).encode()).hexdigest()


def _digest(table: str, row: Sequence[Any]) -> int:
    return int.from_bytes(hashlib.sha256(repr((table, *row)).encode()).digest())


def remove_index(path: Path) -> None:
    """Throw the file away, with what lies beside it."""
    for suffix in _SUFFIXES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
