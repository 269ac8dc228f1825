"""The ledger read from its first entry, each judged by what stood before it: who was on the roster *then*.

Starts, rosters, policy files, time and refusals are judged here; ``issuances`` and ``removals`` have the others. A
problem is noted and the walk goes on, so that one changed entry does not hide the next.
"""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sealwright.audit.findings import Findings
from sealwright.errors import IntegrityError
from sealwright.ledger.entries import (
    CRLIntentEntry,
    Entry,
    LossEntry,
    PolicyEntry,
    RefusalEntry,
    RevocationRecord,
    RosterEntry,
    StartEntry,
    SuspensionEntry,
)
from sealwright.pki.certificates import IssuerRecord
from sealwright.pki.crl_scope import FULL, scope_of_tbs
from sealwright.pki.revocation import RevocationReason
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import LossStatement
from sealwright.statements.pinned import PinnedPolicy, read_policy
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.suspensions import suspend
from sealwright.statements.wire import decode_base64, format_time

_RULE = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*|PKILINT:[A-Za-z0-9._-]+")
_CALL = re.compile(r"[a-z]+(-[a-z]+)*")


def is_rule(name: str) -> bool:
    """Is it spelled as a rule's id is?"""
    return _RULE.fullmatch(name) is not None


@dataclass(slots=True)
class Reserved:
    """A serial, from its intent on."""

    entry: int
    tbs_sha256: bytes
    standing: bool
    team: str | None
    request: str | None
    secret: str | None
    subject: x509.Name | None
    profile: str = ""
    person: str | None = None
    certificate: x509.Certificate | None = None
    """The reserved TBS, read; its signature is none."""
    certified: bool = False

    @property
    def scope(self) -> str:
        """The CRL that its certificate names."""
        return FULL if self.certificate is None else scope_of_tbs(self.certificate.tbs_certificate_bytes) or FULL


