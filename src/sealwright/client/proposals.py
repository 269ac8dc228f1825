"""Rosters that wait at the registry for signatures, so that a draft need not travel from officer to officer as a file.

What the registry shows is verified before it is offered: a roster of this PKI, the next version, drafted by an officer,
each signature on it an officer's; only signatures may be missing.
"""

from contextlib import suppress

from sealwright.client.session import Sitting
from sealwright.client.signing import add_signature
from sealwright.client.transport import utc_now
from sealwright.errors import InputError, NotFound, NotReady, PolicyViolation
from sealwright.statements.kinds import RosterStatement
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement


def find_proposal(sitting: Sitting, prefix: str | None = None) -> tuple[RosterStatement, tuple[str, ...]]:
    """The one that waits, and its signatures. ``prefix``: of its SHA-256, when several wait.

    Raises ``NotFound`` when there is none, ``InputError`` when it is not clear which is meant.
    """
    previous: VerifiedRoster | None = None
    with suppress(NotReady):  # the first one: the anchor's officers sign it
        previous = sitting.trust().roster
    said = sitting.registry.get("/v1/roster").get("proposed")
    if not isinstance(said, list):
        raise InputError("the registry's proposed rosters cannot be read")
    waiting = {each.sha256: each for each in map(SignedStatement.parse, said) if _waits(each, sitting, previous)}
    found = [each for sha256, each in waiting.items() if sha256.startswith((prefix or "").lower())]
    if not found:
        raise NotFound(
            "no roster waits for signatures at the registry", hint="`sealwright roster publish FILE` sends one"
        )
    if len(found) > 1:
        listed = ", ".join(f"{each.sha256[:16]} by {each.content.person}" for each in found)
        raise InputError(f"{len(found)} rosters wait: {listed}", hint="--roster SHA256 says which")
    statement = found[0].content
    assert isinstance(statement, RosterStatement)  # noqa: S101  # check_roster read it
    return statement, found[0].signatures


def _waits(signed: SignedStatement, sitting: Sitting, previous: VerifiedRoster | None) -> bool:
    try:
        check_roster(signed, anchor=sitting.identity.anchor, previous=previous, now=utc_now())
    except PolicyViolation as error:
        return error.rule == "ROSTER-QUORUM"
    return True


def sign_proposal(sitting: Sitting, statement: RosterStatement) -> SignedStatement:
    """With this client's key: the statement and this one signature, to be sent."""
    return SignedStatement.of(statement, add_signature(statement.to_bytes(), statement.kind, sitting.config.key_file))
