"""The standing order: OCSP responder certificates, for the one key that installation pinned and for no other.

No person asks for these; the officers signed the order by pinning ``pki.toml`` [standing] and the OCSP key in the
roster. The call carries nothing, so there is nothing in it to forge.
"""

from datetime import timedelta

from cryptography import x509

from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.issuance import Drafted, carry_through
from sealwright.pki.certificates import draft_certificate
from sealwright.pki.keys import secret_sha256
from sealwright.pki.names import responder_subject
from sealwright.pki.profiles import ProfileKind
from sealwright.pki.serials import new_serial
from sealwright.points import Point, reached
from sealwright.statements.pinned import PinnedPolicy


def responder_certificate(authority: IssuingAuthority) -> x509.Certificate:
    """The responder certificate that is good for longer than the renewal margin; a new one when none is."""
    with authority.standing:
        # Also with an expired roster, and while the clock cannot be believed: verifiers need answers.
        policy = authority.policy(authority.last_roster())
        if (made := _good_for_long(authority, policy)) is not None:
            return made
        receipt = carry_through(authority, lambda: _draft(authority, policy))
        reached(Point.RESPONDER_MADE)
        return receipt.load_certificate()


def _good_for_long(authority: IssuingAuthority, policy: PinnedPolicy) -> x509.Certificate | None:
    margin = timedelta(days=policy.settings.standing.responder_renew_before_days)
    secret = secret_sha256(authority.installed.ocsp_key)
    with authority.lock:
        for issued in authority.index.standing(authority.time_for_revocation() + margin):
            if issued.serial not in authority.index.revoked and issued.secret_sha256 == secret:
                return issued.certificate
    return None


def _draft(authority: IssuingAuthority, policy: PinnedPolicy) -> Drafted:
    now = authority.time_for_issuance()
    profile = next(each for each in policy.profiles.values() if each.kind is ProfileKind.OCSP_RESPONDER)
    serial = new_serial()
    days = min(profile.validity_days, policy.settings.standing.responder_validity_days)
    draft = draft_certificate(
        profile,
        issuer=authority.installed.issuer(policy.settings),
        subject=responder_subject(policy.settings, rehearsal=authority.installed.rehearsal),
        public_key=authority.installed.ocsp_key,
        serial=serial,
        not_before=now,
        not_after=now + timedelta(days=days) - timedelta(seconds=1),  # inclusive, RFC 5280 4.1.2.5
    )
    reached(Point.RESPONDER_DRAFTED)
    return Drafted(draft, serial, now, None)