@dataclass(slots=True)
class Walk:
    """What is known up to the present entry."""

    anchor: Anchor
    root: x509.Certificate
    issuing: x509.Certificate
    findings: Findings
    earlier: tuple[x509.Certificate, ...] = ()
    """Certificates that the issuing CA had before ``issuing``: same name, same key."""
    index: int = 0
    first: datetime | None = None
    """When the ledger began."""
    last: datetime | None = None
    roster: VerifiedRoster | None = None
    policy: PinnedPolicy | None = None
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    _parts: tuple[PolicyEntry, ...] = ()
    serials: dict[str, Reserved] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    """Serials that are reserved, with neither certificate nor revocation yet, and their intent's place."""
    requests: dict[str, str] = field(default_factory=dict)
    """Request -> the serial that answered it."""
    denied: dict[str, int] = field(default_factory=dict)
    """Request -> the place of its denial."""
    teams: dict[str, str] = field(default_factory=dict)
    """Key -> the team that it was certified for."""
    held: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Team and profile -> the serials it was given; those that are over or revoked are taken out when it matters."""
    compromised: set[str] = field(default_factory=set)
    keys: dict[str, list[str]] = field(default_factory=dict)
    """Key -> what teams hold for it, by serial."""
    revoked: dict[str, datetime] = field(default_factory=dict)
    reasons: dict[str, RevocationReason | None] = field(default_factory=dict)
    told: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """Serial -> when it was first told revoked, and when what is told of it was last changed."""
    unfinished: RevocationOrder | None = None
    """An order that is for more serials than its entries so far revoked: the next entry has to go on with it."""
    corrections: set[str] = field(default_factory=set)
    """Statements that corrected something: each counts once."""
    crl_numbers: dict[str, int] = field(default_factory=dict)
    """The highest that was reserved, by scope."""
    crl_open: CRLIntentEntry | None = None
    """The CRL that was reserved last, until it follows."""
    losses: list[LossStatement] = field(default_factory=list)
    ordered_by_loss: tuple[RevocationRecord, ...] = ()
    """What the declaration of a loss revokes, until it follows."""
    is_more_lost: bool = False
    """The last declaration says that another follows it."""
    lost_scopes: dict[str, str] = field(default_factory=dict)
    """Serial -> the partition that its lost certificate names, as the declaration says."""
    epoch: int = 1
    """Of the last start: it counts takeovers."""
    crl_floor: int = 0
    """What a declared loss says was used, of whatever list."""

    @property
    def where(self) -> str:
        return f"entry {self.index}"

    @property
    def began(self) -> datetime:
        """Before this moment the CA issued nothing: as the signer reckons it (``IssuingAuthority.began``)."""
        began = self.issuing.not_valid_before_utc
        return min(began, self.first or began)

    def in_force(self) -> tuple[VerifiedRoster, PinnedPolicy]:
        """Roster and policy at this entry. Raises ``IntegrityError`` when there is none that can be believed."""
        if self.roster is None or self.policy is None:
            raise IntegrityError("no roster that can be believed, with the policy it pins, was in force here")
        return self.roster, self.policy

    def issuer(self, policy: PinnedPolicy) -> IssuerRecord:
        return self.issuers(policy)[0]

    def issuers(self, policy: PinnedPolicy) -> tuple[IssuerRecord, ...]:
        """The CA by each of its certificates, the newest first. Which one the signer had in its hands, nobody wrote."""
        return tuple(
            IssuerRecord.of(each, policy.settings, policy.settings.issuing.id) for each in (self.issuing, *self.earlier)
        )

    def take_common(self, entry: Entry) -> None:
        """AUDIT-TIME, for every kind. Nothing comes between a loss and what it revokes, or amid what an order does."""
        if self.ordered_by_loss and not (isinstance(entry, RevocationRecord) and entry.cause == "loss"):
            with self.findings.check("AUDIT-LOSS", self.where):
                self.ordered_by_loss = ()
                raise IntegrityError("the serials that were declared lost before it are not revoked")
        if self.is_more_lost and not self.ordered_by_loss and not isinstance(entry, LossEntry):
            with self.findings.check("AUDIT-LOSS", self.where):
                self.is_more_lost = False
                raise IntegrityError("the loss before it was not declared to its end")
        if self.unfinished and not (isinstance(entry, RevocationRecord) and entry.order == self.unfinished):
            with self.findings.check("AUDIT-REVOCATION", self.where):
                self.unfinished = None
                raise IntegrityError("the order before it did not revoke all that it is for")
        with self.findings.check("AUDIT-TIME", self.where):
            if self.last is not None and entry.at < self.last:
                raise IntegrityError(
                    f"it is of {format_time(entry.at)}; an entry before it is of {format_time(self.last)}"
                )
        self.first = self.first or entry.at
        self.last = entry.at if self.last is None else max(self.last, entry.at)

    def block_key(self, serial: str, reason: RevocationReason | None) -> None:
        """For ever: no later correction of the reason takes a key off the list."""
        reserved = self.serials.get(serial)
        if reason is RevocationReason.KEY_COMPROMISE and reserved is not None and reserved.secret is not None:
            self.compromised.add(reserved.secret)

    def take_start(self, entry: StartEntry) -> None:
        with self.findings.check("AUDIT-START", self.where):
            if (entry.pki, entry.mode) != (self.anchor.pki_id, self.anchor.mode):
                raise IntegrityError(
                    f"a start of {entry.mode} {entry.pki[:16]}…; this is {self.anchor.mode} {self.anchor.pki_id[:16]}…"
                )
            if entry.epoch < self.epoch:
                raise IntegrityError(
                    f"a start of epoch {entry.epoch} after one of {self.epoch}: a signer that had been taken over from"
                )
            self.epoch = entry.epoch

    def take_policy(self, entry: PolicyEntry) -> None:
        with self.findings.check("AUDIT-POLICY", self.where):
            before, self._parts = self._parts, ()
            if entry.part == 1:
                before = ()
            same = all(
                (each.name, each.sha256, each.parts) == (entry.name, entry.sha256, entry.parts) for each in before
            )
            if entry.part != len(before) + 1 or entry.part > entry.parts or not same:
                raise IntegrityError(
                    f"part {entry.part} of {entry.parts} of {entry.name} does not follow the one before"
                )
            parts = (*before, entry)
            if entry.part < entry.parts:
                self._parts = parts
                return
            data = b"".join(decode_base64(each.data) for each in parts)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise IntegrityError(f"{entry.name} has not the digest {entry.sha256[:16]}… that its entry says")
            self.files[entry.name, entry.sha256] = data

    def take_roster(self, entry: RosterEntry) -> None:
        with self.findings.check("AUDIT-ROSTER", self.where):
            self.roster = check_roster(entry.roster, anchor=self.anchor, previous=self.roster, now=entry.at)
            self.policy = None
            with self.findings.check("AUDIT-CA", self.where):
                known = {each.fingerprint(hashes.SHA256()).hex() for each in (self.issuing, *self.earlier)}
                if self.roster.authority.issuing_sha256 not in known:
                    raise IntegrityError(
                        f"roster {self.roster.version} names another issuing CA than issuing.pem; if that one was "
                        "renewed since, --issuing shows its earlier certificate"
                    )
            with self.findings.check("AUDIT-POLICY", self.where):
                pins = self.roster.statement.pins
                files = {name: self.files[name, pin] for name, pin in pins.items() if (name, pin) in self.files}
                self.policy = read_policy(files, self.roster)

    def take_suspension(self, entry: SuspensionEntry) -> None:
        with self.findings.check("AUDIT-ROSTER", self.where):
            if self.roster is None:
                raise IntegrityError("no roster that can be believed was in force here")
            self.roster = suspend(entry.suspension, roster=self.roster, now=entry.at)

    def take_refusal(self, entry: RefusalEntry) -> None:
        with self.findings.check("AUDIT-REFUSAL", self.where):
            if not is_rule(entry.rule):
                raise IntegrityError(f"it names {entry.rule!r}, which is no rule's id")
            if not _CALL.fullmatch(entry.call) or not entry.message:
                raise IntegrityError("it does not say what was called, or why it was refused")
