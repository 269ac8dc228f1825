"""What a lint rule is, and what it looks at: a draft's copy, read by two decoders.

The second one reads it in parts, and the same octets once: that is most of a certificate (``certificate_parts``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, TypeVar

import asn1crypto.algos
import asn1crypto.core
import asn1crypto.keys
import asn1crypto.x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import PolicyViolation
from sealwright.pki.certificate_parts import EXTENSIONS, SIGNATURE, SPKI, CertificateParts, cut_certificate
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.table import KindTable, ProfileKind

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)


class Candidate:
    """A draft under lint. ``certificate`` is pyca's reading of the copy, ``second`` is asn1crypto's."""

    def __init__(self, draft: CertificateDraft) -> None:
        self.draft = draft
        self.certificate = draft.copy
        self.table: KindTable = draft.profile.table

    @cached_property
    def der(self) -> bytes:
        """The copy's bytes."""
        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def second(self) -> asn1crypto.x509.Certificate:
        """The copy as asn1crypto reads it, octets after its end refused."""
        return asn1crypto.x509.Certificate.load(self.der, strict=True)

    @cached_property
    def parts(self) -> CertificateParts | None:
        """The copy cut into its parts; None where it is not built as certificates of ours are."""
        return cut_certificate(self.der)

    def second_reading(self, section: str) -> Any:
        """A field as asn1crypto reads it, by RFC 5280's name for it. It is shared: only look at it."""
        if self.parts is not None:
            return read_section(section, self.parts.whole[section])
        place, name = _ASN1CRYPTO[section]
        return (self.second["tbs_certificate"] if place == "tbs" else self.second)[name]

    def extension_octets(self) -> tuple[bytes, ...]:
        """Each extension's, for asn1crypto to read by itself."""
        if self.parts is None:
            return tuple(each.dump() for each in self.second["tbs_certificate"]["extensions"])
        return tuple(self.parts.whole[f"{EXTENSIONS}.{number}"] for number in range(self.parts.extensions))

    def extension(self, kind: type[ExtensionValue]) -> ExtensionValue | None:
        """The extension's value; None when it is absent."""
        return extension_of(self.certificate, kind)


_ASN1CRYPTO: Final = {
    "version": ("tbs", "version"),
    "serialNumber": ("tbs", "serial_number"),
    "signature": ("tbs", "signature"),
    "issuer": ("tbs", "issuer"),
    "validity": ("tbs", "validity"),
    "subject": ("tbs", "subject"),
    SPKI: ("tbs", "subject_public_key_info"),
    "signatureAlgorithm": ("", "signature_algorithm"),
    SIGNATURE: ("", "signature_value"),
}
_KINDS: Final = {
    "version": asn1crypto.x509.Version,
    "serialNumber": asn1crypto.core.Integer,
    "signature": asn1crypto.algos.SignedDigestAlgorithm,
    "issuer": asn1crypto.x509.Name,
    "validity": asn1crypto.x509.Validity,
    "subject": asn1crypto.x509.Name,
    SPKI: asn1crypto.keys.PublicKeyInfo,
    "signatureAlgorithm": asn1crypto.algos.SignedDigestAlgorithm,
    SIGNATURE: asn1crypto.core.OctetBitString,
}


@lru_cache(maxsize=4096)
def read_section(section: str, octets: bytes) -> Any:
    """What asn1crypto makes of a section's octets. ``ValueError`` where it cannot."""
    return load_section(section, octets)


def load_section(section: str, octets: bytes) -> Any:
    """The same, nobody else's."""
    kind: Any = _KINDS.get(section, asn1crypto.x509.Extension)
    if section == "version":  # [0] EXPLICIT: two octets more
        return kind.load(octets[2:], strict=True)
    return kind.load(octets, strict=True)


def extension_of(certificate: x509.Certificate, kind: type[ExtensionValue]) -> ExtensionValue | None:
    """The extension's value; None when it is absent."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is asked of a certificate. ``find`` says what is wrong ("subject, got; wanted"), or None."""

    id: str
    what: str
    source: str
    kinds: frozenset[ProfileKind]
    find: Callable[[Candidate], str | None]

    def check(self, candidate: Candidate) -> None:
        """Raise PolicyViolation with this rule's id. What cannot even be read is refused under the same id."""
        if candidate.draft.profile.kind not in self.kinds:
            return
        try:
            finding = self.find(candidate)
        except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion) as error:
            # What the decoders raise for values they cannot read.
            finding = f"cannot be read: {error}"
        if finding is not None:
            raise PolicyViolation(f"certificate of profile {candidate.draft.profile.name}: {finding}", rule=self.id)


EVERY = frozenset(ProfileKind)
BELOW_THE_ROOT = EVERY - {ProfileKind.ROOT}
CAS = frozenset({ProfileKind.ROOT, ProfileKind.ISSUING_CA})
CODE_SIGNING = frozenset({ProfileKind.CODE_SIGNING})
