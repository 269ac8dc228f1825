"""``decision.toml``: that an issuing CA is revoked, why, since when, and what dies with it. Checked by the register.

``revocation_date`` is a decision of its own: a signature with a timestamp before it lives, every later one dies. Which
certificates those are only the ledger knows, which is online; the list of them is part of the decision, and is shown.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.officers import OfficerName
from sealwright.ceremony.prepared import SHA256, Serial, Time
from sealwright.ceremony.register import Register, RegisteredCertificate
from sealwright.ceremony.toml import parse
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import parse_serial
from sealwright.pki.tomlfile import Table

TIME_LIMIT = timedelta(hours=24)
"""CSBR 4.9.1.2: from knowing of a CA's compromise to its revocation. Late is said, and never a reason not to revoke."""


class _Certificate(Table):
    serial: Serial
    subject: Annotated[str, Field(min_length=1, max_length=400)]
    not_after: Time


class _DecisionFile(Table):
    serial: Serial
    certificate_sha256: SHA256
    reason: RevocationReason
    revocation_date: Time
    known_since: Time
    decided_by: Annotated[tuple[OfficerName, ...], Field(min_length=1, max_length=16)]
    why: Annotated[str, Field(min_length=1, max_length=600)]
    certificates: Annotated[tuple[_Certificate, ...], Field(max_length=1000)]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that could be read. ``certificates``: those under the issuing CA that were not expired or revoked."""

    serial: str
    certificate_sha256: str
    reason: RevocationReason
    revocation_date: datetime
    known_since: datetime
    decided_by: tuple[str, ...]
    why: str
    certificates: tuple[_Certificate, ...]

    @property
    def deadline(self) -> datetime:
        return self.known_since + TIME_LIMIT

    def revoked(self, register: Register) -> tuple[RegisteredCertificate, ...]:
        """What it revokes, in the register's order: a compromised key takes all that is certified for it along."""
        named = next((each for each in register.certificates if each.serial == self.serial), None)
        key = named.secret if named and self.reason is RevocationReason.CA_COMPROMISE else None
        return tuple(
            each for each in register.certificates if each is named or (each.secret == key and each.revoked is None)
        )

    def entries(self, register: Register) -> tuple[RevocationEntry, ...]:
        """One for each of them: since one date, and for one reason."""
        return tuple(
            RevocationEntry(parse_serial(each.serial), self.revocation_date, self.reason)
            for each in self.revoked(register)
        )

    def killed(self) -> tuple[_Certificate, ...]:
        """Those that would have been good after the revocation date."""
        return tuple(each for each in self.certificates if each.not_after > format_time(self.revocation_date))


def parse_decision(data: bytes) -> Decision:
    """Raises ``InputError`` naming the field. Times are UTC, in whole seconds."""
    hint = "ceremonies/revoke-issuing-ca/README.md shows one, field by field"
    file = parse(data, _DecisionFile, source="decision.toml", hint=hint)
    return Decision(
        serial=file.serial,
        certificate_sha256=file.certificate_sha256,
        reason=file.reason,
        revocation_date=parse_time(file.revocation_date, "decision.toml: revocation_date"),
        known_since=parse_time(file.known_since, "decision.toml: known_since"),
        decided_by=file.decided_by,
        why=file.why,
        certificates=file.certificates,
    )


def accept_decision(decision: Decision, certificate: bytes, register: Register, at: datetime) -> RegisteredCertificate:
    """The registered certificate that it revokes, or CER-REVOKE: it is another one, or not to be revoked like this."""
    try:
        der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    except ValueError as error:
        raise InputError(f"inputs/issuing.pem is not a PEM certificate: {error}") from None
    digest = hashlib.sha256(der).hexdigest()
    if digest != decision.certificate_sha256:
        raise _refuse(f"issuing.pem has SHA-256 {digest}; the decision names {decision.certificate_sha256}")
    found = next((each for each in register.certificates if each.serial == decision.serial), None)
    if found is None or found.sha256 != digest:
        raise _refuse(f"the register has no certificate {decision.serial} with SHA-256 {digest}")
    if found.revoked:
        raise _refuse(f"the certificate {found.serial} is revoked since {found.revoked.date}")
    if decision.reason is RevocationReason.KEY_COMPROMISE:
        raise _refuse("keyCompromise is for end entities; a CA's is cACompromise (RFC 5280 5.3.1)")
    first = min(each.not_before for each in decision.revoked(register))  # what is younger was never good
    if not first <= format_time(decision.revocation_date) <= format_time(at):
        raise _refuse(
            f"revocation_date is {format_time(decision.revocation_date)}; wanted one from {first}, when the "
            f"certificate began, to {format_time(at)}, when the CRL does"
        )
    if not decision.known_since <= at:
        raise _refuse(f"known_since is {format_time(decision.known_since)}, after the ceremony")
    return found


def _refuse(message: str) -> PolicyViolation:
    return PolicyViolation(message, rule="CER-REVOKE", hint="the decision is made again, and agreed to again")
