"""Intents and certificates: was it asked for and approved by those who might, and is it what they asked for?

An order is judged at the moment when the signer judged it: the notBefore that the reserved TBS carries.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.audit.walk import Reserved, Walk
from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.ledger.entries import CertificateEntry, IntentEntry
from sealwright.pki.certificates import CertificateDraft, lint_draft
from sealwright.pki.keys import secret_sha256, spki_der, spki_sha256
from sealwright.pki.names import responder_subject
from sealwright.pki.profiles import CertificateProfile, ProfileKind
from sealwright.pki.serials import format_serial
from sealwright.pki.signatures import assemble_signed, verify_bytes
from sealwright.statements.orders import VerifiedOrder, verify_order
from sealwright.statements.pinned import PinnedPolicy
from sealwright.statements.renewals import Held
from sealwright.statements.wire import decode_base64

JUDGED_BEFORE: Final = timedelta(minutes=10)
"""At most this long lies between the judgement of an order and its intent."""


def take_intent(walk: Walk, entry: IntentEntry) -> None:
    findings = walk.findings
    certificate: x509.Certificate | None = None
    with findings.check("AUDIT-INTENT", walk.where):
        if entry.serial in walk.serials:
            raise IntegrityError(
                f"serial {entry.serial} was reserved at entry {walk.serials[entry.serial].entry} already"
            )
        for serial, place in walk.open.items():
            if place < walk.index - len(walk.open):  # intents of one batch stand side by side
                raise IntegrityError(
                    f"serial {serial}, reserved at entry {place}, has neither certificate nor revocation"
                )
        if (entry.order is None) == (entry.standing is None):
            raise IntegrityError("an intent is by an order, or by the standing order, and not both")
        certificate = _read(walk, entry)
        if entry.serial in walk.revoked:  # by a declared loss, and perhaps never reserved here
            raise IntegrityError(f"serial {entry.serial} was revoked before it was reserved")
        _check_allowed(walk, entry, certificate)
    order: VerifiedOrder | None = None
    if entry.order is not None:
        with findings.check("AUDIT-ORDER", walk.where):
            if certificate is None:
                raise IntegrityError("what this order was for cannot be read")
            order = _check_order(walk, entry, certificate)
        with findings.check("AUDIT-USE", walk.where):
            _check_use(walk, entry, certificate)
            if order is not None and certificate is not None:
                _check_live(walk, order, certificate)
    else:
        with findings.check("AUDIT-RESPONDER", walk.where):
            _check_responder(walk, certificate)
    statement = entry.order.request.statement if entry.order else {}
    walk.open[entry.serial] = walk.index
    walk.serials[entry.serial] = Reserved(
        entry=walk.index,
        tbs_sha256=hashlib.sha256(entry.tbs_der).digest(),
        standing=entry.order is None,
        team=order.request.team if order else str(statement["team"]) if "team" in statement else None,
        request=entry.order.request.sha256 if entry.order else None,
        secret=_secret(certificate) if certificate is not None else None,
        subject=certificate.subject if certificate is not None else None,
        profile=entry.profile,
        person=str(statement["person"]) if "person" in statement else None,
        certificate=certificate,
    )


def take_certificate(walk: Walk, entry: CertificateEntry) -> None:
    with walk.findings.check("AUDIT-CERTIFICATE", walk.where):
        reserved = walk.serials.get(entry.serial)
        if reserved is None or reserved.entry != entry.intent or walk.open.pop(entry.serial, None) is None:
            raise IntegrityError(f"certificate {entry.serial} has no open intent at entry {entry.intent}")
        reserved.certified = True
        if reserved.request in walk.denied:
            raise IntegrityError(f"its request was denied at entry {walk.denied[reserved.request]}")
        if reserved.team is not None:
            walk.held.setdefault((reserved.team, reserved.profile), set()).add(entry.serial)
        if reserved.request is not None:
            walk.requests.setdefault(reserved.request, entry.serial)
            if reserved.secret is not None and reserved.team is not None:
                walk.teams.setdefault(reserved.secret, reserved.team)
                walk.keys.setdefault(reserved.secret, []).append(entry.serial)
        try:
            certificate = x509.load_der_x509_certificate(entry.certificate_der)
        except ValueError as error:
            raise IntegrityError(f"certificate {entry.serial} cannot be read: {error}") from None
        if hashlib.sha256(certificate.tbs_certificate_bytes).digest() != reserved.tbs_sha256:
            raise IntegrityError(f"certificate {entry.serial} is not the one that was reserved at entry {entry.intent}")
        issuer = walk.issuer(walk.in_force()[1])
        verify_bytes(issuer.public_key, issuer.scheme, certificate.tbs_certificate_bytes, certificate.signature)


def _read(walk: Walk, entry: IntentEntry) -> x509.Certificate:
    """The reserved TBS as a certificate whose signature is none."""
    issuer = walk.issuer(walk.in_force()[1])
    try:
        certificate = x509.load_der_x509_certificate(assemble_signed(entry.tbs_der, issuer.scheme, bytes(8)))
        _ = certificate.extensions, certificate.subject, certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError(f"the reserved TBS cannot be read: {error}") from None
    if format_serial(certificate.serial_number) != entry.serial:
        raise IntegrityError(
            f"the reserved TBS has serial {format_serial(certificate.serial_number)}, not {entry.serial}"
        )
    if not timedelta(0) <= entry.at - certificate.not_valid_before_utc <= JUDGED_BEFORE:
        raise IntegrityError(
            f"the reserved TBS begins at {certificate.not_valid_before_utc}, and not when it was reserved"
        )
    return certificate


def _check_allowed(walk: Walk, entry: IntentEntry, certificate: x509.Certificate) -> None:
    """Every rule of ``pki``, asked again of what was reserved. One of the issuing CA's certificates allowed it."""
    _, policy = walk.in_force()
    profile, refusal = _profile(policy, entry), None
    for issuer in walk.issuers(policy):
        draft = CertificateDraft(
            profile=profile,
            settings=policy.settings,
            issuer=issuer,
            scheme=issuer.scheme,
            public_key=certificate.public_key(),  # type: ignore[arg-type]  # lint refuses what is none of our kinds
            copy=certificate,
        )
        try:
            lint_draft(draft)
        except PolicyViolation as error:
            refusal = refusal or error
        else:
            return
    if refusal is not None:
        raise refusal


