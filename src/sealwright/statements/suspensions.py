"""Suspensions: one officer takes a person away at once. Removal only; a later roster of the quorum gives it back.

  SUSPEND-OFFICER SUSPEND-PERSON SUSPEND-ALREADY SUSPEND-STALE

What a suspension does is the roster's (``VerifiedRoster.check_not_suspended``). An officer can be suspended too, and
then revokes and suspends nobody; rosters stay the quorum's, so that no single officer can lock out the others.
"""

from datetime import datetime

from sealwright.errors import PolicyViolation
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import SuspendStatement
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import format_time


def suspend(signed: SignedStatement, *, roster: VerifiedRoster, now: datetime) -> VerifiedRoster:
    """Judge a suspension and return ``roster`` without its person, from ``now`` on.

    The roster may have expired: removal never waits for a new one. Raises ``PolicyViolation``.
    """
    statement = check_statement(signed, SuspendStatement, pki_id=roster.pki_id, now=now)
    officer = roster.officer(statement.person)
    if officer is None:
        raise PolicyViolation(
            f"{statement.person!r} is no officer of roster {roster.version}",
            rule="SUSPEND-OFFICER",
            hint="tell an officer, whose word alone suspends a person",
        )
    check_signer(signed, statement, (officer.key,))
    roster.check_not_suspended(statement)
    if not roster.keys_of(statement.suspended):
        raise PolicyViolation(
            f"nobody called {statement.suspended!r} is on roster {roster.version}",
            rule="SUSPEND-PERSON",
            hint="`sealwright roster show` lists people",
        )
    if statement.suspended in roster.suspended:
        raise PolicyViolation(
            f"{statement.suspended!r} is suspended already",
            rule="SUSPEND-ALREADY",
            hint="there is nothing to do; only a later roster lifts it",
        )
    before = roster.suspensions.get(statement.suspended)
    if before is not None and before.covers(statement.issued_at):
        raise PolicyViolation(
            f"this suspension of {statement.suspended!r} was signed before a roster lifted the one of"
            f" {format_time(before.at)}",
            rule="SUSPEND-STALE",
            hint="an officer who wants it again signs a new one",
        )
    return roster.without(statement.suspended, now)
