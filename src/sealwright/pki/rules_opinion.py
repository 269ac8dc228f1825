"""The second opinion: asn1crypto, which shares no code with pyca, must read the same certificate.

A certificate that two decoders read differently is an attack on one of its verifiers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.pki.candidate import EVERY, Candidate, Rule, extension_of, load_section, read_section
from sealwright.pki.certificate_parts import SPKI
from sealwright.pki.der import context, encode


def _der(candidate: Candidate) -> str | None:
    # Encoded again from the decoded values: BER in disguise, or octets that no decoder looks at, do not survive that.
    # asn1crypto does it for the whole, pyca for the values of extensions, which asn1crypto keeps as they are.
    if not _is_der(candidate):
        return "bytes are not what they encode to again; wanted DER"
    written = {each.oid: each.value for each in map(_read_extension, candidate.extension_octets())}
    for extension in candidate.certificate.extensions:
        if written[extension.oid.dotted_string] != extension.value.public_bytes():
            return f"extension {extension.oid.dotted_string} is not what it encodes to again; wanted DER"
    return None


def _is_der(candidate: Candidate) -> bool:
    """Does it encode to its own octets again? Section by section: what holds them together was cut as DER."""
    if candidate.parts is None:
        return bool(candidate.second.copy().dump(force=True) == candidate.der)
    return all(_encoded_again(name, octets) == octets for name, octets in candidate.parts.whole.items())


@lru_cache(maxsize=4096)  # names, algorithms and most extensions are those of the certificate before
def _encoded_again(section: str, octets: bytes) -> bytes:
    again = bytes(load_section(section, octets).dump(force=True))
    return encode(context(0), again) if section == "version" else again


def _same_reading(candidate: Candidate) -> str | None:
    first, second = _pyca(candidate.certificate), _asn1crypto(candidate)
    for field, value in first.items():
        if value != second[field]:
            return f"{field} is {value!r} to one decoder and {second[field]!r} to the other"
    return None


_USAGES = {  # pyca's name -> asn1crypto's
    "digital_signature": "digital_signature",
    "content_commitment": "non_repudiation",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "key_cert_sign": "key_cert_sign",
    "crl_sign": "crl_sign",
}


def _pyca(certificate: x509.Certificate) -> dict[str, object]:
    extensions = {each.oid.dotted_string: each for each in certificate.extensions}
    constraints = extension_of(certificate, x509.BasicConstraints)
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    names = extension_of(certificate, x509.SubjectAlternativeName)
    usage = extension_of(certificate, x509.KeyUsage)
    own = extension_of(certificate, x509.SubjectKeyIdentifier)
    issuers = extension_of(certificate, x509.AuthorityKeyIdentifier)
    return {
        "version": certificate.version.name,
        "serial": certificate.serial_number,
        "issuer": certificate.issuer.public_bytes(),
        "subject": certificate.subject.public_bytes(),
        "notBefore": certificate.not_valid_before_utc,
        "notAfter": certificate.not_valid_after_utc,
        "key": certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "extensions": {oid: each.critical for oid, each in extensions.items()},
        "basicConstraints": None if constraints is None else (constraints.ca, constraints.path_length),
        "keyUsage": None if usage is None else {theirs for ours, theirs in _USAGES.items() if getattr(usage, ours)},
        "subjectKeyIdentifier": None if own is None else own.digest,
        "authorityKeyIdentifier": None if issuers is None else issuers.key_identifier,
        "extendedKeyUsage": None if purposes is None else [each.dotted_string for each in purposes],
        "subjectAltName": None if names is None else [str(each.value) for each in names],
    }


def _asn1crypto(candidate: Candidate) -> dict[str, object]:
    validity = candidate.second_reading("validity")
    fields: dict[str, object] = {
        "version": candidate.second_reading("version").native,
        "serial": candidate.second_reading("serialNumber").native,
        "issuer": candidate.second_reading("issuer").dump(),
        "subject": candidate.second_reading("subject").dump(),
        "notBefore": validity["not_before"].native,
        "notAfter": validity["not_after"].native,
        "key": candidate.second_reading(SPKI).dump(),
        **dict.fromkeys(_VALUES.values()),
    }
    extensions = tuple(map(_read_extension, candidate.extension_octets()))
    for each in extensions:
        fields |= each.fields
    return {**fields, "extensions": {each.oid: each.critical for each in extensions}}


_VALUES = {  # asn1crypto's name of the extension -> ours of its field
    "basic_constraints": "basicConstraints",
    "key_usage": "keyUsage",
    "key_identifier": "subjectKeyIdentifier",
    "authority_key_identifier": "authorityKeyIdentifier",
    "extended_key_usage": "extendedKeyUsage",
    "subject_alt_name": "subjectAltName",
}


@dataclass(frozen=True, slots=True)
class _Extension:
    """What asn1crypto reads in one; ``fields`` is what we compare of its value."""

    oid: str
    critical: bool
    value: bytes
    fields: Mapping[str, object]


@lru_cache(maxsize=4096)
def _read_extension(octets: bytes) -> _Extension:
    extension = read_section("extension", octets)
    kind = extension["extn_id"].native
    fields = {_VALUES[kind]: _read_value(kind, extension["extn_value"].parsed)} if kind in _VALUES else {}
    return _Extension(
        extension["extn_id"].dotted, extension["critical"].native, extension["extn_value"].contents, fields
    )


def _read_value(kind: str, value: Any) -> object:
    match kind:
        case "basic_constraints":
            return value["ca"].native, value["path_len_constraint"].native
        case "authority_key_identifier":
            return value["key_identifier"].native
        case "extended_key_usage":
            return [each.dotted for each in value]
        case "subject_alt_name":
            return [str(each.chosen.native) for each in value]
        case _:
            return value.native


OPINION_RULES = (
    Rule("PKI-SECOND-OPINION", "asn1crypto reads the same fields as pyca", "ours", EVERY, _same_reading),
    Rule("PKI-DER", "the bytes are DER, those of every extension included", "RFC 5280 4.1", EVERY, _der),
)
