"""``register.json``: what the root has issued and revoked, carried from one root ceremony to the next.

The root has no ledger and no database; this file is its memory, and each ceremony's record vouches for it. It says
under which CKA_ID the root's key is found, which serials and keys are used, and which CRL is the last one.
"""

import hashlib
from typing import Annotated, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, ValidationError

from sealwright.ceremony.clock import format_time
from sealwright.ceremony.custody import RegisteredCopy
from sealwright.ceremony.prepared import SHA256, KeyId, Serial, Time
from sealwright.errors import InputError, IntegrityError
from sealwright.pki.crl import RevocationReason
from sealwright.pki.keys import PublicKey, secret_sha256, spki_sha256
from sealwright.pki.serials import format_serial
from sealwright.pki.tomlfile import Table
from sealwright.statements.canonical import canonical_bytes, parse_canonical

REGISTER_LIMIT = 1024 * 1024


class Revocation(Table):
    date: Time
    reason: RevocationReason | None


class RegisteredCertificate(Table):
    serial: Serial
    subject: str
    sha256: SHA256
    spki_sha256: SHA256
    not_before: Time
    not_after: Time
    revoked: Revocation | None
    kind: Literal["issuing-ca", "cross-root"] = "issuing-ca"
    """``cross-root``: another root's key, certified by this one."""
    secret_sha256: SHA256 | None = None
    """Of the key, where it is not ``spki_sha256``: RSA under an unusual exponent."""

    @property
    def secret(self) -> str:
        """By which it is compared with other keys (``keys.secret_sha256``)."""
        return self.secret_sha256 or self.spki_sha256


class RegisteredRoot(Table):
    sha256: SHA256
    spki_sha256: SHA256
    serial: Serial
    key_id: KeyId
    token_serial: Annotated[str, Field(min_length=1, max_length=16)]


class RegisteredCRL(Table):
    number: Annotated[int, Field(ge=1)]
    sha256: SHA256
    this_update: Time
    next_update: Time


class Register(Table):
    """``version`` counts the ceremonies that wrote one, from 1. ``certificates`` are those of CAs, ``delegates`` those
    of the root's OCSP delegates, nobody's status but serials and keys that are used."""

    version: Annotated[int, Field(ge=1)]
    root: RegisteredRoot
    certificates: tuple[RegisteredCertificate, ...]
    crl: RegisteredCRL
    copies: tuple[RegisteredCopy, ...] = ()
    """Of the root's key, on other tokens; each in custody. A register from before the first one has no such field."""
    destroyed: Time | None = None
    """When the root's key ended."""
    delegates: tuple[RegisteredCertificate, ...] = ()

    def to_bytes(self) -> bytes:
        # What came later stands in an entry only where it is something: older registers read as they always did.
        return canonical_bytes(self.model_dump(mode="json", exclude_defaults=True))

    def serials(self) -> frozenset[str]:
        """Every serial that the root has used, its own included."""
        return frozenset((self.root.serial, *(entry.serial for entry in (*self.certificates, *self.delegates))))

    def certified_keys(self) -> frozenset[str]:
        """``secret_sha256`` of every key that the root has certified, its own included."""
        return frozenset((self.root.spki_sha256, *(each.secret for each in (*self.certificates, *self.delegates))))


def parse_register(data: bytes) -> Register:
    try:
        return Register.model_validate_json(canonical_bytes(parse_canonical(data, REGISTER_LIMIT)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"register.json: field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except InputError as error:
        raise InputError(f"register.json: {error.message}", hint="take the last root ceremony's") from None


def register_root(root: x509.Certificate, *, key_id: str, token_serial: str) -> RegisteredRoot:
    return RegisteredRoot(
        sha256=hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest(),
        spki_sha256=spki_sha256(_public(root)),
        serial=format_serial(root.serial_number),
        key_id=key_id,
        token_serial=token_serial,
    )


def register_certificate(
    certificate: x509.Certificate, kind: Literal["issuing-ca", "cross-root"] = "issuing-ca"
) -> RegisteredCertificate:
    spki, secret = spki_sha256(_public(certificate)), secret_sha256(_public(certificate))
    return RegisteredCertificate(
        serial=format_serial(certificate.serial_number),
        subject=certificate.subject.rfc4514_string(),
        sha256=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        spki_sha256=spki,
        not_before=format_time(certificate.not_valid_before_utc),
        not_after=format_time(certificate.not_valid_after_utc),
        revoked=None,
        kind=kind,
        secret_sha256=secret if secret != spki else None,
    )


def register_crl(der: bytes) -> RegisteredCRL:
    crl = x509.load_der_x509_crl(der)
    if crl.next_update_utc is None:
        raise IntegrityError("the CRL has no nextUpdate")
    return RegisteredCRL(
        number=crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        sha256=hashlib.sha256(der).hexdigest(),
        this_update=format_time(crl.last_update_utc),
        next_update=format_time(crl.next_update_utc),
    )


def _public(certificate: x509.Certificate) -> PublicKey:
    return certificate.public_key()  # type: ignore[return-value]  # lint let only our key kinds become CAs
