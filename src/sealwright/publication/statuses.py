"""What the ledger says about each serial: answered for until when, revoked or not; and when its next answer is due.

A projection in an SQLite file of presign's own, so that a million serials take no memory and a start reads only what is
new. The file knows how far in the ledger it is and under which root; if the ledger does not go on from there, it is
made again.
Follows entries and nothing else. A serial is answered for from its certificate entry on; one that a crash left without
a certificate, from its revocation on (a signature for it may exist). Responder certificates have ``ocsp-nocheck`` and
need no answer.
"""

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import StorageError
from sealwright.ledger.entries import (
    CertificateEntry,
    CorrectionRecord,
    CRLEntry,
    Entry,
    IntentEntry,
    RevocationRecord,
    RosterEntry,
    parse_entry,
)
from sealwright.ledger.view import LedgerView
from sealwright.pki.ocsp import CertificateStatus
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.rules_validity import ANSWER_YEARS, add_years
from sealwright.pki.serials import SerialNumber, parse_serial
from sealwright.store.publication import REVOKED, AnswerState

log = logging.getLogger("sealwright.presign")

_FORMAT: Final = 1
_REVOKED_NOW, _NEW_NOW = 0, 1
"""``due`` of what is to be signed at once: revocations stand before everything else."""
_FOLLOW: Final = 10_000
"""Entries in one transaction, and between two lines of progress."""

_TABLES = f"""
CREATE TABLE IF NOT EXISTS serials (
 id INTEGER PRIMARY KEY, serial BLOB NOT NULL UNIQUE, ends INTEGER, revoked INTEGER,
 revoked_at INTEGER, reason TEXT, answered INTEGER, due INTEGER, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS serials_due ON serials (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS serials_answered ON serials (answered) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS standing (serial BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = {_FORMAT};
"""
_COLUMNS = "serial, revoked, revoked_at, reason, id, version, answered, ends"


class DueSerial(NamedTuple):
    """A serial whose answers are to be signed. ``version`` goes on at each word of the ledger about it; ``answered``
    is thisUpdate of the newest answer that is published, in Unix seconds."""

    status: CertificateStatus
    id: int
    version: int
    answered: int | None


