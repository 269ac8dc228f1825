"""Fetching a certificate, and believing it only when everything about it is as it has to be."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from sealwright.client.files import write_new_files
from sealwright.client.requests import fetch_signed, path_part
from sealwright.client.session import Sitting
from sealwright.client.trust import Identity, Trust, fetch_policy
from sealwright.errors import IntegrityError, NotReady
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.keys import spki_sha256
from sealwright.pki.requests import parse_csr
from sealwright.pki.serials import format_serial
from sealwright.statements.checks import CLOCK_SKEW, check_signer
from sealwright.statements.kinds import RequestStatement
from sealwright.statements.receipts import Receipt
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import decode_base64

Format = Literal["pem", "der", "p7b"]


@dataclass(frozen=True, slots=True)
class Fetched:
    certificate: x509.Certificate
    receipt: Receipt
    request: RequestStatement

    @property
    def serial(self) -> str:
        return format_serial(self.certificate.serial_number)


def fetch_certificate(sitting: Sitting, key: str) -> Fetched:
    """The certificate of a request, verified: receipt, ledger, issuer, and that it is what was asked for.

    Raises ``NotReady`` before it is issued, ``IntegrityError`` when any of it is not right.
    """
    trust = sitting.trust()
    signed, said = fetch_signed(sitting, key)
    if said.get("state") in {"open", "approved"}:
        raise NotReady(
            f"request {key} is {said['state']}: there is no certificate to fetch",
            hint=f"`sealwright show {key}` says what it waits for",
        )
    receipt = Receipt.parse(sitting.registry.get(f"/v1/receipts/{path_part(key)}"))
    check_receipt(receipt, origin=trust.identity.anchor.ledger_origin, ledger_key=trust.roster.ledger_key)
    certificate = check_issued(receipt.certificate_der, trust.identity)
    request = _check_asked(certificate, signed, trust)
    policy = fetch_policy(sitting.registry, sitting.folder, trust.roster)
    _check_identity(certificate, policy.settings.san_uri(request.team, request.project))
    return Fetched(certificate, receipt, request)


def check_issued(der: bytes, identity: Identity) -> x509.Certificate:
    """Raises ``IntegrityError`` unless this PKI's issuing CA signed it."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(identity.issuing)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise IntegrityError(
            f"the certificate was not signed by this PKI's issuing CA: {error}", hint="do not use it; tell an officer"
        ) from None
    return certificate


def _check_asked(certificate: x509.Certificate, signed: SignedStatement, trust: Trust) -> RequestStatement:
    """The certificate has the key of the request, and a person of the roster signed that request."""
    request = signed.content
    if not isinstance(request, RequestStatement):
        raise IntegrityError(f"the registry gave a {request.kind} as the request")
    person = trust.roster.people.get(request.person)
    if person is not None:  # one who has left since is no longer on the roster; the ledger has the whole order
        check_signer(signed, request, person.keys)
    wanted = spki_sha256(parse_csr(decode_base64(request.csr)).public_key)
    if spki_sha256(certificate.public_key()) != wanted:  # type: ignore[arg-type]  # another kind has another digest
        raise IntegrityError(
            "the certificate is for another key than the request's", hint="do not use it; tell an officer"
        )
    # A renewal may keep its key: then key and names alone do not tell the new certificate from the one it replaces.
    serial = format_serial(certificate.serial_number)
    if serial == request.renews or certificate.not_valid_before_utc < request.issued_at - CLOCK_SKEW:
        raise IntegrityError(
            f"the registry gave certificate {serial}, which is older than the request",
            hint="do not use it; tell an officer",
        )
    return request


def _check_identity(certificate: x509.Certificate, wanted: str) -> None:
    """The one name that a code-signing certificate has beside its subject, to the letter."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        said = [str(each.value) for each in names]
    except x509.ExtensionNotFound:
        said = []
    if said != [wanted]:
        raise IntegrityError(
            f"the certificate names {', '.join(said) or 'nothing'}; the request was for {wanted}",
            hint="do not use it; tell an officer (or did they change the names in ca/pki.toml since?)",
        )


def write_certificate(fetched: Fetched, identity: Identity, folder: Path, form: Format) -> tuple[Path, ...]:
    """The certificate, its chain and its receipt, as new files in ``folder``."""
    leaf, issuing = fetched.certificate, identity.issuing
    pem, der = Encoding.PEM, Encoding.DER
    files: dict[str, bytes]
    match form:
        case "pem":
            files = {
                "certificate.pem": leaf.public_bytes(pem),
                "chain.pem": leaf.public_bytes(pem) + issuing.public_bytes(pem),
                "issuing.pem": issuing.public_bytes(pem),
            }
        case "der":
            files = {"certificate.cer": leaf.public_bytes(der), "issuing.cer": issuing.public_bytes(der)}
        case "p7b":
            files = {"certificate.p7b": serialize_certificates([leaf, issuing], der)}
    return write_new_files(folder, {**files, "receipt.json": fetched.receipt.to_bytes()})


def fetch_by_serial(sitting: Sitting, serial: str) -> tuple[x509.Certificate, dict[str, Any]]:
    """A certificate by its serial number (as ``openssl`` shows it, too), and what the registry says of it."""
    wanted = path_part(serial.replace(":", "").lower().lstrip("0") or "0")
    said = sitting.registry.get(f"/v1/certificates/{wanted}")
    certificate = check_issued(decode_base64(str(said.get("certificate", ""))), sitting.identity)
    if format_serial(certificate.serial_number) != wanted:
        raise IntegrityError(f"the registry gave another certificate than {serial}")
    return certificate, said
