"""Requests: taken in, found again, and shown.

What is checked here is what the signer will check, so that the requester hears of a problem now and not after an
approver's work. Nothing here makes the signer's own check unnecessary.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sealwright.errors import Conflict, PolicyViolation
from sealwright.pki.certificates import draft_certificate, lint_draft
from sealwright.pki.keys import spki_sha256
from sealwright.pki.serials import new_serial
from sealwright.registration.projection import catch_up
from sealwright.registration.registry import Registry, load_document
from sealwright.statements.orders import VerifiedRequest, check_blackout, verify_request
from sealwright.statements.pinned import PinnedPolicy
from sealwright.statements.renewals import Held, check_renewal, needs_no_approval
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.store.models import DecisionRow, RequestRow, RequestState
from sealwright.store.registry import RegistryTransaction

log = logging.getLogger("sealwright.registry")

LIST_LIMIT = 500


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request and all that was said of it."""

    row: RequestRow
    decisions: Sequence[DecisionRow]

    def state(self, now: datetime) -> str:
        """Its state; one that nobody decided in time is ``expired``."""
        if self.row.state == RequestState.OPEN and self.row.expires_at <= now:
            return "expired"
        return self.row.state


def submit_request(registry: Registry, signed: SignedStatement) -> RequestRecord:
    """Take in a request.

    Raises ``InputError``, ``PolicyViolation`` or ``Conflict`` when it could not become a certificate.
    """
    catch_up(registry)
    now, roster = registry.clock(), registry.roster_in_force()
    policy = registry.policy(roster)
    verified = verify(registry, signed, roster, policy, now)
    check_lint(registry, verified, policy, now)
    request = verified.request
    row = RequestRow(
        sha256=verified.sha256,
        id=request.id,
        person=request.person,
        team=request.team,
        project=request.project,
        profile=request.profile,
        key_location=request.key_location,
        spki_sha256=spki_sha256(verified.csr.public_key),
        renews=request.renews,
        document=signed.to_bytes().decode(),
        issued_at=request.issued_at,
        expires_at=request.expires_at,
        received_at=now,
    )
    with registry.database.writing() as tx:
        if tx.find_request(row.sha256) is not None:
            raise Conflict("this request was received already", hint=f"`sealwright show {row.id}` says where it stands")
        _check_key(tx, row)
        renewed = _find_renewed(tx, row)
        if row.renews is not None:
            check_renewal(verified, renewed, now)
        _check_live(tx, verified, now)
        if row.renews is not None and needs_no_approval(verified, renewed):
            check_blackout(verified, now)
            row.state = RequestState.APPROVED  # ``upkeep`` sends it
        tx.add(row)
    log.info("request %s: %s asks for %s/%s, profile %s", row.id, row.person, row.team, row.project, row.profile)
    return RequestRecord(row, ())


def verify(
    registry: Registry, signed: SignedStatement, roster: VerifiedRoster, policy: PinnedPolicy, now: datetime
) -> VerifiedRequest:
    return verify_request(
        signed,
        roster=roster,
        profiles=policy.profiles,
        settings=policy.settings,
        rehearsal=registry.installed.rehearsal,
        now=now,
    )


def check_lint(registry: Registry, verified: VerifiedRequest, policy: PinnedPolicy, now: datetime) -> None:
    """The certificate as it would be if it were issued now, drafted and linted, then forgotten."""
    lint_draft(
        draft_certificate(
            verified.profile,
            issuer=registry.installed.issuer(policy.settings),
            subject=verified.subject,
            public_key=verified.csr.public_key,
            serial=new_serial(),
            not_before=now,
            san_uri=verified.san_uri,
        )
    )


def _check_key(tx: RegistryTransaction, row: RequestRow) -> None:
    """CS-KEY-COMPROMISED, CS-KEY-OTHER-TEAM, as far as the projection knows. The signer asks its ledger."""
    if any(revocation.key_blocked for revocation in tx.revocations_of_key(row.spki_sha256)):
        raise PolicyViolation(
            f"key {row.spki_sha256} is on the list of compromised keys; it is never certified again",
            rule="CS-KEY-COMPROMISED",
            hint="this key cannot be repaired: make a new one",
        )
    for certificate in tx.certificates(spki_sha256=row.spki_sha256, limit=LIST_LIMIT):
        if certificate.team != row.team:
            raise PolicyViolation(
                f"the key {row.spki_sha256[:16]}… is already certified for another team than {row.team!r}",
                rule="CS-KEY-OTHER-TEAM",
                hint="a key belongs to one team: make a new one",
            )


def _find_renewed(tx: RegistryTransaction, row: RequestRow) -> Held | None:
    """What the projection knows of the certificate that the request names. ``NotFound`` when there is none."""
    if row.renews is None:
        return None
    old = tx.certificate(row.renews)
    if old.certificate is None or old.team is None or old.person is None:
        return None
    return Held(
        certificate=x509.load_der_x509_certificate(old.certificate),
        profile=old.profile,
        team=old.team,
        person=old.person,
        revoked=tx.revocation(row.renews) is not None,
    )


def _check_live(tx: RegistryTransaction, verified: VerifiedRequest, now: datetime) -> None:
    """ORDER-LIVE, as far as the projection knows."""
    limit = verified.profile.people.of(verified.team).live_certificates
    live = sum(
        each.profile == verified.profile.name
        and each.not_after is not None
        and each.not_after > now
        and each.serial != verified.request.renews
        and tx.revocation(each.serial) is None
        for each in tx.certificates(team=verified.team, limit=LIST_LIMIT)
    )
    if live >= limit:
        raise PolicyViolation(
            f"team {verified.team!r} holds {live} live certificates of profile {verified.profile.name!r};"
            f" at most {limit} are allowed",
            rule="ORDER-LIVE",
            hint="revoke what is no longer used: `sealwright certificates`, `sealwright revoke`",
        )


def find_request(registry: Registry, key: str) -> RequestRecord:
    """By id or SHA-256. Raises ``NotFound``."""
    with registry.database.reading() as tx:
        row = tx.request(key)
        return RequestRecord(row, tx.decisions(row.sha256))


def list_requests(
    registry: Registry, state: str | None, *, after: str | None = None, limit: int = LIST_LIMIT
) -> tuple[RequestRecord, ...]:
    """The newest first, a page of them; ``state`` may be ``expired`` too.

    ``after`` is the id of the last one of the page before. Raises ``NotFound`` for one that is not there.
    """
    kept = RequestState.OPEN if state == "expired" else RequestState(state) if state else None
    now = registry.clock()
    with registry.database.reading() as tx:
        rows = tx.requests(
            kept,
            limit=limit,
            after=tx.request(after) if after else None,
            expires_after=now if state == RequestState.OPEN else None,
            expires_until=now if state == "expired" else None,
        )
        return tuple(RequestRecord(row, tx.decisions(row.sha256)) for row in rows)


def requests_in(registry: Registry, state: RequestState) -> tuple[str, ...]:
    """The SHA-256 of every request in this state, the oldest first."""
    with registry.database.reading() as tx:
        return tuple(tx.requests_in(state))


def signed_request(row: RequestRow) -> SignedStatement:
    return load_document(row.document)
