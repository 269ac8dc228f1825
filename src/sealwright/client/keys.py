"""The holder's key: made on a PKCS#11 token, or in software where the profile allows it; and the CSR it signs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealwright.client.files import write_file
from sealwright.errors import PolicyViolation
from sealwright.hsm.certificates import store_certificate
from sealwright.hsm.generation import generate_key
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind, PrivateKey, describe_kinds, key_kind
from sealwright.pki.profiles import CertificateProfile
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import default_scheme

_CURVES = {KeyKind.P256: ec.SECP256R1(), KeyKind.P384: ec.SECP384R1(), KeyKind.P521: ec.SECP521R1()}
_BITS = {KeyKind.RSA_3072: 3072, KeyKind.RSA_4096: 4096}


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """A token, and how to open it."""

    module: Path
    serial: str
    pin: Pin


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that signed a CSR. ``key_id`` is its CKA_ID on a token, ``file`` where a software key was written."""

    csr: bytes
    location: str
    key_id: str = ""
    file: str = ""


def choose_kind(profile: CertificateProfile, wanted: str | None) -> KeyKind:
    """The kind that was asked for, or the profile's first. PKI-KEY-PROFILE when the profile does not allow it."""
    if wanted is None:
        return profile.keys[0]
    for kind in profile.keys:
        if kind.value == wanted:
            return kind
    raise PolicyViolation(
        f"key is to be {wanted}; profile {profile.name} wants one of {describe_kinds(profile.keys)}",
        rule="PKI-KEY-PROFILE",
        hint=f"--key-type {profile.keys[0].value}",
    )


def make_on_token(place: TokenPlace, kind: KeyKind, *, label: str, subject: x509.Name, san_uri: str) -> HeldKey:
    """A new key that never leaves its token. Raises ``TokenError`` and its kin."""
    key_id = os.urandom(16)
    with TokenSession.open(load_module(place.module), place.serial, place.pin) as session:
        key = generate_key(session, kind, key_id=key_id, label=label[:64])
        return HeldKey(_csr(key, subject, san_uri), "token", key_id=key_id.hex())


def use_on_token(place: TokenPlace, key_id: str, *, subject: x509.Name, san_uri: str) -> HeldKey:
    """A CSR by a key that is on the token already."""
    with open_key(place, key_id) as key:
        return HeldKey(_csr(key, subject, san_uri), "token", key_id=key_id)


def store_beside_key(place: TokenPlace, key_id: str, certificate: x509.Certificate, *, label: str) -> None:
    """The certificate onto its key's token. Raises ``KeyAttributeError`` when that key is another."""
    with TokenSession.open(load_module(place.module), place.serial, place.pin) as session:
        store_certificate(session, certificate, key_id=bytes.fromhex(key_id), label=label)


@contextmanager
def open_key(place: TokenPlace, key_id: str) -> Iterator[PrivateKey]:
    """A key on the token, usable inside the block."""
    with TokenSession.open(load_module(place.module), place.serial, place.pin) as session:
        yield private_key(session, bytes.fromhex(key_id))


def make_software(
    file: Path, kind: KeyKind, profile: CertificateProfile, *, subject: x509.Name, san_uri: str
) -> HeldKey:
    """A new key in a file of mode 0600. REQ-KEY-LOCATION unless the profile allows it, and before it is made."""
    if not profile.software_keys:
        raise PolicyViolation(
            f"profile {profile.name!r} wants its key on a token, not in a file",
            rule="REQ-KEY-LOCATION",
            hint="--module, --token-serial and --pin-file name a token",
        )
    key = _software_key(kind)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    csr = _csr(key, subject, san_uri)
    write_file(file, pem, mode=0o600)
    return HeldKey(csr, "software", file=str(file))


def _software_key(kind: KeyKind) -> PrivateKey:
    if kind in _BITS:
        return rsa.generate_private_key(65537, _BITS[kind])
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    return ed25519.Ed25519PrivateKey.generate()


def _csr(key: PrivateKey, subject: x509.Name, san_uri: str) -> bytes:
    return build_csr(key, subject, san_uri, default_scheme(key_kind(key.public_key())))
