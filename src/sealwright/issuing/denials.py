"""A denial: an approver's no to a request, or the requester's own, which takes it back. It stands for ever.

It is judged as an order is, by the same functions, and recorded with both statements as people signed them. It waits
for no token, and for no clock that can be believed: it takes away, and gives nothing.
"""

from collections.abc import Mapping
from typing import Any

from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.gate import check_unanswered
from sealwright.ledger.entries import DenialEntry
from sealwright.points import Point, reached
from sealwright.statements.orders import verify_denial
from sealwright.statements.signed import SignedStatement


def deny(authority: IssuingAuthority, arguments: Mapping[str, Any]) -> int:
    """Record a denial and return its place in the ledger. Of a request that was denied already: where that stands.

    Raises ``InputError`` when it is none, ``PolicyViolation`` when a rule refuses it (ORDER-USED: it was issued).
    """
    signed, decision = (SignedStatement.parse(arguments[name]) for name in ("request", "decision"))
    with authority.lock:
        now = authority.time_for_revocation()
        roster = authority.roster_in_force(now)
        policy = authority.policy(roster)
        denial = verify_denial(
            signed,
            decision,
            roster=roster,
            profiles=policy.profiles,
            settings=policy.settings,
            rehearsal=authority.installed.rehearsal,
            now=now,
        )
        place = authority.index.denied.get(denial.request.sha256)
        if place is not None:  # however often it is said: one entry
            return place
        check_unanswered(authority.index, denial.request.sha256)
        reached(Point.DENIAL_JUDGED)
        place = authority.record(DenialEntry(at=now, request=signed, decision=decision))
        reached(Point.DENIAL_DURABLE)
        return place
