"""Asking for a certificate, and looking at what others ask for."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.client.session import Sitting
from sealwright.client.transport import utc_now
from sealwright.client.trust import Trust
from sealwright.durable import read_file
from sealwright.errors import AccessDenied, InputError, IntegrityError, NotFound, NotReady, PolicyViolation
from sealwright.pki.certificates import draft_certificate, lint_draft
from sealwright.pki.profiles import CertificateProfile, ProfileKind
from sealwright.pki.serials import new_serial
from sealwright.statements import orders
from sealwright.statements.orders import VerifiedRequest, check_blackout, verify_decision
from sealwright.statements.pinned import PinnedPolicy
from sealwright.statements.quorum import Signer, missing_approvals
from sealwright.statements.requests import find_person
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.ssh_keygen import read_public_key
from sealwright.statements.wire import encode_base64

ENDED = frozenset({"issued", "denied", "refused", "expired"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate is asked for, settled before its key is made: names come from profile and settings alone."""

    profile: CertificateProfile
    team: str
    project: str
    subject: x509.Name
    san_uri: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What a request carries beside its CSR: proofs of where the key lives, and whether it is an emergency."""

    attestation: tuple[str, ...] = ()
    exception: dict[str, Any] | None = None
    emergency: bool = False


def load_extras(attestation: Path | None, exception: Path | None, *, emergency: bool) -> Extras:
    """From a PEM file with the attestation's certificates, and an officer's exception. Raises ``InputError``."""
    chain: tuple[str, ...] = ()
    if attestation is not None:
        try:
            found = x509.load_pem_x509_certificates(read_file(attestation))
        except ValueError as error:
            raise InputError(f"{attestation} holds no certificates in PEM: {error}") from None
        chain = tuple(encode_base64(each.public_bytes(Encoding.DER)) for each in found)
    signed = parse_signed(read_file(exception)).to_wire() if exception is not None else None
    return Extras(chain, signed, emergency)


def settle(sitting: Sitting, trust: Trust, policy: PinnedPolicy, profile: str, team: str, project: str) -> Wanted:
    """Raises ``NotFound`` for what the roster or the pinned profiles do not have."""
    offered = {name: each for name, each in policy.profiles.items() if each.kind is ProfileKind.CODE_SIGNING}
    if profile not in offered:
        raise NotFound(f"there is no code-signing profile {profile!r}", hint=f"there are {', '.join(sorted(offered))}")
    projects = trust.roster.projects
    if project not in projects.get(team, ()):
        there = ", ".join(f"{name}/{each}" for name in sorted(projects) for each in projects[name])
        raise NotFound(f"the roster has no team and project {team}/{project}", hint=f"there are {there}")
    trust.roster.person(sitting.config.person)
    chosen = offered[profile]
    return Wanted(
        chosen,
        team,
        project,
        chosen.subject(policy.settings, team, project, rehearsal=sitting.identity.rehearsal),
        chosen.san_uri(policy.settings, team, project),
    )


def send_request(
    sitting: Sitting,
    trust: Trust,
    policy: PinnedPolicy,
    wanted: Wanted,
    csr: bytes,
    *,
    location: str,
    renews: str | None,
    extras: Extras,
    comment: str,
) -> dict[str, Any]:
    """Sign it, judge it here as the signer will, then send it. Returns the registry's record of it."""
    signed = sitting.pen.request(
        profile=wanted.profile.name,
        profile_sha256=wanted.profile.sha256,
        team=wanted.team,
        project=wanted.project,
        csr=encode_base64(csr),
        key_location=location,
        attestation=extras.attestation,
        exception=extras.exception,
        renews=renews,
        emergency=extras.emergency,
        comment=comment,
    )
    lint(trust, policy, sitting.verify(signed, trust, policy))
    return sitting.registry.post("/v1/requests", signed)


def lint(trust: Trust, policy: PinnedPolicy, request: VerifiedRequest) -> None:
    """The certificate as it would be if it were issued now. Raises ``PolicyViolation`` by its rule."""
    lint_draft(
        draft_certificate(
            request.profile,
            issuer=trust.issuer(policy),
            subject=request.subject,
            public_key=request.csr.public_key,
            serial=new_serial(),
            not_before=utc_now(),
            san_uri=request.san_uri,
        )
    )


