"""Renewals: what a request that replaces a certificate has to keep, and when it needs no fresh approval.

  RENEW-UNKNOWN RENEW-REVOKED RENEW-SUBJECT RENEW-WINDOW RENEW-PERSON

Pure: what is known of the old certificate (``Held``) is brought by who has a ledger, or a projection of one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from sealwright.errors import PolicyViolation
from sealwright.pki.keys import spki_sha256
from sealwright.statements.requests import VerifiedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A certificate that was issued. ``person`` is who asked for it."""

    certificate: x509.Certificate
    profile: str
    team: str
    person: str
    revoked: bool


def check_renewal(request: VerifiedRequest, old: Held | None, now: datetime) -> None:
    """A renewal names a live certificate of the same team and subject, inside the profile's window."""
    serial, profile = request.request.renews, request.profile
    if old is None or old.team != request.team:
        raise PolicyViolation(f"team {request.team!r} holds no certificate {serial}", rule="RENEW-UNKNOWN")
    if old.revoked:
        raise PolicyViolation(
            f"certificate {serial} is revoked and cannot be renewed",
            rule="RENEW-REVOKED",
            hint="make a new request, with a new key where the old one was compromised",
        )
    if old.certificate.subject != request.subject:
        raise PolicyViolation(
            f"a renewal keeps the subject {old.certificate.subject.rfc4514_string()!r};"
            f" this one asks for {request.subject.rfc4514_string()!r}",
            rule="RENEW-SUBJECT",
            hint="ask for a new certificate instead",
        )
    if profile.renewed_by == "holder" and old.person != request.requester.name:
        raise PolicyViolation(
            f"certificate {serial} is {old.person!r}'s; profile {profile.name!r} lets its holder alone renew it",
            rule="RENEW-PERSON",
            hint="ask for a new certificate instead",
        )
    window = timedelta(days=profile.renewal_window_days)
    opens, ends = old.certificate.not_valid_after_utc - window, old.certificate.not_valid_after_utc
    if not opens <= now <= ends:
        raise PolicyViolation(
            f"certificate {serial} can be renewed from {opens:%Y-%m-%d} to {ends:%Y-%m-%d}; it is {now:%Y-%m-%d}",
            rule="RENEW-WINDOW",
            hint=f"the profile opens the window {window.days} days before expiry",
        )


def needs_no_approval(request: VerifiedRequest, old: Held | None) -> bool:
    """Whether this is the same certificate once more: profile, subject and key, the CSR signed by that very key.

    ``check_renewal`` has passed it. An emergency always needs its people.
    """
    if old is None or request.profile.renewal_approval or request.request.emergency:
        return False
    key = spki_sha256(old.certificate.public_key())  # type: ignore[arg-type]  # the gate let only our kinds in
    return old.profile == request.profile.name and key == spki_sha256(request.csr.public_key)
