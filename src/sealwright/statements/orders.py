"""Orders: a request with the decisions on it, judged on what they contain and on the roster.

  DEC-PERSON DEC-ROLE DEC-TEAM DEC-REQUEST, and ORDER-SELF... of ``quorum``
  DEC-VERDICT ORDER-DENIED ORDER-BLACKOUT, and ORDER-QUORUM ORDER-GROUP ORDER-SAME-... of ``quorum``,
  RENEW-... of ``renewals``

Each result can only be made by its check, so that who holds one knows what was checked. What only the ledger knows
(used requests, keys of other teams, revoked serials) is ``issuing``'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import Field

from sealwright.errors import PolicyViolation
from sealwright.pki.profiles import CertificateProfile
from sealwright.pki.settings import PKISettings
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import DecisionStatement, Role
from sealwright.statements.people import Person
from sealwright.statements.proof import Proven
from sealwright.statements.quorum import Signer, check_distinct, check_not_self, check_quorum
from sealwright.statements.renewals import Held, check_renewal, needs_no_approval
from sealwright.statements.requests import (
    VerifiedRequest,
    check_role,
    check_team,
    find_person,
    signer_of,
    verify_request,
)
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh import SSHPublicKey
from sealwright.statements.wire import Array, WireModel, format_time, parse_model

__all__ = [
    "IssuanceOrder",
    "VerifiedDecision",
    "VerifiedDenial",
    "VerifiedOrder",
    "VerifiedRequest",
    "check_blackout",
    "verify_decision",
    "verify_denial",
    "verify_order",
    "verify_request",
]

_PROOF: Final = object()
DECISIONS_LIMIT: Final = 16


class IssuanceOrder(WireModel):
    """What the registry sends to the signer: the request and the decisions on it, as people signed them."""

    request: SignedStatement
    decisions: Annotated[Array[SignedStatement], Field(max_length=DECISIONS_LIMIT)]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From its JSON object. Raises ``InputError``."""
        return parse_model(cls, value, "issuance order")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDecision(Proven):
    made_by = _PROOF

    signed: SignedStatement
    decision: DecisionStatement
    approver: Person
    key: SSHPublicKey

    @property
    def approves(self) -> bool:
        return self.decision.verdict == "approve"

    @property
    def sha256(self) -> str:
        return self.signed.sha256

    @property
    def signer(self) -> Signer:
        return signer_of(self.approver, self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedOrder(Proven):
    made_by = _PROOF

    request: VerifiedRequest
    decisions: tuple[VerifiedDecision, ...]
    renewed: Held | None
    """What it replaces."""

    @property
    def approvers(self) -> tuple[Person, ...]:
        return tuple(decision.approver for decision in self.decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDenial(Proven):
    made_by = _PROOF

    request: VerifiedRequest
    decision: VerifiedDecision


def verify_decision(
    signed: SignedStatement, *, roster: VerifiedRoster, request: VerifiedRequest, now: datetime
) -> VerifiedDecision:
    """Judge one decision on a verified request. Raises ``PolicyViolation`` when a rule refuses it.

    Who made the request may say no to it: that takes it back.
    """
    decision = check_statement(signed, DecisionStatement, pki_id=roster.pki_id, now=now)
    roster.check_in_force(now)
    approver = find_person(roster, decision.person, "DEC-PERSON")
    key = check_signer(signed, decision, approver.keys)
    roster.check_not_suspended(decision)
    if decision.request_sha256 != request.sha256:
        raise PolicyViolation(
            f"the decision of {approver.name!r} is on request {decision.request_sha256[:16]}…,"
            f" and not on {request.sha256[:16]}…",
            rule="DEC-REQUEST",
            hint="a decision counts for the very request that was read",
        )
    if decision.verdict == "approve" or approver.name != request.requester.name:
        check_may_decide(approver, key, request)
    return VerifiedDecision(signed=signed, decision=decision, approver=approver, key=key, proof=_PROOF)


def check_may_decide(approver: Person, key: SSHPublicKey, request: VerifiedRequest) -> None:
    """Whether this person, with this key of theirs, may decide this request: ORDER-SELF, DEC-ROLE, DEC-TEAM."""
    check_not_self(request.signer, signer_of(approver, key))
    check_role(approver, (Role.APPROVER,), "DEC-ROLE")
    if not approver.groups.intersection(request.approval.groups):  # a group that is asked for need not be of the team
        check_team(approver, request.team, "DEC-TEAM")


def verify_order(
    order: IssuanceOrder,
    *,
    roster: VerifiedRoster,
    profiles: Mapping[str, CertificateProfile],
    settings: PKISettings,
    rehearsal: bool,
    now: datetime,
    renewed: Held | None = None,
) -> VerifiedOrder:
    """Judge a whole order: the request, what it renews, each decision, the time, and dual control.

    ``renewed`` is what the ledger knows of the certificate that the request names. Raises as ``verify_request`` does.
    """
    request = verify_request(
        order.request, roster=roster, profiles=profiles, settings=settings, rehearsal=rehearsal, now=now
    )
    decisions = tuple(verify_decision(signed, roster=roster, request=request, now=now) for signed in order.decisions)
    for decision in decisions:
        if not decision.approves:
            raise PolicyViolation(f"{decision.approver.name!r} denied this request", rule="ORDER-DENIED")
    if request.request.renews is not None:
        check_renewal(request, renewed, now)
    check_blackout(request, now)
    signers = [decision.signer for decision in decisions]
    if request.request.renews is not None and needs_no_approval(request, renewed):
        check_distinct(request.signer, signers)
    else:
        check_quorum(request.signer, signers, request.approval)
    return VerifiedOrder(
        request=request,
        decisions=decisions,
        renewed=renewed if request.request.renews is not None else None,
        proof=_PROOF,
    )


def verify_denial(
    request: SignedStatement,
    decision: SignedStatement,
    *,
    roster: VerifiedRoster,
    profiles: Mapping[str, CertificateProfile],
    settings: PKISettings,
    rehearsal: bool,
    now: datetime,
) -> VerifiedDenial:
    """Judge a request and a no to it: an approver's, or the requester's own. Raises as ``verify_request`` does."""
    asked = verify_request(request, roster=roster, profiles=profiles, settings=settings, rehearsal=rehearsal, now=now)
    said = verify_decision(decision, roster=roster, request=asked, now=now)
    if said.approves:
        raise PolicyViolation(f"{said.approver.name!r} did not say no to this request", rule="DEC-VERDICT")
    return VerifiedDenial(request=asked, decision=said, proof=_PROOF)


def check_blackout(request: VerifiedRequest, now: datetime) -> None:
    """ORDER-BLACKOUT: nothing is issued then, except in an emergency, which needs more people."""
    blackout = request.profile.people.blackout_at(now)
    if blackout is not None and not request.request.emergency:
        raise PolicyViolation(
            f"profile {request.profile.name!r} issues nothing from {format_time(blackout.begins)} to"
            f" {format_time(blackout.ends)}: {blackout.reason}",
            rule="ORDER-BLACKOUT",
            hint="wait until it is over, or ask again as an emergency, where the profile has one: it needs more people",
        )
