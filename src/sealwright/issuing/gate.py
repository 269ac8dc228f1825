"""The gate: an order becomes a ``PermittedOrder``, or is refused by a rule's id.

``statements.orders`` has judged what the order contains (signatures, roles, quorum, freshness, policy). Here it meets
what only the ledger knows: used and denied requests, keys of other teams, compromised keys, live certificates, what a
renewal replaces.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sealwright.errors import PolicyViolation, Unavailable
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import TOLERANCE
from sealwright.issuing.index import LedgerIndex
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.pki.weakness import check_not_compromised
from sealwright.statements.orders import IssuanceOrder, VerifiedOrder, verify_order
from sealwright.statements.pinned import PinnedPolicy
from sealwright.statements.renewals import Held, check_renewal
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.wire import format_time

_PROOF: Final = object()

JUDGED_FOR: Final = timedelta(minutes=1)
"""An order whose turn comes later is not carried out: its notBefore, and what was judged by it, are of then."""


@dataclass(frozen=True, slots=True)
class PermittedOrder:
    """An order that the people, the policy and the ledger allow. Only ``check_order`` can make one."""

    verified: VerifiedOrder
    order: IssuanceOrder
    policy: PinnedPolicy
    replaces: SerialNumber | None
    roster: VerifiedRoster
    proof: object

    def __post_init__(self) -> None:
        if self.proof is not _PROOF:
            raise TypeError("only the gate makes a PermittedOrder")


def check_order(authority: IssuingAuthority, order: IssuanceOrder, now: datetime) -> PermittedOrder:
    """Judge an order. Raises ``PolicyViolation`` with the rule's id."""
    roster = authority.roster_in_force(now)
    policy = authority.policy_in_memory(roster)
    verified = verify_order(
        order,
        roster=roster,
        profiles=policy.profiles,
        settings=policy.settings,
        rehearsal=authority.installed.rehearsal,
        now=now,
        renewed=_find_renewed(authority.index, order),
    )
    renews = verified.request.request.renews
    replaces = None if renews is None else parse_serial(renews)
    permitted = PermittedOrder(verified, order, policy, replaces, roster, _PROOF)
    check_unused(authority.index, verified)
    check_key(authority, verified)
    check_live(authority.index, permitted, now)
    return permitted


def check_still(authority: IssuingAuthority, permitted: PermittedOrder, now: datetime) -> None:
    """What may have changed since ``now``, when it was judged, for who holds the lock.

    Time passed or the clock was set, somebody was suspended, the order came twice, another took the last place, what it
    renews was revoked.
    """
    permitted.roster.check_in_force(check_turn(authority, now))
    if authority.roster is not permitted.roster:
        check_order(authority, permitted.order, now)
    if permitted.replaces is not None:
        check_renewal(permitted.verified.request, _find_renewed(authority.index, permitted.order), now)
    check_unused(authority.index, permitted.verified)
    check_key(authority, permitted.verified)
    check_live(authority.index, permitted, now)


def check_turn(authority: IssuingAuthority, now: datetime) -> datetime:
    """The time, soon after it was judged. Raises ``Unavailable``, and when the clock is not believed its rule."""
    later = authority.time_for_issuance()
    if not -TOLERANCE <= later - now <= JUDGED_FOR:
        raise Unavailable(
            f"this order was judged at {format_time(now)}, and it was its turn at {format_time(later)}",
            hint="the signer was held up, its machine paused or its clock set; the registry sends the order again",
        )
    return later


def check_drafted(draft: CertificateDraft, policy: PinnedPolicy) -> None:
    """What it was drafted and linted by is what the roster pins now. Raises ``Unavailable``."""
    profile = policy.profiles.get(draft.profile.name)
    for name, same in (
        ("pki.toml", draft.settings.sha256 == policy.settings.sha256),
        (f"profile {draft.profile.name}", profile is not None and profile.sha256 == draft.profile.sha256),
    ):
        if not same:
            raise Unavailable(
                f"{name} was changed by a roster since this certificate was drafted",
                hint="nothing was reserved; registry and presign ask again by themselves",
            )


