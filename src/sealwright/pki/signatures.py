"""Signature schemes: from a name in ``ca/pki.toml`` to bytes, and a signed ASN.1 object from its parts.

Whoever signs here gives the whole message, never a digest. Certificates, CRLs and OCSP answers all end in
``assemble_signed``: what was linted is what is signed (ADR 0001). When to sign is for others to decide.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from asn1crypto import algos, core
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.keys import KeyKind, PrivateKey, PublicKey, describe_key


class SignatureScheme(StrEnum):
    """How an issuer signs. SHA-1 does not exist here; ECDSA's hash is the one that fits its curve."""

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_SHA256 = "ecdsa-sha256"
    ECDSA_SHA384 = "ecdsa-sha384"
    ECDSA_SHA512 = "ecdsa-sha512"


HashAlgorithm = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


@dataclass(frozen=True, slots=True)
class _Parts:
    family: Literal["pkcs1", "pss", "ecdsa"]
    hash: HashAlgorithm


_HASHES: dict[str, HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_FAMILIES: dict[str, Literal["pkcs1", "pss", "ecdsa"]] = {
    "rsa-pkcs1": "pkcs1",
    "rsa-pss": "pss",
    "ecdsa": "ecdsa",
}
_PARTS = {
    scheme: _Parts(_FAMILIES[scheme.rpartition("-")[0]], _HASHES[scheme.rpartition("-")[2]])
    for scheme in SignatureScheme
}

_RSA_SCHEMES = tuple(scheme for scheme in SignatureScheme if scheme.startswith("rsa-"))
_SCHEMES_OF = {
    KeyKind.RSA_3072: _RSA_SCHEMES,
    KeyKind.RSA_4096: _RSA_SCHEMES,
    KeyKind.P256: (SignatureScheme.ECDSA_SHA256,),
    KeyKind.P384: (SignatureScheme.ECDSA_SHA384,),
    KeyKind.P521: (SignatureScheme.ECDSA_SHA512,),
    KeyKind.ED25519: (),
}


def schemes_of(kind: KeyKind) -> tuple[SignatureScheme, ...]:
    """Every scheme a CA key of this kind may use, the default first (CSBR 7.1.3)."""
    return _SCHEMES_OF[kind]


def default_scheme(kind: KeyKind) -> SignatureScheme:
    """RSA: PKCS #1 v1.5 with SHA-256, which every verifier reads; EC: the hash of the curve's size."""
    if not _SCHEMES_OF[kind]:
        raise PolicyViolation(
            f"a key of kind {kind} signs no certificate, CRL or OCSP answer; wanted RSA or EC",
            rule="PKI-SIGNATURE-ALGORITHM",
        )
    return _SCHEMES_OF[kind][0]


def hash_algorithm(scheme: SignatureScheme) -> HashAlgorithm:
    """The scheme's hash, as pyca wants it."""
    return _PARTS[scheme].hash


def rsa_padding(scheme: SignatureScheme) -> padding.PKCS1v15 | padding.PSS | None:
    """The scheme's RSA padding as pyca wants it; None for ECDSA. PSS: salt as long as the hash, MGF1 with the same."""
    parts = _PARTS[scheme]
    if parts.family == "pss":
        return padding.PSS(padding.MGF1(parts.hash), parts.hash.digest_size)
    return padding.PKCS1v15() if parts.family == "pkcs1" else None


def sign_bytes(key: PrivateKey, scheme: SignatureScheme, data: bytes) -> bytes:
    """Sign the whole of ``data``; the key may be software or on a token. A key of another family is refused."""
    padded = rsa_padding(scheme)
    if padded is not None and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padded, hash_algorithm(scheme))
    if padded is None and isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hash_algorithm(scheme)))
    raise _mismatch(key.public_key(), scheme)


def sign_digest(key: PrivateKey, scheme: SignatureScheme, digest: bytes) -> bytes:
    """As ``sign_bytes``, of a message that the caller digested while it wrote it (``crl_book``)."""
    padded, prehashed = rsa_padding(scheme), Prehashed(hash_algorithm(scheme))
    if padded is not None and isinstance(key, rsa.RSAPrivateKey):
        return key.sign(digest, padded, prehashed)
    if padded is None and isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(prehashed))
    raise _mismatch(key.public_key(), scheme)


