"""The standing order: OCSP responder certificates, for the one key that installation pinned and for no other.

No person asks for these; the officers signed the order by pinning ``pki.toml`` [standing] and the OCSP key in the
roster. The call carries nothing, so there is nothing in it to forge.
"""

from datetime import timedelta

from cryptography import x509

from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.issuance import Issuance, sign_and_record
from sealwright.pki.certificates import draft_certificate
from sealwright.pki.keys import secret_sha256
from sealwright.pki.names import responder_subject
from sealwright.pki.profiles import ProfileKind
from sealwright.pki.serials import new_serial
from sealwright.points import Point, reached


def responder_certificate(authority: IssuingAuthority) -> x509.Certificate:
    """The responder certificate that is good for longer than the renewal margin; a new one when none is."""
    with authority.lock:
        now = authority.time_for_revocation()
        policy = authority.policy(authority.last_roster())  # verifiers get answers whether or not a roster expired
        key = authority.installed.ocsp_key
        margin = timedelta(days=policy.settings.standing.responder_renew_before_days)
        for issued in authority.index.standing(now + margin):
            if issued.serial not in authority.index.revoked and issued.secret_sha256 == secret_sha256(key):
                return issued.certificate  # also while the clock cannot be believed: verifiers need answers
        now = authority.time_for_issuance()
        profile = next(each for each in policy.profiles.values() if each.kind is ProfileKind.OCSP_RESPONDER)
        serial = new_serial()
        days = min(profile.validity_days, policy.settings.standing.responder_validity_days)
        draft = draft_certificate(
            profile,
            issuer=authority.installed.issuer(policy.settings),
            subject=responder_subject(policy.settings, rehearsal=authority.installed.rehearsal),
            public_key=key,
            serial=serial,
            not_before=now,
            not_after=now + timedelta(days=days) - timedelta(seconds=1),  # inclusive, RFC 5280 4.1.2.5
        )
        linted = authority.lint(draft)
        reached(Point.RESPONDER_LINTED)
        issuance = Issuance(linted, serial, None, now)
        sign_and_record(authority, [issuance])
        if issuance.certificate is None:
            raise issuance.error or RuntimeError("neither a certificate nor an error")
        reached(Point.RESPONDER_MADE)
        return issuance.certificate
