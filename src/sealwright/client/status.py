"""What verifiers are told: the OCSP answer for a certificate, asked by plain HTTP and verified here.

The registry has no part in it: a revocation is done when this answer says so.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from sealwright.client.transport import utc_now
from sealwright.client.trust import Trust
from sealwright.errors import IntegrityError, SealwrightError, Unavailable
from sealwright.pki.keys import PublicKey, key_kind, spki_der
from sealwright.pki.serials import format_serial
from sealwright.pki.signatures import default_scheme, verify_bytes
from sealwright.statements.wire import decode_base64, format_time

_SKEW = timedelta(minutes=5)
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Status:
    """A verified answer."""

    url: str
    status: str
    this_update: datetime
    revoked_at: datetime | None


def ask_status(certificate: x509.Certificate, trust: Trust) -> Status:
    """Ask the responder that the certificate names.

    Raises ``Unavailable`` when there is no answer, ``IntegrityError`` for a false one.
    """
    issuer, url = trust.identity.issuing, ocsp_url(certificate)
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, SHA256()).build()
    try:
        with httpx.Client(timeout=10.0, trust_env=False) as http:
            answer = http.post(
                url,
                content=request.public_bytes(Encoding.DER),
                headers={"Content-Type": "application/ocsp-request", "Cache-Control": "no-cache"},
            )
    except httpx.HTTPError as error:
        raise Unavailable(f"the OCSP responder {url} does not answer: {error}") from error
    if answer.status_code != httpx.codes.OK or len(answer.content) > _ANSWER_LIMIT:
        raise Unavailable(f"the OCSP responder {url} answered {answer.status_code}")
    return check_answer(answer.content, request, certificate, trust, url)


def ocsp_url(certificate: x509.Certificate) -> str:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    for each in access:
        if each.access_method == AuthorityInformationAccessOID.OCSP:
            return str(each.access_location.value)
    raise IntegrityError("the certificate names no OCSP responder")


def check_answer(
    data: bytes, request: ocsp.OCSPRequest, certificate: x509.Certificate, trust: Trust, url: str
) -> Status:
    """RFC 6960 3.2: for this certificate, signed by this CA's delegate with the roster's OCSP key, and fresh."""
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unavailable(f"the OCSP responder {url} says {response.response_status.name.lower()}")
        asked = (request.serial_number, request.issuer_name_hash, request.issuer_key_hash)
        if (response.serial_number, response.issuer_name_hash, response.issuer_key_hash) != asked:
            raise IntegrityError("the OCSP answer is for another certificate", hint=f"asked at {url}")
        check_signature(response, trust)
        now, end = utc_now(), response.next_update_utc
        if response.this_update_utc > now + _SKEW or end is None or end <= now:
            raise IntegrityError(f"the OCSP answer of {response.this_update_utc:%Y-%m-%dT%H:%M:%SZ} is not for now")
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"the OCSP answer cannot be read: {error}") from error
    return Status(url, response.certificate_status.name.lower(), response.this_update_utc, response.revocation_time_utc)


def check_signature(response: ocsp.OCSPResponse, trust: Trust) -> x509.Certificate:
    """The responder's certificate. ``IntegrityError`` unless it is this CA's, for the key that the roster names."""
    pinned = decode_base64(trust.roster.authority.ocsp_key)
    now = utc_now()
    for delegate in response.certificates:
        key: PublicKey = delegate.public_key()  # type: ignore[assignment]  # used only when it is the pinned key
        if spki_der(key) != pinned:
            continue
        try:
            delegate.verify_directly_issued_by(trust.identity.issuing)
            usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (InvalidSignature, x509.ExtensionNotFound) as error:
            raise IntegrityError("the OCSP responder's certificate is not one of this PKI's") from error
        fresh = delegate.not_valid_before_utc <= now + _SKEW and now <= delegate.not_valid_after_utc
        if ExtendedKeyUsageOID.OCSP_SIGNING in usage and fresh:
            verify_bytes(key, default_scheme(key_kind(key)), response.tbs_response_bytes, response.signature)
            return delegate
    raise IntegrityError("the OCSP answer is not signed by the responder that the roster names", hint="tell an officer")


def wait_until_revoked(
    certificates: Sequence[x509.Certificate], trust: Trust, *, since: datetime, seconds: float
) -> tuple[Status, float]:
    """The last verified answer, once every one of them says revoked, and after how many seconds.

    ``since`` is the revocation date that each has to say. ``Unavailable`` after ``seconds`` in all.
    """
    start = time.monotonic()
    for certificate in certificates:
        status = _wait_for_one(certificate, trust, since, start + seconds)
    return status, time.monotonic() - start


def _wait_for_one(certificate: x509.Certificate, trust: Trust, since: datetime, deadline: float) -> Status:
    start, last = time.monotonic(), "nothing yet"
    while True:
        try:
            status = ask_status(certificate, trust)
        except SealwrightError as error:
            last = error.message
        else:
            if status.status == "revoked" and status.revoked_at == since:
                return status
            last = status.status if status.revoked_at is None else f"revoked from {format_time(status.revoked_at)}"
        if time.monotonic() >= deadline:
            break
        time.sleep(min(1.0, 0.1 + (time.monotonic() - start) / 10))
    raise Unavailable(
        f"OCSP does not say in time that {format_serial(certificate.serial_number)} is revoked from"
        f" {format_time(since)}; it says: {last}",
        hint="the order is in the ledger and stays; are presign and validation running?",
    )
