"""The ledger, followed and folded: what was issued and revoked, by when it was recorded.

Checked here are the signature of the checkpoint, its root over these entries, that it goes on from what was seen, and
every roster from the anchor on. Who asked for what, and who approved, is ``sealwright audit verify``'s to judge.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509

from sealwright.audit.export import FolderExport, read_checkpoint, read_entries, read_size
from sealwright.client.ledger import fetch_ledger
from sealwright.client.monitor.findings import Report
from sealwright.client.monitor.seen import Seen
from sealwright.client.transport import RegistryClient
from sealwright.client.trust import Identity
from sealwright.errors import IntegrityError, SealwrightError
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import (
    CertificateEntry,
    CorrectionRecord,
    CRLEntry,
    IntentEntry,
    RevocationRecord,
    RosterEntry,
    SuspensionEntry,
    parse_entry,
)
from sealwright.ledger.tiles import CHECKPOINT
from sealwright.ledger.tree import MerkleTree, leaf_hash
from sealwright.pki.revocation import RevocationEntry
from sealwright.pki.serials import SerialNumber, parse_serial
from sealwright.statements.anchor import Anchor
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.suspensions import suspend

COPY = "ledger"


@dataclass(frozen=True, slots=True)
class Revoked:
    """``recorded``: when the ledger took in what is said now."""

    entry: RevocationEntry
    recorded: datetime


@dataclass(slots=True)
class Books:
    """What the entries say, in order. ``certificates`` are people's; ``responders`` those of the standing order."""

    anchor: Anchor
    roster: VerifiedRoster | None = None
    certificates: dict[SerialNumber, x509.Certificate] = field(default_factory=dict)
    recorded: dict[SerialNumber, datetime] = field(default_factory=dict)
    responders: dict[SerialNumber, x509.Certificate] = field(default_factory=dict)
    replaced: set[SerialNumber] = field(default_factory=set)
    """Those that a renewal names."""
    revoked: dict[SerialNumber, Revoked] = field(default_factory=dict)
    crls: set[str] = field(default_factory=set)
    """SHA-256 of every CRL that was made."""
    tree: MerkleTree = field(default_factory=MerkleTree)
    believed: bool = False
    """The ledger key signed the root of these very entries."""
    _standing: set[SerialNumber] = field(default_factory=set)
    _renews: dict[SerialNumber, SerialNumber] = field(default_factory=dict)

    def read(self, entries: Iterable[bytes]) -> None:
        """Raises what a roster that is not the officers', or an entry that cannot be read, raises."""
        for data in entries:
            self.tree.append(leaf_hash(data))
            self._take(data)

    def _take(self, data: bytes) -> None:
        match parse_entry(data):
            case RosterEntry() as entry:
                self.roster = check_roster(entry.roster, anchor=self.anchor, previous=self.roster, now=entry.at)
            case SuspensionEntry() as entry if self.roster is not None:
                self.roster = suspend(entry.suspension, roster=self.roster, now=entry.at)
            case IntentEntry() as entry:
                self._take_intent(entry)
            case CertificateEntry() as entry:
                self._take_certificate(entry)
            case RevocationRecord() | CorrectionRecord() as entry:
                for serial in map(parse_serial, entry.serials):
                    said = RevocationEntry(serial, entry.revocation_date, entry.reason)
                    self.revoked[serial] = Revoked(said, entry.at)
            case CRLEntry() as entry:
                self.crls.add(entry.sha256)
            case _:
                pass

    def _take_intent(self, entry: IntentEntry) -> None:
        serial = parse_serial(entry.serial)
        if entry.standing is not None:
            self._standing.add(serial)
        renews = entry.order.request.statement.get("renews") if entry.order is not None else None
        if isinstance(renews, str):
            self._renews[serial] = parse_serial(renews)

    def _take_certificate(self, entry: CertificateEntry) -> None:
        serial = parse_serial(entry.serial)
        certificate = x509.load_der_x509_certificate(entry.certificate_der)
        if serial in self._standing:
            self.responders[serial] = certificate
            return
        self.certificates[serial], self.recorded[serial] = certificate, entry.at
        if serial in self._renews:
            self.replaced.add(self._renews[serial])


def read_ledger(
    registry: RegistryClient, folder: Path, identity: Identity, seen: Seen, report: Report
) -> tuple[Books, Seen]:
    """The ledger as it is now, or as it was when it was last fetched; said in ``report`` what is wrong with it.

    ``Seen`` is advanced when nothing is.
    """
    copy = folder / COPY
    try:
        size = announced_size(registry)
        if size >= seen.ledger_size:
            fetch_ledger(registry, folder, copy)
            report.ok("ledger-reachable", registry.server, f"{size} entries")
        else:  # the copy is kept as it is: it is the evidence
            report.alarm(
                "ledger-rollback", registry.server, f"it shows {size} entries; {seen.ledger_size} were there before"
            )
    except SealwrightError as error:
        report.warn("ledger-reachable", registry.server, f"{error}; going on with the copy of the last look")
    books = Books(identity.anchor)
    export = FolderExport(copy)
    try:
        books.read(read_entries(export))
        if books.roster is None:
            raise IntegrityError("it has no roster, which would say which key signs it")
        note = read_checkpoint(export)
        signed, root = verify_checkpoint(note, identity.anchor.ledger_origin, books.roster.ledger_key)
        if (signed, root) != (books.tree.size, books.tree.root()):
            raise IntegrityError(f"its checkpoint is over other entries than the {books.tree.size} that it shows")
    except (SealwrightError, ValueError) as error:
        report.alarm("ledger-signature", registry.server, f"the ledger cannot be believed: {error}")
        return books, seen
    books.believed = True
    report.ok("ledger-signature", registry.server, f"{signed} entries, signed, under roster {books.roster.version}")
    report.figure("ledger_entries", signed)
    if seen.ledger_size and books.tree.root(seen.ledger_size).hex() != seen.ledger_root:
        report.alarm(
            "ledger-rollback", registry.server, f"its first {seen.ledger_size} entries are not those of the last look"
        )
        return books, seen
    report.ok("ledger-rollback", registry.server, f"goes on from {seen.ledger_size} entries")
    return books, seen.model_copy(update={"ledger_size": signed, "ledger_root": root.hex()})


def announced_size(registry: RegistryClient) -> int:
    """What the checkpoint says; nobody has vouched for it."""

    class Announced:
        def names(self) -> frozenset[str]:
            return frozenset({CHECKPOINT})

        def read(self, _name: str) -> bytes:
            return registry.get_octets(f"/tlog/{CHECKPOINT}")

    return read_size(Announced())
