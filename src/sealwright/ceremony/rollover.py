"""Two roots that vouch for each other: new-with-old and old-with-new, as RFC 4210 4.4 calls them.

Whoever trusts one of them alone then builds paths to what the other issued. A cross-certificate says of the other root
what its own certificate says: subject, key and key identifier, octet for octet; it ends with the earlier of both.
Which inputs are whose is ``tworoots``'s.
"""

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.kinds import KINDS, NEW, side_of, side_that_signs
from sealwright.ceremony.materials import Materials
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.certificates import CertificateDraft, draft_certificate
from sealwright.pki.keys import PublicKey, secret_sha256, spki_der
from sealwright.pki.serials import format_serial

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


def draft_cross(name: str, materials: Materials) -> CertificateDraft:
    """The other root's key under this root. Raises ``PolicyViolation`` (CER-ROLLOVER-..., CER-SERIAL-USED)."""
    side = side_that_signs(materials.script.kind, name)
    issuer, subject = materials.root_record(side), materials.root("" if side else NEW)
    _check_two(materials)
    _check_end(name, materials)
    serial = materials.plan.serial_of(name)
    if format_serial(serial) in materials.register(side).serials():
        raise PolicyViolation(f"the serial {format_serial(serial)} is in the register already", rule="CER-SERIAL-USED")
    profile, begin = materials.profile("cross-root.toml"), parse_time(materials.plan.at, "prepared.json")
    days = (min(issuer.certificate.not_valid_after_utc, subject.not_valid_after_utc) + _SECOND - begin) // _DAY
    first = max(issuer.certificate.not_valid_before_utc, subject.not_valid_before_utc)
    if days < 1 or begin < first:
        raise PolicyViolation(
            f"the ceremony is at {format_time(begin)}; the roots have from {format_time(first)} to "
            f"{format_time(begin + days * _DAY)} in common",
            rule="CER-ROLLOVER-VALIDITY",
            hint="both roots are valid from then on, and for a day at least: prepare for another day",
        )
    return draft_certificate(
        profile,
        issuer=issuer,
        subject=subject.subject,
        public_key=_public(subject),
        serial=serial,
        not_before=begin,
        not_after=begin + min(days, profile.validity_days) * _DAY - _SECOND,
    )


def check_cross(name: str, cross: x509.Certificate, materials: Materials) -> None:
    """CER-ROLLOVER-BYTES: it does not say of the root what the root's own certificate says, octet for octet."""
    side = side_that_signs(materials.script.kind, name)
    check_same(cross, materials.root("" if side else NEW))


def check_same(cross: x509.Certificate, root: x509.Certificate) -> None:
    """The same rule, of any two certificates."""
    for what, found, wanted in (
        ("subject", cross.subject.public_bytes(), root.subject.public_bytes()),
        ("key", spki_der(_public(cross)), spki_der(_public(root))),
        ("subjectKeyIdentifier", _identifier(cross), _identifier(root)),
    ):
        if found != wanted:
            raise PolicyViolation(
                f"the {what} is {found.hex()[:60]}; the root's own certificate has {wanted.hex()[:60]}",
                rule="CER-ROLLOVER-BYTES",
                hint="a path is found by these octets: with others the certificate would lead nowhere",
            )


def _check_two(materials: Materials) -> None:
    """CER-ROLLOVER-ROOTS: they are not two roots of one organisation, of one mode, told apart by key and name."""
    old, new = materials.root(), materials.root(NEW)
    modes = {materials.anchor(side).mode for side in ("", NEW)}
    oids = {materials.settings(side).policy.oid for side in ("", NEW)}
    wrong = ""
    if secret_sha256(_public(old)) == secret_sha256(_public(new)):
        wrong = "both roots have one key"
    elif old.subject == new.subject:
        # Verifiers look for issuers and CRLs by name: NSS keeps one CRL for each.
        wrong = f"both roots are called {old.subject.rfc4514_string()}"
    elif len(modes) > 1:
        wrong = "one root is of a rehearsal, and one of production"
    elif len(oids) > 1:
        wrong = f"the certificates below them have two policies, {' and '.join(sorted(oids))}: no path has either"
    elif new.not_valid_after_utc <= old.not_valid_after_utc:
        wrong = f"the new root ends at {format_time(new.not_valid_after_utc)}, no later than the old one"
    for side, root in (("", old), (NEW, new)):
        if materials.register(side).root.sha256 != root.fingerprint(hashes.SHA256()).hex():
            raise PolicyViolation(f"{side}register.json is of another root than {side}root.pem", rule="CER-REGISTER")
    if wrong:
        raise PolicyViolation(
            wrong, rule="CER-ROLLOVER-ROOTS", hint="the new root is made in a root-genesis, with a pki.toml of its own"
        )


def _check_end(name: str, materials: Materials) -> None:
    """CER-ROLLOVER-PATH: what the path shall lead to is no issuing certificate that the other root stands for."""
    end = KINDS[materials.script.kind].paths[name][1]
    try:
        digest = x509.load_pem_x509_certificate(materials.inputs[end]).fingerprint(hashes.SHA256()).hex()
    except ValueError as error:
        raise InputError(f"inputs/{end} is not a PEM certificate: {error}") from None
    register = materials.register(side_of(end))
    if not any(each.sha256 == digest and not each.revoked for each in register.certificates):
        raise PolicyViolation(
            f"inputs/{end} is not in {side_of(end)}register.json, or is revoked there",
            rule="CER-ROLLOVER-PATH",
            hint="each root has an issuing CA, so that a path can be built: hold the new root's issuing-ca first",
        )


def _identifier(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return b""


def _public(certificate: x509.Certificate) -> PublicKey:
    return certificate.public_key()  # type: ignore[return-value]  # the anchors' roots have our kinds, which lint checks
