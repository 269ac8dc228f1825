"""What follows from the ledger: serials, requests and keys used, revocations, CRL numbers, open intents, time seen.

It is made by reading the ledger entry by entry, and judges nothing: ``gate`` asks it. What is small is memory. What
grows with every certificate lies in a private file beside the ledger (``index_file``), so that a start goes on from
where the last one ended; the file counts only where the ledger has the entries it stands for. See ADR 0002.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509

from sealwright.errors import Conflict, IntegrityError, StorageError
from sealwright.issuing.index_file import IndexFile, Row, remove_index
from sealwright.issuing.index_rows import (
    Issued,
    IssuedBySerial,
    IssuedForRequest,
    OpenIntent,
    Revoked,
    count,
    moment,
    read_serial,
    reserved_row,
    revoked_row,
    seconds,
    serial_octets,
)
from sealwright.ledger.entries import (
    CertificateEntry,
    CorrectionRecord,
    CRLEntry,
    CRLIntentEntry,
    DenialEntry,
    Entry,
    IntentEntry,
    LossEntry,
    PolicyEntry,
    RefusalEntry,
    RevocationRecord,
    RosterEntry,
    StartEntry,
    SuspensionEntry,
    parse_entry,
)
from sealwright.ledger.view import LedgerView
from sealwright.pki.crl import RevocationReason
from sealwright.pki.crl_scope import FULL, scope_of_tbs
from sealwright.pki.keys import secret_sha256
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.statements.kinds import LossStatement

log = logging.getLogger("sealwright.signer")

INDEX: Final = "index.db"
"""In the ledger's directory."""

BATCH: Final = 256
"""Entries after which the file is written: so many are read again after a crash, at most."""

_TOLD_EVERY: Final = 5.0
"""Seconds between two lines that say how far a long reading is."""


