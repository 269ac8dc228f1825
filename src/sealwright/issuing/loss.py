"""The end of the ledger is lost, and the officers said so: it goes on from what is left.

Before: nothing is recorded (``setback``), because a follower showed a checkpoint that this ledger does not reach, and
nobody has the entries. ``draft_loss`` says what is known, for the officers to sign. ``declare_loss`` judges what they
signed against this ledger, its witness and its CRLs, and records it in one append with the revocation of every serial
that it names, from when and why the CRLs say. From then on checkpoints of the lost history stop nobody: unless it says
that another declaration follows, with what did not fit this one.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sealwright.errors import InputError, IntegrityError, NotFound, PolicyViolation
from sealwright.installed import Installed
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import time_for_loss
from sealwright.issuing.index import LedgerIndex
from sealwright.issuing.setback import load_witness, witness_path
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import LossEntry, RevocationRecord
from sealwright.ledger.view import LedgerView
from sealwright.pki.crl import RevocationReason, read_crl, reason_of
from sealwright.pki.crl_scope import FULL, scope_of_crl, scope_of_tbs
from sealwright.pki.keys import secret_sha256
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.statements.kinds import LOST_LIMIT, LossStatement, new_statement_id
from sealwright.statements.losses import LedgerEnd, VerifiedLoss, check_loss, unfinished
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import format_time, parse_model

DRAFT_LIMIT: Final = 48 * 1024
"""Octets of serials and keys in a draft; comment and signatures have the rest of the ledger entry's 64 KiB. That is
some 1,100 serials of one date and reason, or ``LOST_LIMIT`` that have each their own."""

_QUOTED, _GROUP = 3, 120
"""Octets of JSON around a serial or key, and around the serials of one date, reason and partition."""


class Said(NamedTuple):
    """What a CRL says of a serial, or would."""

    date: datetime | None = None
    """None: from the moment of the declaration."""
    reason: RevocationReason | None = None
    scope: str = FULL


def draft_loss(
    installed: Installed,
    ledger: LedgerView,
    index: LedgerIndex,
    *,
    person: str,
    serials: Iterable[SerialNumber],
    compromised: Iterable[x509.Certificate] = (),
    comment: str,
    now: datetime,
) -> LossStatement:
    """What is known on this machine, for officers to sign. ``serials``: certificates that somebody knows were lost;
    ``compromised``: and those whose key is to be blocked, with all that this ledger has for it.

    Raises ``NotFound`` when no witness was ever shown that anything is missing, ``InputError``.
    """
    before = unfinished(index.losses)
    witness = _witness(installed) or (before and (before.lost_size, before.lost_root))
    if not witness:
        raise NotFound(
            "nothing is known to be missing: no checkpoint was shown that this ledger does not reach",
            hint="start the signer and the registry first: the registry shows it what it saw",
        )
    said: dict[SerialNumber, Said] = dict.fromkeys(serials, Said())
    keys = set()
    for certificate in compromised:
        key = _key(certificate, installed)
        keys.add(key)
        stolen = Said(reason=RevocationReason.KEY_COMPROMISE)
        said |= dict.fromkeys(index.serials_of_key(key), stolen)
        scope = scope_of_tbs(certificate.tbs_certificate_bytes) or FULL
        said[SerialNumber(certificate.serial_number)] = stolen._replace(scope=scope)
    number, listed = _published(installed, index)
    said |= listed
    blocked = sorted(keys - index.compromised_keys)
    left = {serial: what for serial, what in said.items() if serial not in index.revoked}
    revocations, more = _fitting(left, DRAFT_LIMIT - sum(len(key) + _QUOTED for key in blocked))
    fields = {
        "kind": "loss",
        "pki": installed.anchor.pki_id,
        "id": new_statement_id(),
        "person": person,
        "issued_at": now,
        "expires_at": now + LossStatement.longest,
        "size": ledger.size,
        "root": ledger.root.hex(),
        "lost_size": witness[0],
        "lost_root": witness[1],
        "crl_number": max(number, index.highest_crl_number),
        "revocations": revocations,
        "keys": tuple(blocked),
        "more": more,
        "comment": comment,
    }
    return parse_model(LossStatement, fields, "draft")


def declare_loss(authority: IssuingAuthority, signed: SignedStatement) -> VerifiedLoss:
    """Record it. Raises ``PolicyViolation`` (LOSS-..., CLOCK-AHEAD) and changes nothing when it may not be."""
    with authority.lock:
        now, index, ledger = time_for_loss(authority), authority.index, authority.ledger
        end = LedgerEnd(
            size=ledger.size,
            root=ledger.root.hex(),
            crl_number=index.highest_crl_number,
            began=authority.began,
            unfinished=unfinished(index.losses),
        )
        loss = check_loss(signed, roster=authority.last_roster(), end=end, now=now)
        _check_witness(authority.installed, loss)
        _check_crls(authority.installed, index, loss)
        before, authority.set_back = authority.set_back, None
        try:
            authority.record(
                LossEntry(at=now, loss=signed),
                *RevocationRecord.of_loss(
                    loss.statement, at=now, revoked=lambda serial: parse_serial(serial) in index.revoked
                ),
            )
        except BaseException:
            authority.set_back = before
            raise
        authority.set_back = load_witness(authority)
        if authority.read_clock().state == "ahead":
            authority.watch.believe(now)  # and not before it is on record
        return loss


def _key(certificate: x509.Certificate, installed: Installed) -> str:
    try:
        certificate.verify_directly_issued_by(installed.issuing)
    except (InvalidSignature, ValueError, TypeError):
        raise InputError(
            f"certificate {format_serial(certificate.serial_number)} is none of this issuing CA",
            hint="`--serial` names what is only suspected",
        ) from None
    return secret_sha256(certificate.public_key())  # type: ignore[arg-type]  # we signed it: of our kinds


def _fitting(left: Mapping[SerialNumber, Said], room: int) -> tuple[tuple[dict[str, Any], ...], bool]:
    """As many as fit, grouped by what is said of them; and whether there are more. Those without a date come first:
    no CRL has them, so that nothing would remind anybody of them."""
    groups: dict[Said, list[str]] = {}
    for serial, said in sorted(left.items(), key=_order):
        text = format_serial(serial)
        room -= len(text) + _QUOTED + (0 if said in groups else _GROUP)
        if room < 0 or (len(groups) == LOST_LIMIT and said not in groups):
            break
        groups.setdefault(said, []).append(text)
    revocations = tuple(
        {
            "serials": tuple(serials),
            "revocation_date": said.date,
            "reason": str(said.reason) if said.reason else None,
            "scope": said.scope,
        }
        for said, serials in groups.items()
    )
    return revocations, sum(map(len, groups.values())) < len(left)


def _order(each: tuple[SerialNumber, Said]) -> tuple[str, str, str, int]:
    serial, said = each
    return format_time(said.date) if said.date else "", said.reason or "", said.scope, serial


def _check_witness(installed: Installed, loss: VerifiedLoss) -> None:
    """LOSS-WITNESS: the declaration is of all that was shown to be missing."""
    witness = _witness(installed)
    said = (loss.statement.lost_size, loss.statement.lost_root)
    if witness is not None and witness != said:
        raise PolicyViolation(
            f"the loss is declared up to {said[0]} entries of root {said[1][:16]}…; the ledger key signed"
            f" {witness[0]} of root {witness[1][:16]}…",
            rule="LOSS-WITNESS",
            hint="`sealwrightd loss` makes a draft for what was shown last",
        )


def _check_crls(installed: Installed, index: LedgerIndex, loss: VerifiedLoss) -> None:
    """LOSS-CRL: no CRL number is used twice, and what a published CRL revokes stays revoked, from then and for that."""
    number, listed = _published(installed, index)
    said: dict[str, Said] = {
        serial: Said(each.revocation_date, RevocationReason(each.reason) if each.reason else None, each.scope)
        for each in loss.statement.revocations
        for serial in each.serials
    }
    named = {format_serial(serial): what for serial, what in listed.items()}
    missing = () if loss.statement.more else named.keys() - said.keys()
    weaker = (serial for serial in named.keys() & said.keys() if not _is_as_strong(said[serial], named[serial]))
    wrong = sorted((*missing, *weaker))
    if loss.statement.crl_number < number or wrong:
        what = ", ".join(wrong[:3]) or f"number {number}"
        raise PolicyViolation(
            f"a published CRL has {what}, which neither the ledger nor the declaration has as it is there",
            rule="LOSS-CRL",
            hint="`sealwrightd loss` puts it into the draft",
        )


def _is_as_strong(said: Said, published: Said) -> bool:
    """On the same list, from no later moment, and for no other reason; a compromise may have become known since."""
    if said.date is None or published.date is None or said.date > published.date:
        return False
    return said.scope == published.scope and said.reason in (published.reason, RevocationReason.KEY_COMPROMISE)


def _witness(installed: Installed) -> tuple[int, str] | None:
    path = witness_path(installed.ledger)
    if not path.exists():
        return None
    size, root = verify_checkpoint(path.read_text(), installed.anchor.ledger_origin, installed.ledger_key)
    return size, root.hex()


def _published(installed: Installed, index: LedgerIndex) -> tuple[int, dict[SerialNumber, Said]]:
    """The highest number of the issuing CA's CRLs that are on this disk, and what they revoke and the ledger does not:
    as the newest of them says it."""
    crls = []
    for path in installed.crls.glob("*.crl"):
        try:
            crls.append(read_crl(path.read_bytes(), installed.issuing))
        except IntegrityError:
            continue  # the root's, or none
    crls.sort(key=lambda each: each[0].last_update_utc)
    listed: dict[SerialNumber, Said] = {}
    for crl, _ in crls:
        for each in crl:
            serial = SerialNumber(each.serial_number)
            if serial not in index.revoked:
                scope = scope_of_crl(crl) or listed.get(serial, Said()).scope  # it is on the full list too
                listed[serial] = Said(each.revocation_date_utc, reason_of(each), scope)
    return max((number for _, number in crls), default=0), listed