def verify_digest(public: PublicKey, scheme: SignatureScheme, digest: bytes, signature: bytes) -> None:
    """IntegrityError unless ``signature`` is this key's over the message with this digest."""
    padded, prehashed = rsa_padding(scheme), Prehashed(hash_algorithm(scheme))
    try:
        if padded is not None and isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, digest, padded, prehashed)
        elif padded is None and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, digest, ec.ECDSA(prehashed))
        else:
            raise _mismatch(public, scheme)
    except InvalidSignature:
        raise IntegrityError(
            f"signature does not verify with the {describe_key(public)} key under {scheme}",
            hint="the bytes, the signature or the key is not the one that belongs here",
        ) from None


@runtime_checkable
class SignsDigests(Protocol):
    """An EC key that signs many digests in one visit to its token (``hsm.private_keys``)."""

    def sign_digests(self, digests: Sequence[bytes]) -> list[bytes]:
        """ECDSA-Sig-Value of each, in their order."""
        ...


def sign_each(key: PrivateKey, scheme: SignatureScheme, messages: Sequence[bytes]) -> list[bytes]:
    """``sign_bytes`` of each message, with the fewest calls that the key allows. The hash is computed here."""
    if rsa_padding(scheme) is None and isinstance(key, SignsDigests):
        digest = getattr(hashlib, hash_algorithm(scheme).name)
        return key.sign_digests([digest(each).digest() for each in messages])
    return [sign_bytes(key, scheme, each) for each in messages]


def verify_bytes(public: PublicKey, scheme: SignatureScheme, data: bytes, signature: bytes) -> None:
    """IntegrityError unless ``signature`` is this key's over ``data`` under exactly this scheme."""
    padded = rsa_padding(scheme)
    try:
        if padded is not None and isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, data, padded, hash_algorithm(scheme))
        elif padded is None and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, data, ec.ECDSA(hash_algorithm(scheme)))
        else:
            raise _mismatch(public, scheme)
    except InvalidSignature:
        raise IntegrityError(
            f"signature does not verify with the {describe_key(public)} key under {scheme}",
            hint="the bytes, the signature or the key is not the one that belongs here",
        ) from None


@functools.cache
def algorithm_identifier(scheme: SignatureScheme) -> bytes:
    """DER of the AlgorithmIdentifier, inside the TBS and outside (RFC 4055 sections 3 and 5, RFC 5758 3.2)."""
    parts = _PARTS[scheme]
    if parts.family == "ecdsa":
        identifier = {"algorithm": f"{parts.hash.name}_ecdsa"}  # parameters absent
    elif parts.family == "pkcs1":
        identifier = {"algorithm": f"{parts.hash.name}_rsa", "parameters": core.Null()}
    else:
        inner = {"algorithm": parts.hash.name, "parameters": core.Null()}
        parameters = algos.RSASSAPSSParams(
            {
                "hash_algorithm": inner,
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": inner},
                "salt_length": parts.hash.digest_size,
            }
        )
        identifier = {"algorithm": "rsassa_pss", "parameters": parameters}
    return bytes(algos.SignedDigestAlgorithm(identifier).dump())


def assemble_signed(tbs: bytes, scheme: SignatureScheme, signature: bytes) -> bytes:
    """DER of SEQUENCE { tbs, AlgorithmIdentifier, BIT STRING }: a certificate, a CRL, a CSR, a BasicOCSPResponse."""
    body = tbs + algorithm_identifier(scheme) + core.OctetBitString(signature).dump()
    return bytes(core.Sequence(contents=body).dump())


def _mismatch(public: PublicKey, scheme: SignatureScheme) -> PolicyViolation:
    return PolicyViolation(
        f"key is {describe_key(public)}; {scheme} is not for it",
        rule="PKI-SIGNATURE-ALGORITHM",
        hint="leave `scheme` out of ca/pki.toml to get the key's default",
    )