@dataclass(frozen=True, slots=True)
class Examined:
    """A request as this machine decoded and linted it, and what the registry says beside it."""

    request: VerifiedRequest
    said: Mapping[str, Any]
    missing: tuple[str, ...]
    """Approvals that the policy still wants, in words; counted here, of the decisions that the registry showed."""


def fetch_signed(sitting: Sitting, key: str) -> tuple[SignedStatement, dict[str, Any]]:
    """A request by id or SHA-256, and that it is the one that was asked for."""
    said = sitting.registry.get(f"/v1/requests/{path_part(key)}")
    signed = SignedStatement.parse(said.get("request"))
    if key not in {signed.sha256, signed.statement.get("id")}:
        raise IntegrityError(f"the registry gave another request than {key}", hint="do not decide it; tell an officer")
    return signed, said


def examine(sitting: Sitting, key: str) -> tuple[Examined, Trust]:
    """Everything an approver is to know, verified here."""
    trust = sitting.trust()
    policy = sitting.policy(trust)
    signed, said = fetch_signed(sitting, key)
    request = sitting.verify(signed, trust, policy)
    lint(trust, policy, request)
    return Examined(request, said, missing_approvals(_approvals(said, trust, request), request.approval)), trust


def _approvals(said: Mapping[str, Any], trust: Trust, request: VerifiedRequest) -> list[Signer]:
    """Those who said yes and count, as this machine verifies it."""
    signers: list[Signer] = []
    for each in said.get("signed_decisions", ()):
        with suppress(PolicyViolation, InputError):
            signed = SignedStatement.parse(each)
            decision = verify_decision(signed, roster=trust.roster, request=request, now=utc_now())
            if decision.approves and decision.signer.person not in {one.person for one in signers}:
                signers.append(decision.signer)
    return signers


def check_may_decide(sitting: Sitting, trust: Trust, request: VerifiedRequest) -> None:
    """Before anything is shown or signed: whether who sits here may decide it, as the signer will judge it."""
    person = find_person(trust.roster, sitting.config.person, "DEC-PERSON")
    key = read_public_key(sitting.config.key_file)
    if key.identity not in {each.identity for each in person.keys}:
        raise PolicyViolation(
            f"{key} is no key of {person.name!r} on roster {trust.roster.version}",
            rule="STMT-SIGNATURE",
            hint="`sealwright init --replace` names another key of yours; the officers add one to the roster",
        )
    orders.check_may_decide(person, key, request)


def check_may_withdraw(sitting: Sitting, request: VerifiedRequest) -> None:
    """Before anything is shown or signed: whether who sits here made this request."""
    if sitting.config.person != request.requester.name:
        raise AccessDenied(
            f"{request.requester.name!r} made this request, and {sitting.config.person!r} cannot take it back",
            hint="an approver says no with `sealwright deny`",
        )


def decide(sitting: Sitting, trust: Trust, request: VerifiedRequest, verdict: str, comment: str) -> dict[str, Any]:
    """Sign a decision on this very request, judge it here as the signer will, and send it."""
    signed = sitting.pen.decision(request.sha256, verdict, comment)
    now = utc_now()
    if verify_decision(signed, roster=trust.roster, request=request, now=now).approves:
        check_blackout(request, now)
    return sitting.registry.post("/v1/decisions", signed)


def wait_for(
    sitting: Sitting, key: str, *, seconds: float, tell: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """Until the request is decided; ``tell`` hears of every look. ``NotReady`` after ``seconds``."""
    deadline, pause = time.monotonic() + seconds, 0.3
    while True:
        said = sitting.registry.get(f"/v1/requests/{path_part(key)}")
        tell(said)
        if said.get("state") in ENDED:
            return said
        if time.monotonic() > deadline:
            raise NotReady(
                f"request {key} is still {said.get('state')} after {seconds:.0f} s",
                hint=f"it stays there: `sealwright show {key}`",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)


def path_part(text: str) -> str:
    """An id that goes into a URL. Raises ``NotFound`` for what cannot be one."""
    if not text.isalnum() or not text.isascii() or len(text) > 64:
        raise NotFound(f"{text[:64]!r} is no id: ids and serials are hexadecimal", hint="copy it whole")
    return text.lower()
