"""Which keys this PKI knows: their kinds, their names for people, their identifiers.

Whether a key of a known kind is a *good* one is ``weakness``'s question (``check_key_strength`` is re-exported here);
which kinds a certificate may have is its profile's. Making and using keys on a token is ``hsm``'s.
"""

import functools
import hashlib
from enum import StrEnum

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.x509 import SubjectKeyIdentifier

from sealwright.errors import PolicyViolation
from sealwright.pki.weakness import check_key_strength, check_not_compromised, secret_sha256

__all__ = [
    "KeyKind",
    "PrivateKey",
    "PublicKey",
    "check_key_strength",
    "check_not_compromised",
    "describe_key",
    "key_identifier",
    "key_kind",
    "secret_sha256",
    "spki_der",
    "spki_sha256",
    "throwaway_key",
]

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
"""pyca's abstract classes: a software key is one, and so is a key that lives on a token (``hsm``)."""


class KeyKind(StrEnum):
    """Every kind of key that exists here. A profile allows a subset."""

    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    P256 = "p-256"
    P384 = "p-384"
    P521 = "p-521"
    ED25519 = "ed25519"


_RSA_BITS = {3072: KeyKind.RSA_3072, 4096: KeyKind.RSA_4096}
_CURVES = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384, "secp521r1": KeyKind.P521}
_NAMES = {
    KeyKind.RSA_3072: "RSA-3072",
    KeyKind.RSA_4096: "RSA-4096",
    KeyKind.P256: "P-256",
    KeyKind.P384: "P-384",
    KeyKind.P521: "P-521",
    KeyKind.ED25519: "Ed25519",
}


def _known_kind(public: object) -> KeyKind | None:
    match public:
        case RSAPublicKey():
            return _RSA_BITS.get(public.key_size)
        case EllipticCurvePublicKey():
            return _CURVES.get(public.curve.name)
        case Ed25519PublicKey():
            return KeyKind.ED25519
        case _:
            return None


def describe_key(public: object) -> str:
    """The key's kind for a person ("RSA-3072", "P-384", "RSA-2048"). Never raises."""
    kind = _known_kind(public)
    if kind is not None:
        return _NAMES[kind]
    if isinstance(public, RSAPublicKey):
        return f"RSA-{public.key_size}"
    if isinstance(public, EllipticCurvePublicKey):
        return f"EC on {public.curve.name}"
    return type(public).__name__.removesuffix("PublicKey") or "unknown"


def describe_kinds(kinds: tuple[KeyKind, ...]) -> str:
    """A list of kinds for a person: "RSA-3072, P-384"."""
    return ", ".join(_NAMES[kind] for kind in kinds)


def key_kind(public: object) -> KeyKind:
    """The key's kind, or CS-KEY-KIND: too small, another curve, another algorithm (CSBR 6.1.5)."""
    kind = _known_kind(public)
    if kind is None:
        raise PolicyViolation(
            f"key is {describe_key(public)}; wanted one of {describe_kinds(tuple(KeyKind))}",
            rule="CS-KEY-KIND",
            hint="make a new key, RSA-3072 if every verifier must accept it, and a new CSR",
        )
    return kind


def spki_der(public: PublicKey) -> bytes:
    """DER of the SubjectPublicKeyInfo (RFC 5280 4.1.2.7)."""
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_sha256(public: PublicKey) -> str:
    """Lower-case hex SHA-256 of the SubjectPublicKeyInfo: how a key is named to people and in statements.

    Whether two keys are one is asked of ``secret_sha256``.
    """
    return hashlib.sha256(spki_der(public)).hexdigest()


def key_identifier(public: PublicKey) -> bytes:
    """SHA-1 of the key's bits, 20 octets (RFC 5280 4.2.1.2 method 1). A name, not a protection."""
    return SubjectKeyIdentifier.from_public_key(public).digest


@functools.cache
def throwaway_key(kind: KeyKind) -> PrivateKey:
    """A software key of this process, made once: it signs the copy that is linted, and nothing that is kept."""
    match kind:
        case KeyKind.RSA_3072 | KeyKind.RSA_4096:
            bits = 3072 if kind is KeyKind.RSA_3072 else 4096
            return generate_rsa(public_exponent=65537, key_size=bits)
        case KeyKind.P256:
            return generate_private_key(SECP256R1())
        case KeyKind.P384:
            return generate_private_key(SECP384R1())
        case KeyKind.P521:
            return generate_private_key(SECP521R1())
        case KeyKind.ED25519:
            return Ed25519PrivateKey.generate()
