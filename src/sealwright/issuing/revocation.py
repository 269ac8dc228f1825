"""Revocation by order, and its correction: which certificates, who may, from when, and the record.

The next CRL follows at once. Nothing here turns a revoked serial into anything else: a correction changes since when
and why, and never to a moment after the one at which the serial was first told revoked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sealwright.errors import NotFound, PolicyViolation
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.index import LedgerIndex
from sealwright.ledger.entries import CorrectionRecord, RevocationRecord
from sealwright.ledger.log import BATCH_LIMIT
from sealwright.pki.crl import RevocationReason
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.points import Point, reached
from sealwright.statements.kinds import (
    SERIALS_LIMIT,
    CorrectionStatement,
    KeyRevocationStatement,
    RevocationStatement,
)
from sealwright.statements.revocations import RevocationOrder, VerifiedRevocation, verify_revocation
from sealwright.statements.wire import format_time


def revoke(authority: IssuingAuthority, arguments: Mapping[str, Any]) -> Sequence[RevocationRecord | CorrectionRecord]:
    """Answer an order and return what was recorded: one record, or several where a key takes along more than one holds.

    Raises ``NotFound`` for what was never issued, ``PolicyViolation`` when a rule refuses.
    """
    order = RevocationOrder.parse(arguments["order"])
    statement = order.statement
    with authority.lock:
        now, index = authority.time_for_revocation(), authority.index
        roster = authority.last_roster()  # removal never waits for a new roster
        teams = {} if isinstance(statement, KeyRevocationStatement) else _teams(index, statement.serials)
        verified = verify_revocation(order, roster=roster, teams=teams, now=now)
        _check_unused(index, order)
        _check_not_before_ca(authority, verified.revocation_date)
        records: Sequence[RevocationRecord | CorrectionRecord]
        match statement:
            case RevocationStatement():
                serials = with_key(index, verified.serials, verified.reason)
                records = _revocations(verified, _not_revoked(index, serials, verified.reason), now)
            case KeyRevocationStatement():
                records = _revocations(verified, _held_by(index, order), now)
            case CorrectionStatement():
                _check_correction(index, verified, statement)
                correction = CorrectionRecord(
                    at=now,
                    serials=statement.serials,
                    reason=verified.reason,
                    revocation_date=statement.revocation_date,
                    order=order,
                )
                records = (correction,)
        reached(Point.REVOCATION_JUDGED)
        for start in range(0, len(records), BATCH_LIMIT):  # one append, but for a key with 128,000 certificates
            authority.record(*records[start : start + BATCH_LIMIT])
        reached(Point.REVOCATION_DURABLE)
        return records


def _revocations(
    verified: VerifiedRevocation, serials: Sequence[SerialNumber], now: datetime
) -> tuple[RevocationRecord, ...]:
    """As many as it takes: a key may have any number of certificates, and an entry is bounded. One that only blocks a
    key has no serial."""
    return tuple(
        RevocationRecord(
            at=now,
            serials=tuple(map(format_serial, serials[start : start + SERIALS_LIMIT])),
            reason=verified.reason,
            revocation_date=verified.revocation_date or now,
            order=verified.order,
            cause="order",
        )
        for start in range(0, len(serials) or 1, SERIALS_LIMIT)
    )


def with_key(index: LedgerIndex, serials: Sequence[SerialNumber], reason: RevocationReason) -> tuple[SerialNumber, ...]:
    """A compromised key takes all that is certified for it along: a renewal is no better than what it renewed.

    A key is one team's (CS-KEY-OTHER-TEAM), so whoever may revoke one of them may revoke them all.
    """
    if reason is not RevocationReason.KEY_COMPROMISE:
        return tuple(serials)
    keys = dict.fromkeys(index.issued[serial].secret_sha256 for serial in serials)
    return tuple(dict.fromkeys((*serials, *(kin for key in keys for kin in index.serials_of_key(key)))))


def _teams(index: LedgerIndex, serials: Sequence[str]) -> dict[SerialNumber, str]:
    teams = {}
    for text in serials:
        serial = parse_serial(text)
        issued = index.issued.get(serial)
        if issued is None or issued.team is None:
            raise NotFound(f"no team's certificate has the serial {text}", hint="`sealwright certificates` lists them")
        teams[serial] = issued.team
    return teams


def _not_revoked(
    index: LedgerIndex, serials: Sequence[SerialNumber], reason: RevocationReason
) -> tuple[SerialNumber, ...]:
    """REV-ALREADY when none is left: of many, those that somebody else revoked meanwhile stay as they are."""
    left = tuple(serial for serial in serials if serial not in index.revoked)
    if not left:
        first = index.revoked[serials[0]]
        what = f"certificate {format_serial(serials[0])} is" if len(serials) == 1 else "all of these certificates are"
        key = index.issued[serials[0]].secret_sha256
        late = reason is RevocationReason.KEY_COMPROMISE and key not in index.compromised_keys
        raise PolicyViolation(
            f"{what} revoked already",
            rule="REV-ALREADY",
            hint=f"its reason stays {first.reason} and its key is not blocked: use it no more, and have two people, one"
            " of them an officer, `sealwright correct` it"
            if late
            else "it stays revoked, there is nothing to do; `sealwright correct` changes its date or reason",
        )
    return left


def _held_by(index: LedgerIndex, order: RevocationOrder) -> tuple[SerialNumber, ...]:
    """What is certified for the order's own key and not revoked. Nothing may be left, while it is not blocked yet."""
    key = order.proven_secret
    serials = index.serials_of_key(key) if key else ()
    if not serials:
        raise NotFound(
            f"nothing was ever certified for the key {order.proven_key}",
            hint="is it the key of this PKI's certificate?",
        )
    if key in index.compromised_keys:
        return _not_revoked(index, serials, RevocationReason.KEY_COMPROMISE)
    return tuple(serial for serial in serials if serial not in index.revoked)


