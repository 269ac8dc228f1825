"""Revocations and CRLs: ordered by who might, never twice, never undone; numbers that only grow."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.audit.losses import take_lost_serials
from sealwright.audit.walk import Walk
from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.ledger.entries import CorrectionRecord, CRLEntry, CRLIntentEntry, RevocationRecord
from sealwright.pki.crl_scope import FULL, scope_of_crl
from sealwright.pki.revocation import RevocationReason
from sealwright.pki.serials import format_serial, parse_serial
from sealwright.statements.kinds import CorrectionStatement, KeyRevocationStatement
from sealwright.statements.revocations import RevocationOrder, VerifiedRevocation, verify_revocation
from sealwright.statements.wire import format_time

CRL_LONGEST = timedelta(days=10)
_KEPT = timedelta(days=3653)
"""So long after the end of its certificate a serial is on the list."""
_LINGERS = timedelta(days=2)
"""And it may stay on it until the signer looks for what is over, once a day."""


def take_revocation(walk: Walk, entry: RevocationRecord) -> None:
    with walk.findings.check("AUDIT-REVOCATION", walk.where):
        if entry.cause == "loss":
            take_lost_serials(walk, entry)
            return
        walk.unfinished = None
        open_ = [walk.open.pop(serial, None) is not None for serial in entry.serials]
        for serial in entry.serials:
            reserved = walk.serials.get(serial)
            if reserved is None:
                raise IntegrityError(f"serial {serial} was never reserved")
            if serial in walk.revoked:
                raise IntegrityError(f"serial {serial} is revoked a second time")
            walk.revoked[serial], walk.reasons[serial] = entry.revocation_date, entry.reason
            walk.told[serial] = (entry.at, entry.at)
            walk.block_key(serial, entry.reason)
        if (blocked := entry.blocked_secret) is not None:
            walk.compromised.add(blocked)
        if entry.cause == "crash":
            ordered = entry.order is not None or entry.reason is not None or entry.revocation_date != entry.at
            if open_ != [True] or ordered:
                raise IntegrityError(f"{_named(entry)} is revoked for a crash, and its intent was not open")
            return
        if entry.order is None or any(open_):
            raise IntegrityError(f"the revocation of {_named(entry)} has no order, or no certificate")
        verified = _verify(walk, entry.order, entry.at)
        statement = verified.statement
        if isinstance(statement, CorrectionStatement):
            raise IntegrityError("a correction stands where a revocation should")
        ordered_for = (
            walk.keys.get(entry.order.proven_secret or "", [])
            if isinstance(statement, KeyRevocationStatement)
            else _with_key(walk, statement.serials, verified.reason)
        )
        left = next((serial for serial in ordered_for if serial not in walk.revoked), None)
        if not set(entry.serials) <= set(ordered_for) or (left and not entry.serials):
            raise IntegrityError(f"{_named(entry)} is revoked by an order for {', '.join(ordered_for) or 'nothing'}")
        walk.unfinished = entry.order if left else None
        if verified.reason is not entry.reason:
            raise IntegrityError(f"{_named(entry)} is revoked for {entry.reason}; ordered was {verified.reason}")
        if entry.revocation_date != (verified.revocation_date or entry.at):
            raise IntegrityError(f"{_named(entry)} is revoked from {entry.revocation_date}, and not from when it was")


def check_finished(walk: Walk) -> None:
    """At the end of the ledger: no order may have revoked only some of what it is for."""
    if walk.unfinished is not None:
        with walk.findings.check("AUDIT-REVOCATION", walk.where):
            raise IntegrityError("the last order did not revoke all that it is for")


def take_correction(walk: Walk, entry: CorrectionRecord) -> None:
    with walk.findings.check("AUDIT-REVOCATION", walk.where):
        verified = _verify(walk, entry.order, entry.at)
        statement = verified.statement
        if not isinstance(statement, CorrectionStatement):
            raise IntegrityError("what stands where a correction should is none")
        said = (entry.serials, entry.reason, entry.revocation_date)
        if said != (statement.serials, verified.reason, statement.revocation_date):
            raise IntegrityError(f"the correction of {_named(entry)} is not as it was ordered")
        if entry.order.revocation.sha256 in walk.corrections:
            raise IntegrityError(f"the correction of {_named(entry)} counts a second time")
        walk.corrections.add(entry.order.revocation.sha256)
        for serial in entry.serials:
            if serial not in walk.told:
                raise IntegrityError(f"serial {serial} is corrected, and was not revoked")
            told, changed = walk.told[serial]
            if entry.revocation_date > told or statement.issued_at < changed:
                raise IntegrityError(
                    f"the correction of serial {serial} is later than what it corrects, or was overtaken"
                )
            walk.revoked[serial], walk.reasons[serial] = entry.revocation_date, entry.reason
            walk.told[serial] = (told, entry.at)
            walk.block_key(serial, entry.reason)
        live = [each for each in _with_key(walk, entry.serials, entry.reason) if each not in walk.revoked]
        if live:
            raise IntegrityError(f"the key of {_named(entry)} is compromised, and serial {live[0]} for it is good")


def _with_key(walk: Walk, serials: Sequence[str], reason: RevocationReason | None) -> Sequence[str]:
    """A compromised key takes all that is certified for it along."""
    if reason is not RevocationReason.KEY_COMPROMISE:
        return serials
    keys = {walk.serials[serial].secret for serial in serials if serial in walk.serials}
    return (*serials, *(kin for key in keys if key is not None for kin in walk.keys.get(key, ())))


def _verify(walk: Walk, order: RevocationOrder, at: datetime) -> VerifiedRevocation:
    """As the signer judged it, by the roster of that moment."""
    if walk.roster is None:
        raise IntegrityError("no roster that can be believed was in force here")
    statement, teams = order.statement, {}
    if not isinstance(statement, KeyRevocationStatement):
        for serial in statement.serials:
            reserved = walk.serials.get(serial)
            if reserved is None or reserved.team is None or not reserved.certified:
                raise IntegrityError(f"serial {serial} is no team's certificate")
            teams[parse_serial(serial)] = reserved.team
    verified = verify_revocation(order, roster=walk.roster, teams=teams, now=at)
    if verified.revocation_date is not None and verified.revocation_date < walk.began:
        raise PolicyViolation(
            f"the date is {format_time(verified.revocation_date)}; this CA began at {format_time(walk.began)}",
            rule="REV-DATE",
        )
    return verified


def _named(entry: RevocationRecord | CorrectionRecord) -> str:
    return f"serial {', '.join(entry.serials) or '(none)'}"


def take_crl_intent(walk: Walk, entry: CRLIntentEntry) -> None:
    with walk.findings.check("AUDIT-CRL", walk.where):
        before = max(walk.crl_numbers.get(entry.scope, 0), walk.crl_floor)
        walk.crl_numbers[entry.scope], walk.crl_open = max(before, entry.number), entry
        if entry.number <= before:
            which = f" of {entry.scope}" if entry.scope else ""
            raise IntegrityError(f"CRL number {entry.number}{which} after {before}")
        if entry.this_update != entry.at:
            raise IntegrityError(f"CRL {entry.number} begins at {entry.this_update}, and not when it was reserved")
        if not timedelta(0) < entry.next_update - entry.this_update <= CRL_LONGEST:
            raise IntegrityError(f"CRL {entry.number} is good for {entry.next_update - entry.this_update}")


def take_crl(walk: Walk, entry: CRLEntry, given: dict[str, x509.CertificateRevocationList]) -> None:
    """``given``: CRLs that the auditor has, by digest. Each is taken out when its entry is met."""
    with walk.findings.check("AUDIT-CRL", walk.where):
        reserved, walk.crl_open = walk.crl_open, None
        if reserved is None or (entry.scope, entry.number) != (reserved.scope, reserved.number):
            raise IntegrityError(f"CRL {entry.number} was not the one reserved before it")
        crl = given.pop(entry.sha256, None)
        if crl is None:  # not among those that the auditor has; one of theirs with this number would be
            if any((scope_of_crl(each), _number(each)) == (entry.scope, entry.number) for each in given.values()):
                raise IntegrityError(f"CRL {entry.number} has another digest here than the one that was given")
            return
        octets = len(crl.public_bytes(Encoding.DER))
        if octets != entry.size:
            raise IntegrityError(f"the CRL with this digest has {octets} octets, not {entry.size}")
        number = _number(crl)
        if number != entry.number:
            raise IntegrityError(f"the CRL with this digest has number {number}, not {entry.number}")
        if scope_of_crl(crl) != entry.scope:
            raise IntegrityError(f"the CRL with this digest is not {entry.scope or 'the full list'}")
        if (crl.last_update_utc, crl.next_update_utc) != (reserved.this_update, reserved.next_update):
            raise IntegrityError(f"CRL {number} is not good for the time that was reserved with its number")
        listed = {format_serial(each.serial_number): (each.revocation_date_utc, _reason(each)) for each in crl}
        wrong = [
            serial
            for serial in sorted(walk.revoked.keys() | listed.keys())
            if listed.get(serial) not in _allowed(walk, serial, entry)
        ]
        if wrong:
            raise IntegrityError(f"CRL {number} does not say what the ledger does of {', '.join(wrong[:3])}")


def _allowed(walk: Walk, serial: str, entry: CRLEntry) -> tuple[tuple[datetime, str | None] | None, ...]:
    """What this CRL may say of a serial, since when and why; None is nothing.

    The full list has every serial, a partition those whose certificates name it; for ten years after their end.
    """
    reserved = walk.serials.get(serial)
    scopes = {FULL, walk.lost_scopes.get(serial, FULL) if reserved is None else reserved.scope}
    if serial not in walk.revoked or entry.scope not in scopes:
        return (None,)
    said = walk.revoked[serial], walk.reasons.get(serial)
    if reserved is None or reserved.certificate is None or not reserved.certified:
        return (said,)
    over = entry.at - (reserved.certificate.not_valid_after_utc + _KEPT)
    if over <= timedelta(0):
        return (said,)
    return (said, None) if over <= _LINGERS else (None,)


def _reason(revoked: x509.RevokedCertificate) -> str | None:
    try:
        return revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return None


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
