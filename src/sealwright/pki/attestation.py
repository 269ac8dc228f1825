"""Attestations of YubiKey PIV keys: proof that a key was made on a token and cannot leave it.

The token certifies each key that it made, with a key of its own ("f9") that its maker certified. The chain is checked
here up to a root whose SHA-256 the profile names; every certificate above the attested key's must be a CA's, so that
no attested key can attest others. Yubico's extensions: https://developers.yubico.com/PIV/Introduction/PIV_attestation.html

  ATTEST-CHAIN ATTEST-ROOT ATTEST-KEY ATTEST-PIN
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from sealwright.errors import PolicyViolation
from sealwright.pki.keys import PublicKey, spki_der

LONGEST_CHAIN: Final = 6

_ARC = "1.3.6.1.4.1.41482.3."
FIRMWARE, SERIAL, POLICIES = (x509.ObjectIdentifier(_ARC + arc) for arc in ("3", "7", "8"))
_PIN = {1: "never", 2: "once", 3: "always", 4: "match once", 5: "match always"}
_TOUCH = {1: "never", 2: "always", 3: "cached"}


@dataclass(frozen=True, slots=True)
class KeyAttestation:
    """What the token says of itself and of the key."""

    serial: str
    firmware: str
    pin_policy: str
    touch_policy: str

    def __str__(self) -> str:
        return (
            f"YubiKey {self.serial or 'without a serial'}, firmware {self.firmware},"
            f" PIN {self.pin_policy}, touch {self.touch_policy}"
        )


def check_attestation(
    chain: Sequence[bytes], public_key: PublicKey, *, roots: Sequence[str], now: datetime
) -> KeyAttestation:
    """``chain``: DER, the attested key's certificate first, the root last. Raises ``PolicyViolation``."""
    certificates = _parse(chain)
    root = certificates[-1].fingerprint(hashes.SHA256()).hex()
    if root not in roots:
        raise PolicyViolation(
            f"the attestation ends at {certificates[-1].subject.rfc4514_string()!r}, SHA-256 {root};"
            f" the profile takes {', '.join(each[:16] + '…' for each in roots) or 'none'}",
            rule="ATTEST-ROOT",
            hint="the chain's last certificate is the root that the profile names in attestation_roots",
        )
    for subject, issuer in zip(certificates, (*certificates[1:], certificates[-1]), strict=True):
        _check_issued(subject, issuer, now)
    for authority in certificates[1:]:
        _check_authority(authority)
    leaf = certificates[0]
    if spki_der(leaf.public_key()) != spki_der(public_key):  # type: ignore[arg-type]  # another kind has other bytes
        raise PolicyViolation(
            "the attestation is of another key than the CSR's",
            rule="ATTEST-KEY",
            hint="attest the slot that signed the CSR: `ykman piv keys attest 9c attestation.pem`",
        )
    return _read(leaf)


def _parse(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    if not 2 <= len(chain) <= LONGEST_CHAIN:
        raise PolicyViolation(
            f"the attestation has {len(chain)} certificates; wanted 2 to {LONGEST_CHAIN}, from the key's to the root",
            rule="ATTEST-CHAIN",
        )
    try:
        certificates = tuple(x509.load_der_x509_certificate(each) for each in chain)
        for each in certificates:  # names are decoded when they are asked for
            _ = each.subject.rfc4514_string(), each.issuer
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise PolicyViolation(f"the attestation cannot be read: {error}", rule="ATTEST-CHAIN") from None
    return certificates


def _check_issued(subject: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    try:
        subject.verify_directly_issued_by(issuer)
        in_time = subject.not_valid_before_utc <= now <= subject.not_valid_after_utc
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PolicyViolation(
            f"the attestation's {subject.subject.rfc4514_string()!r} was not issued by"
            f" {issuer.subject.rfc4514_string()!r}: {type(error).__name__}",
            rule="ATTEST-CHAIN",
            hint="the key's certificate comes first, then each one's issuer, the root last",
        ) from None
    if not in_time:
        raise PolicyViolation(
            f"the attestation's {subject.subject.rfc4514_string()!r} is not valid now", rule="ATTEST-CHAIN"
        )


def _check_authority(certificate: x509.Certificate) -> None:
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        authority = False
    if not authority:
        raise PolicyViolation(
            f"the attestation's {certificate.subject.rfc4514_string()!r} is no CA's: a key cannot attest another",
            rule="ATTEST-CHAIN",
        )


def _read(leaf: x509.Certificate) -> KeyAttestation:
    firmware, serial, policies = (_extension(leaf, oid) for oid in (FIRMWARE, SERIAL, POLICIES))
    if len(firmware) != 3 or len(policies) != 2 or policies[0] not in _PIN or policies[1] not in _TOUCH:
        raise PolicyViolation(
            "the attestation does not say its token's firmware and the key's PIN and touch policy",
            rule="ATTEST-CHAIN",
            hint="is it a slot's attestation, and not the token's own certificate?",
        )
    if policies[0] == 1:
        raise PolicyViolation(
            "the attested key signs without a PIN",
            rule="ATTEST-PIN",
            hint="make the key with `ykman piv keys generate --pin-policy once`, or always",
        )
    number = int.from_bytes(serial[2:], "big") if serial[:1] == b"\x02" else 0  # a short DER INTEGER
    version = ".".join(str(octet) for octet in firmware)
    return KeyAttestation(str(number or ""), version, _PIN[policies[0]], _TOUCH[policies[1]])


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except (x509.ExtensionNotFound, ValueError):
        return b""
    return value.value if isinstance(value, x509.UnrecognizedExtension) else b""
