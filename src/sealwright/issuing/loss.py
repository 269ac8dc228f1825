"""The end of the ledger is lost, and the officers said so: it goes on from what is left.

Before: nothing is recorded (``setback``), because a follower showed a checkpoint that this ledger does not reach, and
nobody has the entries. ``draft_loss`` says what is known, for the officers to sign. ``declare_loss`` judges what they
signed against this ledger, its witness and its CRL, and records it with the revocation of every serial that it names,
in one append. From then on checkpoints of the lost history stop nobody.
"""

from collections.abc import Iterable
from datetime import datetime

from sealwright.errors import IntegrityError, NotFound, PolicyViolation
from sealwright.installed import Installed
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.index import LedgerIndex
from sealwright.issuing.setback import witness_path
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import LossEntry, RevocationRecord
from sealwright.ledger.view import LedgerView
from sealwright.pki.crl import read_crl
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.statements.kinds import LossStatement, new_statement_id
from sealwright.statements.losses import LedgerEnd, VerifiedLoss, check_loss
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import parse_model


def draft_loss(
    installed: Installed,
    ledger: LedgerView,
    index: LedgerIndex,
    *,
    person: str,
    serials: Iterable[SerialNumber],
    comment: str,
    now: datetime,
) -> LossStatement:
    """What is known on this machine, for officers to sign. ``serials``: certificates that somebody knows were lost.

    Raises ``NotFound`` when no witness was ever shown that anything is missing, ``InputError``.
    """
    witness = _witness(installed)
    if witness is None:
        raise NotFound(
            "nothing is known to be missing: no checkpoint was shown that this ledger does not reach",
            hint="start the signer and the registry first: the registry shows it what it saw",
        )
    number, listed = _published(installed)
    named = sorted({*serials, *(listed - index.revoked.keys())})
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
        "serials": tuple(map(format_serial, named)),
        "comment": comment,
    }
    return parse_model(LossStatement, fields, "draft")


def declare_loss(authority: IssuingAuthority, signed: SignedStatement) -> VerifiedLoss:
    """Record it. Raises ``PolicyViolation`` (LOSS-...) and changes nothing when it may not be."""
    with authority.lock:
        now, index, ledger = authority.time_for_revocation(), authority.index, authority.ledger
        end = LedgerEnd(ledger.size, ledger.root.hex(), index.highest_crl_number)
        loss = check_loss(signed, roster=authority.last_roster(), end=end, now=now)
        _check_witness(authority.installed, loss)
        _check_crls(authority.installed, index, loss)
        left = tuple(each for each in loss.statement.serials if parse_serial(each) not in index.revoked)
        entries: list[LossEntry | RevocationRecord] = [LossEntry(at=now, loss=signed)]
        if left:
            entries.append(
                RevocationRecord(at=now, serials=left, reason=None, revocation_date=now, order=None, cause="loss")
            )
        authority.set_back = None
        authority.record(*entries)
        witness_path(authority.installed.ledger).unlink(missing_ok=True)
        return loss


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
    """LOSS-CRL: no CRL number is used twice, and what a published CRL revokes stays revoked."""
    number, listed = _published(installed)
    missing = listed - index.revoked.keys() - set(map(parse_serial, loss.statement.serials))
    if loss.statement.crl_number < number or missing:
        what = ", ".join(map(format_serial, sorted(missing)[:3])) or f"number {number}"
        raise PolicyViolation(
            f"a published CRL has {what}, which neither the ledger nor the declaration has",
            rule="LOSS-CRL",
            hint="`sealwrightd loss` puts it into the draft",
        )


def _witness(installed: Installed) -> tuple[int, str] | None:
    path = witness_path(installed.ledger)
    if not path.exists():
        return None
    size, root = verify_checkpoint(path.read_text(), installed.anchor.ledger_origin, installed.ledger_key)
    return size, root.hex()


def _published(installed: Installed) -> tuple[int, frozenset[SerialNumber]]:
    """Highest number and all serials of the issuing CA's CRLs that are on this disk."""
    number, serials = 0, frozenset[SerialNumber]()
    for path in sorted(installed.crls.glob("*.crl")):
        try:
            crl, found = read_crl(path.read_bytes(), installed.issuing)
        except IntegrityError:
            continue  # the root's, or none
        number = max(number, found)
        serials |= {SerialNumber(each.serial_number) for each in crl}
    return number, serials
