"""CSRs: what is read, what is refused, and that no name in one is believed."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import AttributeOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.pki.keys import KeyKind, PrivateKey
from sealwright.pki.requests import LARGEST_CSR, build_csr, check_csr_names, openssl_subject, parse_csr
from sealwright.pki.signatures import SignatureScheme, assemble_signed, default_scheme, sign_bytes
from softpki import profiles, settings, software_key
from weak_keys import close_primes_key, roca_key, small_rsa_key

PROFILE = profiles()["code-signing"]
SUBJECT = PROFILE.subject(settings(), "web", "shop", rehearsal=True)
SAN = PROFILE.san_uri(settings(), "web", "shop")


def csr(key: PrivateKey | None = None, subject: x509.Name = SUBJECT, san_uri: str | None = SAN) -> bytes:
    key = key or software_key()
    scheme = (
        SignatureScheme.ECDSA_SHA256 if isinstance(key, ec.EllipticCurvePrivateKey) else SignatureScheme.RSA_PSS_SHA256
    )
    return build_csr(key, subject, san_uri, scheme)


def named(**values: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(getattr(NameOID, oid), value) for oid, value in values.items()])


@pytest.mark.parametrize("kind", PROFILE.keys)
def test_reads_what_it_builds_for_every_kind(kind: KeyKind) -> None:
    key = software_key(kind)
    der = build_csr(key, SUBJECT, SAN, default_scheme(kind))
    request = parse_csr(der)
    assert (request.der, request.subject, request.san_uris) == (der, SUBJECT, (SAN,))
    assert request.public_key == key.public_key()
    assert len(request.sha256) == 64
    check_csr_names(request, SUBJECT, SAN)


def test_reads_pem_and_der_alike() -> None:
    der = csr()
    pem = x509.load_der_x509_csr(der).public_bytes(Encoding.PEM)
    assert parse_csr(pem) == parse_csr(der)
    assert parse_csr(b"Certificate Request:\n    Data: ...\n" + pem).der == der


def test_takes_what_the_hint_of_openssl_makes(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(software_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-new",
            "-utf8",
            "-key",
            key,
            "-subj",
            openssl_subject(SUBJECT),
            "-addext",
            f"subjectAltName=URI:{SAN}",
        ],
        check=True,
        capture_output=True,
    )
    request = parse_csr(made.stdout)
    assert request.san_uris == (SAN,)
    check_csr_names(request, SUBJECT, SAN)


def test_needs_no_names_at_all() -> None:
    request = parse_csr(csr(subject=x509.Name([]), san_uri=None))
    assert request.san_uris == ()
    check_csr_names(request, SUBJECT, SAN)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "CSR-FORMAT"),
        (b"garbage", "CSR-FORMAT"),
        (b"\x30\x03\x02\x01\x05", "CSR-FORMAT"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n!!!\n-----END CERTIFICATE REQUEST-----\n", "CSR-FORMAT"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n" * 2, "CSR-FORMAT"),
        (csr()[:-1], "CSR-FORMAT"),
        (csr() + b"\0", "CSR-FORMAT"),
        (b"\x30" * (LARGEST_CSR + 1), "CSR-SIZE"),
    ],
    ids=["empty", "garbage", "another structure", "no base64", "two", "cut off", "trailing octet", "oversized"],
)  # fmt: skip
def test_refuses_what_is_not_a_csr(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_csr(data)


def test_refuses_a_bad_signature() -> None:
    der = bytearray(csr(software_key(KeyKind.RSA_3072)))
    der[-1] ^= 1
    with pytest.raises(InputError, match="CSR-SIGNATURE: signature does not verify") as refusal:
        parse_csr(bytes(der))
    assert "openssl req" in refusal.value.hint


def test_refuses_the_signature_of_another_key() -> None:
    builder = x509.CertificateSigningRequestBuilder(SUBJECT)
    mine = builder.sign(software_key(), hashes.SHA256())  # type: ignore[arg-type]  # an EC key
    other = software_key(label="other")
    der = mine.public_bytes(Encoding.DER)
    points = [
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for key in (software_key(), other)
    ]
    with pytest.raises(InputError, match="possession is not proved"):
        parse_csr(der.replace(points[0], points[1]))


def test_refuses_a_signature_with_another_hash() -> None:
    request = x509.CertificateSigningRequestBuilder(SUBJECT).sign(software_key(), hashes.SHA224())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="CSR-SIGNATURE: signature is with sha224"):
        parse_csr(request.public_bytes(Encoding.DER))


def test_refuses_rsa_2048() -> None:
    with pytest.raises(PolicyViolation, match="key is RSA-2048; wanted one of RSA-3072") as refusal:
        parse_csr(csr(small_rsa_key()))
    assert refusal.value.rule == "CS-KEY-KIND"


@pytest.mark.parametrize(("key", "rule"), [(roca_key, "CS-KEY-ROCA"), (close_primes_key, "CS-KEY-RSA-FERMAT")])
def test_refuses_a_weak_key(key: object, rule: str) -> None:
    with pytest.raises(PolicyViolation) as refusal:
        parse_csr(csr(key()))  # type: ignore[operator]  # a maker of keys
    assert refusal.value.rule == rule


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"san_uri": PROFILE.san_uri(settings(), "pay", "shop")}, "CS-CSR-SAN"),
        ({"subject": PROFILE.subject(settings(), "pay", "shop", rehearsal=True)}, "CS-CSR-SUBJECT"),
        ({"subject": PROFILE.subject(settings(), "web", "shop", rehearsal=False)}, "CS-CSR-SUBJECT"),
        ({"subject": named(ORGANIZATION_NAME="Other Corp")}, "CS-CSR-SUBJECT"),
        ({"subject": named(ORGANIZATIONAL_UNIT_NAME="Web")}, "CS-CSR-SUBJECT"),
        ({"subject": x509.Name([*SUBJECT, *named(COMMON_NAME="REHEARSAL Example Corp web shop")])}, "CS-CSR-SUBJECT"),
    ],
    ids=["another team's SAN", "another team's CN", "not a rehearsal", "another O", "an OU", "CN twice"],
)  # fmt: skip
def test_refuses_names_that_are_not_the_profile_s(changed: dict[str, object], rule: str) -> None:
    request = parse_csr(csr(**changed))  # type: ignore[arg-type]  # a table of keyword arguments
    with pytest.raises(PolicyViolation, match="wanted") as refusal:
        check_csr_names(request, SUBJECT, SAN)
    assert refusal.value.rule == rule
    assert "openssl req" in refusal.value.hint


@pytest.mark.parametrize(
    ("extension", "rule"),
    [
        (x509.SubjectAlternativeName([x509.DNSName("example.org")]), "CS-CSR-SAN"),
        (x509.BasicConstraints(True, None), "CS-CSR-EXTENSION"),
        (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), "CS-CSR-EXTENSION"),
    ],
    ids=["a DNS name", "to be a CA", "another purpose"],
)
def test_refuses_what_the_profile_will_not_give(extension: x509.ExtensionType, rule: str) -> None:
    builder = x509.CertificateSigningRequestBuilder(SUBJECT).add_extension(extension, critical=False)
    request = builder.sign(software_key(), hashes.SHA256())  # type: ignore[arg-type]  # an EC key
    with pytest.raises(PolicyViolation, match="wanted") as refusal:
        parse_csr(request.public_bytes(Encoding.DER))
    assert refusal.value.rule == rule


@pytest.mark.parametrize("oid", [AttributeOID.UNSTRUCTURED_NAME, AttributeOID.CHALLENGE_PASSWORD])
def test_refuses_an_attribute_it_does_not_want(oid: x509.ObjectIdentifier) -> None:
    builder = x509.CertificateSigningRequestBuilder(SUBJECT).add_attribute(oid, b"x")
    request = builder.sign(software_key(), hashes.SHA256())  # type: ignore[arg-type]  # an EC key
    with pytest.raises(PolicyViolation, match="attribute"):
        parse_csr(request.public_bytes(Encoding.DER))


_GOOD = csr()


@given(st.binary(max_size=400))
def test_raises_only_our_errors_for_any_octets(data: bytes) -> None:
    only_our_errors(data)
    only_our_errors(b"-----BEGIN CERTIFICATE REQUEST-----\n" + data)


@given(st.integers(0, len(_GOOD) - 1), st.integers(0, 255))
def test_raises_only_our_errors_for_a_csr_with_one_octet_changed(position: int, octet: int) -> None:
    changed = bytearray(_GOOD)
    changed[position] = octet
    only_our_errors(bytes(changed))


@given(st.data())
def test_raises_only_our_errors_for_whatever_the_key_did_sign(data: st.DataObject) -> None:
    # Past the signature: up to three octets of what is signed are changed, and signed again.
    info = bytearray(x509.load_der_x509_csr(_GOOD).tbs_certrequest_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        info[data.draw(st.integers(0, len(info) - 1))] = data.draw(st.integers(0, 255))
    scheme = SignatureScheme.ECDSA_SHA256
    only_our_errors(assemble_signed(bytes(info), scheme, sign_bytes(software_key(), scheme, bytes(info))))


def only_our_errors(data: bytes) -> None:
    with suppress(SealwrightError):
        check_csr_names(parse_csr(data), SUBJECT, SAN)
