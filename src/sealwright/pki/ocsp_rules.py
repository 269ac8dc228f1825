"""What an OCSP answer must be, rule by rule, on its bytes; and who may sign one. Each check raises its id.

Read by pyca, which had no part in writing it, and by pkilint. ``publication`` asks before it signs; ``validation`` asks
the same again of what it finds in the database, before it shows it to anybody.
"""

import functools
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealwright.errors import PolicyViolation
from sealwright.pki import der
from sealwright.pki.keys import key_identifier
from sealwright.pki.lint import check_findings, pkilint_findings
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.pki.revocation import END_ENTITY_REASONS, RevocationEntry, RevocationReason

MAXIMUM_VALIDITY = timedelta(days=10)
"""nextUpdate - thisUpdate at most (CSBR 4.9.10)."""

CA_MAXIMUM_VALIDITY = timedelta(days=366)
"""Of an answer for a CA certificate: the root tier's are made once a year (CSBR 4.9.10)."""

_ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6"


def _refuse(rule: str, message: str) -> PolicyViolation:
    return PolicyViolation(f"OCSP answer: {message}", rule=rule)


def check_responder(issuer: x509.Certificate, responder: x509.Certificate) -> None:
    """OCSP-RESPONDER: issued by the CA itself, for OCSPSigning, with ocsp-nocheck (RFC 6960 4.2.2.2)."""
    try:
        responder.verify_directly_issued_by(issuer)
        purposes = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = responder.extensions.get_extension_for_class(x509.KeyUsage).value
        responder.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise _refuse("OCSP-RESPONDER", "the responder's certificate was not issued by the CA itself") from error
    except x509.ExtensionNotFound as error:
        raise _refuse("OCSP-RESPONDER", f"the responder's certificate: {error}") from error
    if list(purposes) != [ExtendedKeyUsageOID.OCSP_SIGNING] or not usage.digital_signature:
        raise _refuse("OCSP-RESPONDER", "the responder's certificate is not for OCSPSigning, and that alone")


def check_answer(
    answer: bytes,
    *,
    responder: x509.Certificate,
    form: CertIDForm,
    hashes: tuple[bytes, bytes],
    serial: int,
    revoked: RevocationEntry | None,
    of_ca: bool = False,
) -> ocsp.OCSPResponse:
    """All rules below. Returns the answer as pyca reads it; the signature is another matter.

    ``of_ca``: it is for a CA certificate, from a ceremony; it may be valid for longer and say ``cACompromise``.
    """
    try:
        read = ocsp.load_der_ocsp_response(answer)
        if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL or len(list(read.responses)) != 1:
            raise _refuse("OCSP-SINGLE", "it does not have exactly one SingleResponse")
        _check_cert_id(read, form, hashes, serial)
        _check_responder_id(read, responder)
        _check_times(read, responder, CA_MAXIMUM_VALIDITY if of_ca else MAXIMUM_VALIDITY)
        _check_status(read, revoked, frozenset(RevocationReason) if of_ca else END_ENTITY_REASONS)
        _check_extensions(read)
    except ValueError as error:
        raise _refuse("OCSP-DER", f"it cannot be read back: {error}") from error
    return read


def _check_cert_id(read: ocsp.OCSPResponse, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int) -> None:
    if (read.hash_algorithm.name, read.issuer_name_hash, read.issuer_key_hash) != (form.value, *hashes):
        raise _refuse("OCSP-CERTID", f"its CertID is not the issuer's by {form}")
    if read.serial_number != serial:
        raise _refuse("OCSP-CERTID", f"it is for serial {read.serial_number:x}; wanted {serial:x}")


def _check_responder_id(read: ocsp.OCSPResponse, responder: x509.Certificate) -> None:
    public: Any = responder.public_key()
    if read.responder_key_hash != key_identifier(public) or read.responder_name is not None:
        raise _refuse("OCSP-RESPONDER-ID", "its responder is not named by the responder's key (byKey)")
    if read.certificates != [responder]:
        raise _refuse("OCSP-RESPONDER-ID", "it does not carry the responder's certificate, and that alone")


def _check_times(read: ocsp.OCSPResponse, responder: x509.Certificate, longest: timedelta) -> None:
    this_update, next_update = read.this_update_utc, read.next_update_utc
    if next_update is None or next_update <= this_update:
        raise _refuse("OCSP-NEXT-UPDATE", f"nextUpdate is {next_update}; wanted one later than {this_update}")
    if next_update - this_update > longest:
        raise _refuse("OCSP-VALIDITY", f"it is valid {next_update - this_update}; wanted {longest.days} days")
    if read.produced_at_utc != this_update:
        raise _refuse("OCSP-PRODUCED-AT", f"producedAt is {read.produced_at_utc}; wanted thisUpdate {this_update}")
    if this_update < responder.not_valid_before_utc or next_update > responder.not_valid_after_utc:
        raise _refuse("OCSP-WINDOW", f"it runs {this_update} to {next_update}, outside the responder's life")


def _check_status(
    read: ocsp.OCSPResponse, revoked: RevocationEntry | None, reasons: frozenset[RevocationReason]
) -> None:
    wanted = ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED
    if read.certificate_status is not wanted:
        raise _refuse("OCSP-STATUS", f"it says {read.certificate_status.name}; wanted {wanted.name}")
    if revoked is None:
        return
    moment = read.revocation_time_utc
    if moment != revoked.revocation_date or moment > read.this_update_utc:
        raise _refuse("OCSP-REVOCATION-DATE", f"revocationTime is {moment}; wanted the CRL's, up to thisUpdate")
    reason = None if read.revocation_reason is None else read.revocation_reason.value
    if reason != revoked.reason or (revoked.reason is not None and revoked.reason not in reasons):
        raise _refuse(
            "OCSP-REASON", f"its reason is {reason}, which such a certificate never has or the CRL does not say"
        )


def _check_extensions(read: ocsp.OCSPResponse) -> None:
    if list(read.extensions):  # a nonce cannot be pre-signed (RFC 9919 3.2.1)
        raise _refuse("OCSP-EXTENSIONS", "it has responseExtensions; wanted none")
    found = [(each.oid.dotted_string, each.critical, each.value) for each in read.single_extensions]
    match found:
        case [(oid, False, x509.UnrecognizedExtension(value=value))] if oid == _ARCHIVE_CUTOFF:
            cutoff = der.read_generalized_time(value)
            if cutoff is None or cutoff > read.produced_at_utc:
                raise _refuse("OCSP-ARCHIVE-CUTOFF", f"archiveCutoff is {cutoff}; wanted a time up to producedAt")
        case _:
            raise _refuse("OCSP-ARCHIVE-CUTOFF", "its singleExtensions are not archiveCutoff alone (RFC 6960 4.4.4)")


def check_pkilint(answer: bytes) -> None:
    """pkilint's RFC 6960 rules; a finding of WARNING or worse is raised under ``PKILINT:<code>``."""
    from pkilint import loader

    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(answer)
    check_findings("OCSP answer", pkilint_findings(_validators(), document))


@functools.cache
def _validators() -> Any:
    # As pkilint/bin/lint_ocsp_response.py builds them. Imported when first used: pkilint takes half a second to load.
    from pkilint import pkix
    from pkilint.pkix import extension, name
    from pkilint.pkix import ocsp as pkilint_ocsp

    return pkilint_ocsp.create_pkix_ocsp_response_validator_container(
        [
            pkilint_ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
