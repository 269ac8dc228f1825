"""What the root is asked to believe: a CSR from elsewhere, its own certificate, its last CRL. One check, one rule.

All of them run before the token is touched, when the folder is prepared, in the ceremony, and in every replay.
"""

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony.clock import format_time
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.register import Register
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.certificates import IssuerRecord
from sealwright.pki.crl import RevocationEntry, RevocationReason
from sealwright.pki.keys import PublicKey, check_key_strength, describe_key, describe_kinds, key_kind, secret_sha256
from sealwright.pki.names import ca_subject
from sealwright.pki.profiles import CertificateProfile
from sealwright.pki.requests import CertificateRequest, parse_csr
from sealwright.pki.serials import SerialNumber, format_serial
from sealwright.pki.settings import PKISettings
from sealwright.pki.signatures import verify_bytes
from sealwright.statements.anchor import Anchor


def accept_root(
    data: bytes, anchor: Anchor, settings: PKISettings, mode: Mode, *, name: str = "root.pem"
) -> x509.Certificate:
    """The root of this PKI and of this mode, or CER-ROOT. ``name``: of the input."""
    try:
        root = x509.load_pem_x509_certificate(data)
        root.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"inputs/{name} is not a PEM certificate: {error}") from None
    found = hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest()
    if found != anchor.root_sha256:
        raise PolicyViolation(
            f"inputs/{name} has SHA-256 {found}; the anchor names {anchor.root_sha256}",
            rule="CER-ROOT",
            hint="take root and anchor from one root-genesis record",
        )
    if root.subject != ca_subject(settings, "root", rehearsal=mode == "REHEARSAL"):
        raise PolicyViolation(
            f"inputs/{name} is {root.subject.rfc4514_string()}, which is not the {mode} root of pki.toml",
            rule="CER-ROOT",
            hint="is pki.toml the one that the root was made under?",
        )
    return root


def accept_request(
    data: bytes,
    *,
    subject: x509.Name,
    profile: CertificateProfile,
    root: x509.Certificate,
    register: Register,
    serial: SerialNumber,
    renewed: str | None = None,
) -> CertificateRequest:
    """The issuing CA's CSR: signed by its key, naming the issuing CA of this PKI, with a key that is new and strong.

    ``renewed``: ``secret_sha256`` of the one key that may have been certified before, in a renewal that says so.
    """
    request = parse_csr(data)
    if request.subject != subject:
        raise PolicyViolation(
            f"the CSR is for {request.subject.rfc4514_string()}; pki.toml and the mode give {subject.rfc4514_string()}",
            rule="CER-CSR-SUBJECT",
            hint="make the CSR in an issuing-key ceremony with the same pki.toml",
        )
    if request.san_uris:
        raise PolicyViolation("the CSR asks for a SAN; a CA has none", rule="CER-CSR-SAN")
    kind = key_kind(request.public_key)
    if kind not in profile.keys:
        raise PolicyViolation(
            f"the CSR's key is {describe_key(request.public_key)}; profile {profile.name} wants "
            f"{describe_kinds(profile.keys)}",
            rule="CER-CSR-KEY-KIND",
        )
    check_key_strength(request.public_key)
    if secret_sha256(request.public_key) == secret_sha256(root.public_key()):  # type: ignore[arg-type]  # the anchor's root has one of our kinds
        raise PolicyViolation("the CSR's key is the root's own key", rule="CER-KEY-ROOT")
    if register.root.sha256 != hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest():
        raise PolicyViolation("register.json is of another root than root.pem", rule="CER-REGISTER")
    check_unused(request.public_key, serial, register, renewed=renewed)
    return request


def check_unused(key: PublicKey, serial: SerialNumber, register: Register, *, renewed: str | None = None) -> None:
    """CER-KEY-REUSED, CER-SERIAL-USED: the root has certified neither before, but for the key that is ``renewed``.

    CER-KEY-COMPROMISED: not even that one, once any certificate of it was revoked for compromise.
    """
    digest = secret_sha256(key)
    for entry in register.certificates:
        if entry.secret == digest and entry.revoked and entry.revoked.reason is RevocationReason.CA_COMPROMISE:
            raise PolicyViolation(
                f"the key is that of {entry.serial}, which is revoked for cACompromise since {entry.revoked.date}",
                rule="CER-KEY-COMPROMISED",
                hint="a compromised key is never certified again: make a new one in an issuing-key ceremony",
            )
    if digest in register.certified_keys() and digest != renewed:
        raise PolicyViolation(
            "the key is in the register: the root has certified it already",
            rule="CER-KEY-REUSED",
            hint='a new issuing CA gets a new key; one goes on with its own in issuing-ca-renewal, with key = "same"',
        )
    if format_serial(serial) in register.serials():
        raise PolicyViolation(
            f"the serial {format_serial(serial)} is in the register already",
            rule="CER-SERIAL-USED",
            hint="prepare again: each preparation draws a new serial",
        )


def accept_previous_crl(
    data: bytes, *, root: IssuerRecord, register: Register, number: int, this_update: datetime
) -> x509.CertificateRevocationList:
    """The last CRL, which the next one follows: by number, and in time."""
    crl = accept_crl(data, root=root, register=register)
    if number != _number(crl) + 1:
        raise PolicyViolation(f"the CRL number is {number}; wanted {_number(crl) + 1}", rule="CER-CRL-NUMBER")
    if this_update < crl.last_update_utc:
        raise PolicyViolation(
            f"thisUpdate is {format_time(this_update)}, before the last CRL's {format_time(crl.last_update_utc)}",
            rule="CER-CRL-TIME",
            hint="prepare again with a later --at",
        )
    return crl


def accept_crl(data: bytes, *, root: IssuerRecord, register: Register) -> x509.CertificateRevocationList:
    """The CRL in force: signed by this root, the last one of the register, and of one mind with it."""
    try:
        crl = x509.load_der_x509_crl(data)
    except ValueError as error:
        raise InputError(f"inputs/root.crl is not a DER CRL: {error}") from None
    verify_bytes(root.public_key, root.scheme, crl.tbs_certlist_bytes, crl.signature)
    digest = hashlib.sha256(data).hexdigest()
    if digest != register.crl.sha256:
        raise PolicyViolation(
            f"inputs/root.crl is number {_number(crl)}; the register's last one is number {register.crl.number} "
            f"({register.crl.sha256[:16]}...)",
            rule="CER-CRL-LAST",
            hint="take root.crl and register.json from the newest records",
        )
    listed = {
        (format_serial(entry.serial), format_time(entry.revocation_date), entry.reason)
        for entry in revoked_entries(crl)
    }
    registered = {
        (entry.serial, entry.revoked.date, entry.revoked.reason) for entry in register.certificates if entry.revoked
    }
    if listed != registered:
        raise PolicyViolation(
            f"the last CRL lists {_revocations(listed)}; the register has {_revocations(registered)} revoked",
            rule="CER-CRL-REGISTER",
        )
    return crl


def _revocations(entries: set[tuple[str, str, RevocationReason | None]]) -> str:
    said = sorted(f"{serial} since {date} ({reason or 'no reason'})" for serial, date, reason in entries)
    return ", ".join(said) or "nothing"


def revoked_entries(crl: x509.CertificateRevocationList) -> tuple[RevocationEntry, ...]:
    """Every entry, as it is carried into the next list."""
    return tuple(
        RevocationEntry(SerialNumber(entry.serial_number), entry.revocation_date_utc, _reason(entry)) for entry in crl
    )


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _reason(entry: x509.RevokedCertificate) -> RevocationReason | None:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
    return RevocationReason(reason.value)