def check_unused(index: LedgerIndex, verified: VerifiedOrder) -> None:
    """ORDER-USED, and ORDER-DENIED: nobody whose word is in the ledger said no."""
    check_unanswered(index, verified.request.sha256)
    place = index.denied.get(verified.request.sha256)
    if place is not None:
        raise PolicyViolation(
            f"this request was denied, or taken back: ledger entry {place}",
            rule="ORDER-DENIED",
            hint="make a new request",
        )


def check_unanswered(index: LedgerIndex, request: str) -> None:
    """ORDER-USED: a request, by its SHA-256, is answered by at most one certificate, ever."""
    serial = index.issued_for.get(request)
    if serial is not None:
        raise PolicyViolation(
            f"this request was already answered by certificate {format_serial(serial)}",
            rule="ORDER-USED",
            hint="fetch that certificate, or make a new request",
        )


def check_key(authority: IssuingAuthority, verified: VerifiedOrder) -> None:
    """CS-KEY-CA, CS-KEY-COMPROMISED, CS-KEY-OTHER-TEAM: whose key this is, as the ledger knows it."""
    installed, index = authority.installed, authority.index
    key, digest = verified.request.csr.public_key, verified.request.csr.secret_sha256
    if digest in installed.own_secrets:
        raise PolicyViolation("the key of the CSR is the CA's own, or its responder's", rule="CS-KEY-CA")
    check_not_compromised(key, index.compromised_keys)
    team = index.team_of_key(digest)
    if team is not None and team != verified.request.team:
        raise PolicyViolation(
            f"the key {digest[:16]}… is already certified for team {team!r}, not {verified.request.team!r}",
            rule="CS-KEY-OTHER-TEAM",
            hint="a key belongs to one team: make a new one",
        )


def check_live(index: LedgerIndex, permitted: PermittedOrder, now: datetime) -> None:
    """ORDER-LIVE: a team holds no more certificates at a time than the profile allows, what it renews aside."""
    request = permitted.verified.request
    live, limit = _live(index, permitted, now), _limit(permitted)
    if live >= limit:
        raise PolicyViolation(
            f"team {request.team!r} holds {live} live certificates of profile {request.profile.name!r};"
            f" at most {limit} are allowed",
            rule="ORDER-LIVE",
            hint="revoke what is no longer used: `sealwright certificates`, `sealwright revoke`",
        )


@dataclass(slots=True)
class Claims:
    """What the orders of one batch take, before the ledger knows of it.

    An order that wants the same is not refused for it: what it has to be judged by may still fail to come about.
    """

    requests: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    replaced: set[SerialNumber] = field(default_factory=set)
    live: Counter[tuple[str, str]] = field(default_factory=Counter)

    def leave_nothing_for(self, index: LedgerIndex, permitted: PermittedOrder, now: datetime) -> bool:
        """Is this order to be judged when those before it are in the ledger?

        Because it is the same request, has the same key or renews the same certificate, or because they may take the
        last place its team has.
        """
        request = permitted.verified.request
        claimed = self.live[request.team, request.profile.name]
        return (
            request.sha256 in self.requests
            or request.csr.secret_sha256 in self.keys
            or permitted.replaces in self.replaced
            or (claimed > 0 and _live(index, permitted, now) + claimed >= _limit(permitted))
        )

    def take(self, permitted: PermittedOrder) -> None:
        request = permitted.verified.request
        self.requests.add(request.sha256)
        self.keys.add(request.csr.secret_sha256)
        if permitted.replaces is not None:
            self.replaced.add(permitted.replaces)
        self.live[request.team, request.profile.name] += 1


def _live(index: LedgerIndex, permitted: PermittedOrder, now: datetime) -> int:
    request = permitted.verified.request
    return index.live(request.team, request.profile.name, now, besides=permitted.replaces)


def _limit(permitted: PermittedOrder) -> int:
    request = permitted.verified.request
    return request.profile.people.of(request.team).live_certificates


def _find_renewed(index: LedgerIndex, order: IssuanceOrder) -> Held | None:
    """What the ledger knows of the certificate that the request names; nothing is believed of the request yet."""
    renews = order.request.statement.get("renews")
    issued = index.issued.get(parse_serial(renews)) if isinstance(renews, str) else None
    if issued is None or issued.team is None or issued.person is None:
        return None
    return Held(
        certificate=issued.certificate,
        profile=issued.profile,
        team=issued.team,
        person=issued.person,
        revoked=issued.serial in index.revoked,
    )