def _profile(policy: PinnedPolicy, entry: IntentEntry) -> CertificateProfile:
    profile = policy.profiles.get(entry.profile)
    wanted = ProfileKind.CODE_SIGNING if entry.standing is None else ProfileKind.OCSP_RESPONDER
    if profile is None or profile.kind is not wanted:
        raise IntegrityError(f"{entry.profile!r} is no {wanted} profile of the policy in force")
    return profile


def _check_order(walk: Walk, entry: IntentEntry, certificate: x509.Certificate) -> VerifiedOrder:
    assert entry.order is not None  # noqa: S101  # the caller looked
    roster, policy = walk.in_force()
    verified = verify_order(
        entry.order,
        roster=roster,
        profiles=policy.profiles,
        settings=policy.settings,
        rehearsal=walk.anchor.mode == "REHEARSAL",
        now=certificate.not_valid_before_utc,
        renewed=_renewed(walk, entry.order.request.statement.get("renews")),
    )
    request = verified.request
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for what, got, wanted in (
        ("profile", entry.profile, request.profile.name),
        ("subject", certificate.subject, request.subject),
        ("SAN URI", san.get_values_for_type(x509.UniformResourceIdentifier), [request.san_uri]),
        ("key", spki_sha256(certificate.public_key()), spki_sha256(request.csr.public_key)),  # type: ignore[arg-type]  # a digest of whatever it is,
    ):
        if got != wanted:
            raise IntegrityError(f"the certificate has another {what} than the request asks for")
    return verified


def _renewed(walk: Walk, serial: object) -> Held | None:
    """What the ledger knew of the certificate that a request renews."""
    old = walk.serials.get(str(serial))
    if old is None or not old.certified or old.certificate is None or old.team is None or old.person is None:
        return None
    return Held(
        certificate=old.certificate,
        profile=old.profile,
        team=old.team,
        person=old.person,
        revoked=str(serial) in walk.revoked,
    )