class LedgerStatuses:
    """Fed with entries in order by ``follow``. May be used from two threads."""

    def __init__(self, path: Path | None = None) -> None:
        """``path`` None: in memory, for the life of this object."""
        self._path = path
        self._lock = threading.RLock()
        self.responders: list[x509.Certificate] = []
        """Responder certificates, the newest last."""
        self.last_crls: dict[str, str] = {}
        """SHA-256 of the newest CRL of each scope; the full list's is ""."""
        self.settings_pin: str | None = None
        """SHA-256 of ``ca/pki.toml`` as the roster in force pins it."""
        self.rosters = 0
        """How many came into force."""
        self.followed = 0
        self._open()

    def _open(self) -> None:
        try:
            self._database = sqlite3.connect(
                self._path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10
            )
            # A power cut may lose the end of it: then it is followed, or made, again.
            self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
            self._load_facts()
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot use {self._path}: {error}", hint="delete it: presign makes it again from the ledger"
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # the ledger

    def catch_up(self, ledger: LedgerView) -> int:
        """Take in what is new in ``ledger``, or all of it when this is another's. Returns how many entries."""
        with self._lock:
            if self.followed and not self._continues(ledger):
                log.warning("%s is not of this ledger: it is made again", self._path or "the projection")
                self._forget()
            before = self.followed
            while self.followed < ledger.size:
                entries = []
                for data in ledger.iterate(self.followed):
                    entries.append(data)
                    if len(entries) == _FOLLOW:
                        break
                self.follow(entries, root=ledger.root_of(self.followed + len(entries)).hex())
                if self.followed - before > _FOLLOW:
                    log.info("read %d of %d entries of the ledger", self.followed, ledger.size)
            return self.followed - before

    def _continues(self, ledger: LedgerView) -> bool:
        return self.followed <= ledger.size and ledger.root_of(self.followed).hex() == self._fact("root")

    def follow(self, entries: Iterable[bytes], *, root: str = "") -> None:
        """Take new entries in, in one transaction."""
        with self._lock:
            try:
                with self._transaction():
                    for data in entries:
                        self._take(parse_entry(data))
                        self.followed += 1
                    self._put_facts(followed=self.followed, root=root)
            except BaseException:
                self._load_facts()
                raise

    def _forget(self) -> None:
        with self._transaction():
            for table in ("serials", "standing", "facts"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608  # one of three names
        self._load_facts()

    def _take(self, entry: Entry) -> None:
        match entry:
            case IntentEntry(standing=str()):
                self._database.execute(
                    "INSERT OR IGNORE INTO standing VALUES (?)", (_octets(parse_serial(entry.serial)),)
                )
            case CertificateEntry():
                self._certificate(entry)
            case RevocationRecord() | CorrectionRecord():
                self._revocation(entry)
            case CRLEntry():
                self.last_crls[getattr(entry, "scope", None) or ""] = entry.sha256
                self._put_facts(crls=json.dumps(self.last_crls))
            case RosterEntry():
                pins = entry.roster.statement.get("pins")
                pin = pins.get("pki.toml") if isinstance(pins, dict) else None
                self.settings_pin = pin if isinstance(pin, str) else None
                self.rosters += 1
                self._put_facts(pin=json.dumps(self.settings_pin), rosters=self.rosters)
            case _:
                pass

    def _certificate(self, entry: CertificateEntry) -> None:
        serial = parse_serial(entry.serial)
        certificate = x509.load_der_x509_certificate(entry.certificate_der)
        if self._is_standing(serial):
            self.responders.append(certificate)
            # The newest ones: the others vouch for nothing that presign still makes.
            kept = [each.public_bytes(Encoding.DER).hex() for each in self.responders[-4:]]
            self._put_facts(responders=json.dumps(kept))
            return
        # A revocation that is there already stays: nothing turns a revoked serial into anything else.
        # Ten years after it expired an answer is no longer owed (CSBR 4.9.10).
        ends = add_years(certificate.not_valid_after_utc, ANSWER_YEARS)
        self._database.execute(
            "INSERT INTO serials (serial, ends, revoked, due, version) VALUES (?, ?, 0, ?, 0)"
            " ON CONFLICT (serial) DO UPDATE SET ends = excluded.ends, version = version + 1",
            (_octets(serial), _epoch(ends), _NEW_NOW),
        )

    def _revocation(self, entry: RevocationRecord | CorrectionRecord) -> None:
        """A correction's word stands in the place of what was said before."""
        for serial in map(parse_serial, entry.serials):
            if self._is_standing(serial):
                continue
            self._database.execute(
                "INSERT INTO serials (serial, revoked, revoked_at, reason, due, version) VALUES (?, 1, ?, ?, ?, 0)"
                " ON CONFLICT (serial) DO UPDATE SET revoked = 1, revoked_at = excluded.revoked_at,"
                " reason = excluded.reason, due = excluded.due, version = version + 1",
                (_octets(serial), _epoch(entry.revocation_date), entry.reason, _REVOKED_NOW),
            )

    def _is_standing(self, serial: SerialNumber) -> bool:
        found = self._database.execute("SELECT 1 FROM standing WHERE serial = ?", (_octets(serial),))
        return found.fetchone() is not None

    # what is to be signed

    def due(self, now: datetime, limit: int) -> list[DueSerial]:
        """The most urgent: revocations, then what has no answer yet, then the oldest that are to be made again."""
        with self._lock:
            moment = _epoch(now)
            query = f"SELECT {_COLUMNS} FROM serials WHERE due <= ? ORDER BY due LIMIT ?"  # noqa: S608  # a constant
            rows = self._database.execute(query, (moment, limit)).fetchall()
            over = [row[4] for row in rows if row[7] is not None and row[7] < moment]
            if over:  # ten years after the certificate's end
                self._database.executemany("UPDATE serials SET due = NULL WHERE id = ?", ((each,) for each in over))
                rows = [row for row in rows if row[7] is None or row[7] >= moment]
        return [_due(row) for row in rows]

    def signed(self, done: Sequence[tuple[int, int, int, int]], change: int) -> None:
        """These answers are published, by ``change``: (id, version, thisUpdate, when to make them again). What the
        ledger said of one meanwhile is not forgotten: it stays due."""
        rows = json.dumps(done)
        with self._lock, self._transaction():
            self._put_facts(change=change)
            self._database.execute(
                "UPDATE serials SET answered = value->>2, due = value->>3 FROM json_each(?)"
                " WHERE serials.id = value->>0 AND version = value->>1",
                (rows,),
            )

    def put_off(self, refused: Sequence[DueSerial], again: datetime) -> None:
        """Not now: a rule refuses their answers."""
        with self._lock:
            self._database.executemany(
                "UPDATE serials SET due = ? WHERE id = ? AND version = ?",
                [(_epoch(again), each.id, each.version) for each in refused],
            )

    def compare(self, published: Iterable[AnswerState]) -> None:
        """What the publication database has that agrees with the ledger is not due before its time; all else is."""
        with self._lock, self._transaction():
            self._database.execute(
                "UPDATE serials SET due = iif(revoked, ?, ?), answered = NULL", (_REVOKED_NOW, _NEW_NOW)
            )
            for serial, states in _by_serial(published):
                row = self._find(serial)
                if row is None:
                    log.error("an answer is published for serial %x, which is not in the ledger", serial)
                    continue
                known = _due(row)
                # Whatever is there is not replaced by anything older.
                answered = max(state.this_update for state in states)
                agreeing = len(states) == 2 and all(_says(state) == _wanted(known.status) for state in states)
                again = min(_epoch(state.refresh_at) for state in states)
                self._database.execute(
                    "UPDATE serials SET answered = ?, due = iif(?, ?, due) WHERE id = ?",
                    (_epoch(answered), agreeing, again, known.id),
                )

    def _find(self, serial: SerialNumber) -> tuple[Any, ...] | None:
        query = f"SELECT {_COLUMNS} FROM serials WHERE serial = ?"  # noqa: S608  # a constant
        found: tuple[Any, ...] | None = self._database.execute(query, (_octets(serial),)).fetchone()
        return found

    # how it stands

    def __len__(self) -> int:
        return int(self._scalar("SELECT count(*) FROM serials"))

    def pending(self, now: datetime) -> int:
        """How many are due."""
        return int(self._scalar("SELECT count(*) FROM serials WHERE due <= ?", _epoch(now)))

    def oldest_answer(self) -> datetime | None:
        """thisUpdate of the oldest answer that is still owed."""
        found = self._scalar("SELECT min(answered) FROM serials WHERE due IS NOT NULL")
        return None if found is None else _moment(int(found))

    def _scalar(self, query: str, *arguments: object) -> Any:
        with self._lock:
            return self._database.execute(query, arguments).fetchone()[0]

    # small facts

    def published_up_to(self) -> tuple[str, int] | None:
        """Identity and change of the publication database that this knows the answers of."""
        identity = self._fact("identity")
        return None if identity is None else (identity, int(self._fact("change") or 0))

    def put_published_up_to(self, identity: str, change: int) -> None:
        with self._lock:
            self._put_facts(identity=identity, change=change)

    def _fact(self, name: str) -> str | None:
        with self._lock:
            found = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _put_facts(self, **facts: object) -> None:
        self._database.executemany(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [(name, str(value)) for name, value in facts.items()],
        )

    def _load_facts(self) -> None:
        self.followed = int(self._fact("followed") or 0)
        self.rosters = int(self._fact("rosters") or 0)
        self.settings_pin = json.loads(self._fact("pin") or "null")
        self.last_crls = json.loads(self._fact("crls") or "{}")
        kept = json.loads(self._fact("responders") or "[]")
        self.responders = [x509.load_der_x509_certificate(bytes.fromhex(each)) for each in kept]

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


class _Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN")

    def __exit__(self, kind: object, *_: object) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")


def _by_serial(published: Iterable[AnswerState]) -> Iterator[tuple[SerialNumber, list[AnswerState]]]:
    states: list[AnswerState] = []
    for state in published:
        if states and states[0].serial != state.serial:
            yield parse_serial(states[0].serial), states
            states = []
        states.append(state)
    if states:
        yield parse_serial(states[0].serial), states


def _says(state: AnswerState) -> tuple[bool, datetime | None, str | None]:
    return state.status == REVOKED, state.revocation_date, state.reason


def _wanted(status: CertificateStatus) -> tuple[bool, datetime | None, str | None]:
    revoked = status.revoked
    return (False, None, None) if revoked is None else (True, revoked.revocation_date, revoked.reason)


def _due(row: tuple[Any, ...]) -> DueSerial:
    octets, is_revoked, revoked_at, reason, identity, version, answered, _ = row
    serial = SerialNumber(int.from_bytes(octets, "big"))
    revoked = None
    if is_revoked:
        revoked = RevocationEntry(serial, _moment(revoked_at), RevocationReason(reason) if reason else None)
    return DueSerial(CertificateStatus(serial, revoked), identity, version, answered)


def _octets(serial: SerialNumber) -> bytes:
    return serial.to_bytes((serial.bit_length() + 7) // 8, "big")


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