def _check_unused(index: LedgerIndex, order: RevocationOrder) -> None:
    """REV-USED: a statement counts once, so that nobody can play an old one again after a correction."""
    if order.revocation.sha256 in index.revocation_orders and isinstance(order.statement, CorrectionStatement):
        raise PolicyViolation(
            "this correction is in the ledger already", rule="REV-USED", hint="sign a new one to change it again"
        )


def _check_not_before_ca(authority: IssuingAuthority, date: datetime | None) -> None:
    began = authority.began
    if date is not None and date < began:
        raise PolicyViolation(
            f"the date is {format_time(date)}; this CA began at {format_time(began)}",
            rule="REV-DATE",
            hint="any moment before a certificate's own beginning ends all of its signatures",
        )


def _check_correction(index: LedgerIndex, verified: VerifiedRevocation, statement: CorrectionStatement) -> None:
    """REV-NOT-REVOKED, REV-DATE, REV-STALE, REV-KEY-LIVE."""
    for serial in verified.serials:
        revoked, name = index.revoked.get(serial), format_serial(serial)
        if revoked is None:
            raise PolicyViolation(
                f"certificate {name} is not revoked: there is nothing to correct",
                rule="REV-NOT-REVOKED",
                hint="`sealwright revoke` takes a date too",
            )
        if statement.revocation_date > revoked.recorded:
            raise PolicyViolation(
                f"certificate {name} was told revoked at {format_time(revoked.recorded)};"
                f" {format_time(statement.revocation_date)} would make it good for a while after that",
                rule="REV-DATE",
                hint="a correction never un-revokes",
            )
        if statement.issued_at < revoked.changed:
            raise PolicyViolation(
                f"this correction of {name} is of {format_time(statement.issued_at)}; what it says was changed at"
                f" {format_time(revoked.changed)}",
                rule="REV-STALE",
                hint="who signed it had not seen that: look again, and sign a new one",
            )
    live = [kin for kin in with_key(index, verified.serials, verified.reason) if kin not in index.revoked]
    if live:
        raise PolicyViolation(
            f"the key would be compromised, and certificate {format_serial(live[0])} for it is not revoked",
            rule="REV-KEY-LIVE",
            hint="revoke that one for keyCompromise: it takes all of its key along, and blocks it",
        )
