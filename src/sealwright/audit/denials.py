"""Denials: said by who might, of a request that no certificate answers."""

from sealwright.audit.walk import Walk
from sealwright.errors import IntegrityError
from sealwright.ledger.entries import DenialEntry
from sealwright.statements.orders import verify_denial


def take_denial(walk: Walk, entry: DenialEntry) -> None:
    """AUDIT-DENIAL. That no order for it follows is AUDIT-USE, and AUDIT-CERTIFICATE."""
    with walk.findings.check("AUDIT-DENIAL", walk.where):
        roster, policy = walk.in_force()
        denial = verify_denial(
            entry.request,
            entry.decision,
            roster=roster,
            profiles=policy.profiles,
            settings=policy.settings,
            rehearsal=walk.anchor.mode == "REHEARSAL",
            now=entry.at,
        )
        request = denial.request.sha256
        if request in walk.requests:
            raise IntegrityError(f"what it denies was answered by certificate {walk.requests[request]} already")
        if request in walk.denied:
            raise IntegrityError(f"what it denies was denied at entry {walk.denied[request]} already")
        walk.denied[request] = walk.index
