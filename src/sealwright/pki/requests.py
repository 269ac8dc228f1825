"""Certificate signing requests (PKCS #10, RFC 2986): a key, the proof of its possession, and names to compare.

Nothing of a CSR reaches a certificate but its key. The names in it must be those that the profile gives, so that a
CSR made for another team cannot pass; whose key it is, and whether it was certified before, is ``issuing``'s.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier

from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.keys import PrivateKey, PublicKey, check_key_strength, key_kind, secret_sha256
from sealwright.pki.names import SHORT_NAMES
from sealwright.pki.signatures import SignatureScheme, hash_algorithm, rsa_padding

LARGEST_CSR = 16 * 1024
"""Octets, PEM or DER. One with RSA-4096 has 2 KiB."""

_HINT = "`openssl req -in FILE -noout -verify -text` shows what is in it"
_EXTENSION_REQUEST = ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 5.4.2
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A CSR that was read, whose key is good and signed it. ``sha256`` is of the DER."""

    der: bytes
    subject: x509.Name
    san_uris: tuple[str, ...]
    public_key: PublicKey
    secret_sha256: str
    """Of the key: how it is compared with others."""

    @property
    def sha256(self) -> str:
        """Lower-case hex SHA-256 of the DER."""
        return hashlib.sha256(self.der).hexdigest()


def parse_csr(data: bytes) -> CertificateRequest:
    """Read PEM or DER. InputError CSR-...: not a CSR that we read; PolicyViolation: a key or extension we refuse."""
    if len(data) > LARGEST_CSR:
        raise InputError(f"CSR-SIZE: CSR has {len(data)} octets; wanted at most {LARGEST_CSR}")
    csr = _decode(data)
    _check_signature(csr)
    public = csr.public_key()
    key_kind(public)
    check_key_strength(public)  # type: ignore[arg-type]  # key_kind raised for every other class
    return CertificateRequest(
        der=csr.public_bytes(Encoding.DER),
        subject=csr.subject,
        san_uris=_san_uris(csr),
        public_key=public,  # type: ignore[arg-type]  # as above
        secret_sha256=secret_sha256(public),  # type: ignore[arg-type]  # as above
    )


def _decode(data: bytes) -> x509.CertificateSigningRequest:
    try:
        if data[:1] == b"\x30":
            csr = x509.load_der_x509_csr(data)
        else:
            if data.count(b"-----BEGIN") != 1:
                raise InputError("CSR-FORMAT: neither DER nor a file with one PEM block", hint=_HINT)
            csr = x509.load_pem_x509_csr(data)
        csr.public_key()  # both decoded when first asked for
        csr.subject.public_bytes()
    except (ValueError, UnsupportedAlgorithm, TypeError, x509.InvalidVersion) as error:
        raise InputError(f"CSR-FORMAT: not a PKCS #10 request: {error}", hint=_HINT) from None
    return csr


def _check_signature(csr: x509.CertificateSigningRequest) -> None:
    """Proof of possession (CSBR 3.2.1; RFC 2986 4.2)."""
    try:
        algorithm = csr.signature_hash_algorithm
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InputError(f"CSR-SIGNATURE: signature cannot be checked: {error}", hint=_HINT) from None
    if not isinstance(algorithm, _HASHES):
        name = algorithm.name if algorithm else "no hash"
        raise InputError(f"CSR-SIGNATURE: signature is with {name}; wanted SHA-256, SHA-384 or SHA-512", hint=_HINT)
    if not valid:
        raise InputError(
            "CSR-SIGNATURE: signature does not verify with the key in the CSR: possession is not proved", hint=_HINT
        )


def _san_uris(csr: x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The URIs of the one extension that a CSR may ask for. Anything else asked for is refused, not dropped."""
    try:
        for attribute in csr.attributes:
            if attribute.oid != _EXTENSION_REQUEST:  # a challengePassword would stay in the ledger for ever
                raise _refuse_extension(f"attribute {attribute.oid.dotted_string}")
        for extension in csr.extensions:
            if extension.oid not in _HARMLESS:
                raise _refuse_extension(f"extension {extension.oid.dotted_string}")
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise InputError(f"CSR-FORMAT: attributes cannot be read: {error}", hint=_HINT) from None
    for name in names:
        if not isinstance(name, x509.UniformResourceIdentifier):
            raise PolicyViolation(
                f"CSR names {name.value!r} in its subjectAltName; wanted a URI or no subjectAltName", rule="CS-CSR-SAN"
            )
    return tuple(name.value for name in names)


# The identifier says what the key says already; keytool always sends it.
_HARMLESS = frozenset({ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.SUBJECT_KEY_IDENTIFIER})


def _refuse_extension(what: str) -> PolicyViolation:
    return PolicyViolation(
        f"CSR asks for {what}; wanted none, or a subjectAltName: the rest follows from the profile",
        rule="CS-CSR-EXTENSION",
    )


def check_csr_names(request: CertificateRequest, subject: x509.Name, san_uri: str) -> None:
    """Every name the CSR carries must be the one that the profile gives to this team and project.

    It need not carry any. PolicyViolation CS-CSR-SUBJECT or CS-CSR-SAN, with the openssl option that makes it right.
    """
    hint = f"openssl req -new -key KEY -subj {openssl_subject(subject)!r} -addext 'subjectAltName=URI:{san_uri}'"
    wanted = {attribute.oid: str(attribute.value) for attribute in subject}
    for attribute in request.subject:
        what = SHORT_NAMES.get(attribute.oid, attribute.oid.dotted_string)
        right = repr(wanted[attribute.oid]) if attribute.oid in wanted else f"no {what}"
        if right != repr(attribute.value):
            raise PolicyViolation(
                f"CSR's subject has {what}={attribute.value!r}; wanted {right}", rule="CS-CSR-SUBJECT", hint=hint
            )
    if len(set(request.subject)) != len(list(request.subject)):
        raise PolicyViolation("CSR's subject has an attribute twice; wanted it once", rule="CS-CSR-SUBJECT", hint=hint)
    for uri in request.san_uris:
        if uri != san_uri:
            raise PolicyViolation(f"CSR's subjectAltName is {uri!r}; wanted {san_uri!r}", rule="CS-CSR-SAN", hint=hint)


def openssl_subject(subject: x509.Name) -> str:
    """The name as `openssl req -subj` takes it."""
    parts = (
        (SHORT_NAMES.get(each.oid, each.oid.dotted_string), str(each.value).replace("\\", "\\\\").replace("/", "\\/"))
        for each in subject
    )
    return "".join(f"/{name}={value}" for name, value in parts)


def build_csr(key: PrivateKey, subject: x509.Name, san_uri: str | None, scheme: SignatureScheme) -> bytes:
    """DER of a CSR with these names, signed by ``key``, which may live on a token."""
    builder = x509.CertificateSigningRequestBuilder(subject)
    if san_uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(san_uri)])
        builder = builder.add_extension(names, critical=False)
    csr = builder.sign(key, hash_algorithm(scheme), rsa_padding=rsa_padding(scheme))
    return csr.public_bytes(Encoding.DER)
