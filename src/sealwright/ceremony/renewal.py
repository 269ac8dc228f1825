"""The renewal of an issuing CA: what the new certificate must be beside the old one, and which of its fields change.

Whether the key goes on is the script's to say, and nothing else's. All other checks on the request are
``acceptance``'s; what the room sees of the comparison is ``comparing``'s.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony import script as s
from sealwright.ceremony.clock import format_time
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import Materials
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.keys import PublicKey, describe_key, secret_sha256, spki_sha256
from sealwright.pki.rules_validity import ISSUE_YEARS, add_years
from sealwright.pki.serials import format_serial


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two certificates; ``before`` and ``after`` in words, and the same where nothing changes."""

    field: str
    before: str
    after: str

    @property
    def changes(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is renewed, and whether its key goes on."""

    old: x509.Certificate
    key: Literal["new", "same"]

    @property
    def kept_key(self) -> str | None:
        """``secret_sha256`` of the one key that may be certified again."""
        return secret_sha256(_public(self.old)) if self.key == "same" else None

    def check(self, new: x509.Certificate) -> None:
        """Raises ``PolicyViolation`` (CER-RENEWAL-...) unless ``new`` takes over from the old one."""
        self._check_key(new)
        self._check_name(new)
        self._check_overlap(new)

    def _check_key(self, new: x509.Certificate) -> None:
        # That a new key is new says CER-KEY-REUSED, of every key that the root has certified.
        before, after = spki_sha256(_public(self.old)), spki_sha256(_public(new))
        if self.key == "same" and after != before:
            raise PolicyViolation(
                "the script says that the key stays, and the request's is another: "
                f"{after[:16]}..., where issuing.pem has {before[:16]}...",
                rule="CER-RENEWAL-KEY",
                hint="take the issuing.csr of the issuing-key record that made the old key, or a script with key = "
                '"new"',
            )

    def _check_name(self, new: x509.Certificate) -> None:
        """One name, one key: NSS keeps one CRL for each issuer's name, and a second key's would take its place."""
        kept = new.subject.public_bytes() == self.old.subject.public_bytes()
        if kept != (self.key == "same"):
            raise PolicyViolation(
                f"the CA would be called {new.subject.rfc4514_string()}, and was {self.old.subject.rfc4514_string()}; "
                f"wanted {'the same name, octet for octet, with the same key' if self.key == 'same' else 'a new name'}",
                rule="CER-RENEWAL-NAME",
                hint="with the same key it is the same CA"
                if self.key == "same"
                else "[issuing] in ca/pki.toml gets a new id and common_name: another key is another issuing CA",
            )

    def _check_overlap(self, new: x509.Certificate) -> None:
        window = add_years(self.old.not_valid_before_utc, ISSUE_YEARS)
        if not self.old.not_valid_before_utc < new.not_valid_before_utc < window:
            raise PolicyViolation(
                f"the new certificate begins at {format_time(new.not_valid_before_utc)}; wanted after the old one did, "
                f"{format_time(self.old.not_valid_before_utc)}, and while it may issue, to {format_time(window)}",
                rule="CER-RENEWAL-OVERLAP",
                hint="prepare for another day; once the old one may not issue, issuing-key and issuing-ca begin anew",
            )
        if new.not_valid_after_utc <= self.old.not_valid_after_utc:
            raise PolicyViolation(
                f"the new certificate ends at {format_time(new.not_valid_after_utc)}, and the old one at "
                f"{format_time(self.old.not_valid_after_utc)}: nothing is renewed",
                rule="CER-RENEWAL-OVERLAP",
                hint="validity_days in issuing-ca.toml is less than what is left of the old one",
            )


def find_renewal(materials: Materials) -> Renewal | None:
    """The renewal, in the kind that renews. CER-RENEWAL-OLD: the old certificate is none that can be renewed."""
    name = KINDS[materials.script.kind].renews
    if not name:
        return None
    key: Literal["new", "same"] = next(
        (step.key for step in materials.script.steps if isinstance(step, s.CompareWithOld)), "new"
    )
    try:
        old = x509.load_pem_x509_certificate(materials.inputs[name])
    except ValueError as error:
        raise InputError(f"inputs/{name} is not a PEM certificate: {error}") from None
    digest = hashlib.sha256(old.public_bytes(Encoding.DER)).hexdigest()
    found = next((each for each in materials.register().certificates if each.sha256 == digest), None)
    if found is None or found.kind != "issuing-ca":
        raise _refuse(f"the register has no issuing CA with SHA-256 {digest}, which is that of inputs/{name}")
    if found.revoked:
        raise _refuse(f"the certificate {found.serial} is revoked since {found.revoked.date}")
    return Renewal(old, key)


def _refuse(message: str) -> PolicyViolation:
    return PolicyViolation(
        message,
        rule="CER-RENEWAL-OLD",
        hint="what is renewed is one of this root's own issuing certificates; take it and the newest register.json",
    )


def compare(old: x509.Certificate, new: x509.Certificate) -> tuple[Difference, ...]:
    """Every field of both, in the order of RFC 5280 4.1; extensions by name, last."""
    before, after = (dict(_fields(each)) for each in (old, new))
    names = dict.fromkeys((*before, *after))
    return tuple(Difference(name, before.get(name, "none"), after.get(name, "none")) for name in names)


def _fields(certificate: x509.Certificate) -> Iterable[tuple[str, str]]:
    yield "serial number", format_serial(certificate.serial_number)
    yield "signature algorithm", certificate.signature_algorithm_oid.dotted_string
    yield "issuer", certificate.issuer.rfc4514_string()
    yield "not before", format_time(certificate.not_valid_before_utc)
    yield "not after", format_time(certificate.not_valid_after_utc)
    yield "subject", certificate.subject.rfc4514_string()
    yield "public key", f"{describe_key(_public(certificate))}, SHA-256 {spki_sha256(_public(certificate))[:16]}..."
    for extension in certificate.extensions:
        yield type(extension.value).__name__, f"{'critical, ' if extension.critical else ''}{_value(extension.value)}"


def _value(value: x509.ExtensionType) -> str:
    match value:
        case x509.CRLDistributionPoints():
            return " ".join(name.value for point in value for name in point.full_name or ())
        case x509.AuthorityInformationAccess():
            return " ".join(each.access_location.value for each in value)
        case x509.SubjectKeyIdentifier():
            return value.digest.hex()
        case x509.AuthorityKeyIdentifier():
            return (value.key_identifier or b"").hex()
        case _:
            return value.public_bytes().hex()


def _public(certificate: x509.Certificate) -> PublicKey:
    return certificate.public_key()  # type: ignore[return-value]  # the register has only certificates that lint let pass
