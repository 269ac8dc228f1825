"""A declared loss: a quorum of officers says that the ledger's end is gone for ever, so that what is left may go on.

  LOSS-OFFICER LOSS-QUORUM LOSS-LEDGER LOSS-WITNESS LOSS-CRL LOSS-DATE

Nothing else makes a signer go on that was shown a checkpoint which its ledger does not reach. The officers are those of
the last roster that is left, expired or not; suspensions do not count, as for a roster and unlike what one person says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sealwright.errors import PolicyViolation
from sealwright.statements.checks import check_signature, check_statement
from sealwright.statements.kinds import LossStatement
from sealwright.statements.proof import Proven
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import format_time

_PROOF: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLoss(Proven):
    """A loss that a quorum of officers declared, for this ledger as it stands."""

    made_by = _PROOF

    signed: SignedStatement
    statement: LossStatement


@dataclass(frozen=True, slots=True)
class LedgerEnd:
    """Where the ledger is that goes on: its size, its root (hex), the highest CRL number in it, when the CA began, and
    the declaration before, if that said that this one follows."""

    size: int
    root: str
    crl_number: int
    began: datetime
    unfinished: LossStatement | None


def check_loss(signed: SignedStatement, *, roster: VerifiedRoster, end: LedgerEnd, now: datetime) -> VerifiedLoss:
    """Judge a declaration. Raises ``InputError`` when it cannot be read, ``PolicyViolation`` when it is refused."""
    statement = check_statement(signed, LossStatement, pki_id=roster.pki_id, now=now)
    if roster.officer(statement.person) is None:
        raise PolicyViolation(
            f"{statement.person!r} is no officer of roster {roster.version}",
            rule="LOSS-OFFICER",
            hint="an officer drafts it, in their own name",
        )
    _check_quorum(signed, roster)
    if (statement.size, statement.root) != (end.size, end.root):
        raise PolicyViolation(
            f"this declares a loss after {statement.size} entries of root {statement.root[:16]}…; the ledger has"
            f" {end.size} of root {end.root[:16]}…",
            rule="LOSS-LEDGER",
            hint="it was signed for another ledger or moment: `sealwrightd loss` makes a draft for this one",
        )
    _check_lost(statement, end)
    _check_dates(statement, end.began, now)
    if statement.crl_number < end.crl_number:
        raise PolicyViolation(
            f"the highest CRL number is said to be {statement.crl_number}; the ledger has {end.crl_number}",
            rule="LOSS-CRL",
            hint="numbers never go back: `sealwrightd loss` says the highest that is known",
        )
    return VerifiedLoss(signed=signed, statement=statement, proof=_PROOF)


def unfinished(losses: Sequence[LossStatement]) -> LossStatement | None:
    """The last declaration, while the one is awaited that it says follows."""
    return losses[-1] if losses and losses[-1].more else None


def _check_lost(statement: LossStatement, end: LedgerEnd) -> None:
    """LOSS-WITNESS: there was more; of several declarations that go together each is of the same loss."""
    before = end.unfinished
    if before is not None and (statement.lost_size, statement.lost_root) != (before.lost_size, before.lost_root):
        raise PolicyViolation(
            f"what was lost had {statement.lost_size} entries; the declaration before, whose rest this is, says"
            f" {before.lost_size}",
            rule="LOSS-WITNESS",
            hint="`sealwrightd loss` makes a draft that goes on with that one",
        )
    if before is None and statement.lost_size <= statement.size:
        raise PolicyViolation(
            f"what was lost had {statement.lost_size} entries, and {statement.size} are here: that is no loss",
            rule="LOSS-WITNESS",
            hint="two ledgers of one key: no declaration mends that; find out who wrote the other one",
        )


def _check_dates(statement: LossStatement, began: datetime, now: datetime) -> None:
    """LOSS-DATE"""
    for each in statement.revocations:
        date = each.revocation_date
        if date is not None and not began <= date <= now:
            raise PolicyViolation(
                f"serial {each.serials[0]} would be revoked from {format_time(date)}; this CA began at"
                f" {format_time(began)}, and it is {format_time(now)}",
                rule="LOSS-DATE",
                hint="`sealwrightd loss` writes what a CRL said",
            )


def _check_quorum(signed: SignedStatement, roster: VerifiedRoster) -> None:
    keys = {officer.key for officer in roster.officers}
    made = {
        check_signature(armored, signed, "loss", keys, "the key of an officer").identity
        for armored in signed.signatures
    }
    signers = sorted({officer.name for officer in roster.officers if officer.key.identity in made})
    if len(signers) < roster.threshold:
        raise PolicyViolation(
            f"the loss is declared by {len(signers)} ({', '.join(signers)}) of the officers; wanted {roster.threshold}",
            rule="LOSS-QUORUM",
            hint="another officer has to sign this very file with `sealwright loss sign`",
        )
