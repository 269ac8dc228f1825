"""Schemes to bytes and back, the same bytes as pyca's builders write."""

from datetime import UTC, datetime

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.issuers import scheme_for
from sealwright.pki.keys import KeyKind
from sealwright.pki.signatures import (
    SignatureScheme,
    algorithm_identifier,
    assemble_signed,
    default_scheme,
    hash_algorithm,
    rsa_padding,
    schemes_of,
    sign_bytes,
    verify_bytes,
)
from softpki import software_key

PAIRS = [
    (kind, scheme)
    for kind in (KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384, KeyKind.P521)
    for scheme in schemes_of(kind)
]


@pytest.mark.parametrize(("kind", "scheme"), PAIRS)
def test_signs_and_verifies(kind: KeyKind, scheme: SignatureScheme) -> None:
    key = software_key(kind)
    signature = sign_bytes(key, scheme, b"message")
    verify_bytes(key.public_key(), scheme, b"message", signature)
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_bytes(key.public_key(), scheme, b"another", signature)
    with pytest.raises(IntegrityError):
        verify_bytes(software_key(kind, "other").public_key(), scheme, b"message", signature)
    with pytest.raises(IntegrityError):
        verify_bytes(key.public_key(), scheme, b"message", b"")


@pytest.mark.parametrize(("kind", "scheme"), PAIRS)
def test_writes_the_same_algorithm_identifier_and_frame_as_pyca(kind: KeyKind, scheme: SignatureScheme) -> None:
    key = software_key(kind)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, moment, moment).sign(
        key, hash_algorithm(scheme), rsa_padding=rsa_padding(scheme)
    )
    der = certificate.public_bytes(Encoding.DER)
    assert asn1_x509.Certificate.load(der)["signature_algorithm"].dump() == algorithm_identifier(scheme)
    assert assemble_signed(certificate.tbs_certificate_bytes, scheme, certificate.signature) == der


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [(KeyKind.P256, SignatureScheme.RSA_PSS_SHA256), (KeyKind.RSA_3072, SignatureScheme.ECDSA_SHA256)],
)
def test_refuses_a_key_of_another_family(kind: KeyKind, scheme: SignatureScheme) -> None:
    for use in (
        lambda: sign_bytes(software_key(kind), scheme, b""),
        lambda: verify_bytes(software_key(kind).public_key(), scheme, b"", b""),
        lambda: scheme_for(kind, scheme),
    ):
        with pytest.raises(PolicyViolation) as refusal:
            use()
        assert refusal.value.rule == "PKI-SIGNATURE-ALGORITHM"


def test_ties_ecdsa_to_the_hash_of_its_curve() -> None:
    with pytest.raises(PolicyViolation, match="wants one of ecdsa-sha384"):
        scheme_for(KeyKind.P384, SignatureScheme.ECDSA_SHA256)
    assert scheme_for(KeyKind.RSA_4096, SignatureScheme.RSA_PSS_SHA384) is SignatureScheme.RSA_PSS_SHA384


def test_defaults_to_what_every_verifier_reads() -> None:
    wanted = ["rsa-pkcs1-sha256", "rsa-pkcs1-sha256", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"]
    assert [default_scheme(kind) for kind in KeyKind if kind is not KeyKind.ED25519] == wanted


def test_signs_nothing_with_ed25519() -> None:
    with pytest.raises(PolicyViolation, match="ed25519"):
        default_scheme(KeyKind.ED25519)
    with pytest.raises(PolicyViolation):
        scheme_for(KeyKind.ED25519, SignatureScheme.ECDSA_SHA256)
