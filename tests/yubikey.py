"""A maker of tokens, simulated: a root, a token's own certificate, and attestations of keys as a YubiKey writes them.

There is no hardware in a test. The shape (chain, extensions, octets) is that of Yubico's PIV attestation documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ARC = "1.3.6.1.4.1.41482.3."
SERIAL = b"\x02\x04\x00\xbc\x61\x4e"  # 12345678


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certify(
    subject: str,
    public_key: Any,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    extensions: Sequence[tuple[str, bytes]] = (),
    until: int = 2052,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(subject),
        public_key=public_key,
        serial_number=x509.random_serial_number(),
        not_valid_before=datetime(2016, 3, 14, tzinfo=UTC),
        not_valid_after=datetime(until, 4, 17, tzinfo=UTC),
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    for arc, value in extensions:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(ARC + arc), value), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Maker:
    """``attest`` is what ``ykman piv keys attest`` prints, with the chain above it."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    token_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.root = certify(
            "Yubico PIV Root CA", self.root_key.public_key(), "Yubico PIV Root CA", self.root_key, ca=True
        )
        self.token = certify(
            "Yubico PIV Attestation", self.token_key.public_key(), "Yubico PIV Root CA", self.root_key, ca=True
        )

    @property
    def root_sha256(self) -> str:
        return self.root.fingerprint(hashes.SHA256()).hex()

    def leaf(
        self, public_key: Any, *, firmware: bytes = b"\x05\x04\x03", policies: bytes = b"\x02\x01", **changes: Any
    ) -> x509.Certificate:
        extensions = changes.pop("extensions", (("3", firmware), ("7", SERIAL), ("8", policies)))
        return certify(
            "YubiKey PIV Attestation 9c",
            public_key,
            "Yubico PIV Attestation",
            self.token_key,
            ca=False,
            extensions=extensions,
            **changes,
        )

    def attest(self, public_key: Any, **changes: Any) -> tuple[bytes, ...]:
        """DER, the key's first."""
        return tuple(der(each) for each in (self.leaf(public_key, **changes), self.token, self.root))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