class LedgerIndex:
    """Changed only by ``apply``, one ledger entry at a time and in the ledger's order."""

    def __init__(self, file: IndexFile, ledger: LedgerView) -> None:
        """Use ``open`` or ``replay``."""
        self._file, self._ledger = file, ledger
        self._pending = 0
        self.broken: str | None = None
        self.issued = IssuedBySerial(file, self._issued)
        self.issued_for = IssuedForRequest(file)
        self._forget()

    def _forget(self) -> None:
        self.size = 0
        self.last_seen: datetime | None = None
        self.officers: list[RosterEntry | SuspensionEntry] = []
        """What officers signed, in its order."""
        self.losses: list[LossStatement] = []
        """What officers declared lost."""
        self._lost_scopes: dict[SerialNumber, str] = {}
        """The partitions that lost certificates name, as their declaration says."""
        self.revoked: dict[SerialNumber, Revoked] = {}
        self.crls_wanted: set[str] = set()
        """Scopes that miss a revocation of theirs. The full list has those of partitions too, at its own time."""
        self.crl_changes: dict[SerialNumber, bool] | None = None
        """What was revoked (True) or corrected since the CRLs were last brought up to date; None: not known, all."""
        self.intents: dict[SerialNumber, OpenIntent] = {}
        self.revocation_orders: set[str] = set()
        """SHA-256 of the statements that revoked or corrected something: each counts once."""
        self.compromised_keys: set[str] = set()
        """By ``secret_sha256``."""
        self.denied: dict[str, int] = {}
        """SHA-256 of the requests that were denied, and where: no certificate answers them."""
        self.crl_numbers: dict[str, int] = {}
        """The highest that was reserved, by scope."""
        self.last_crls: dict[str, CRLEntry] = {}
        self.policy: set[tuple[str, str]] = set()
        """Name and digest of every pinned file that is recorded."""
        self.refusals = 0
        self._last_crls_at: dict[str, int] = {}
        self.crl_floor = 0
        """What a declared loss says was used, of whatever list."""
        self.epoch = 1
        """Of the newest start."""
        self.answered = 0
        """Requests that a certificate answered."""

    @classmethod
    def open(cls, path: Path, ledger: LedgerView) -> Self:
        """Go on from the file, where it is this ledger's. Else make it again and say so: minutes for a million entries.

        Raises ``IntegrityError`` naming the first entry that cannot follow those before it, and ``Conflict`` when
        another process has the file.
        """
        index = cls._from_file(path, ledger) if path.exists() else None
        if index is None:
            remove_index(path)
            index = cls(IndexFile(path), ledger)
            index._file.create()
        try:
            index.catch_up()
            index.commit()
        except BaseException:
            index._file.close()
            raise
        return index

    @classmethod
    def _from_file(cls, path: Path, ledger: LedgerView) -> Self | None:
        """None, and a line in the log, when it cannot count."""
        index: Self | None = None
        try:
            index = cls(IndexFile(path), ledger)
            index._load()
        except (IntegrityError, sqlite3.Error, ValueError, TypeError, KeyError) as error:
            if index is not None:
                index._file.close()
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise Conflict(f"another process has {path}", hint="stop the other signer") from None
            log.warning("the index is made again from the ledger: %s", error)
            return None
        return index

    @classmethod
    def replay(cls, ledger: LedgerView) -> Self:
        """In memory, from the first entry."""
        index = cls(IndexFile(None), ledger)
        index._file.create()
        index.catch_up()
        return index

    def catch_up(self) -> int:
        """Take in what the ledger has since. Returns how many entries that were."""
        begun, told = self.size, time.monotonic()
        goal = self._ledger.size
        for data in self._ledger.iterate(begun):
            self.apply(parse_entry(data))
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                log.info("indexed %d of %d ledger entries", self.size, goal)
        return self.size - begun

    def commit(self) -> None:
        """Write the file, so that the next start goes on from here. What cannot be written now waits."""
        if self._ledger.size < self.size:
            return
        facts = {
            "size": str(self.size),
            "root": self._ledger.root_of(self.size).hex(),
            "last_seen": str(seconds(self.last_seen)) if self.last_seen else "",
            "crl_numbers": json.dumps(self.crl_numbers),
            "last_crls": json.dumps(self._last_crls_at),
            "crls_wanted": json.dumps(sorted(self.crls_wanted)),
            "refusals": str(self.refusals),
            "answered": str(self.answered),
            "epoch": str(self.epoch),
        }
        try:
            self._file.commit(facts)
        except sqlite3.Error as error:
            log.warning("the index waits to be written: %s", error)
            self._go_back()
        self._pending = 0

    def close(self) -> None:
        if self.broken is None:
            self.commit()
        self._file.close()

    def check_usable(self) -> None:
        """Raises ``StorageError`` once the index has missed an entry: whoever asked it could be told wrong."""
        if self.broken is not None:
            raise StorageError(
                f"the index beside the ledger cannot be kept: {self.broken}",
                hint="look after the disk, then start the signer again: the index is made from the ledger",
            )

    def _go_back(self) -> None:
        """After a failure to write: what the file has, and from there on the ledger again."""
        try:
            self._file.roll_back()
            self._load()
            for data in self._ledger.iterate(self.size):
                self._apply(parse_entry(data))
        except (sqlite3.Error, IntegrityError) as error:
            self.broken = str(error)

    def _load(self) -> None:
        self._forget()
        facts, rows = self._file.load()
        size = int(facts["size"])
        if size > self._ledger.size or self._ledger.root_of(size).hex() != facts["root"]:
            raise IntegrityError(f"it stands for {size} entries, and the ledger of {self._ledger.size} has others")
        self.size = size
        self.last_seen = moment(int(facts["last_seen"])) if facts["last_seen"] else None
        self.crl_numbers, self.refusals = json.loads(facts["crl_numbers"]), int(facts["refusals"])
        self.answered, self.epoch = int(facts["answered"]), int(facts["epoch"])
        self.crls_wanted = set(json.loads(facts["crls_wanted"]))
        self._last_crls_at = json.loads(facts["last_crls"])
        for scope, place in self._last_crls_at.items():
            crl = parse_entry(self._ledger.read(place))
            if isinstance(crl, CRLEntry):
                self.last_crls[scope] = crl
        for _, serial, at, reason, recorded, changed in rows["revoked"]:
            said = RevocationReason(reason) if reason else None
            number = read_serial(serial)
            self.revoked[number] = Revoked(number, moment(at), said, moment(recorded), moment(changed))
        for intent, serial, profile, team, person, request, *rest in rows["reserved"]:
            number = read_serial(serial)
            if number not in self.revoked:
                digest = request.hex() if request else None
                self.intents[number] = OpenIntent(number, intent, profile, digest, team, person, rest[-1])
        noted: dict[str, list[str]] = {}
        for kind, value in rows["noted"]:
            noted.setdefault(kind, []).append(value)
        self.revocation_orders = set(noted.get("order", ()))
        self.compromised_keys = set(noted.get("compromised", ()))
        self.policy = {(name, digest) for digest, _, name in (each.partition(" ") for each in noted.get("policy", ()))}
        self.denied = {digest: int(at) for digest, _, at in (each.partition(" ") for each in noted.get("denied", ()))}
        for place in sorted(map(int, noted.get("officers", ()))):
            entry = parse_entry(self._ledger.read(place))
            if isinstance(entry, RosterEntry | SuspensionEntry):
                self.officers.append(entry)
        for place in sorted(map(int, noted.get("loss", ()))):
            entry = parse_entry(self._ledger.read(place))
            if isinstance(entry, LossEntry):
                self._take_loss(entry)

    # questions

    def live(self, team: str, profile: str, now: datetime, *, besides: SerialNumber | None) -> int:
        """How many certificates a team holds that are neither expired nor revoked, one of them aside."""
        return count(
            self._file,
            "SELECT COUNT(*) FROM reserved WHERE entry IS NOT NULL AND team = ? AND profile = ? AND not_after > ?"
            " AND serial IS NOT ? AND NOT EXISTS (SELECT 1 FROM revoked WHERE revoked.serial = reserved.serial)",
            team,
            profile,
            seconds(now),
            serial_octets(besides) if besides is not None else None,
        )

    def team_of_key(self, secret: str) -> str | None:
        """For whom a key was certified, by its ``secret_sha256``."""
        row = self._file.one("SELECT team FROM reserved WHERE secret = ? AND team IS NOT NULL", bytes.fromhex(secret))
        return str(row[0]) if row else None

    def serials_of_key(self, secret: str) -> tuple[SerialNumber, ...]:
        """What teams hold for a key, in the ledger's order."""
        rows = self._file.all(
            "SELECT serial FROM reserved WHERE secret = ? AND team IS NOT NULL ORDER BY entry", bytes.fromhex(secret)
        )
        return tuple(read_serial(row[0]) for row in rows)

    def standing(self, after: datetime) -> Iterator[Issued]:
        """What the standing order had issued and expires after that moment, the newest first."""
        rows = self._file.all(
            "SELECT * FROM reserved WHERE entry IS NOT NULL AND team IS NULL AND not_after > ? ORDER BY entry DESC",
            seconds(after),
        )
        return map(self._issued, rows)

    def expiry(self, serial: SerialNumber) -> datetime | None:
        """The notAfter of a certificate; None where there is none."""
        row = self._file.one(
            "SELECT not_after FROM reserved WHERE serial = ? AND entry IS NOT NULL", serial_octets(serial)
        )
        return moment(row[0]) if row else None

    def scope_of(self, serial: SerialNumber) -> str:
        """The CRL that the certificate of this serial names; also of one that a crash left without a certificate."""
        row = self._file.one("SELECT scope FROM reserved WHERE serial = ?", serial_octets(serial))
        return (row[0] if row else self._lost_scopes.get(serial)) or FULL

    def scopes(self) -> frozenset[str]:
        """Every partition that a certificate names."""
        rows = self._file.all("SELECT DISTINCT scope FROM reserved WHERE scope IS NOT NULL")
        return frozenset(row[0] for row in rows) | frozenset(self._lost_scopes.values())

    def revoked_in_partitions(self) -> dict[SerialNumber, str]:
        rows = self._file.all(
            "SELECT serial, scope FROM reserved WHERE scope IS NOT NULL AND serial IN (SELECT serial FROM revoked)"
        )
        lost = {serial: scope for serial in self._lost_scopes if (scope := self.scope_of(serial)) != FULL}
        return lost | {read_serial(serial): scope for serial, scope in rows}

    def expired_before(self, moment_: datetime) -> frozenset[SerialNumber]:
        """Revoked serials whose certificates expired before that."""
        rows = self._file.all(
            "SELECT revoked.serial FROM revoked JOIN reserved USING (serial) WHERE reserved.not_after < ?",
            seconds(moment_),
        )
        return frozenset(read_serial(row[0]) for row in rows)

    @property
    def crl_number(self) -> int:
        """Of the full list."""
        return self.crl_numbers.get(FULL, 0)

    @property
    def highest_crl_number(self) -> int:
        """Of all lists, and of those that were lost."""
        return max((*self.crl_numbers.values(), self.crl_floor))

    @property
    def last_crl(self) -> CRLEntry | None:
        """The full list that was made last."""
        return self.last_crls.get(FULL)

    def _issued(self, row: Row) -> Issued:
        _, serial, profile, team, person, request, entry, not_after, secret, _ = row
        return Issued(
            read_serial(serial),
            profile,
            team,
            person,
            request.hex() if request else None,
            entry,
            moment(not_after),
            secret.hex(),
            self._ledger.read,
        )

    # entries

    def apply(self, entry: Entry) -> None:
        """Raises ``IntegrityError`` naming the entry that cannot follow those before it."""
        try:
            self._apply(entry)
        except sqlite3.Error as error:
            self.broken = str(error)
            self.check_usable()
        self._pending += 1
        if self._pending >= BATCH:
            self.commit()

    def _apply(self, entry: Entry) -> None:
        at = self.size
        match entry:
            case RosterEntry() | SuspensionEntry():
                self.officers.append(entry)
                self._file.add("noted", "officers", str(at))
            case PolicyEntry():
                self._note(self.policy, (entry.name, entry.sha256), "policy", f"{entry.sha256} {entry.name}")
            case IntentEntry():
                self._apply_intent(entry, at)
            case CertificateEntry():
                self._apply_certificate(entry, at)
            case RevocationRecord():
                self._apply_revocation(entry, at)
            case CorrectionRecord():
                self._apply_correction(entry, at)
            case _:
                self._apply_state(entry, at)
        self.last_seen = max(self.last_seen, entry.at) if self.last_seen else entry.at
        self.size += 1

    def _apply_state(self, entry: Entry, at: int) -> None:
        match entry:
            case StartEntry():
                if entry.epoch < self.epoch:
                    raise IntegrityError(f"ledger entry {at}: a start of epoch {entry.epoch} after one of {self.epoch}")
                self.epoch = entry.epoch
            case LossEntry():
                self._take_loss(entry)
                for key in self.losses[-1].keys:
                    self._note(self.compromised_keys, key, "compromised", key)
                self._file.add("noted", "loss", str(at))
            case CRLIntentEntry():
                before = max(self.crl_numbers.get(entry.scope, 0), self.crl_floor)
                if entry.number <= before:
                    raise IntegrityError(f"ledger entry {at}: CRL number {entry.number} after {before}")
                self.crl_numbers[entry.scope] = entry.number
            case CRLEntry():
                self.last_crls[entry.scope], self._last_crls_at[entry.scope] = entry, at
                self.crls_wanted.discard(entry.scope)
            case DenialEntry():
                if entry.request.sha256 in self.denied:
                    raise IntegrityError(f"ledger entry {at}: a request that was denied already")
                self.denied[entry.request.sha256] = at
                self._file.add("noted", "denied", f"{entry.request.sha256} {at}")
            case RefusalEntry():
                self.refusals += 1
            case _:
                pass

    def _take_loss(self, entry: LossEntry) -> None:
        loss = loss_of(entry)
        self.losses.append(loss)
        self.crl_floor = max(self.crl_floor, loss.crl_number)
        for each in loss.revocations:
            if each.scope != FULL:
                self._lost_scopes |= dict.fromkeys(map(parse_serial, each.serials), each.scope)

    def _note(self, known: set[Any], value: Any, kind: str, text: str) -> None:
        if value not in known:
            known.add(value)
            self._file.add("noted", kind, text)

    def _apply_intent(self, entry: IntentEntry, at: int) -> None:
        serial = parse_serial(entry.serial)
        # A serial that was lost is revoked, and was perhaps never reserved here.
        if serial in self.revoked or self._file.one("SELECT 1 FROM reserved WHERE serial = ?", serial_octets(serial)):
            raise IntegrityError(f"ledger entry {at}: serial {entry.serial} is reserved a second time")
        request = entry.order.request if entry.order else None
        team = str(request.statement["team"]) if request else None
        person = str(request.statement["person"]) if request else None
        digest = request.sha256 if request else None
        scope = scope_of_tbs(entry.tbs_der)
        intent = OpenIntent(serial, at, entry.profile, digest, team, person, scope)
        self._file.add("reserved", *reserved_row(intent))
        self.intents[serial] = intent

    def _apply_certificate(self, entry: CertificateEntry, at: int) -> None:
        serial = parse_serial(entry.serial)
        intent = self.intents.pop(serial, None)
        if intent is None or intent.entry != entry.intent:
            raise IntegrityError(f"ledger entry {at}: certificate {entry.serial} has no open intent at {entry.intent}")
        certificate = x509.load_der_x509_certificate(entry.certificate_der)
        digest = secret_sha256(certificate.public_key())  # type: ignore[arg-type]  # the gate let only our kinds in
        self._file.replace(
            "reserved",
            *reserved_row(intent)[:6],
            at,
            seconds(certificate.not_valid_after_utc),
            bytes.fromhex(digest),
            intent.scope,
        )
        self.answered += intent.request is not None

    def _apply_revocation(self, entry: RevocationRecord, at: int) -> None:
        reason = RevocationReason(entry.reason) if entry.reason else None
        for serial in map(parse_serial, entry.serials):
            if serial in self.revoked:
                raise IntegrityError(f"ledger entry {at}: serial {format_serial(serial)} is revoked a second time")
            self.intents.pop(serial, None)
            revoked = Revoked(serial, entry.revocation_date, reason, entry.told, entry.at)
            self._file.add("revoked", len(self.revoked), *revoked_row(revoked))
            self.revoked[serial] = revoked
            self._block_key(serial, reason)
            self.crls_wanted.add(self.scope_of(serial))
            if self.crl_changes is not None:
                self.crl_changes[serial] = True
        if (blocked := entry.blocked_secret) is not None:
            self._note(self.compromised_keys, blocked, "compromised", blocked)
        if entry.order is not None:
            self._take_order(entry.order.revocation.sha256)

    def _apply_correction(self, entry: CorrectionRecord, at: int) -> None:
        reason = RevocationReason(entry.reason)
        for serial in map(parse_serial, entry.serials):
            before = self.revoked.get(serial)
            if before is None:
                raise IntegrityError(
                    f"ledger entry {at}: a correction of {format_serial(serial)}, which is not revoked"
                )
            corrected = Revoked(serial, entry.revocation_date, reason, before.recorded, entry.at)
            number = count(self._file, "SELECT number FROM revoked WHERE serial = ?", serial_octets(serial))
            self._file.replace("revoked", number, *revoked_row(corrected))
            self.revoked[serial] = corrected
            self._block_key(serial, reason)
            self.crls_wanted.add(self.scope_of(serial))
            if self.crl_changes is not None:
                self.crl_changes.setdefault(serial, False)
        self._take_order(entry.order.revocation.sha256)

    def _take_order(self, digest: str) -> None:
        self._note(self.revocation_orders, digest, "order", digest)

    def _block_key(self, serial: SerialNumber, reason: RevocationReason | None) -> None:
        """For ever: no correction of the reason takes a key off the list again."""
        if reason is RevocationReason.KEY_COMPROMISE and (issued := self.issued.get(serial)) is not None:
            self._note(self.compromised_keys, issued.secret_sha256, "compromised", issued.secret_sha256)


def loss_of(entry: LossEntry) -> LossStatement:
    """What a declaration in the ledger says; it was judged before it was recorded."""
    statement = entry.loss.content
    if not isinstance(statement, LossStatement):
        raise IntegrityError(f"the ledger holds a {statement.kind} as the declaration of a loss")
    return statement