def _check_use(walk: Walk, entry: IntentEntry, certificate: x509.Certificate | None) -> None:
    """ORDER-USED, ORDER-DENIED, those of CS-KEY-... that only the ledger knows, and RENEW-..., as it was then."""
    assert entry.order is not None  # noqa: S101
    used = walk.requests.get(entry.order.request.sha256)
    if used is not None:
        raise PolicyViolation(f"its request was answered by certificate {used} already", rule="ORDER-USED")
    denied = walk.denied.get(entry.order.request.sha256)
    if denied is not None:
        raise PolicyViolation(f"its request was denied at entry {denied}", rule="ORDER-DENIED")
    statement = entry.order.request.statement
    team = statement.get("team")
    key = _secret(certificate) if certificate is not None else ""
    if walk.teams.get(key, team) != team:
        raise PolicyViolation(f"its key is certified for team {walk.teams[key]!r}", rule="CS-KEY-OTHER-TEAM")
    for beside in (walk.serials[serial] for serial in walk.open):  # in the same batch
        if beside.request == entry.order.request.sha256:
            raise PolicyViolation("its request has another intent, which is open", rule="ORDER-USED")
        if beside.secret == key and beside.team != team:
            raise PolicyViolation(f"its key is about to be certified for {beside.team!r}", rule="CS-KEY-OTHER-TEAM")
    if key in walk.compromised:
        raise PolicyViolation("its key is known to be compromised", rule="CS-KEY-COMPROMISED")
    responder = load_der_public_key(decode_base64(walk.in_force()[0].authority.ocsp_key))
    own = {_secret(walk.root), _secret(walk.issuing), secret_sha256(responder)}  # type: ignore[arg-type]  # check_roster loaded it
    if key in own:
        raise PolicyViolation("its key is a CA's own, or its responder's", rule="CS-KEY-CA")
    renews = statement.get("renews")
    if renews is not None:
        old = walk.serials.get(str(renews))
        if old is None or not old.certified or old.team != team:
            raise PolicyViolation(f"team {team!r} held no certificate {renews}", rule="RENEW-UNKNOWN")
        if renews in walk.revoked:
            raise PolicyViolation(f"certificate {renews} was revoked", rule="RENEW-REVOKED")
        if certificate is not None and old.subject != certificate.subject:
            raise PolicyViolation("it has another subject than what it renews", rule="RENEW-SUBJECT")


def _check_live(walk: Walk, order: VerifiedOrder, certificate: x509.Certificate) -> None:
    """ORDER-LIVE, with what is reserved beside it in the same batch."""
    request, now = order.request, certificate.not_valid_before_utc
    which = request.team, request.profile.name
    beside = sum((each.team, each.profile) == which for each in (walk.serials[serial] for serial in walk.open))
    held = walk.held.get(which, set())
    limit = request.profile.people.of(request.team).live_certificates
    if len(held) + beside < limit:  # the usual case, without a look at each
        return
    held -= walk.revoked.keys()
    held -= {serial for serial in held if _is_over(walk.serials[serial], now)}
    live = len(held - {str(request.request.renews)}) + beside
    if live >= limit:
        raise PolicyViolation(
            f"team {request.team!r} held {live} live certificates; {limit} are allowed", rule="ORDER-LIVE"
        )


def _is_over(reserved: Reserved, now: datetime) -> bool:
    return reserved.certificate is not None and reserved.certificate.not_valid_after_utc <= now


def _check_responder(walk: Walk, certificate: x509.Certificate | None) -> None:
    roster, policy = walk.in_force()
    if certificate is None:
        raise IntegrityError("the reserved TBS cannot be read")
    if spki_der(certificate.public_key()) != decode_base64(roster.authority.ocsp_key):  # type: ignore[arg-type]  # compared, whatever it is
        raise IntegrityError("this responder certificate is for another key than the roster's OCSP key")
    if certificate.subject != responder_subject(policy.settings, rehearsal=walk.anchor.mode == "REHEARSAL"):
        raise IntegrityError("this responder certificate is in another name than the responder's")


def _secret(certificate: x509.Certificate) -> str:
    return secret_sha256(certificate.public_key())  # type: ignore[arg-type]  # a digest of whatever it is
